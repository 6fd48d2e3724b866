"""The sections of a config that one task alone has."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from data.contract import ConfigError, FrozenConfig
from models.config import BatchSize, GradientDescentFields, OptimizerConfig


class ReconstructionConfig(FrozenConfig):
    """Telling abnormal rows by how badly they are reconstructed; with `task: reconstruction` alone."""

    false_alarm_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    """Most validation rows, all normal, that may be called abnormal: their errors set the threshold; 0: none of
    them."""


class ClusteringConfig(GradientDescentFields):
    """Deep Embedded Clustering (Xie 2016): k-means of an autoencoder's embedding, then encoder and clusters refined
    together; with `task: clustering` alone.
    """

    num_clusters: Annotated[int, Field(ge=2, le=256)]
    """Clusters that are looked for; some may end empty."""

    kmeans_starts: Annotated[int, Field(ge=1, le=1000)] = 20
    """Starts of k-means, of which the tightest clusters are kept."""

    refine_epochs: Annotated[int, Field(ge=0, le=100_000)] = 20
    """Most passes over the training rows while encoder and clusters are refined; 0: k-means has the last word."""

    update_steps: Annotated[int, Field(ge=1)] | None = None
    """Steps after which the clusters that are aimed at are worked out anew from all training rows, at most those of
    the whole refinement; an epoch when left out."""

    tolerance_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.001
    """The refinement ends with an epoch where, between the last two such looks, fewer rows changed their cluster;
    only the last look of an epoch counts."""

    batch_size: BatchSize = 256
    """Rows a gradient of the refinement is taken over; `full`: all training rows, one step an epoch."""

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=0.001, schedule="constant")
    """Which gradient descent refines."""


def check_refinement(config: ClusteringConfig, num_steps: int) -> None:
    """Checks that a refinement is long enough for what it is asked to do on the way.

    Args:
        config: the section `clustering`; without a refinement there is nothing to check.
        num_steps: steps of the whole refinement.

    Raises:
        ConfigError: it would end before its warm-up does, or before the first look at the clusters.
    """
    if config.refine_epochs == 0:
        return
    if config.optimizer.warmup_steps >= num_steps:
        raise ConfigError(
            f"clustering.optimizer.warmup_steps: expected fewer than the {num_steps} steps of the whole refinement, "
            f"got {config.optimizer.warmup_steps}. Lower it, or refine for more epochs."
        )
    if config.update_steps is not None and config.update_steps > num_steps:
        raise ConfigError(
            f"clustering.update_steps: expected at most the {num_steps} steps of the whole refinement, got "
            f"{config.update_steps}. Lower it, or refine for more epochs."
        )
