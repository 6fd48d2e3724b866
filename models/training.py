"""The one training loop: gradient descent, stop rules, best weights, exact resume."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.contract import Batches, Checkpoints, Progress, TrainingError
from models.checkpointing import EpochRecord, TrainingState, load_state, save_state
from models.config import OptimizerConfig, RegularizationConfig, StopConfig
from models.legacy_keras import tf
from models.optimizers import GradientDescent
from models.prediction import Predict, compile_predict, predict
from models.regularization import kernels_of, penalty
from models.training_steps import BatchStream, Pulse, compile_steps

__all__ = ["EpochRecord", "Objective", "TrainingResult", "TrainingSettings", "WeightConstraint", "predict", "train"]

# Steps of one call of the graph: Python's share is lost in them, and Ctrl-C still waits a moment only.
STEPS_PER_CALL = 32


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
    """

    epochs: int
    optimizer: OptimizerConfig
    seed: int
    stop: StopConfig = field(default_factory=StopConfig)
    regularization: RegularizationConfig = field(default_factory=RegularizationConfig)
    class_weights: tuple[float, ...] | None = None
    label: str = "train"


@dataclass(frozen=True)
class TrainingResult:
    """How a training went.

    Attributes:
        history: one record for each epoch, those before a resume included.
        stopped_by: `epochs`, `patience` or `loss_below`.
        best_epoch: epoch whose weights the model ends with, counted from 1.
        best_score: its validation score.
    """

    history: tuple[EpochRecord, ...]
    stopped_by: str
    best_epoch: int
    best_score: float


