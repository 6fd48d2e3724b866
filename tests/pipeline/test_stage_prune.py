"""The stage prune goes on with the loss that the dense model was trained with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.config import ArraysData
from data.dataset import Dataset
from models.config import MlpConfig, OptimizerConfig, PruneConfig, RegularizationConfig, TrainConfig
from models.training import predict
from pipeline.artifacts import SavedModel
from pipeline.stages import build, ingest, prune, train
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
    build.build(build.Inputs(dataset), build.Config("classification", model), space)
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
