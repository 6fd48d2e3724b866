"""What `gc` takes, and what it must not: kept runs, their parents and trials, work that is going on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from data.contract import StoreError
from pipeline.garbage import TRIED_STAGES, find_garbage, remove
from pipeline.runs import RunFile, Workdir
from pipeline.store import Manifest
from tests.pipeline.test_store_refusals import mounted

ROOT = Path(__file__).resolve().parents[2]
Reference = tuple[str, str]


def key(letter: str) -> str:
    return letter * 64


def commit(workdir: Workdir, stage: str, letter: str, parents: tuple[Reference, ...] = ()) -> Reference:
    store = workdir.store()
    staging = store.stage_folder(stage, key(letter))
    (staging / "file").write_bytes(bytes(100))
    fields: dict[str, Any] = {"parts": {}, "files": {}, "ledger": (), "details": {}, "seconds": 0.0}
    store.commit(staging, Manifest(stage=stage, key=key(letter), parents=parents, **fields))
    return stage, key(letter)


def write_run(workdir: Workdir, name: str, time: int, *references: Reference) -> None:
    workdir.write(RunFile(name, "classification", 1, "", "", dict(references), "done"))
    os.utime(workdir.run_folder(name) / "run.json", (time, time))


def found(workdir: Workdir, keep: int | None = None) -> dict[str, str]:
    """What is found in the store: path -> what it is."""
    root = workdir.store().root
    listed = find_garbage(workdir, keep)
    return {str(each.path.relative_to(root)): each.what for each in listed if each.path.is_relative_to(root)}


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """Two runs that share an ingest; the older one has trials."""
    workdir = Workdir(tmp_path)
    ingest = commit(workdir, "ingest", "a")
    build = commit(workdir, "build", "b", (ingest,))
    trial = commit(workdir, "train", "c", (ingest, build))
    train = commit(workdir, "train", "d", (ingest, build))
    tune = commit(workdir, "tune", "e", (ingest, build, train, trial))
    write_run(workdir, "older", 1000, ingest, build, train, tune)
    other = commit(workdir, "build", "f", (ingest,))
    write_run(workdir, "newer", 2000, ingest, other)
    return workdir


def test_keeps_runs_with_parents_and_trials(workdir: Workdir) -> None:
    assert found(workdir) == {}
    orphan = commit(workdir, "prune", "0")
    assert found(workdir) == {f"prune/{orphan[1]}": "prune artifact"}


def test_keep_counts_runs_from_the_last(workdir: Workdir) -> None:
    older = {f"build/{key('b')}", f"train/{key('c')}", f"train/{key('d')}", f"tune/{key('e')}"}
    assert found(workdir, 2) == {}
    assert found(workdir, 1).keys() == older
    assert found(workdir, 0).keys() == older | {f"ingest/{key('a')}", f"build/{key('f')}"}


def test_removes_what_it_lists_and_no_more(workdir: Workdir) -> None:
    garbage = find_garbage(workdir, 1)
    sizes = [sum(path.stat().st_size for path in each.path.rglob("*") if path.is_file()) for each in garbage]
    assert [each.bytes for each in garbage] == sizes
    assert min(sizes) > 100
    remove(garbage)
    assert find_garbage(workdir, 1) == []
    store = workdir.store()
    assert set(store.artifacts()) == {("ingest", key("a")), ("build", key("f"))}
    assert all(store.damage(stage, each) is None for stage, each in store.artifacts())


def test_runs_that_are_not_kept_go_and_what_is_not_theirs_stays(workdir: Workdir) -> None:
    folder = workdir.run_folder("older")
    (folder / "export" / "golden").mkdir(parents=True)
    (folder / "export" / "golden" / "golden.h").write_bytes(bytes(1000))
    (folder / "report.html").write_bytes(bytes(50))
    (folder / "run.log").touch()
    expected = 1050 + (folder / "run.json").stat().st_size
    assert [each.bytes for each in find_garbage(workdir, 1) if each.path == folder] == [expected]
    assert find_garbage(workdir, None) == []
    (folder / "rows.csv").touch()
    remove(find_garbage(workdir, 1))
    assert [path.name for path in folder.iterdir()] == ["rows.csv"]
    assert workdir.names() == ["newer"]
    remove(find_garbage(workdir, 0))
    assert not workdir.run_folder("newer").exists()


def test_looking_writes_nothing(workdir: Workdir) -> None:
    with workdir.store().lock("prune", key("9")):
        pass
    workdir.store().stage_folder("prune", key("9"))
    before = {path: path.stat().st_mtime_ns for path in workdir.root.rglob("*")}
    for path in workdir.root.rglob("*.lock"):
        path.chmod(0o444)
    find_garbage(workdir, 0)
    assert {path: path.stat().st_mtime_ns for path in workdir.root.rglob("*")} == before


def test_looks_at_a_work_directory_that_may_only_be_read(workdir: Workdir, tmp_path: Path) -> None:
    workdir.store().stage_folder("prune", key("9"))
    with workdir.store().lock("prune", key("9")):
        pass
    with mounted(tmp_path / "fixed", "size=1m") as place:
        shutil.copytree(workdir.store().root, place / "store")
        for name in ("older", "newer"):
            shutil.copytree(workdir.run_folder(name), place / name)
        command = ["mount", "-o", "remount,ro", str(place)]
        subprocess.run(command, check=True)
        listed = find_garbage(Workdir(place), 1)
    assert "unfinished work" in {each.what for each in listed}


def test_checkpoint_of_the_trial_that_a_killed_search_was_in_stays(workdir: Workdir) -> None:
    store = workdir.store()
    store.scratch("train", key("7")).mkdir(parents=True)
    assert set(found(workdir)) == {f".scratch/train/{key('7')}"}
    store.set_aside("tune", key("e"))
    assert set(found(workdir).values()) == {"set aside"}
    # A kept run without a search has no trials that could be gone on with.
    assert f".scratch/train/{key('7')}" in found(workdir, 1)


def test_left_over_work_of_a_committed_artifact_goes(workdir: Workdir) -> None:
    # As a kill between the commit's rename and its last step leaves it.
    workdir.store().scratch("train", key("d")).mkdir(parents=True)
    assert found(workdir) == {f".scratch/train/{key('d')}": "unfinished work"}


def test_leftovers_of_kills_and_damage_go(workdir: Workdir) -> None:
    store = workdir.store()
    store.stage_folder("prune", key("9"))
    store.set_aside("build", key("f"))
    (store.root / ".staging" / "stray").touch()
    listed = find_garbage(workdir, None)
    assert sorted(each.what for each in listed) == [
        "half-written artifact",
        "half-written artifact",
        "set aside",
        "unfinished work",
    ]
    remove(listed)
    assert find_garbage(workdir, None) == []


def test_unfinished_work_of_a_kept_run_stays(workdir: Workdir) -> None:
    store = workdir.store()
    store.stage_folder("prune", key("9"))
    write_run(workdir, "third", 3000, ("prune", key("9")))
    assert set(found(workdir)) == {f".staging/prune-{key('9')}"}


def test_trials_of_a_search_that_was_killed_stay(workdir: Workdir) -> None:
    # The trial stands in no manifest yet; the run has planned a search that is not there.
    store = workdir.store()
    store.set_aside("tune", key("e"))
    assert set(found(workdir).values()) == {"set aside"}
    other = commit(workdir, "train", "8", (("ingest", key("7")),))
    assert f"train/{other[1]}" in found(workdir)


def test_every_stage_of_the_trials_of_an_unfinished_search_stays(workdir: Workdir) -> None:
    # A network of the trial's own, its layers' training, its training and its pruning at once: none is in a manifest.
    store = workdir.store()
    ingest, train = ("ingest", key("a")), ("train", key("d"))
    build = commit(workdir, "build", "1", (ingest,))
    pretrain = commit(workdir, "pretrain", "2", (ingest, build))
    trial = commit(workdir, "train", "3", (ingest, pretrain))
    pruned = commit(workdir, "prune", "4", (ingest, trial))
    begun = [store.scratch(stage, key("5")) for stage in ("build", "pretrain", "train", "prune", "convert")]
    for path in begun:
        path.mkdir(parents=True)
    stays = {f"{stage}/{each}" for stage, each in (build, pretrain, trial, pruned)}
    stays |= {f".scratch/{path.parent.name}/{path.name}" for path in begun[:-1]}
    assert set(found(workdir)) == stays | {f".scratch/convert/{key('5')}"}
    store.set_aside("tune", key("e"))
    listed = found(workdir)
    assert {path for path, what in listed.items() if what != "set aside"} == {f".scratch/convert/{key('5')}"}
    # A search for a small model tries other stages: of what lies here, pruning alone.
    write_run(workdir, "older", 1000, ingest, ("build", key("b")), train, ("search", key("9")))
    chain = commit(workdir, "prune", "6", (ingest, train))
    clustered = commit(workdir, "cluster", "7", (ingest, train, chain))
    quantized = commit(workdir, "quantize", "8", (ingest, train, clustered))
    converted = commit(workdir, "convert", "9", (ingest, quantized))
    listed = found(workdir)
    assert listed.keys().isdisjoint(f"{stage}/{each}" for stage, each in (chain, clustered, quantized, converted))
    assert {f"{stage}/{each}" for stage, each in (build, pretrain, trial, pruned)} <= listed.keys()
    assert f".scratch/convert/{key('5')}" not in listed
    assert f".scratch/train/{key('5')}" in listed


def test_what_a_search_makes_while_garbage_is_looked_for_is_none(
    workdir: Workdir, monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir.store().set_aside("tune", key("e"))
    read = Workdir.read

    def read_late(self: Workdir, name: str) -> RunFile | None:
        if name == "newer":  # the run itself would be on: its trial is committed now
            commit(workdir, "train", "3", (("ingest", key("7")),))
        return read(self, name)

    monkeypatch.setattr(Workdir, "read", read_late)
    assert set(found(workdir).values()) == {"set aside"}


@pytest.mark.parametrize("name", ["tune", "search"])
def test_stages_that_are_tried_are_those_whose_code_is_in_the_key(name: str) -> None:
    module = "pipeline.tuning_chain" if name == "tune" else "pipeline.stages.search"
    named = import_module(module).TRIED_STAGES
    assert {each.rpartition(".")[2] for each in named} == TRIED_STAGES[name]


def test_work_that_goes_on_is_left_alone_whatever_is_kept(workdir: Workdir) -> None:
    store = workdir.store()
    store.stage_folder("tune", key("9"))
    write_run(
        workdir, "older", 1000, ("ingest", key("a")), ("build", key("b")), ("train", key("d")), ("tune", key("9"))
    )
    program = (
        "import sys, time; from pathlib import Path; from pipeline.store import Store\n"
        "with Store(Path(sys.argv[1])).lock('tune', sys.argv[2]):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(store.root), key("9")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            # The run that is on keeps its inputs and the trials it has made, the network of the newest run among what
            # may be one of them; the newest run goes.
            assert set(found(workdir, 0)) == {f"tune/{key('e')}"}
            assert [each.path.name for each in find_garbage(workdir, 0) if each.names] == ["newer"]
        finally:
            process.kill()
    assert f".staging/tune-{key('9')}" in found(workdir, 0)
    assert f".scratch/tune/{key('9')}" in found(workdir, 0)


def test_links_are_removed_and_not_what_they_lead_to(workdir: Workdir, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").touch()
    (workdir.store().root / "build" / key("1")).symlink_to(outside)
    remove(find_garbage(workdir, None))
    assert (outside / "mine").exists()
    assert found(workdir) == {}


def test_empty_workdir_has_none(tmp_path: Path) -> None:
    assert find_garbage(Workdir(tmp_path / "none"), 3) == []


@pytest.mark.parametrize(("keep", "damaged"), [(None, "older"), (1, "newer")])
def test_takes_nothing_where_a_kept_run_cannot_say_what_it_needs(
    workdir: Workdir, keep: int | None, damaged: str
) -> None:
    file = workdir.run_folder(damaged) / "run.json"
    time = file.stat().st_mtime
    file.write_text("{")
    os.utime(file, (time, time))
    with pytest.raises(StoreError, match=rf"gc: expected .*{damaged}/run.json to say what the run is made of"):
        find_garbage(workdir, keep)


def test_damaged_file_of_a_run_that_goes_is_no_obstacle(workdir: Workdir) -> None:
    file = workdir.run_folder("older") / "run.json"
    file.write_text("{")
    os.utime(file, (1000, 1000))
    assert set(found(workdir, keep=1)) == {
        f"{stage}/{key(each)}" for stage, each in (("build", "b"), ("train", "c"), ("train", "d"), ("tune", "e"))
    }


def test_refusal_to_look_is_told(workdir: Workdir, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not by chmod: these tests may run as root, who may look anywhere.
    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(StoreError, match=r"got no permission\. Choose another --workdir"):
        find_garbage(workdir, None)


def test_half_written_files_of_a_run_go_with_it(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "runs")
    workdir.write(RunFile("old", "classification", 1, "", "", {}, "done"))
    (workdir.root / "old" / ".run.json.77.tmp").touch()
    (workdir.root / "old" / ".report.html.77.tmp").touch()
    remove(find_garbage(workdir, keep=0))
    assert not (workdir.root / "old").exists()
