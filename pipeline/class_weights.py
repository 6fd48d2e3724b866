"""From the class weights of a config to one number a class."""

from __future__ import annotations

from data.contract import ConfigError, Schema
from data.dataset import Dataset
from models.classical_config import ClassWeights


def class_weights(
    asked: ClassWeights | None, dataset: Dataset, field: str = "train.class_weights"
) -> tuple[float, ...] | None:
    """Turns the config's class weights into one number a class.

    `balanced` is rows / (classes * rows of the class), on the training split.

    Args:
        asked: what the config says.
        dataset: the rows.
        field: where the config says it.

    Raises:
        ConfigError: a name is no class of the data.
    """
    if asked is None:
        return None
    schema: Schema = dataset.schema
    if isinstance(asked, dict):
        unknown = sorted(set(asked) - set(schema.class_names))
        if unknown:
            raise ConfigError(
                f"{field}: expected names among {', '.join(map(repr, schema.class_names))}, "
                f"got {', '.join(map(repr, unknown))}. Correct the names; classes left out weigh 1."
            )
        return tuple(asked.get(name, 1.0) for name in schema.class_names)
    labels = dataset.split("train").y
    counts = [int((labels == code).sum()) for code in range(schema.num_classes)]
    return tuple(len(labels) / (len(counts) * count) for count in counts)