def train(
    model: Any,
    batches: Batches,
    validation: tuple[Any, NDArray[Any]],
    objective: Objective,
    settings: TrainingSettings,
    *,
    constraint: WeightConstraint | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> TrainingResult:
    """Trains a model in place; it ends with the weights of its best epoch.

    The best epoch is the one of the strictly highest validation score, the earliest of equals, among
    those at or after the constraint's settled step. Weights before the first step do not compete.
    Given the same arguments the same bits come out, also where a killed training was resumed from its
    checkpoints.

    Args:
        model: a built Keras model, changed in place; clone it first to keep what it was.
        batches: training rows.
        validation: (x, y): x (rows, *input_shape) float32 as the model eats it, memory-mapped or not,
            y (rows,) as the objective scores it.
        objective: loss and score; a task is one.
        settings: how to train.
        constraint: what every update must respect.
        checkpoints: where the state is kept each epoch, and found again.
        progress: told of each epoch.

    Returns:
        History, the rule that ended the training, and the best epoch.

    Raises:
        TrainingError: the loss or an output is not finite, memory does not suffice, or a checkpoint belongs to another
            training.
    """
    return _Training(model, batches, validation, objective, settings, constraint, checkpoints, progress).run()


class _Training:
    """One training: the pieces that an epoch works with."""

    def __init__(
        self,
        model: Any,
        batches: Batches,
        validation: tuple[Any, NDArray[Any]],
        objective: Objective,
        settings: TrainingSettings,
        constraint: WeightConstraint | None,
        checkpoints: Checkpoints | None,
        progress: Progress | None,
    ) -> None:
        self.model, self.batches, self.validation = model, batches, validation
        self.objective, self.settings, self.constraint = objective, settings, constraint
        self.checkpoints, self.progress = checkpoints, progress
        self.pulse = Pulse(progress, settings.label, settings.epochs, batches.num_batches)
        self.num_steps = settings.epochs * batches.num_batches
        self.settled_step = 0 if constraint is None else constraint.settled_step
        if self.settled_step > self.num_steps:
            raise TrainingError(
                f"{settings.label}.epochs: expected at least {self.settled_step} steps for the constraint to settle, "
                f"got {self.num_steps}. Train for more epochs."
            )
        self.optimizer = GradientDescent(model.trainable_variables, settings.optimizer, self.num_steps)
        self.variables = {
            "model": model.weights,
            "optimizer": self.optimizer.variables,
            "constraint": [] if constraint is None else constraint.variables,
        }

    def run(self) -> TrainingResult:
        """Trains from the last kept epoch on, or from the start."""
        fingerprint = _fingerprint(self.settings, self.batches, self.variables)
        state = load_state(self.checkpoints, self.variables, fingerprint)
        if state.stopped_by is None:
            tf.random.set_seed(self.settings.seed)
            stream = BatchStream(self.batches, len(state.history), self.settings.epochs)
            run_steps = compile_steps(self._step, stream.iterator)
            answer = compile_predict(self.model)
            while state.stopped_by is None:
                self._epoch(state, stream, run_steps, answer)
                if self.checkpoints is not None:
                    save_state(self.checkpoints, state, self.variables, fingerprint)
        self.model.set_weights(state.best_weights)
        return TrainingResult(tuple(state.history), state.stopped_by, state.best_epoch, state.best_score)

    def _step(self, x: Any, y: Any) -> Any:
        weights = self.settings.class_weights
        row_weights = None if weights is None else tf.gather(tf.constant(weights, tf.float32), y)
        with tf.GradientTape() as tape:
            outputs = self.model(x, training=True)
            loss = self.objective.loss(y, outputs, row_weights)
            if self.settings.regularization != RegularizationConfig():
                loss += penalty(self.settings.regularization, kernels_of(self.model))
            if self.model.losses:
                loss += tf.add_n(self.model.losses)
        self.optimizer.apply(tape.gradient(loss, self.model.trainable_variables))
        if self.constraint is not None:
            self.constraint.apply()
        return loss * tf.cast(tf.shape(y)[0], tf.float32)

    def _epoch(self, state: TrainingState, stream: BatchStream, run_steps: Any, answer: Predict) -> None:
        started = time.perf_counter()
        epoch = len(state.history) + 1
        try:
            loss = self._descend(epoch, run_steps)
        except tf.errors.OpError as error:
            failure = stream.failure()
            if failure is not None:
                raise failure from error
            if not isinstance(error, tf.errors.ResourceExhaustedError):
                raise
            raise TrainingError(
                f"{self.settings.label}.batch_size: expected a training that fits into memory, got none left for "
                f"batches of {self.batches.batch_size} rows. Lower it, or make the model smaller."
            ) from error
        trained = time.perf_counter()
        score = self._score(epoch, loss, answer)
        seconds = time.perf_counter() - started
        rate = self.optimizer.learning_rate(epoch * self.batches.num_batches - 1)
        speed = self.batches.num_rows / (trained - started)
        state.history.append(EpochRecord(epoch, loss, score, rate, seconds, speed))
        self._judge(state)
        self._tell(state)

    def _descend(self, epoch: int, run_steps: Any) -> float:
        """Runs the steps of an epoch, in calls that end where the constraint changes; returns the mean loss."""
        first, last = ((epoch - back) * self.batches.num_batches for back in (1, 0))
        updates = [] if self.constraint is None else [s for s in self.constraint.update_steps if first < s <= last]
        total, step = 0.0, first
        for stop in sorted({*updates, *range(first + STEPS_PER_CALL, last, STEPS_PER_CALL), last}):
            total += run_steps(stop - step)
            step = stop
            self.pulse.beat(step)
            if self.constraint is not None and stop in updates:
                self.constraint.update(stop)
        return total / self.batches.num_rows

    def _score(self, epoch: int, loss: float, answer: Predict) -> float:
        x, y = self.validation
        outputs = answer(x)
        wrong = None
        if not math.isfinite(loss):
            wrong = f"a loss of {loss}"
        elif not np.isfinite(outputs).all():
            wrong = "outputs that are not"
        elif not all(np.isfinite(array).all() for array in self.model.get_weights()):
            wrong = "weights that are not"  # a rectifier makes zeros of them
        if wrong is not None:
            raise TrainingError(
                f"{self.settings.label}.optimizer.learning_rate: expected one that keeps the loss finite, got {wrong} "
                f"in epoch {epoch} with {self.settings.optimizer.learning_rate}. Try a tenth of it, or look in the "
                "data's profile for values that are far out."
            )
        return float(self.objective.score(y, outputs))

    def _judge(self, state: TrainingState) -> None:
        """Keeps the weights if they are the best so far, and applies the stop rules."""
        epoch, stop = len(state.history), self.settings.stop
        record = state.history[-1]
        if epoch * self.batches.num_batches >= self.settled_step:
            if state.best_epoch == 0 or record.score > state.best_score:
                state.best_epoch, state.best_score = epoch, record.score
                state.best_weights = self.model.get_weights()
            if stop.loss_below is not None and record.loss < stop.loss_below:
                state.stopped_by = "loss_below"
            elif stop.patience is not None and epoch - state.best_epoch >= stop.patience:
                state.stopped_by = "patience"
        if state.stopped_by is None and epoch == self.settings.epochs:
            state.stopped_by = "epochs"

    def _tell(self, state: TrainingState) -> None:
        if self.progress is None:
            return
        record, epochs = state.history[-1], self.settings.epochs
        left = 0.0 if state.stopped_by is not None else (epochs - record.epoch) * record.seconds
        figures: Mapping[str, float | str] = {
            "loss": record.loss,
            getattr(self.objective, "metric", "score"): record.score,
            "samples/s": record.samples_per_second,
            "left": f"{left:.0f} s",
        }
        self.progress.step(self.settings.label, record.epoch, epochs, figures)


def _fingerprint(
    settings: TrainingSettings, batches: Batches, variables: Mapping[str, Sequence[Any]]
) -> dict[str, Any]:
    """What must be the same for a kept state to be continued: settings, number of batches, shapes."""
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
