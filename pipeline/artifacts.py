"""What stages hand each other on disk, as typed objects: saved models and TFLite variants."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.contract import FrozenConfig, Schema
from models.compression_config import ENCODED, Variant
from models.config import LossConfig, MetricName, RegularizationConfig, TaskName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from data.dataset import Dataset
    from models.tasks import Task

_MODEL = "model.keras"
_RECORD = "model.json"
_AUTOENCODER = "autoencoder.keras"
_MASKS = "masks.npz"
_CLUSTERS = "clusters.json"
_RANGES = "ranges.json"


class ModelRecord(FrozenConfig):
    """What has to be known of a saved model besides its layers and weights."""

    task: TaskName
    """What it predicts."""

    metric: MetricName | None = None
    """What its score is; the task's own where a config names none."""

    loss: LossConfig = LossConfig()
    """What it was last trained to minimize; whoever trains the model on keeps it."""

    data_schema: Schema
    """What it eats and answers."""

    class_weights: tuple[float, ...] | None = None
    """Weight of each class code in the loss it was last trained with on labels; None: all 1."""

    pretraining_macs: int | None = None
    """Multiply-accumulates that layer-wise pretraining spent on it; None without pretraining."""

    kept_inputs: tuple[int, ...] | None = None
    """Positions, in the flattened input of the schema, of the entries it eats, as a vector; None: all, unflattened."""

    regularization: RegularizationConfig = RegularizationConfig()
    """Penalty in that loss; whoever trains the model on keeps it, or says why not."""

    foreign_layers: tuple[str, ...] = ()
    """Layers of the user's own file whose code the config allows to run."""

    def as_task(self) -> Task:
        """Returns the task with the loss and the score of this model."""
        from models.tasks import task_for

        return task_for(self.task, self.loss, self.metric)


@dataclass(frozen=True)
class SavedModel:
    """A Keras model on disk, with what has to be known to go on with it.

    Attributes:
        folder: where it lies.
        record: task, schema, and the loss it was trained with.
        stage: stage that made it.
        allow_code: whether the run's config lets layers of the user's own file run code. What lies on disk does not
            say so: others may be able to write there.
    """

    folder: Path
    record: ModelRecord
    stage: str
    allow_code: bool = False

    @staticmethod
    def open(folder: Path, stage: str, *, allow_code: bool = False) -> SavedModel:
        """Opens the folder of a model that `stage` made; the model itself is read by `load`."""
        text = (folder / _RECORD).read_text(encoding="utf-8")
        return SavedModel(folder, ModelRecord.model_validate_json(text), stage, allow_code)

    def load(self) -> Any:
        """Returns the Keras model, uncompiled; code in it (Lambda layers) runs only where the config allows it."""
        from models.activations import hard_swish
        from models.architectures.dropout import StatelessDropout
        from models.architectures.turning import TimeReversed
        from models.legacy_keras import keras

        # A stage that builds no network has not imported them, and Keras would not know their names.
        own = {each.__name__: each for each in (hard_swish, StatelessDropout, TimeReversed)}
        safe = not (self.allow_code and self.record.foreign_layers)
        return keras.models.load_model(self.folder / _MODEL, compile=False, safe_mode=safe, custom_objects=own)

    def load_autoencoder(self) -> Any:
        """Returns the autoencoder that the encoder of an untrained clustering learns in, of the same layer names."""
        from models.legacy_keras import keras

        return keras.models.load_model(self.folder / _AUTOENCODER, compile=False, safe_mode=True)

    def rows(self, dataset: Dataset) -> Dataset:
        """Returns a dataset as this model eats it."""
        return dataset.keeping(self.record.kept_inputs)

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Returns layer name -> (shape of its kernel) booleans, True where a weight was kept; empty if not pruned."""
        import numpy as np

        path = self.folder / _MASKS
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as masks:
            return {name: masks[name] for name in masks.files}

    def clusters(self) -> dict[str, int]:
        """Returns layer name -> most distinct values its kernel may have; empty where nothing was clustered."""
        found: dict[str, int] = self._json(_CLUSTERS) or {}
        return found

    def ranges(self) -> dict[str, tuple[float, float]] | None:
        """Returns layer name -> (low, high) of its activations as trained with rounding; None without that."""
        found = self._json(_RANGES)
        return None if found is None else {name: (low, high) for name, (low, high) in found.items()}

    def copy_to(self, folder: Path) -> None:
        """Copies its files into another stage's folder."""
        for name in (_MODEL, _RECORD, _MASKS, _CLUSTERS, _RANGES):
            if (self.folder / name).exists():
                shutil.copyfile(self.folder / name, folder / name)

    def _json(self, name: str) -> Any:
        path = self.folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def save_model(
    folder: Path,
    model: Any,
    record: ModelRecord,
    masks: dict[str, NDArray[np.bool_]] | None = None,
    *,
    clusters: dict[str, int] | None = None,
    ranges: dict[str, tuple[float, float]] | None = None,
    autoencoder: Any | None = None,
) -> None:
    """Writes a Keras model, its record and its masks into a folder.

    Args:
        folder: an existing folder.
        model: a tf_keras model.
        record: its task, schema and loss.
        masks: layer name -> booleans, True where a weight was kept; None or empty where nothing was pruned.
        clusters: layer name -> distinct values of its kernel; None or empty where nothing was clustered.
        ranges: of activations, by layer name; None without quantization-aware training.
        autoencoder: of an untrained clustering: what its encoder learns in.
    """
    import numpy as np

    model.save(folder / _MODEL)
    (folder / _RECORD).write_text(record.model_dump_json(), encoding="utf-8")
    if autoencoder is not None:
        autoencoder.save(folder / _AUTOENCODER)
    if clusters:
        (folder / _CLUSTERS).write_text(json.dumps(clusters), encoding="utf-8")
    if ranges is not None:
        (folder / _RANGES).write_text(json.dumps(ranges), encoding="utf-8")
    if masks:
        np.savez(folder / _MASKS, **masks)  # type: ignore[arg-type]  # numpy types **kwds as its own flags


@dataclass(frozen=True)
class Variants:
    """TFLite files of one model, one a variant.

    Attributes:
        folder: where `<variant>.tflite` lie.
        chosen: the one that is handed over.
    """

    folder: Path
    chosen: Variant

    def path(self, variant: str) -> Path:
        """Returns the file of a variant."""
        return self.folder / f"{variant}.tflite"

    def runnable(self, variant: str) -> Path:
        """Returns the file that LiteRT runs for a variant: of an encoded one, the same numbers unpacked."""
        return self.path("int8" if variant in ENCODED.values() else variant)

    @property
    def names(self) -> tuple[str, ...]:
        """The variants that are there, by name."""
        return tuple(sorted(path.stem for path in self.folder.glob("*.tflite")))
