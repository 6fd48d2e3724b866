"""Stage pretrain: an untrained model -> one whose hidden layers or blocks were trained one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from data.dataset import Dataset
from models.classical_config import ClassWeights
from models.config import LossConfig, PretrainConfig
from models.layerwise import pretrain as pretrain_layers
from models.legacy_keras import use_determinism
from pipeline.artifacts import SavedModel, save_model
from pipeline.class_weights import class_weights
from pipeline.lessons import validation
from pipeline.measure import measure
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes."""

    dataset: Dataset
    built: SavedModel


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read, and two fields: `train`'s loss and class weights also hold here.

    An unsupervised kind gets their defaults: it reads neither.
    """

    pretrain: PretrainConfig
    class_weights: ClassWeights | None
    loss: LossConfig


def pretrain(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Pretrains each hidden layer or block greedily, the ones below it frozen.

    Unsupervised kinds learn from rows without labels too; `supervised` from labeled rows alone.

    Raises:
        ConfigError: `train.class_weights` names a class that the data does not have.
        TrainingError: the loss is not finite any more.
    """
    use_determinism(workspace.seed_for("pretrain"))
    task = inputs.built.record.model_copy(update={"loss": config.loss}).as_task()
    supervised = config.pretrain.kind == "supervised"
    split = "train" if supervised else "pretrain"
    batches = inputs.dataset.batches(split, config.pretrain.batch_size, workspace.seed_for("pretrain", "shuffle"))
    result = pretrain_layers(
        inputs.built.load(),
        batches,
        validation(inputs.dataset, task),
        config.pretrain,
        task,
        workspace.seed_for("pretrain"),
        class_weights=class_weights(config.class_weights, inputs.dataset) if supervised else None,
        checkpoints=workspace.checkpoints("pretrain"),
        progress=workspace.progress,
    )
    record = inputs.built.record.model_copy(update={"pretraining_macs": result.macs})
    save_model(workspace.output, result.model, record)
    row = measure("pretrain", result.model, inputs.dataset, task)
    details = {"kind": config.pretrain.kind, "rows": batches.num_rows, "layers": list(result.layers)}
    return Outcome((row,), details)
