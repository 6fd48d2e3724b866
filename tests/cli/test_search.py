"""The command `search`: on real rows, kept, resumed, widened, and told in the report."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.report.record import RunRecord
from pipeline.report.section_search import candidate_config
from tests.cli.small_run import Run, digest

CONFIG = """\
name: searched
seed: 2
task: classification
data: {source: builtin, name: iris}
model: {family: mlp, units: [12]}
train: {epochs: 40, batch_size: 16, optimizer: {learning_rate: 0.02}}
prune: {epochs: 4, recovery_epochs: 4, batch_size: 16, optimizer: {learning_rate: 0.02}}
cluster: {epochs: 1, batch_size: 16, min_layer_weights: 20}
quantize: {aware: {epochs: 1, batch_size: 16}}
search: {candidates: 4, refinements: 1, unit: [node], scope: [local], clusters: [0, 8], aware: [true]}
target: {max_score_drop: 0.05}
convert: {variants: [int8]}
"""


@dataclass(frozen=True)
class Searched:
    """A finished search."""

    config: Path
    workdir: Path

    @property
    def details(self) -> dict[str, object]:
        return manifest(self, "search")["details"]


def manifest(searched: Searched, stage: str) -> dict[str, dict[str, object]]:
    run = json.loads((searched.workdir / "searched" / "run.json").read_text())
    path = searched.workdir / "store" / stage / run["keys"][stage] / "manifest.json"
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def made(searched: Searched) -> dict[str, int]:
    """Every artifact of the store with the time it was written."""
    files = searched.workdir.glob("store/*/*/manifest.json")
    return {f"{path.parent.parent.name}/{path.parent.name}": path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def searched(penjing: Run, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("searched")
    (folder / "searched.yaml").write_text(CONFIG)
    told = penjing("search", folder / "searched.yaml", "--workdir", folder / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    return Searched(folder / "searched.yaml", folder / "runs")


def test_the_smallest_that_meets_the_target_is_handed_over(searched: Searched) -> None:
    details = searched.details
    trials = details["trials"]
    assert isinstance(trials, list)
    met = [trial for trial in trials if trial["met"]]
    best = trials[details["best"]]  # type: ignore[call-overload]
    assert details["met"] is True
    assert best["max_model_bytes"] == min(trial["max_model_bytes"] for trial in met)
    assert (trials[0]["unit"], trials[0]["precision"]) == ("none", "int8")
    assert best["max_model_bytes"] < trials[0]["max_model_bytes"]
    export = searched.workdir / "searched" / "export"
    summary = json.loads((export / "summary.json").read_text())
    assert summary["model_bytes"] == (export / "model.tflite").stat().st_size == best["max_model_bytes"]
    assert [row["stage"] for row in summary["ledger"]][:4] == ["build", "train", "prune", "convert"]
    assert "The search for the smallest model" in (export / "report.html").read_text()


def test_the_same_search_is_cached(penjing: Run, searched: Searched) -> None:
    before = made(searched)
    told = penjing("search", searched.config, "--workdir", searched.workdir)
    assert told.returncode == 0, told.stderr
    assert "search    cached" in told.stdout
    assert made(searched) == before


def test_candidates_from_two_workers_are_the_same(penjing: Run, searched: Searched, tmp_path: Path) -> None:
    for stage in ("ingest", "build", "train"):
        shutil.copytree(searched.workdir / "store" / stage, tmp_path / "store" / stage)
    told = penjing("search", searched.config, "engine={workers: 2}", "--workdir", tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "candidate 1: " in told.stdout
    again = Searched(searched.config, tmp_path)
    timed = {"max_latency_us": None}
    one, two = ([trial | timed for trial in each.details["trials"]] for each in (searched, again))  # type: ignore[attr-defined]
    assert one == two
    assert manifest(searched, "search")["key"] == manifest(again, "search")["key"]
    assert made(searched).keys() - made(again).keys() == set()
    model = Path("searched") / "export" / "model.tflite"
    assert digest(searched.workdir / model) == digest(tmp_path / model)


def test_a_wider_search_repeats_nothing_and_an_impossible_target_ends_with_4(penjing: Run, searched: Searched) -> None:
    before = made(searched)
    changes = ("search.candidates=5", "target.max_model_bytes=100", "name=tiny")
    told = penjing("search", searched.config, *changes, "--workdir", searched.workdir)
    assert told.returncode == 4
    assert "target.max_model_bytes: expected at most 100 bytes, got " in told.stderr
    after = made(searched)
    assert {name: after[name] for name in before} == before
    assert sum(name.startswith("prune/") for name in after) > sum(name.startswith("prune/") for name in before)
    report = (searched.workdir / "tiny" / "report.html").read_text()
    assert "None meets the target: the nearest" in report
    assert (searched.workdir / "tiny" / "export" / "model.tflite").exists()


def test_a_point_of_the_front_is_a_config_that_makes_it_again(penjing: Run, searched: Searched, tmp_path: Path) -> None:
    run = json.loads((searched.workdir / "searched" / "run.json").read_text())
    record = RunRecord("searched", "classification", run["config_text"], 2, (), {}, {}, {}, "")
    details = searched.details
    best = details["trials"][details["best"]]  # type: ignore[index]
    text = candidate_config(record, best)
    assert "search" not in YAML(typ="safe").load(text)
    (tmp_path / "again.yaml").write_text(text)
    told = penjing("run", tmp_path / "again.yaml", "--workdir", tmp_path / "runs")
    assert told.returncode == 0, told.stderr
    again = tmp_path / "runs" / "searched-candidate" / "export" / "model.tflite"
    assert digest(again) == digest(searched.workdir / "searched" / "export" / "model.tflite")


def test_search_takes_its_defaults_and_refuses_what_would_not_be_read(penjing: Run, searched: Searched) -> None:
    told = penjing(
        "search", searched.config, "prune.sparsity=0.3", "quantize={precision: int4}", "--workdir", searched.workdir
    )
    assert told.returncode == 2
    assert "prune.sparsity: expected no sparsity with search, which tries them, got one." in told.stderr
    assert "quantize: expected no more than aware with search, got more." in told.stderr
    told = penjing("plan", searched.config, "search=null", "--workdir", searched.workdir, "--json")
    assert [row["stage"] for row in json.loads(told.stdout)] == [
        "ingest",
        "build",
        "train",
        "prune",
        "cluster",
        "quantize",
        "convert",
        "export",
    ]
