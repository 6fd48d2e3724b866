"""What a config must agree on where one training has several workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from models.classical_config import CLASSICAL
from pipeline.config_reading.disagreement import Disagreement, Location
from pipeline.engine_config import RayEngineConfig

if TYPE_CHECKING:
    from pipeline.config import RunConfig

_PLACE: Location = ("train", "workers")


def workers_have_work(config: RunConfig) -> Iterator[Disagreement]:
    """Each worker has rows in a batch, and what is trained is one network by one training."""
    train = config.train
    if train.workers == 1 or isinstance(config.model, CLASSICAL):  # which has no such section
        return
    if train.batch_size != "full" and train.workers > train.batch_size:
        message = (
            f"expected at most train.batch_size ({train.batch_size}), got {train.workers}. The workers share the rows "
            "of each batch: raise batch_size, or take fewer."
        )
        yield Disagreement(_PLACE, message, (("train", "batch_size"),))
    if config.task == "clustering":
        message = (
            f"expected 1 with task: clustering, got {train.workers}. Clusters are learned in several trainings, "
            "between which all rows are looked at: take the key out."
        )
        yield Disagreement(_PLACE, message, (("task",),))
    if isinstance(config.engine, RayEngineConfig):
        yield from _ray_can_place(config.engine, train.workers)


def _ray_can_place(engine: RayEngineConfig, workers: int) -> Iterator[Disagreement]:
    """The nodes see what workers read and keep, and each worker has GPUs of its own, or none."""
    if engine.store_url is not None:
        message = (
            f"expected null with train.workers: {workers}, got '{engine.store_url}'. All workers of a training read "
            "its checkpoints in the work directory, which every node must then see under the same path."
        )
        yield Disagreement(("engine", "store_url"), message, (_PLACE,))
    if 0.0 < engine.gpus_per_trial < 1.0:
        message = (
            f"expected a whole number with train.workers: {workers}, got {engine.gpus_per_trial:g}. Trials may share a "
            "GPU; the workers of a training exchange gradients between their own."
        )
        yield Disagreement(("engine", "gpus_per_trial"), message, (_PLACE,))
