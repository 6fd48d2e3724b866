"""The stage ingest, killed while it reads a table, or a series."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data import recordings, table_pieces
from pipeline.checkpoints import resumption
from pipeline.stages import ingest
from pipeline.workspace import Workspace
from tests.data.conftest import Silence, make_config

STAGE = """
import json, os, signal, sys
from pathlib import Path
from data import column_files, recordings, table_pieces
from pipeline.stages import ingest
from pipeline.workspace import Workspace
from tests.data.conftest import Silence, make_config

fields, folder, killed_at = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
table_pieces.PIECE_BYTES = recordings.PIECE_BYTES = 4000
append, pieces = column_files.ColumnFiles.append, []

def counted(self, rows, end, **more):
    append(self, rows, end, **more)
    pieces.append(end)
    if len(pieces) == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)  # after the rows are written, before they are remembered

column_files.ColumnFiles.append = counted
space = Workspace(folder / "output", folder / "scratch", 1, Silence(), None)
ingest.ingest(ingest.Inputs(), ingest.Config("classification", make_config(**fields)), space)
print(len(pieces))
"""


def stage(fields: dict[str, Any], folder: Path, killed_at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", STAGE, json.dumps(fields), str(folder), str(killed_at)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("more", [{"source": "table"}, {"source": "series", "window": 31}], ids=["table", "series"])
def test_killed_while_reading_it_goes_on_and_ends_with_the_same_bytes(tmp_path, monkeypatch, more):
    path = tmp_path / "t.csv"
    frame = pd.DataFrame({"a": range(3000), "b": [f"w{row % 7}" for row in range(3000)]})
    frame = frame.assign(a=frame["a"] ** 2 % 1009, y=[f"c{row % 3}" for row in range(3000)])
    frame.to_csv(path, index=False)
    fields = {"path": str(path), "target": "y", **more}
    killed = stage(fields, tmp_path / "killed", 4)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    place = resumption(tmp_path / "killed" / "scratch")
    assert place is not None
    assert place.startswith("row 1,")
    assert stage(fields, tmp_path / "killed", 2).returncode == -signal.SIGKILL
    resumed = stage(fields, tmp_path / "killed", 0)
    assert resumed.returncode == 0, resumed.stderr
    whole = Workspace(tmp_path / "output", tmp_path / "scratch", 1, Silence(), None)  # type: ignore[arg-type]
    for module in (recordings, table_pieces):
        monkeypatch.setattr(module, "PIECE_BYTES", 4000)
    ingest.ingest(ingest.Inputs(), ingest.Config("classification", make_config(**fields)), whole)
    assert int(resumed.stdout) == -(-path.stat().st_size // 4000) - 4
    for made in sorted(whole.output.iterdir()):
        assert made.read_bytes() == (tmp_path / "killed" / "output" / made.name).read_bytes(), made.name
