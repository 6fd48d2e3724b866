"""Tables for a terminal: square brackets in paths are what they are, no markup."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from pipeline.garbage import Garbage
from pipeline.planner import PlannedStage
from pipeline.stages.catalog import STAGES
from pipeline.store import Artifact, Manifest
from pipeline.terminal import TerminalListener, garbage_table

ODD = "work [/b] [red]"


def test_garbage_in_a_folder_with_brackets() -> None:
    stream = io.StringIO()
    Console(file=stream, width=200).print(garbage_table([Garbage(Path(ODD) / "store", "train artifact", 1234)]))
    assert f"train artifact  1,234  {ODD}/store" in stream.getvalue()


def test_what_is_wrong_with_the_data_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    profile = {"left_out": [{"name": "id [x]", "reason": "an identifier"}], "warnings": ["2 rows leak."]}
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    manifest = Manifest("ingest", "a" * 64, {}, (), {}, (), {}, 1.25)
    planned = PlannedStage(STAGES[0], "a" * 64, {}, {}, {}, "runs", "")
    assert planned.stage.name == "ingest"
    stream = io.StringIO()
    listener = TerminalListener(Console(file=stream, width=200))
    listener.end(planned, Artifact(tmp_path, manifest), False)
    listener.end(planned, Artifact(tmp_path, manifest), True)
    assert stream.getvalue().splitlines() == [
        "ingest    done     aaaaaaaaaaaa  1.2 s",
        "    left out: id [x] (an identifier)",
        "    warning: 2 rows leak.",
        "ingest    cached   aaaaaaaaaaaa",
    ]
    assert listener.num_finished == 2
