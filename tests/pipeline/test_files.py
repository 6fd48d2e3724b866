"""Files that are whole or not there, and digests that tell them apart."""

from __future__ import annotations

import hashlib
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.files import canonical_json, sha256_of_file, sha256_of_json, sync_tree, write_atomically

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    (tmp_path / "file").write_bytes(data)
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_equal_values_have_one_text() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": "盆"}) == '{"a":"盆","b":[1,2.5,null]}'
    assert sha256_of_json({"a": 1, "b": 2}) == sha256_of_json({"b": 2, "a": 1})
    assert sha256_of_json({"a": 1}) != sha256_of_json({"a": 1.0})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_refuses_numbers_that_json_cannot_say(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"score": value})


def test_replaces_whole_content_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, "first, the longer text")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_keeps_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()  # a folder in the file's place: the rename is refused
    (tmp_path / "target" / "kept").touch()
    with pytest.raises(OSError, match="target"):
        write_atomically(tmp_path / "target", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_reader_never_sees_half_a_file_even_when_its_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "state"
    program = (
        "import sys; from pathlib import Path; from pipeline.files import write_atomically\n"
        "while True:\n"
        "    for letter in 'ab': write_atomically(Path(sys.argv[1]), letter * 300_000)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 20
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        for _ in range(200):
            text = path.read_text()
            assert text in ("a" * 300_000, "b" * 300_000)
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    assert path.read_text() in ("a" * 300_000, "b" * 300_000)


def test_syncs_trees_with_folders_in_them(tmp_path: Path) -> None:
    (tmp_path / "deep" / "empty").mkdir(parents=True)
    (tmp_path / "deep" / "file").write_bytes(b"1")
    sync_tree(tmp_path)
    assert (tmp_path / "deep" / "file").read_bytes() == b"1"
