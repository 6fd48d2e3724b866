"""Tables for a terminal: square brackets in paths are what they are, no markup."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from pipeline.garbage import Garbage
from pipeline.terminal import garbage_table

ODD = "work [/b] [red]"


def test_garbage_in_a_folder_with_brackets() -> None:
    stream = io.StringIO()
    Console(file=stream, width=200).print(garbage_table([Garbage(Path(ODD) / "store", "train artifact", 1234)]))
    assert f"train artifact  1,234  {ODD}/store" in stream.getvalue()
