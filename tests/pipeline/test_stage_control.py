"""The stages around layer-wise training: pretraining with rows without labels, probes, the control's budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.config import ArraysData
from data.dataset import Dataset
from models.config import LossConfig, MlpConfig, OptimizerConfig, PretrainConfig, RegularizationConfig, StopConfig
from models.config import TrainConfig as Train
from models.legacy_keras import keras
from models.training import predict
from pipeline.artifacts import SavedModel
from pipeline.stages import build, control, ingest, pretrain, probe, train
from pipeline.workspace import Outcome
from tests.pipeline.export_chain import workspace_in

FAST = OptimizerConfig(learning_rate=0.01)
FINE = Train(
    mode="layer_wise",
    epochs=6,
    batch_size=32,
    optimizer=FAST,
    stop=StopConfig(patience=1),
    regularization=RegularizationConfig(l2=1e-4),
    class_weights={"2": 1.5},
)


@dataclass(frozen=True)
class Made:
    """The artifacts of a run in layers."""

    dataset: Dataset
    built: SavedModel
    pretrained: SavedModel
    trained: SavedModel
    outcomes: dict[str, Outcome]
    folder: Path


def data(folder: Path, **fields: Any) -> Dataset:
    if not (folder / "rows.npz").exists():
        generator = np.random.default_rng(1)
        y = np.arange(400) % 3
        np.savez(folder / "rows.npz", x=(generator.normal(size=(400, 6)) + y[:, None]).astype(np.float32), y=y)
    space = workspace_in(folder / f"ingest-{len(fields)}")
    section = ArraysData(source="arrays", path=str(folder / "rows.npz"), **fields)
    ingest.ingest(ingest.Inputs(), ingest.Config("classification", section), space)
    return Dataset.open(space.output)


def pretrained(dataset: Dataset, built: SavedModel, folder: Path, kind: Any) -> tuple[SavedModel, Outcome]:
    space = workspace_in(folder / f"pretrain-{kind}-{dataset.num_unlabeled}")
    section = PretrainConfig(kind=kind, epochs=3, batch_size=32, optimizer=FAST)
    asked = pretrain.Config(section, None, LossConfig())
    outcome = pretrain.pretrain(pretrain.Inputs(dataset, built), asked, space)
    return SavedModel.open(space.output, "pretrain"), outcome


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("layers")
    dataset, outcomes = data(folder), {}
    space = workspace_in(folder / "build")
    network = MlpConfig(family="mlp", units=(8, 5), activation="tanh")
    build.build(build.Inputs(dataset), build.Config("classification", None, network), space)
    built = SavedModel.open(space.output, "build")
    start, outcomes["pretrain"] = pretrained(dataset, built, folder, "autoencoder")
    space = workspace_in(folder / "train")
    outcomes["train"] = train.train(train.Inputs(dataset, start), train.Config(FINE), space)
    trained = SavedModel.open(space.output, "train")
    space = workspace_in(folder / "control")
    outcomes["control"] = control.control(control.Inputs(dataset, built, trained), control.Config(FINE), space)
    return Made(dataset, built, start, trained, outcomes, folder)


def weights(saved: SavedModel) -> list[Any]:
    return list(saved.load().get_weights())


def test_the_budget_is_pretraining_and_fine_tuning_by_hand(made: Made) -> None:
    """280 training rows; a network 6-8-5-3; decoders as wide as what they restore."""
    rows = 280
    assert len(made.dataset.split("train")) == rows
    spent = 3 * rows * (3 * (6 * 8 + 8 * 6) + (3 * (8 * 5 + 5 * 8) + 6 * 8))
    assert made.pretrained.record.pretraining_macs == made.trained.record.pretraining_macs == spent
    pretraining = math.ceil(spent / (3 * (6 * 8 + 8 * 5 + 5 * 3) * rows))
    details = made.outcomes["control"].details
    # Patience may have ended fine-tuning early; the control still gets all six epochs of it.
    assert details["budget"] == {"epochs": 6 + pretraining, "fine_tuning": 6, "pretraining": pretraining}
    assert (len(details["history"]), details["stopped_by"]) == (6 + pretraining, "epochs")


def test_the_control_is_the_stage_train_from_the_untrained_weights(made: Made) -> None:
    """Same seeds, loss, penalty and class weights; `stop` does not hold."""
    epochs = made.outcomes["control"].details["budget"]["epochs"]
    section = FINE.model_copy(update={"epochs": epochs, "stop": StopConfig(), "mode": "end_to_end"})
    space = workspace_in(made.folder / "alone")
    alone = train.train(train.Inputs(made.dataset, made.built), train.Config(section), space)
    own = SavedModel.open(made.folder / "control" / "output", "control")
    for got, expected in zip(weights(own), weights(SavedModel.open(space.output, "train")), strict=True):
        np.testing.assert_array_equal(got, expected)
    row = made.outcomes["control"].ledger[0]
    assert (row.stage, row.variant) == ("control", "keras")
    assert row.score == alone.ledger[0].score == made.outcomes["control"].details["score"]
    assert made.outcomes["control"].details["layer_wise_score"] == made.outcomes["train"].ledger[0].score
    assert own.record.class_weights == (1.0, 1.0, 1.5)
    assert own.record.pretraining_macs is None


def test_steps_that_cut_fine_tuning_short_cut_the_budget(made: Made) -> None:
    cut = FINE.model_copy(update={"stop": StopConfig(steps=10)})  # nine batches an epoch: two epochs begun
    space = workspace_in(made.folder / "cut")
    outcome = control.control(control.Inputs(made.dataset, made.built, made.trained), control.Config(cut), space)
    assert outcome.details["budget"]["fine_tuning"] == 2


def test_probes_of_the_network_at_three_times(made: Made) -> None:
    space = workspace_in(made.folder / "probe")
    outcome = probe.probe(probe.Inputs(made.dataset, made.built, made.pretrained, made.trained), probe.Config(), space)
    assert outcome.ledger == ()
    probes = outcome.details["probes"]
    assert [probed["network"] for probed in probes] == ["untrained", "pretrained", "fine-tuned"]
    for probed in probes:
        assert (probed["training_rows"], probed["validation_rows"]) == (280, 60)
        assert [layer["layer"] for layer in probed["layers"]] == ["input", "dense_1", "dense_2"]
    inputs = {probed["layers"][0]["score"] for probed in probes}
    assert len(inputs) == 1  # the same rows, the same input
    assert made.outcomes["control"].details["probe"]["layers"][0]["score"] in inputs


def test_rows_without_labels_are_learned_from_where_no_label_is_needed(made: Made) -> None:
    few = data(made.folder, num_labels=30)
    assert (len(few.split("train")), few.num_unlabeled) == (30, 250)
    start, outcome = pretrained(few, made.built, made.folder, "denoising_autoencoder")
    assert outcome.details["rows"] == 280
    assert start.record.pretraining_macs == made.pretrained.record.pretraining_macs
    alone, outcome = pretrained(few, made.built, made.folder, "supervised")
    assert outcome.details["rows"] == 30
    assert alone.record.pretraining_macs == 3 * 30 * (3 * (6 * 8 + 8 * 3) + (3 * (8 * 5 + 5 * 3) + 6 * 8))
    rows = few.inputs("validation")
    hidden = [predict(keras.Model(m.input, m.get_layer("dense_2").output), rows) for m in (start.load(), alone.load())]
    assert not np.allclose(hidden[0], hidden[1])
