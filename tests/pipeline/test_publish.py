"""Publishing: bundles swapped in whole, noticed when touched, and kept where a gate fails. Artifacts are handmade."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import run_pipeline
from data.contract import GateError, StoreError, TargetMissedError
from pipeline.publish import Published, publish
from pipeline.requests import RunResult
from pipeline.runs import RunFile, Workdir
from pipeline.store import Artifact, Manifest
from tests.pipeline.report_records import CONFIG, full_record, gates, summary
from tests.pipeline.test_summary import GIVEN

ROOT = Path(__file__).resolve().parents[2]
MEASURED = {name: value for name, value in summary().items() if name not in GIVEN}
MISSED = [{"name": "max_model_bytes", "asked": 100, "got": 5896, "met": False}]


def make(workdir: Workdir, letter: str = "a", **changed: Any) -> list[tuple[Artifact, bool]]:
    """Commits every stage of the full record; `changed` goes into the details of export."""
    store, record = workdir.store(), full_record()
    made = []
    for position, stage in enumerate(record.stages):
        key = hashlib.sha256(f"{letter}{position}".encode()).hexdigest()
        staging = store.stage_folder(stage.name, key)
        details = dict(stage.details)
        if stage.name == "ingest":
            (staging / "profile.json").write_text(json.dumps(record.profile))
        if stage.name == "export":
            details |= {"passed": True, "summary": MEASURED} | changed
            (staging / "model.tflite").write_bytes(letter.encode() * 64)
            (staging / "golden").mkdir()
            (staging / "golden" / "golden.h").write_text("int x;\n")
        fields: dict[str, Any] = {"parts": {}, "parents": (), "files": {}, "seconds": stage.seconds}
        manifest = Manifest(stage=stage.name, key=key, ledger=stage.ledger, details=details, **fields)
        made.append((store.commit(staging, manifest), False))
    return made


def run_of(stages: list[tuple[Artifact, bool]]) -> RunFile:
    keys = {artifact.manifest.stage: artifact.manifest.key for artifact, _ in stages}
    return RunFile("digits", "classification", 7, CONFIG, "python run_pipeline.py", keys, "running")


def first_publish(workdir: Workdir, stages: list[tuple[Artifact, bool]]) -> Published:
    """Publishes as a run does: its file is written before, and says what was published last."""
    before = workdir.read("digits")
    run = run_of(stages)
    if before is not None:
        run = replace(run, published=before.published, bundle=before.bundle)
    workdir.write(run)
    return publish(workdir, run, stages)


def publish_again(workdir: Workdir, stages: list[tuple[Artifact, bool]], **options: bool) -> Published:
    run = workdir.read("digits")
    assert run is not None
    return publish(workdir, run, stages, **options)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def identities(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    return Workdir(tmp_path / "runs")


@pytest.fixture
def published(workdir: Workdir) -> tuple[Published, list[tuple[Artifact, bool]]]:
    stages = make(workdir)
    return first_publish(workdir, stages), stages


Done = tuple[Published, list[tuple[Artifact, bool]]]


def test_bundle_is_a_real_copy_with_sums_that_check_out(workdir: Workdir, published: Done) -> None:
    result, stages = published
    assert result.verdict is None
    assert result.bundle == workdir.root / "digits" / "export"
    files = content(result.bundle)
    assert files.keys() == {
        "model.tflite",
        "golden/golden.h",
        "summary.json",
        "MODEL_CARD.md",
        "report.html",
        "SHA256SUMS",
    }
    told = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=result.bundle, check=False)
    assert told.returncode == 0
    assert len(files["SHA256SUMS"].splitlines()) == len(files) - 1
    assert json.loads(files["summary.json"])["name"] == "digits"
    assert files["report.html"] == result.report.read_bytes()
    original = stages[-1][0].folder / "model.tflite"
    assert (result.bundle / "model.tflite").stat().st_ino != original.stat().st_ino
    assert sorted(path.name for path in result.bundle.parent.iterdir()) == ["export", "report.html", "run.json"]


def test_a_model_no_better_than_a_guess_is_told(workdir: Workdir, published: Done) -> None:
    assert (published[0].guess_caution, published[0].summary["better_than_guess"]) == (None, True)
    # 27 of the 265 test rows are a 9, the most frequent class of the training rows.
    stages = make(workdir, "b", summary=MEASURED | {"model_score": 27 / 265})
    result = first_publish(workdir, stages)
    assert result.guess_caution == (
        "The model is no better than a guess that looks at nothing. Always answering 9, the most frequent class of the "
        "training rows, has an accuracy of 0.1019."
    )
    assert result.verdict is None
    assert result.bundle is not None
    assert json.loads((result.bundle / "summary.json").read_text())["better_than_guess"] is False
    printed = StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_pipeline, "out", Console(file=printed, width=200))
        searched: Any = SimpleNamespace(
            manifest=SimpleNamespace(stage="search", ledger=(), details={"metric": "accuracy", "held_drop": 0.01})
        )
        told = RunResult("digits", "classification", "accuracy", (*stages, (searched, False)), result)
        run_pipeline._print_result(told, workdir)
        assert printed.getvalue().count(result.guess_caution) == 1
        assert "so the search held the validation accuracy to at most 0.01 below" in printed.getvalue()


def test_second_time_writes_nothing(workdir: Workdir, published: Done) -> None:
    before = identities(workdir.root / "digits")
    assert publish_again(workdir, published[1]) == published[0]
    assert identities(workdir.root / "digits") == before
    publish_again(workdir, published[1], anew=True)
    assert identities(workdir.root / "digits") != before


@pytest.mark.parametrize(
    "tamper",
    [
        lambda run: (run / "export" / "model.tflite").write_bytes(b"b" + bytes(63)),
        lambda run: (run / "export" / "golden" / "golden.h").unlink(),
        lambda run: (run / "export" / "extra.txt").touch(),
        lambda run: (run / "export" / "SHA256SUMS").write_text(""),
        lambda run: (run / "export" / "SHA256SUMS").unlink(),
        lambda run: (run / "export").rename(run / "moved"),
        lambda run: (run / "report.html").write_text("<p>better</p>"),
        lambda run: (run / "report.html").unlink(),
        # A file and its line in the sums: both gone, the sums alone would not show it.
        lambda run: (
            (run / "export" / "MODEL_CARD.md").unlink(),
            (run / "export" / "SHA256SUMS").write_text(
                "".join(
                    line
                    for line in (run / "export" / "SHA256SUMS").read_text().splitlines(keepends=True)
                    if "MODEL_CARD" not in line
                )
            ),
        ),
    ],
)
def test_tampered_bundle_is_published_again(workdir: Workdir, published: Done, tamper: Any) -> None:
    bundle = workdir.root / "digits" / "export"
    before = content(bundle), published[0].report.read_bytes()
    tamper(bundle.parent)
    publish_again(workdir, published[1])
    assert (content(bundle), published[0].report.read_bytes()) == before


def test_new_artifacts_replace_the_bundle(workdir: Workdir, published: Done) -> None:
    first_publish(workdir, make(workdir, "b"))
    assert (workdir.root / "digits" / "export" / "model.tflite").read_bytes() == b"b" * 64
    assert not (workdir.root / "digits" / ".bundle").exists()


def test_failed_gate_goes_to_rejected_and_the_old_bundle_stays(workdir: Workdir, published: Done) -> None:
    export = workdir.root / "digits" / "export"
    before = content(export), identities(export)
    stages = make(workdir, "b", passed=False, gates=gates(failed=True))
    result = first_publish(workdir, stages)
    assert result.bundle == workdir.root / "digits" / "rejected"
    assert isinstance(result.verdict, GateError)
    assert result.verdict.exit_code == 1
    text = str(result.verdict)
    assert text.startswith("gate.TFLite Micro (caused by convert): expected at most 2 steps, got 5.")
    assert text.endswith(f"it lies in {result.bundle} with its report.")
    assert (content(export), identities(export)) == before
    assert (result.bundle / "model.tflite").read_bytes() == b"b" * 64
    assert (result.bundle / "report.html").exists()


def test_missed_target_still_hands_over_and_says_so(workdir: Workdir) -> None:
    stages = make(workdir, targets=MISSED)
    result = first_publish(workdir, stages)
    assert isinstance(result.verdict, TargetMissedError)
    assert result.verdict.exit_code == 4
    assert str(result.verdict).startswith("target.max_model_bytes: expected")
    assert result.bundle == workdir.root / "digits" / "export"
    assert (result.bundle / "model.tflite").exists()
    # Asked again, with nothing to do, it still says so.
    assert isinstance(publish_again(workdir, stages).verdict, TargetMissedError)


def test_run_that_ended_early_has_a_report_and_leaves_the_bundle(workdir: Workdir, published: Done) -> None:
    before = content(workdir.root / "digits" / "export")
    result = publish_again(workdir, published[1][:4])
    assert result.bundle is None
    assert result.summary == {}
    assert result.verdict is None
    assert result.report.exists()
    assert content(workdir.root / "digits" / "export") == before


def test_a_reader_sees_the_old_bundle_or_the_new_one(workdir: Workdir, published: Done) -> None:
    variants = [published[1], make(workdir, "b")]
    export = workdir.root / "digits" / "export"
    torn: list[str] = []
    stop = threading.Event()

    def reader() -> None:
        while not stop.is_set():
            folder = os.open(export, os.O_RDONLY)  # one look at the name; what it led to then
            try:
                descriptor = os.open("model.tflite", os.O_RDONLY, dir_fd=folder)
                seen.add(os.read(descriptor, 1))
                os.close(descriptor)
            except FileNotFoundError:
                continue  # the old bundle, already being removed
            finally:
                os.close(folder)
            if not export.is_dir():
                torn.append("no bundle at all")

    seen: set[bytes] = set()
    thread = threading.Thread(target=reader)
    thread.start()
    for turn in range(6):
        publish_again(workdir, variants[(turn + 1) % 2])
    stop.set()
    thread.join()
    assert torn == []
    assert seen == {b"a", b"b"}


@pytest.mark.parametrize("moment", ["open", "shutil.rmtree"])
def test_killed_while_publishing_the_bundle_is_whole(workdir: Workdir, published: Done, moment: str) -> None:
    # Killed when the sums are written, or when the bundle before is removed after the exchange.
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline.runs import Workdir\n"
        "from tests.pipeline.test_publish import first_publish, make\n"
        "workdir = Workdir(Path(sys.argv[1]))\n"
        "stages = make(workdir, 'b')\n"
        "def die(name, arguments):\n"
        "    if name != sys.argv[2]: return\n"
        "    if 'SHA256SUMS' in str(arguments[0]) if name == 'open' else Path(arguments[0]).exists():\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(die)\n"
        "first_publish(workdir, stages)\n"
    )
    command = [sys.executable, "-c", program, str(workdir.root), moment]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    export = workdir.root / "digits" / "export"
    told = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=export, check=False)
    assert told.returncode == 0
    assert (export / "model.tflite").read_bytes() == (b"a" if moment == "open" else b"b") * 64
    publish_again(workdir, published[1])
    assert (export / "model.tflite").read_bytes() == b"a" * 64
    assert not (export.parent / ".bundle").exists()


def test_folder_that_is_a_file_is_explained(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path)
    stages = make(workdir)
    (tmp_path / "digits").touch()
    with pytest.raises(StoreError, match="Choose another --workdir"):
        first_publish(workdir, stages)


def test_bundle_of_an_earlier_config_is_told(workdir: Workdir, published: Done) -> None:
    assert not published[0].has_earlier_bundle
    # As `--to train` with another config plans it: no export is among the keys.
    later = first_publish(workdir, make(workdir, "b")[:-1])
    assert later.has_earlier_bundle
    assert "bundle in the folder export is of an earlier config" in later.report.read_text()
    run = workdir.read("digits")
    assert run is not None
    assert run.has_earlier_bundle
    rejected = first_publish(workdir, make(workdir, "c", passed=False, gates=gates(failed=1)))
    assert rejected.has_earlier_bundle
    whole = first_publish(workdir, make(workdir, "d"))
    assert not whole.has_earlier_bundle
    assert "of an earlier config" not in whole.report.read_text()


def test_run_of_the_first_stages_under_the_same_config_keeps_its_bundle_current(
    workdir: Workdir, published: Done
) -> None:
    stages = published[1]
    run = workdir.read("digits")
    assert run is not None
    assert not publish(workdir, run, stages[:-1]).has_earlier_bundle


def test_good_bundle_clears_the_rejected_one_away(workdir: Workdir) -> None:
    first_publish(workdir, make(workdir, "a", passed=False, gates=gates(failed=1)))
    assert (workdir.root / "digits" / "rejected").is_dir()
    first_publish(workdir, make(workdir, "b"))
    assert [path.name for path in (workdir.root / "digits").iterdir() if path.is_dir()] == ["export"]
