"""Digests of code that are remembered: as good as fresh ones, or not used."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from textwrap import dedent

from pipeline.code_digest import Code
from pipeline.code_memory import CodeMemory, project_state
from tests.pipeline.test_code_digest import WORK, tree


def remembering(folder: Path) -> tuple[Path, Path]:
    """A small project that changed some time ago, and a store."""
    root = tree(folder / "project")
    (folder / "store").mkdir()
    return root, folder / "store"


def test_memory_answers_as_the_code_does_and_forgets_when_a_file_changes(tmp_path: Path) -> None:
    root, store = remembering(tmp_path)
    path = store / ".memory" / "code" / "pipeline.stage.json"
    fresh = Code(root).parts([("pipeline.stage", None)])
    # Files that changed a moment ago are not remembered: they might change again within a tick of the clock.
    assert CodeMemory(store, root).parts("pipeline.stage") == fresh
    assert not path.exists()
    state, _ = project_state(root)
    record = {"state": state, "parts": fresh}
    assert settle(root)
    assert CodeMemory(store, root).parts("pipeline.stage") == fresh
    assert json.loads(path.read_text())["parts"] == record["parts"]
    assert CodeMemory(store, root).parts("pipeline.stage") == fresh
    before = (root / "models" / "work.py").stat()
    (root / "models" / "work.py").write_text(dedent(WORK).replace("lazily(rows)", "lazily(rowz)"))
    os.utime(root / "models" / "work.py", ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same time
    assert CodeMemory(store, root).parts("pipeline.stage") == Code(root).parts([("pipeline.stage", None)]) != fresh


def settle(root: Path) -> bool:
    """Waits until the project counts as settled."""
    deadline = time.monotonic() + 10
    while not project_state(root)[1] and time.monotonic() < deadline:
        time.sleep(0.1)
    return project_state(root)[1]


def test_damaged_memory_never_answers(tmp_path: Path) -> None:
    root, store = remembering(tmp_path)
    assert settle(root)
    fresh = CodeMemory(store, root).parts("pipeline.stage")
    path = store / ".memory" / "code" / "pipeline.stage.json"
    data = path.read_bytes()
    for position in range(0, len(data), 5):
        changed = bytearray(data)
        changed[position] ^= 1 << (position % 8)
        path.write_bytes(changed)
        assert CodeMemory(store, root).parts("pipeline.stage") == fresh, position
    for content in (b"", b"[]", b"{}", b"[" * 100_000, data[:-1], b"\xff"):
        path.write_bytes(content)
        assert CodeMemory(store, root).parts("pipeline.stage") == fresh
    (store / ".memory" / "code" / "models.work.json").write_bytes(data)  # another module's
    assert CodeMemory(store, root).parts("models.work") == Code(root).parts([("models.work", None)])


def test_memory_needs_no_store(tmp_path: Path) -> None:
    root, store = remembering(tmp_path)
    store.rmdir()
    assert settle(root)
    assert "pipeline.stage" in CodeMemory(store, root).parts("pipeline.stage")
    assert not store.exists()
