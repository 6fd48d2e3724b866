"""Checkpoints: what was saved, or nothing; never something else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.checkpoints import FileCheckpoints, resumption

ROOT = Path(__file__).resolve().parents[2]
ARRAYS: dict[str, Any] = {
    "dense/kernel:0": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([1.5, -2], np.float16),
    "double": np.array(np.pi),
    "step": np.array(7, np.int64),
    "mask": np.array([[True, False]]),
    "bytes": np.arange(5, dtype=np.uint8),
    "none": np.zeros((0, 3), np.float32),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "odd": np.array([np.nan, np.inf, -0.0], np.float32),
}
STATE = {"epoch": 3, "best_score": -1.5, "history": [{"loss": 0.1}], "stopped_by": None, "name": "盆"}


def test_round_trip_keeps_types_shapes_and_bits(tmp_path: Path) -> None:
    kept = FileCheckpoints(tmp_path / "train.checkpoint")
    assert kept.load() is None
    kept.save(ARRAYS, STATE)
    loaded = kept.load()
    assert loaded is not None
    arrays, state = loaded
    assert state == STATE
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes(), name
    assert [path.name for path in tmp_path.iterdir()] == ["train.checkpoint"]


def test_last_state_counts(tmp_path: Path) -> None:
    kept = FileCheckpoints(tmp_path / "train.checkpoint")
    for epoch in (1, 2):
        kept.save({"w": np.full(3, epoch)}, {"epoch": epoch})
    loaded = kept.load()
    assert loaded is not None
    assert loaded[1] == {"epoch": 2}
    assert loaded[0]["w"].tolist() == [2, 2, 2]


def test_numbers_alone_are_kept(tmp_path: Path) -> None:
    kept = FileCheckpoints(tmp_path / "train.checkpoint")
    kept.save({"w": np.ones(2)}, {"epoch": 1})
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        kept.save({"w": np.array([object()])}, {"epoch": 2})
    loaded = kept.load()
    assert loaded is not None
    assert loaded[1] == {"epoch": 1}


def test_every_changed_byte_and_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "train.checkpoint"
    kept = FileCheckpoints(path)
    kept.save({"w": np.arange(3, dtype=np.float32), "b": np.ones(1)}, {"epoch": 2})
    data = path.read_bytes()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << (position % 8)
        path.write_bytes(changed)
        assert kept.load() is None, position
        assert resumption(tmp_path) is None, position
        if position % 7 == 0:
            path.write_bytes(data[:position])
            assert kept.load() is None, position
    for more in (b"\x00", b"trailing"):
        path.write_bytes(data + more)
        assert kept.load() is None


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), bytes(31), bytes(32), bytes(100)])
def test_what_is_no_checkpoint_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.checkpoint"
    path.write_bytes(content)
    assert FileCheckpoints(path).load() is None


def test_killed_while_saving_the_last_state_is_whole(tmp_path: Path) -> None:
    program = (
        "import sys, itertools; import numpy as np; from pathlib import Path\n"
        "from pipeline.checkpoints import FileCheckpoints\n"
        "kept = FileCheckpoints(Path(sys.argv[1]))\n"
        "for epoch in itertools.count(1): kept.save({'w': np.full(100_000, epoch)}, {'epoch': epoch})\n"
    )
    path = tmp_path / "train.checkpoint"
    for patience in (0.0, 0.011, 0.037):
        writer = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=ROOT)
        deadline = time.monotonic() + 20
        path.unlink(missing_ok=True)
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(patience)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        loaded = FileCheckpoints(path).load()
        assert loaded is not None
        assert (loaded[0]["w"] == loaded[1]["epoch"]).all()


def test_where_a_stage_goes_on(tmp_path: Path) -> None:
    assert resumption(tmp_path / "missing") is None
    assert resumption(tmp_path) is None
    FileCheckpoints(tmp_path / "train.checkpoint").save({"w": np.ones(1)}, {"resumes_at": "epoch 5"})
    (tmp_path / "half.tmp").write_bytes(b"x")
    (tmp_path / "torn.checkpoint").write_bytes(b"x")
    assert resumption(tmp_path) == "epoch 5"
