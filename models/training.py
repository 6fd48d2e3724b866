"""The one training loop: gradient descent, stop rules, best weights, exact resume."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Batches, Checkpoints, Progress, TrainingError
from models.checkpointing import EpochRecord, TrainingState, load_state, save_state
from models.legacy_keras import tf
from models.optimizers import GradientDescent
from models.prediction import Predict, compile_predict, predict
from models.regularization import kernels_of, l1_penalty, l2_penalty, require_kernels
from models.replicas import Replicas
from models.shares import RowShare
from models.training_settings import Objective, TrainingResult, TrainingSettings, WeightConstraint, fingerprint_of
from models.training_steps import BatchStream, Pulse, compile_steps

__all__ = ["EpochRecord", "Objective", "TrainingResult", "TrainingSettings", "WeightConstraint", "predict", "train"]

# Steps of one call of the graph: Python's share is lost in them, and Ctrl-C still waits a moment only.
STEPS_PER_CALL = 32

# Epochs of a single step share a checkpoint: keeping the state would take longer than making it.
FULL_BATCHES_PER_CHECKPOINT = 8


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
    replicas: Replicas | None = None,
) -> TrainingResult:
    """Trains a model in place; it ends with the weights of its best epoch (with `keep_last`, of its last).

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
        replicas: copies of the model that learn together, here and in other processes, each of which calls this with
            the same arguments but for its part of the batches; one that does not lead keeps nothing and tells nothing.
            None: the model learns by itself. Layers that are no part of a family must not change variables when called.

    Returns:
        History, the rule that ended the training, and the best epoch.

    Raises:
        TrainingError: the loss, the gradient or an output is not finite, memory does not suffice, or a checkpoint
            belongs to another training.
    """
    if replicas is not None and constraint is not None:
        raise ValueError("replicas: expected none with a constraint, whose variables are on one device. Leave one out.")
    lent = (checkpoints, progress)
    return _Training(model, batches, validation, objective, settings, constraint, lent, replicas).run()


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
        lent: tuple[Checkpoints | None, Progress | None],
        replicas: Replicas | None,
    ) -> None:
        self.model, self.batches, self.validation = model, batches, validation
        self.objective, self.settings, self.constraint = objective, settings, constraint
        self.checkpoints, self.progress = lent
        self.replicas = replicas
        self.leads = replicas is None or replicas.leads
        if not self.leads:
            self.progress = None
        self.num_steps = settings.num_steps(batches.num_batches)
        self.num_epochs = -(-self.num_steps // batches.num_batches)
        self.pulse = Pulse(self.progress, settings.label, self.num_epochs, batches.num_batches)
        self.settled_step = 0 if constraint is None else constraint.settled_step
        if self.settled_step > self.num_steps:
            raise TrainingError(
                f"{settings.section}.epochs: expected at least {self.settled_step} steps for the constraint to settle, "
                f"got {self.num_steps}. Train for more epochs."
            )
        # What learns: the model itself, or copies of it, whose weights it is given after each epoch.
        self.learner = model if replicas is None else replicas.twin(model)
        self.kernels = kernels_of(self.learner)
        require_kernels(settings.regularization, self.kernels)
        with nullcontext() if replicas is None else replicas.strategy.scope():
            self.optimizer = self._descent()
        self.variables = {
            "model": model.weights,
            "optimizer": self.optimizer.variables,
            "constraint": [] if constraint is None else constraint.variables,
        }

    def _descent(self) -> GradientDescent:
        return GradientDescent(
            self.learner.trainable_variables,
            self.settings.optimizer,
            self.num_steps,
            steps_per_epoch=self.batches.num_batches,
            l1=self.settings.regularization.l1,
            penalized=self.kernels,
            section=self.settings.section,
        )

    def run(self) -> TrainingResult:
        """Trains from the last kept epoch on, or from the start."""
        fingerprint = fingerprint_of(self.settings, self.batches, self.variables)
        state = load_state(self.checkpoints, self.variables, fingerprint)
        if self.replicas is not None:
            self.replicas.require_agreement(repr(state.history))
            self.replicas.push(self.model, self.learner)
        if state.stopped_by is None:
            tf.random.set_seed(self.settings.seed)
            done, shared = len(state.history), self.replicas is not None
            every = FULL_BATCHES_PER_CHECKPOINT if self.batches.num_batches == 1 else 1
            answer = compile_predict(self.model)
            with closing(BatchStream(self.batches, done, self.num_epochs, with_total=shared)) as stream:
                run_steps = compile_steps(self._step_of_all(), stream)
                while state.stopped_by is None:
                    self._epoch(state, stream, run_steps, answer)
                    due = state.stopped_by is not None or len(state.history) % every == 0
                    if self.checkpoints is not None and due and self.leads:
                        save_state(self.checkpoints, state, self.variables, fingerprint)
        self.model.set_weights(state.best_weights)
        return TrainingResult(tuple(state.history), state.stopped_by, state.best_epoch, state.best_score)

    def _step_of_all(self) -> Callable[..., Any]:
        """Returns the step as the graph takes it: by itself, or divided among replicas."""
        if self.replicas is None:
            return self._step
        batches = self.batches
        fewest = min(batches.batch_size, batches.num_rows - (batches.num_batches - 1) * batches.batch_size)
        return self.replicas.shared(self._step, fewest)

    def _step(self, x: Any, y: Any, share: RowShare | None = None) -> Any:
        """Adds one step to the graph, over all rows of a batch, or over the share of a replica."""
        weights, penalty = self.settings.class_weights, self.settings.regularization
        row_weights = None if weights is None else tf.gather(tf.constant(weights, tf.float32), y)
        with tf.GradientTape() as tape:
            outputs = self.learner(x, training=True)
            loss = self.objective.loss(y, outputs, row_weights)
            if penalty.l2 > 0.0:
                loss += l2_penalty(penalty.l2, self.kernels)
            if self.learner.losses:
                loss += tf.add_n(self.learner.losses)
            if share is not None:
                loss *= share.fraction  # the fractions of all replicas add up to one, and so do the penalties
        gradients = tape.gradient(loss, self.learner.trainable_variables)
        self.optimizer.require_gradients(gradients)
        rows = tf.shape(y)[0]
        if share is not None:
            loss, *gradients = share.summed([loss, *map(tf.convert_to_tensor, gradients)])
            rows = share.total
        squared_norm = self.optimizer.squared_gradient_norm(gradients)
        if penalty.l1 > 0.0:
            loss += l1_penalty(penalty.l1, self.kernels)
        self.optimizer.apply(gradients)
        if self.constraint is not None:
            self.constraint.apply()
        return tf.stack([loss * tf.cast(rows, tf.float32), squared_norm])

    def _epoch(self, state: TrainingState, stream: BatchStream, run_steps: Any, answer: Predict) -> None:
        started = time.perf_counter()
        epoch = len(state.history) + 1
        try:
            loss, norm, rows = self._descend(epoch, run_steps)
        except tf.errors.OpError as error:
            failure = stream.failure()
            if failure is not None:
                raise failure from error
            if not isinstance(error, tf.errors.ResourceExhaustedError):
                raise
            raise TrainingError(
                f"{self.settings.section}.batch_size: expected a training that fits into memory, got none left for "
                f"batches of {self.batches.batch_size} rows. Lower it, or make the model smaller."
            ) from error
        trained = time.perf_counter()
        if self.replicas is not None:
            self.replicas.pull(self.learner, self.model)
        score = self._score(epoch, loss, norm, answer)
        seconds = time.perf_counter() - started
        rate = self.optimizer.learning_rate(self._steps_done(epoch) - 1)
        state.history.append(EpochRecord(epoch, loss, score, rate, norm, seconds, rows / (trained - started)))
        self._judge(state)
        self._tell(state)

    def _steps_done(self, epoch: int) -> int:
        """Returns the steps that are taken by the end of an epoch, the last of which may be cut short."""
        return min(epoch * self.batches.num_batches, self.num_steps)

    def _descend(self, epoch: int, run_steps: Any) -> tuple[float, float, int]:
        """Runs the steps of an epoch, in calls that end where the constraint changes.

        Returns:
            The rows' mean loss, the root mean square of the gradient's norm, and the number of rows.
        """
        first, last = self._steps_done(epoch - 1), self._steps_done(epoch)
        updates = [] if self.constraint is None else [s for s in self.constraint.update_steps if first < s <= last]
        total, squares, step = 0.0, 0.0, first
        for stop in sorted({*updates, *range(first + STEPS_PER_CALL, last, STEPS_PER_CALL), last}):
            sums = run_steps(stop - step)
            total, squares = total + float(sums[0]), squares + float(sums[1])
            step = stop
            self.pulse.beat(step)
            if self.constraint is not None and stop in updates:
                self.constraint.update(stop)
        whole = last == epoch * self.batches.num_batches
        rows = self.batches.num_rows if whole else (last - first) * self.batches.batch_size
        return total / rows, math.sqrt(squares / (last - first)), rows

    def _score(self, epoch: int, loss: float, norm: float, answer: Predict) -> float:
        """Scores the model once, whatever processes there are: all go by the same number."""
        score = self._own_score(epoch, loss, norm, answer) if self.leads else 0.0
        return score if self.replicas is None else self.replicas.told_by_leader(score)

    def _own_score(self, epoch: int, loss: float, norm: float, answer: Predict) -> float:
        x, y = self.validation
        outputs = answer(x)
        wrong = None
        if not math.isfinite(loss):
            wrong = f"a loss of {loss}"
        elif not math.isfinite(norm):
            wrong = f"a gradient whose squared norm is beyond float32 ({norm})"
        elif not np.isfinite(outputs).all():
            wrong = "outputs that are not"
        elif not all(np.isfinite(array).all() for array in self.model.get_weights()):
            wrong = "weights that are not"  # a rectifier makes zeros of them
        if wrong is not None:
            raise TrainingError(
                f"{self.settings.section}.optimizer.learning_rate: expected one that keeps the loss finite, got "
                f"{wrong} in epoch {epoch} with {self.settings.optimizer.learning_rate}. Try a tenth of it, or "
                "look in the data's profile for values that are far out."
            )
        return float(self.objective.score(y, outputs))

    def _judge(self, state: TrainingState) -> None:
        """Keeps the weights if they are the best so far, and applies the stop rules."""
        epoch, stop = len(state.history), self.settings.stop
        record = state.history[-1]
        done = self._steps_done(epoch)
        if done >= self.settled_step:
            if state.best_epoch == 0 or record.score > state.best_score or self.settings.keep_last:
                state.best_epoch, state.best_score = epoch, record.score
                state.best_weights = self.model.get_weights()
            if stop.loss_below is not None and record.loss < stop.loss_below:
                state.stopped_by = "loss_below"
            elif stop.gradient_norm_below is not None and record.gradient_norm < stop.gradient_norm_below:
                state.stopped_by = "gradient_norm_below"
            elif stop.patience is not None and epoch - state.best_epoch >= stop.patience:
                state.stopped_by = "patience"
            elif self.constraint is not None and self.constraint.stopped_by is not None:
                state.stopped_by = self.constraint.stopped_by
        if state.stopped_by is None and done == self.num_steps:
            state.stopped_by = "epochs" if epoch == self.settings.epochs and not self._is_cut() else "steps"

    def _is_cut(self) -> bool:
        return self.num_steps < self.settings.epochs * self.batches.num_batches

    def _tell(self, state: TrainingState) -> None:
        if self.progress is None:
            return
        record, epochs = state.history[-1], self.num_epochs
        left = 0.0 if state.stopped_by is not None else (epochs - record.epoch) * record.seconds
        figures: Mapping[str, float | str] = {
            "loss": record.loss,
            getattr(self.objective, "metric", "score"): record.score,
            "samples/s": record.samples_per_second,
            "left": f"{left:.0f} s",
        }
        self.progress.step(self.settings.label, record.epoch, epochs, figures)
