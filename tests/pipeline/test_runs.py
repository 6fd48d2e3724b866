"""Run folders: what was asked, what it is made of, and files nobody can read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from data.contract import ConfigError, StoreError
from pipeline.runs import RunFile, Workdir

RUN = RunFile(
    "digits", "classification", 1, "name: digits\n", "python run_pipeline.py", {"ingest": "a" * 64}, "running"
)


def test_round_trip_and_mark(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "runs")
    assert workdir.names() == []
    assert workdir.read("digits") is None
    workdir.mark("digits", "failed")
    assert not workdir.root.exists()
    workdir.write(RUN)
    assert workdir.read("digits") == RUN
    workdir.mark("digits", "interrupted")
    read = workdir.read("digits")
    assert read is not None
    assert read.state == "interrupted"
    assert read.keys == RUN.keys


@pytest.mark.parametrize("content", ["", "[]", "null", "{}", '{"name": 1}', "\x00", '{"unknown": 1}'])
def test_file_that_is_none_is_as_if_it_were_not_there(tmp_path: Path, content: str) -> None:
    workdir = Workdir(tmp_path)
    workdir.write(RUN)
    (tmp_path / "digits" / "run.json").write_text(content)
    assert workdir.read("digits") is None
    workdir.write(RUN)
    assert workdir.read("digits") == RUN


def test_keys_that_are_none_are_refused(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path)
    workdir.write(RUN)
    path = tmp_path / "digits" / "run.json"
    path.write_text(path.read_text().replace('{\n  "ingest": "' + "a" * 64 + '"\n }', "null"))
    assert '"keys": null' in path.read_text()
    assert workdir.read("digits") is None


@pytest.mark.parametrize(
    "wrong", [{"keys": {"ingest": 3}}, {"name": 7}, {"config_text": None}, {"seed": "1"}, {"published": 1}]
)
def test_fields_of_another_kind_are_a_damaged_file(tmp_path: Path, wrong: dict[str, object]) -> None:
    workdir = Workdir(tmp_path)
    workdir.write(RUN)
    path = tmp_path / "digits" / "run.json"
    path.write_text(json.dumps({**RUN.__dict__, **wrong}))
    with pytest.raises(StoreError, match=r"got a damaged file\. Run its config again"):
        workdir.require("digits")


def test_names_are_sorted_by_time_and_the_store_is_none(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path)
    for position, name in enumerate(("b", "a", "c")):
        workdir.write(RunFile(**{**RUN.__dict__, "name": name}))
        os.utime(tmp_path / name / "run.json", (1000 + position, 1000 + position))
    (tmp_path / "store").mkdir()
    (tmp_path / "stranger").mkdir()
    assert workdir.names() == ["c", "a", "b"]


def test_missing_run_names_the_nearest(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path)
    with pytest.raises(ConfigError, match=r"RUN: expected a run in .*, got 'digits'\. Runs here: none yet\."):
        workdir.require("digits")
    workdir.write(RUN)
    with pytest.raises(ConfigError, match=r"got 'digit'\. Did you mean 'digits'\?"):
        workdir.require("digit")
    with pytest.raises(ConfigError, match=r"got 'zzz'\. Runs here: digits\."):
        workdir.require("zzz")
    assert workdir.require("digits") == RUN


def test_workdir_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    workdir = Workdir(tmp_path / "runs")
    with pytest.raises(StoreError, match="Choose another --workdir"):
        workdir.write(RUN)
    with pytest.raises(StoreError, match="Choose another --workdir"):
        workdir.log("digits")
    assert workdir.names() == []


def test_log_is_made_and_kept(tmp_path: Path) -> None:
    workdir = Workdir(tmp_path / "runs")
    workdir.log("digits").write_text("said\n")
    assert workdir.log("digits").read_text() == "said\n"
