"""Clusters without labels: the whole way from a config to predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

from models.tflite.interpreter import LiteRT
from tests.cli.small_run import Run

CONFIG = """\
name: kinds
seed: 1
task: clustering
data: {source: builtin, name: iris}
model: {family: autoencoder, units: [12], bottleneck: 2}
clustering: {num_clusters: 3, refine_epochs: 4, batch_size: 32}
train: {epochs: 20, batch_size: 16, optimizer: {learning_rate: 0.01}}
prune: {unit: node, sparsity: 0.2, epochs: 2, recovery_epochs: 2, batch_size: 16, distillation: {}}
quantize: {precision: int8}
convert: {variants: [float32]}
"""


@pytest.fixture(scope="module")
def workdir(penjing: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "kinds.yaml").write_text(CONFIG)
    told = penjing("run", folder / "kinds.yaml", "--workdir", folder / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    assert ", NMI 0." in told.stdout
    return folder / "runs"


@pytest.fixture(scope="module")
def summary(workdir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workdir / "kinds" / "export" / "summary.json").read_text())
    return found


def stored(workdir: Path, stage: str) -> Path:
    key = json.loads((workdir / "kinds" / "run.json").read_text())["keys"][stage]
    return workdir / "store" / stage / key


def decided(workdir: Path, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = stored(workdir, "ingest")
    x, y = (np.load(rows / f"{split}_{part}.npy") for part in "xy")
    outputs = LiteRT((workdir / "kinds" / "export" / "model.tflite").read_bytes()).predict(x)
    return x, y, outputs.argmax(axis=1)


def test_the_figures_are_scikit_learns(workdir: Path, summary: dict[str, Any]) -> None:
    x, labels, clusters = decided(workdir, "test")
    told = summary["clustering"]
    assert summary["model_score"] == pytest.approx(silhouette_score(x.astype(np.float64), clusters), abs=1e-9)
    assert told["nmi"] == pytest.approx(normalized_mutual_info_score(labels, clusters), abs=1e-9)
    assert told["ari"] == pytest.approx(adjusted_rand_score(labels, clusters), abs=1e-9)
    assert told["nmi"] > 0.6
    assert told["sizes"] == np.bincount(clusters, minlength=3).tolist()
    assert (told["num_clusters"], summary["metric"], summary["output"]["shape"]) == (3, "silhouette", [1, 3])


def test_the_ledger_scores_are_of_validation_rows(workdir: Path, summary: dict[str, Any]) -> None:
    x, _, clusters = decided(workdir, "validation")
    last = summary["ledger"][-1]
    assert last["variant"] == "int8"
    assert last["score"] == pytest.approx(silhouette_score(x.astype(np.float64), clusters), abs=1e-9)


def test_training_tells_of_both_parts_before_and_after(workdir: Path) -> None:
    details = json.loads((stored(workdir, "train") / "manifest.json").read_text())["details"]
    learned = details["clustering"]
    assert len(learned["reconstruction"]["history"]) == 20
    assert learned["reconstruction"]["history"][-1]["score"] > 0.8
    assert 1 <= len(details["history"]) == len(learned["changed"]) <= 4
    for figures in (learned["before"], learned["after"]):
        assert figures.keys() == {"silhouette", "embedding_silhouette", "nmi", "ari"}
    assert sum(learned["sizes"]) == len(np.load(stored(workdir, "ingest") / "train_y.npy"))


def test_predictions_name_clusters(workdir: Path, penjing: Run, tmp_path: Path) -> None:
    export = workdir / "kinds" / "export"
    assert (export / "labels.txt").read_text() == "cluster 0\ncluster 1\ncluster 2\n"
    raw = np.load(export / "golden" / "inputs_raw.npy")
    np.save(tmp_path / "rows.npy", raw)
    columns = [column["name"] for column in json.loads((export / "preprocessing.json").read_text())["columns"]]
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in raw.tolist())]) + "\n")
    told = penjing("predict", "kinds", rows, "--json", "--workdir", workdir)
    assert told.returncode == 0, told.stderr
    expected = np.load(export / "golden" / "outputs_expected.npy").argmax(axis=1)
    said = json.loads(told.stdout)
    assert [each["label"] for each in said] == [f"cluster {cluster}" for cluster in expected]
    assert all(each["probabilities"][each["label"]] == each["probability"] > 1 / 3 for each in said)


def test_report_and_card_tell_of_clusters(workdir: Path) -> None:
    report = (workdir / "kinds" / "report.html").read_text()
    for told in ("What the refinement did", "figure-clusters", "Test rows by label and cluster"):
        assert told in report
    card = (workdir / "kinds" / "export" / "MODEL_CARD.md").read_text()
    assert "gives a share for each of 3 clusters" in card
    assert "Clusters have numbers, not names" in card
