"""The store when it may not go on: locks that others hold, full disks, filesystems that refuse."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from data.contract import StoreError
from pipeline.refusals import explained, remember
from pipeline.store import Store
from tests.pipeline.test_store import KEY, manifest, seen

ROOT = Path(__file__).resolve().parents[2]

# ----------------------------------------------------------------------------------------- locks


@contextmanager
def held_by_another_process(root: Path, seconds: float = 60.0) -> Iterator[subprocess.Popen[str]]:
    program = (
        "import sys, time; from pathlib import Path; from pipeline.store import Store\n"
        "with Store(Path(sys.argv[1])).lock('train', sys.argv[2]):\n"
        "    print('held', flush=True); time.sleep(float(sys.argv[3]))\n"
    )
    command = [sys.executable, "-c", program, str(root), KEY, str(seconds)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_waits_for_another_run_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(tmp_path / "store", said.append)
    with held_by_another_process(store.root, 0.6):
        started = time.monotonic()
        with store.lock("train", KEY):
            waited = time.monotonic() - started
    assert 0.2 < waited < 20
    assert said == [f"train {KEY[:12]}: another run is making it; waiting"]


def test_patience_ends(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with held_by_another_process(store.root):
        with store.lock("train", "b" * 64):
            pass  # another key is nobody's
        with (
            pytest.raises(StoreError, match=f"store.train: expected {KEY[:12]} within 0 s, got a lock that another"),
            store.lock("train", KEY, patience_seconds=0.2),
        ):
            pass


def test_a_killed_run_holds_no_lock(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with held_by_another_process(store.root) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        started = time.monotonic()
        with store.lock("train", KEY, patience_seconds=60):
            assert time.monotonic() - started < 5


def test_lock_is_free_after_an_error(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(RuntimeError, match="boom"), store.lock("train", KEY):
        raise RuntimeError("boom")
    with store.lock("train", KEY, patience_seconds=0.1):
        pass


# -------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENXIO, errno.ENAMETOOLONG, errno.EIO, errno.ESTALE])
def test_any_refusal_is_explained(tmp_path: Path, number: int) -> None:
    told = os.strerror(number)
    expected = rf"write to {tmp_path}/a, got {told}\. Choose another --workdir"
    with pytest.raises(StoreError, match=expected), explained(tmp_path):
        raise OSError(number, told, str(tmp_path / "a"))


@pytest.mark.parametrize("named", ["data/rows.csv", "runs-of-old/a"])
def test_refusal_of_a_file_elsewhere_passes(tmp_path: Path, named: str) -> None:
    with pytest.raises(PermissionError), explained(tmp_path / "runs"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / named))


@pytest.mark.parametrize("named", ["runs", "runs/store/a", ".", None])
def test_refusal_of_the_folder_of_what_is_in_it_and_of_what_it_is_in_is_explained(
    tmp_path: Path, named: str | None
) -> None:
    filename = None if named is None else str(tmp_path / named)
    with pytest.raises(StoreError, match="got no permission"), explained(tmp_path / "runs"):
        raise PermissionError(errno.EACCES, "Permission denied", filename)


def test_full_disk_is_explained_wherever_the_file_lies(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="got no space left on the device"), explained(tmp_path / "runs"):
        raise OSError(errno.ENOSPC, "No space left on device", "/elsewhere/a")


def test_copy_that_failed_tells_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "none")
    with pytest.raises(StoreError, match=r"No such file or directory.*Choose another --workdir"), explained(tmp_path):
        shutil.copytree(tmp_path / "a", tmp_path / "b")


def test_what_only_saves_time_is_not_written_where_it_may_not_be(tmp_path: Path) -> None:
    remember(tmp_path / "none" / ".memory" / "a", "text", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with mounted(tmp_path / "fixed", "ro,size=256k") as place:
        remember(place / ".memory" / "a", "text", place)
    with mounted(tmp_path / "small", "size=8k") as place, pytest.raises(StoreError, match="got no space left"):
        remember(place / "a", "text" * 10_000, place)


@contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A small filesystem of its own; skips where the system lets nobody mount one."""
    place.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode != 0:
        pytest.skip(f"no filesystem can be mounted here: {told.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_full_disk_is_explained_and_leaves_nothing_to_be_seen(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=256k") as place:
        store = Store(place / "store")
        staging = store.stage_folder("train", KEY)
        (staging / "model.tflite").write_bytes(bytes(1000))
        with pytest.raises(OSError, match="No space left"):
            (place / "ballast").write_bytes(bytes(1 << 20))
        with pytest.raises(StoreError, match=r"got no space left on the device. Make room \(`gc` removes"):
            store.commit(staging, manifest(details={"text": "x" * 200_000}))
        assert seen(store) == []
        (place / "ballast").unlink()
        assert store.commit(staging, manifest()).manifest.files.keys() == {"model.tflite"}


def test_read_only_filesystem_is_explained(tmp_path: Path) -> None:
    with mounted(tmp_path / "fixed", "ro,size=256k") as place:
        store = Store(place / "store")
        with pytest.raises(StoreError, match=r"write to .*/store.*, got a read-only filesystem. Choose another --work"):
            store.stage_folder("train", KEY)
        with pytest.raises(StoreError, match="got a read-only filesystem"), store.lock("train", KEY):
            pass
        assert store.find("train", KEY) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_missing_permission_is_explained(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=r"got no permission\. Choose another --workdir, or change its owner"):
        Store(tmp_path / "store").stage_folder("train", KEY)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_file_in_the_place_of_the_folder_is_explained(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / place)
    with pytest.raises(StoreError, match=r"workdir: expected to be able to write to .*Choose another --workdir"):
        store.stage_folder("train", KEY)
    with pytest.raises(StoreError, match="Choose another --workdir"), store.lock("train", KEY):
        pass
