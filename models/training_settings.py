"""What a training is told, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from data.contract import Batches
from models.checkpointing import EpochRecord
from models.config import OptimizerConfig, RegularizationConfig, StopConfig


class Objective(Protocol):
    """What is minimized, and how the result is judged."""

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:
        """Returns the mean loss of a batch, a scalar tensor; `weights`: (rows,) or None."""

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """Returns a score of NumPy outputs, higher is better."""


class WeightConstraint(Protocol):
    """Something that every weight update must respect, such as a pruning mask."""

    @property
    def update_steps(self) -> Sequence[int]:
        """Steps, counted from 1, after which `update` is called, in Python."""

    @property
    def settled_step(self) -> int:
        """Step from which on evaluations count for best weights and stop rules."""

    @property
    def variables(self) -> Sequence[Any]:
        """The constraint's tf.Variables, kept in checkpoints."""

    @property
    def stopped_by(self) -> str | None:
        """The rule by which the constraint ends the training after this epoch; None: it may go on."""

    def update(self, step: int) -> None:
        """Changes the constraint after a step and makes the weights meet it."""

    def apply(self) -> None:
        """Adds to the graph what makes the weights meet the constraint, after each optimizer step."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Attributes:
        epochs: most passes over the training rows.
        optimizer: which gradient descent.
        seed: of operations that draw without a seed of their own; batches bring their own.
        stop: rules that end the training earlier.
        regularization: penalty on the kernels.
        class_weights: weight of each class code in the loss; None: all 1.
        label: what progress calls this training.
        section: of the config that its batch size and optimizer stand in, such as `quantize.aware`: messages name it.
        keep_last: whether the model ends with the weights of its last epoch, not of its best: where the score does not
            say what is better.
    """

    epochs: int
    optimizer: OptimizerConfig
    seed: int
    stop: StopConfig = field(default_factory=StopConfig)
    regularization: RegularizationConfig = field(default_factory=RegularizationConfig)
    class_weights: tuple[float, ...] | None = None
    label: str = "train"
    section: str = "train"
    keep_last: bool = False

    def num_steps(self, num_batches: int) -> int:
        """Returns the most steps that are taken, at `num_batches` a pass over the rows."""
        most = self.epochs * num_batches
        return most if self.stop.steps is None else min(most, self.stop.steps)


@dataclass(frozen=True)
class TrainingResult:
    """How a training went.

    Attributes:
        history: one record for each epoch, those before a resume included.
        stopped_by: `epochs`, or the field of `StopConfig` whose rule held first.
        best_epoch: epoch whose weights the model ends with, counted from 1.
        best_score: its validation score.
    """

    history: tuple[EpochRecord, ...]
    stopped_by: str
    best_epoch: int
    best_score: float


def fingerprint_of(
    settings: TrainingSettings, batches: Batches, variables: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """Returns what must be the same for a kept state to be continued: settings, number of batches, shapes."""
    return {
        "label": settings.label,
        "epochs": settings.epochs,
        "optimizer": settings.optimizer.model_dump(),
        "stop": settings.stop.model_dump(),
        "regularization": settings.regularization.model_dump(),
        "class_weights": settings.class_weights,
        "seed": settings.seed,
        "rows": [batches.num_rows, batches.batch_size, batches.num_batches],
        "shapes": {group: [list(v.shape) for v in members] for group, members in variables.items()},
    }
