"""What a person sees in the terminal: stages as they come and go, the ledger, plans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from pipeline.garbage import Garbage
from pipeline.ledger import LedgerRow
from pipeline.planner import Plan, PlannedStage
from pipeline.progress import RunProgress
from pipeline.store import Artifact


class Command(TyperCommand):
    """A command whose description is never cut in the list of commands."""

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 -- what typer calls it with
        """Returns the first paragraph of the command's help, whole."""
        return " ".join((self.help or "").split("\n\n")[0].split())


class TerminalListener(RunProgress):
    """Tells a run's story on a console, and in its log."""

    num_finished = 0
    """Stages that came to their end so far, those that were there already included."""

    def begin(self, planned: PlannedStage) -> None:
        """A stage starts to run."""
        self._check()
        self.note(f"{planned.stage.name:<9}{planned.state:<8} {planned.key[:12]}  {planned.reason}".rstrip())

    def end(self, planned: PlannedStage, artifact: Artifact, cached: bool) -> None:
        """A stage's artifact is there."""
        self.rest()
        self.num_finished += 1
        seconds = artifact.manifest.seconds
        word = "cached" if cached else "done"
        took = "" if cached else f"  {seconds:.1f} s"
        self.note(f"{planned.stage.name:<9}{word:<8} {planned.key[:12]}{took}")
        if planned.stage.name == "ingest" and not cached:
            for line in _data_notes(json.loads((artifact.folder / "profile.json").read_text(encoding="utf-8"))):
                self.note(f"    {line}")


def _data_notes(profile: Mapping[str, Any]) -> list[str]:
    """Returns what a user should know of the data before anything is trained: columns left out, and warnings."""
    left_out = [f"left out: {each['name']} ({each['reason']})" for each in profile["left_out"]]
    return [*left_out, *(f"warning: {each}" for each in profile["warnings"])]


def plan_table(plan: Plan) -> Table:
    """Returns a plan as a table: stage, state, key, why."""
    # Reasons quote values and paths: `Text` reads no markup in them.
    table = Table("stage", "state", "key", "because", box=None, pad_edge=False, header_style="bold")
    for planned in plan.stages:
        table.add_row(planned.stage.name, planned.state, planned.key[:12], Text(planned.reason))
    return table


def ledger_table(rows: Sequence[LedgerRow], metric: str) -> Table:
    """Returns the ledger as a table: what each model was worth on validation, and what it weighed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("model")
    for name in (f"{metric}*", "parameters", "non-zero", "MACs", "bytes", "gzip", "seconds"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.stage,
            row.variant,
            f"{row.score:.4f}",
            f"{row.parameters:,}",
            f"{row.nonzero_parameters:,}",
            f"{row.macs:,}",
            f"{row.tflite_bytes:,}",
            f"{row.tflite_gzip_bytes:,}",
            f"{row.seconds:.1f}" if row.seconds else "",
        )
    return table


def garbage_table(garbage: Sequence[Garbage]) -> Table:
    """Returns what `gc` found as a table."""
    table = Table("what", "bytes", "where", box=None, pad_edge=False, header_style="bold")
    for each in garbage:
        table.add_row(each.what, f"{each.bytes:,}", Text(str(each.path)))
    return table


def console_for(stream: TextIO | None = None) -> Console:
    """Returns a console on a stream (standard output if none) that wraps nothing where it is no terminal."""
    console = Console(file=stream, highlight=False)
    return console if console.is_terminal else Console(file=stream, highlight=False, width=200)
