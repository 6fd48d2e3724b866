"""What a config asks of the data: checked once the rows are there, before anything is trained."""

from __future__ import annotations

from data.contract import ConfigError
from data.dataset import Dataset
from models.classical_config import ClassWeights
from models.task_config import ClusteringConfig
from pipeline.class_weights import class_weights


def check_against_data(weights: ClassWeights | None, clustering: ClusteringConfig | None, dataset: Dataset) -> None:
    """Checks what `validate` cannot know, so that no training is spent on a config that cannot go through.

    Args:
        weights: `train.class_weights`.
        clustering: the section.
        dataset: the rows as the model eats them.

    Raises:
        ConfigError: `train.class_weights` names a class that the data does not have; or there are more clusters than
            training rows.
    """
    if isinstance(weights, dict):
        class_weights(weights, dataset)
    if clustering is not None:
        check_num_clusters(clustering, dataset)


def check_num_clusters(config: ClusteringConfig, dataset: Dataset) -> None:
    """Checks that each cluster can have a training row.

    Raises:
        ConfigError: there are more clusters than training rows.
    """
    rows = len(dataset.split("train"))
    if config.num_clusters > rows:
        raise ConfigError(
            f"clustering.num_clusters: expected at most {rows}, the training rows, got {config.num_clusters}. "
            "Ask for fewer clusters."
        )
