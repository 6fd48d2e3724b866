"""What a person sees in the terminal: stages as they come and go, the ledger, plans."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text
from typer.core import TyperCommand

from pipeline.garbage import Garbage
from pipeline.ledger import AnyRow, ClassicalRow
from pipeline.planner import Plan, PlannedStage
from pipeline.progress import RunProgress
from pipeline.store import Artifact

MEASURED_WIDTH = 1000
"""Columns that a table may take while it is measured."""


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
        self.note(f"{planned.stage.name:<10}{planned.state:<8} {planned.key[:12]}  {planned.reason}".rstrip())

    def end(self, planned: PlannedStage, artifact: Artifact, cached: bool) -> None:
        """A stage's artifact is there."""
        self.rest()
        self.num_finished += 1
        seconds = artifact.manifest.seconds
        word = "cached" if cached else "done"
        took = "" if cached else f"  {seconds:.1f} s"
        self.note(f"{planned.stage.name:<10}{word:<8} {planned.key[:12]}{took}")
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
    key, because = Column("key", overflow="fold"), Column("because", overflow="fold")
    table = Table("stage", "state", key, because, box=None, pad_edge=False, header_style="bold")
    for planned in plan.stages:
        table.add_row(planned.stage.name, planned.state, planned.key[:12], Text(planned.reason))
    return table


def ledger_table(rows: Sequence[AnyRow], metric: str, console: Console) -> Table:
    """Returns the ledger as a table: what each model was worth on validation, and what it weighed.

    Args:
        rows: of all stages, in order.
        metric: name of the score.
        console: where it is going to be printed; if that is too narrow for a line a model, each has one a figure.
    """
    timed = any(isinstance(row, ClassicalRow) for row in rows)
    titles = _titles(metric, timed=timed)
    lines = [_ledger_cells(row, timed=timed) for row in rows]
    unbounded = console.options.update(max_width=MEASURED_WIDTH)  # a measurement is never wider than its options
    for gap in (2, 1):
        table = _wide_ledger(lines, titles, gap)
        if Measurement.get(console, unbounded, table).minimum <= console.width:
            return table
    stacked = Table(box=None, pad_edge=False, show_header=False)
    stacked.add_column()
    stacked.add_column(justify="right")
    for cells in lines:
        stacked.add_row(Text(" ".join(cells[:2]), style="bold"))
        for title, cell in zip(titles[2:], cells[2:], strict=True):
            if cell:
                stacked.add_row(f"  {title}", cell)
    return stacked


def _titles(metric: str, *, timed: bool) -> tuple[str, ...]:
    titles = ("stage", "model", f"{metric}*", "parameters", "non-zero", "MACs", "bytes", "gzip", "seconds")
    return (*titles, "predict µs") if timed else titles


def _wide_ledger(lines: Sequence[tuple[str, ...]], titles: Sequence[str], gap: int) -> Table:
    """Returns a line a model, columns `gap` apart."""
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="bold")
    for place, title in enumerate(titles):
        table.add_column(title, justify="right" if place > 1 else "left")
    for cells in lines:
        table.add_row(*cells)
    return table


def _ledger_cells(row: AnyRow, *, timed: bool) -> tuple[str, ...]:
    if isinstance(row, ClassicalRow):
        weighed = (f"{row.parameters:,}", "", f"{row.macs:,}", f"{row.joblib_bytes:,}", "")
        return (row.stage, row.variant, f"{row.score:.4f}", *weighed, f"{row.seconds:.3f}", f"{row.predict_us:,.0f}")
    return (
        row.stage,
        row.variant,
        f"{row.score:.4f}",
        f"{row.parameters:,}",
        f"{row.nonzero_parameters:,}",
        f"{row.macs:,}",
        f"{row.tflite_bytes:,}",
        f"{row.tflite_gzip_bytes:,}",
        f"{row.seconds:.1f}" if row.seconds else "",
        *([""] if timed else []),
    )


def bytes_note(rows: Sequence[AnyRow]) -> str:
    """Says what the bytes of the ledger are bytes of."""
    networks = "bytes of a Keras model are those of its float32 .tflite"
    classical = "bytes of a classical model are those of its joblib file, seconds those of its fit"
    kinds = (any(not isinstance(row, ClassicalRow) for row in rows), any(isinstance(row, ClassicalRow) for row in rows))
    return "; ".join(text for text, there in zip((networks, classical), kinds, strict=True) if there)


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
