"""The stage prune: nodes, weights, each layer's own sparsity; the loss is the dense model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.config import ArraysData
from data.dataset import Dataset
from models.compression_config import DistillationConfig, PruneConfig
from models.config import MlpConfig, OptimizerConfig, RegularizationConfig, TrainConfig
from models.pruning.sensitivity import Sensitivity
from models.training import predict
from pipeline.artifacts import SavedModel
from pipeline.stages import build, ingest, prune, train
from pipeline.workspace import Outcome
from tests.pipeline.export_chain import workspace_in


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, SavedModel]:
    """950 rows of one class and 50 of another that overlap, and an untrained network for them."""
    folder = tmp_path_factory.mktemp("rare")
    generator = np.random.default_rng(1)
    y = np.repeat([0, 1], [950, 50])
    x = (generator.normal(size=(1000, 6)) + 0.8 * y[:, None]).astype(np.float32)
    np.savez(folder / "rare.npz", x=x, y=y)
    space = workspace_in(folder / "ingest")
    data = ArraysData(source="arrays", path=str(folder / "rare.npz"))
    ingest.ingest(ingest.Inputs(), ingest.Config("classification", data), space)
    dataset = Dataset.open(space.output)
    space = workspace_in(folder / "build")
    model = MlpConfig(family="mlp", units=(16,))
    build.build(build.Inputs(dataset), build.Config("classification", None, model), space)
    return dataset, SavedModel.open(space.output, "build")


def compressed(rows: tuple[Dataset, SavedModel], folder: Path, section: TrainConfig) -> SavedModel:
    dataset, start = rows
    space = workspace_in(folder / "train")
    train.train(train.Inputs(dataset, start), train.Config(section), space)
    dense = SavedModel.open(space.output, "train")
    space = workspace_in(folder / "prune")
    section_prune = PruneConfig(sparsity=0.5, batch_size=64, optimizer=OptimizerConfig(learning_rate=0.01))
    prune.prune(prune.Inputs(dataset, dense), prune.Config(section_prune), space)
    return SavedModel.open(space.output, "prune")


def test_class_weights_outlive_pruning(rows: tuple[Dataset, SavedModel], tmp_path: Path) -> None:
    recall = {}
    for weights in (None, "balanced"):
        fast = OptimizerConfig(learning_rate=0.01)
        section = TrainConfig(epochs=8, batch_size=64, optimizer=fast, class_weights=weights)
        pruned = compressed(rows, tmp_path / str(weights), section)
        decided = predict(pruned.load(), rows[0].inputs("train")).argmax(axis=1)
        recall[weights] = (decided == 1)[rows[0].split("train").y == 1].mean()
    assert recall["balanced"] > recall[None] + 0.3


def test_the_penalty_outlives_pruning(rows: tuple[Dataset, SavedModel], tmp_path: Path) -> None:
    norms = {}
    for strength in (0.0, 0.1):
        section = TrainConfig(epochs=1, batch_size=64, regularization=RegularizationConfig(l2=strength))
        pruned = compressed(rows, tmp_path / str(strength), section)
        assert pruned.record.regularization.l2 == strength
        norms[strength] = sum(float((kernel**2).sum()) for kernel in pruned.load().get_weights() if kernel.ndim == 2)
    # A single epoch under the penalty takes little away; the six of pruning take most of it.
    assert norms[0.1] < 0.45 * norms[0.0]


def trained(rows: tuple[Dataset, SavedModel], folder: Path) -> SavedModel:
    dataset, start = rows
    space = workspace_in(folder / "train")
    train.train(train.Inputs(dataset, start), train.Config(TrainConfig(epochs=2, batch_size=64)), space)
    return SavedModel.open(space.output, "train")


def pruned(
    rows: tuple[Dataset, SavedModel], dense: SavedModel, folder: Path, **fields: Any
) -> tuple[SavedModel, Outcome]:
    section = PruneConfig(epochs=2, recovery_epochs=1, batch_size=64, **fields)
    space = workspace_in(folder)
    outcome = prune.prune(prune.Inputs(rows[0], dense), prune.Config(section), space)
    return SavedModel.open(space.output, "prune"), outcome


def test_nodes_then_weights_of_what_is_left(rows: tuple[Dataset, SavedModel], tmp_path: Path) -> None:
    dense = trained(rows, tmp_path)
    saved, outcome = pruned(
        rows, dense, tmp_path / "prune", unit=("node", "weight"), sparsity=0.5, weight_sparsity=0.75, scope="local"
    )
    model = saved.load()
    assert [layer.units for layer in model.layers if hasattr(layer, "units")] == [8, 2]
    assert {name: mask.shape for name, mask in saved.masks().items()} == {"dense_1": (6, 8), "output": (8, 2)}
    assert [(row.variant, row.parameters) for row in outcome.ledger] == [("keras, nodes", 74), ("keras", 74)]
    node, weight = outcome.details["parts"]
    assert (node["unit"], node["layers"]) == ("node", [{"name": "dense_1", "before": 16, "after": 8}])
    assert [layer["nonzero"] for layer in weight["layers"]] == [12, 4]
    kernel = model.get_layer("dense_1").kernel.numpy()
    np.testing.assert_array_equal(kernel != 0.0, saved.masks()["dense_1"])


@pytest.mark.parametrize("unit", ["node", "weight"])
def test_each_layer_gets_the_sparsity_of_its_sensitivity(
    rows: tuple[Dataset, SavedModel], tmp_path: Path, unit: str
) -> None:
    dense = trained(rows, tmp_path)
    _, outcome = pruned(rows, dense, tmp_path / "prune", unit=unit, sparsity="auto")
    [part] = outcome.details["parts"]
    assert part["scope"] == "auto"
    assert [each["name"] for each in part["sensitivity"]] == [layer["name"] for layer in part["layers"]]
    for each, layer in zip(part["sensitivity"], part["layers"], strict=True):
        own = Sensitivity(**each).sparsity(dense_score(dense, rows[0]), 0.02)
        if unit == "node":
            assert layer["before"] - layer["after"] == min(round(own * layer["before"]), layer["before"] - 1)
        else:
            assert layer["weights"] - layer["nonzero"] == pytest.approx(own * layer["weights"], abs=1)


def dense_score(dense: SavedModel, dataset: Dataset) -> float:
    answers = predict(dense.load(), dataset.inputs("validation"))
    return float(np.mean(answers.argmax(axis=1) == dataset.split("validation").y))


def test_distillation_draws_the_pruned_model_to_the_dense_one(rows: tuple[Dataset, SavedModel], tmp_path: Path) -> None:
    dense = trained(rows, tmp_path)
    teacher = predict(dense.load(), rows[0].inputs("validation"))
    distances = {}
    for fraction in (None, 1.0):
        distillation = None if fraction is None else DistillationConfig(fraction=fraction, temperature=1.0)
        saved, _ = pruned(
            rows, dense, tmp_path / str(fraction), unit="node", sparsity=0.5, distillation=distillation,
            optimizer=OptimizerConfig(learning_rate=0.02),
        )  # fmt: skip
        distances[fraction] = float(np.abs(predict(saved.load(), rows[0].inputs("validation")) - teacher).mean())
    assert distances[1.0] < 0.7 * distances[None]


@pytest.mark.parametrize("unit", ["node", "weight"])
def test_at_once_without_any_training(rows: tuple[Dataset, SavedModel], tmp_path: Path, unit: str) -> None:
    dense = trained(rows, tmp_path)
    section = PruneConfig(unit=unit, sparsity=0.5, scope="local", epochs=0, recovery_epochs=0)
    space = workspace_in(tmp_path / "prune")
    outcome = prune.prune(prune.Inputs(rows[0], dense), prune.Config(section), space)
    [part] = outcome.details["parts"]
    assert part["history"] == []
    before, after = dense.load(), SavedModel.open(space.output, "prune").load()
    if unit == "weight":
        for name in ("dense_1", "output"):
            kernel, whole = after.get_layer(name).kernel.numpy(), before.get_layer(name).kernel.numpy()
            assert np.count_nonzero(kernel) == kernel.size // 2
            np.testing.assert_array_equal(kernel[kernel != 0], whole[kernel != 0])
    else:
        kept = {tuple(column) for column in before.get_layer("dense_1").kernel.numpy().T.tolist()}
        columns = {tuple(column) for column in after.get_layer("dense_1").kernel.numpy().T.tolist()}
        assert len(columns) == 8
        assert columns < kept
