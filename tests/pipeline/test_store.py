"""The store under kills, damage, races, and filesystems that refuse."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.ledger import LedgerRow
from pipeline.store import MANIFEST, Artifact, Manifest, Store
from tests.pipeline.report_records import ledger_row

ROOT = Path(__file__).resolve().parents[2]
KEY = "0123456789abcdef" * 4
FILES = {"model.tflite": bytes(range(48)), "golden/golden.h": b"int x;\n", "empty": b""}


def manifest(stage: str = "train", key: str = KEY, **changed: Any) -> Manifest:
    rows: tuple[LedgerRow, ...] = (ledger_row("train", "keras", 0.9, seconds=1e-05),)
    fields: dict[str, Any] = {"parts": {"seed": 1}, "parents": (("ingest", "f" * 64),), "files": {}, "ledger": rows}
    fields |= {"details": {"note": "line\x1f\nnext", "盆": [1, None]}, "seconds": 2.5}
    return Manifest(stage=stage, key=key, **(fields | changed))


def commit(store: Store, stage: str = "train", key: str = KEY, **changed: Any) -> Artifact:
    staging = store.stage_folder(stage, key)
    for name, data in FILES.items():
        (staging / name).parent.mkdir(exist_ok=True)
        (staging / name).write_bytes(data)
    return store.commit(staging, manifest(stage, key, **changed))


def seen(store: Store) -> list[str]:
    """All that a reader could take for an artifact."""
    return [f"{stage}/{key}" for stage, key in store.artifacts()]


# ------------------------------------------------------------------------------------- manifest


def test_manifest_round_trip() -> None:
    written = manifest(files={"a": "0" * 64})
    assert Manifest.from_json(written.to_json()) == written


def test_details_keyed_by_numbers_are_whole_when_read() -> None:
    # As JSON they are text, and "10" sorts before "2".
    read = Manifest.from_json(manifest(details={"counts": {2: 5, 10: 7}}).to_json())
    assert read.details == {"counts": {"2": 5, "10": 7}}


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"digest":"x"}', "\x00", manifest().to_json() + " "])
def test_refuses_what_is_no_manifest(text: str) -> None:
    with pytest.raises(ValueError):
        Manifest.from_json(text)


# ---------------------------------------------------------------------------------------- damage


def test_finds_what_was_committed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert store.find("train", KEY) is None
    made = commit(store)
    found = store.find("train", KEY)
    assert found == made
    assert found is not None
    assert {name: (found.folder / name).read_bytes() for name in FILES} == FILES
    assert found.manifest.files.keys() == FILES.keys()


def test_every_flipped_bit_of_every_byte_is_noticed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    folder = commit(store).folder
    for name in (*FILES, MANIFEST):
        data = (folder / name).read_bytes()
        for position in range(len(data)):
            # All bits of the manifest: 0x20 alone turns 1e-05 into 1E-05, the same number.
            for bit in range(8) if name == MANIFEST else (position % 8,):
                changed = bytearray(data)
                changed[position] ^= 1 << bit
                (folder / name).write_bytes(changed)
                assert store.damage("train", KEY) is not None, (name, position, bit)
        (folder / name).write_bytes(data)
    assert store.damage("train", KEY) is None


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "empty").unlink(), "empty is missing"),
        (lambda folder: (folder / "extra").touch(), "extra is not of it"),
        (lambda folder: (folder / "golden" / "more").touch(), "golden/more is not of it"),
        (lambda folder: (folder / "link").symlink_to(folder / "golden"), "link is not of it"),
        (lambda folder: (folder / "model.tflite").write_bytes(bytes(range(47))), "model.tflite was changed"),
        (lambda folder: (folder / MANIFEST).unlink(), f"{MANIFEST} is missing or was changed"),
        (lambda folder: (folder / MANIFEST).write_text(manifest().to_json()), " is not of it"),
        (lambda folder: (folder / MANIFEST).write_text(manifest("tune").to_json()), f"{MANIFEST} is missing or"),
        (lambda folder: shutil.rmtree(folder / "golden"), "golden/golden.h is missing"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, harm: Any, told: str) -> None:
    store = Store(tmp_path / "store")
    harm(commit(store).folder)
    damage = store.damage("train", KEY)
    assert damage is not None
    assert told in damage


@pytest.mark.parametrize("name", ["model.tflite", MANIFEST])
def test_symlink_swapped_in_is_noticed_though_its_bytes_are_the_same(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "store")
    path = commit(store).folder / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.damage("train", KEY) == (
        f"{name} was changed" if name != MANIFEST else f"{name} is missing or was changed"
    )


def test_damaged_is_set_aside_said_so_and_can_be_made_again(tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(tmp_path / "store", said.append)
    folder = commit(store).folder
    (folder / "model.tflite").write_bytes(b"")
    assert store.find("train", KEY) is None
    assert said == [f"train {KEY[:12]}: model.tflite was changed; set aside, to be made again"]
    assert seen(store) == []
    assert len(list((store.root / ".aside").iterdir())) == 1
    commit(store)
    assert store.find("train", KEY) is not None


def test_another_artifact_under_a_key_is_not_taken_for_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    commit(store).folder.rename(store.folder("train", "e" * 64))
    assert store.find("train", "e" * 64) is None


def test_setting_aside_what_another_run_has_set_aside_is_no_error(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    commit(store)
    store.set_aside("train", KEY)
    store.set_aside("train", KEY)
    assert seen(store) == []


def test_many_readers_of_one_damaged_artifact_set_aside_the_damaged_one_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (commit(store).folder / "empty").write_bytes(b"?")

    def reader() -> None:
        own = Store(store.root)
        if own.find("train", KEY) is None:
            with own.lock("train", KEY):
                if own.find("train", KEY) is None:
                    commit(own)
                    made.append(1)
        assert own.find("train", KEY) is not None
        finished.append(1)

    made: list[int] = []
    finished: list[int] = []
    threads = [threading.Thread(target=reader) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), len(finished)) == (1, 6)
    assert store.damage("train", KEY) is None


# ----------------------------------------------------------------------------------------- kills


@pytest.mark.parametrize("moment", ["os.fsync", "os.rename", "shutil.rmtree"])
def test_killed_while_committing_there_is_all_of_it_or_nothing(tmp_path: Path, moment: str) -> None:
    # An audit hook sees the system's calls: the process dies at the first fsync (through os.open of the folder),
    # at the one rename, or right after it, when the scratch folder is cleared.
    event = {"os.fsync": "open", "os.rename": "os.rename", "shutil.rmtree": "shutil.rmtree"}[moment]
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline.store import Store\n"
        "from tests.pipeline.test_store import KEY, manifest\n"
        "store = Store(Path(sys.argv[1]))\n"
        "staging = store.stage_folder('train', KEY)\n"
        "(staging / 'model.tflite').write_bytes(b'12345')\n"
        "def die(name, arguments):\n"
        "    late = name != 'open' or (isinstance(arguments[0], str) and arguments[0].endswith('manifest.json'))\n"
        "    if name == sys.argv[2] and late: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(die)\n"
        "store.commit(staging, manifest())\n"
    )
    store = Store(tmp_path / "store")
    command = [sys.executable, "-c", program, str(store.root), event]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if moment == "shutil.rmtree":
        assert seen(store) == [f"train/{KEY}"]
        assert store.damage("train", KEY) is None
    else:
        assert seen(store) == []
        assert store.find("train", KEY) is None
        # What lies half-written in the staging folder does not get into the next attempt.
        assert any((store.root / ".staging").rglob("model.tflite"))
        assert commit(store).manifest.files.keys() == FILES.keys()
    assert store.find("train", KEY) is not None


def test_staging_is_empty_and_scratch_survives(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    staging = store.stage_folder("train", KEY)
    (staging / "half").touch()
    (store.scratch("train", KEY) / "train.checkpoint").write_bytes(b"epoch 3")
    assert list(store.stage_folder("train", KEY).iterdir()) == []
    assert (store.scratch("train", KEY) / "train.checkpoint").read_bytes() == b"epoch 3"
    commit(store)
    assert not store.scratch("train", KEY).exists()


def test_lists_artifacts_and_nothing_else(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert seen(store) == []
    commit(store)
    commit(store, "ingest", "a" * 64)
    (store.root / "train" / "note.txt").touch()
    (store.root / "README").touch()
    store.stage_folder("tune", KEY)
    assert seen(store) == [f"ingest/{'a' * 64}", f"train/{KEY}"]


def test_figures_that_json_cannot_say_are_refused_before_anything_is_seen(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(ValueError, match="JSON"):
        commit(store, details={"loss": float("nan")})
    assert seen(store) == []


def test_manifest_text_is_json_with_sorted_keys(tmp_path: Path) -> None:
    text = (commit(Store(tmp_path / "store")).folder / MANIFEST).read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
