"""Clusters of a run: what is refused before anything is trained, and whose clusters are told of after `tune`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import run_pipeline
from pipeline.bundle_layout import cluster_name
from pipeline.report.collapsed import collapsed_sentence
from pipeline.report.figures import Plots
from pipeline.report.findings import guess_caution, verdict, yardstick
from pipeline.report.record import RunRecord, StageRecord
from pipeline.report.section_clusters import clusters_section
from pipeline.runner import StageError
from pipeline.runs import Workdir
from tests.pipeline.report_records import full_record, history, summary
from tests.pipeline.test_stage_tune import run_text

TEXT = """\
name: kinds
seed: 3
task: clustering
data: {source: builtin, name: iris}
model: {family: autoencoder, units: [6], bottleneck: 2}
clustering: {num_clusters: 3, refine_epochs: 2, batch_size: 32, kmeans_starts: 2}
train: {epochs: 2, batch_size: 16, optimizer: {learning_rate: 0.01}}
tune: {oracle: grid, penalties: [], space: {units: [[16], [8]], learning_rate: [0.02]}}
"""


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (
            "optimizer: {warmup_steps: 8}",
            "clustering.optimizer.warmup_steps: expected fewer than the 8 steps of the whole refinement, got 8.",
        ),
        ("update_steps: 9", "clustering.update_steps: expected at most the 8 steps of the whole refinement, got 9."),
    ],
)
def test_a_refinement_that_is_too_short_is_refused_before_the_autoencoder_is_trained(
    field: str, message: str, tmp_path: Path
) -> None:
    # 105 training rows, 32 a batch, two epochs.
    with pytest.raises(StageError, match="steps of the whole refinement") as caught:
        run_text(tmp_path, TEXT.replace("batch_size: 32", f"batch_size: 32, {field}"))
    assert message in str(caught.value)
    assert (caught.value.stage, caught.value.exit_code) == ("train", 2)
    assert not list((tmp_path / "store").glob(".scratch/train/*/checkpoints/*"))


def test_the_clusters_that_are_told_of_are_those_of_the_best_trial(tmp_path: Path) -> None:
    made, _ = run_text(tmp_path, TEXT)
    train, tune = (made[name].manifest.details for name in ("train", "tune"))
    best = tune["best"]
    assert best > 0
    told = tune["clustering"]
    assert told["after"]["silhouette"] == pytest.approx(tune["trials"][best]["score"], abs=1e-12)
    assert told != train["clustering"]


def learned(silhouette: float, epochs: int) -> dict[str, Any]:
    figures = {"silhouette": silhouette, "embedding_silhouette": 0.5, "nmi": None, "ari": None}
    training = {"history": history(epochs, 1.0, 0.2, 0.1, 0.9), "stopped_by": "epochs", "best_epoch": epochs}
    return {
        "reconstruction": training,
        "before": figures,
        "after": {**figures, "silhouette": silhouette + 0.1},
        "changed": [],
    }


def clustering_record(best: int | None, sizes: tuple[int, ...] = (9, 6), score: float = 0.4) -> RunRecord:
    whole = full_record()
    figures = {
        **summary(),
        "task": "clustering",
        "metric": "silhouette",
        "model_score": score,
        "clustering": {"num_clusters": len(sizes), "sizes": list(sizes), "embedding_silhouette": 0.5, "nmi": None},
    }
    stages = [StageRecord("train", "ab" * 32, 1.0, (), {"clustering": learned(0.1234, 3)})]
    if best is not None:
        stages.append(StageRecord("tune", "cd" * 32, 1.0, (), {"best": best, "trials": []}))
    if best:
        stages[-1] = replace(stages[-1], details={"best": best, "trials": [], "clustering": learned(0.4321, 5)})
    stages.append(StageRecord("export", "ef" * 32, 1.0, (), {"gates": [{"name": "x", "passed": True}], "targets": []}))
    return replace(whole, task="clustering", stages=tuple(stages), summary=figures, profile={"rows": {"test": 15}})


@pytest.mark.parametrize(
    ("best", "told", "other"), [(None, "0.1234", "0.4321"), (0, "0.1234", "0.4321"), (1, "0.4321", "0.1234")]
)
def test_the_report_tells_of_the_clusters_of_the_model_that_is_handed_on(
    best: int | None, told: str, other: str
) -> None:
    page = str(clusters_section(clustering_record(best), Plots()))
    assert told in page
    assert other not in page


def test_a_collapsed_clustering_is_told() -> None:
    record = clustering_record(None, sizes=(0, 15, 0), score=-1.0)
    sentence = (
        f"The clustering has collapsed: all 15 rows of the test split are in {cluster_name(1)} of 3. Its silhouette "
        "counts as -1, the worst there is."
    )
    assert collapsed_sentence(record.summary) == sentence
    judged, beside = verdict(record), yardstick(record)
    assert (judged.kind, judged.headline) == ("warn", "Verified, but all rows are in one cluster")
    assert sentence in judged.sentence
    assert beside is not None and (beside.sentence, beside.beaten) == (sentence, False)


@pytest.mark.parametrize("sizes", [(14, 1), (1, 0)])
def test_two_clusters_or_a_single_row_are_no_collapse(sizes: tuple[int, ...]) -> None:
    assert collapsed_sentence(clustering_record(None, sizes=sizes).summary) is None
    assert collapsed_sentence(summary()) is None
    assert collapsed_sentence({}) is None


def test_the_terminal_says_that_a_clustering_has_collapsed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    record = clustering_record(None, sizes=(15, 0), score=-1.0)
    told_first = {"summary": record.summary, "guess_caution": guess_caution(record), "report": "report.html"}
    published = SimpleNamespace(**told_first, has_earlier_bundle=False, bundle=None)
    result: Any = SimpleNamespace(stages=(), rows=[], metric="silhouette", published=published, name="kinds")
    run_pipeline._print_result(result, Workdir(tmp_path))
    told = capsys.readouterr().out
    assert "silhouette -1.0000 on the test split" in told
    assert "The clustering has collapsed: all 15 rows of the test split are in cluster 0 of 2." in told
