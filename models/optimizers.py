"""Gradient descent as few graph operations: one fused kernel a variable, the learning rate computed in the graph.

All state is in plain variables, created at once, so that it can be kept and put back bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from data.contract import TrainingError
from models.config import OptimizerConfig
from models.legacy_keras import tf
from models.proximal import soft_threshold, squared_gradient_norm
from models.shares import here

# Kingma & Ba 2015, algorithm 1, with Keras's epsilon.
ADAM_BETA_1 = 0.9
ADAM_BETA_2 = 0.999
EPSILON = 1e-7
# Tieleman & Hinton 2012, lecture 6e.
RMSPROP_DECAY = 0.9

_SLOTS = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 1, "adam": 2, "adamw": 2}


class GradientDescent:
    """Gradient descent over a fixed list of variables and a known number of steps.

    With the gradient g, the rate r of a step, and for each element its own state:

        sgd        w <- w - r g
        momentum   v <- m v - r g;  w <- w + v
        nesterov   v <- m v - r g;  w <- w + m v - r g
        rmsprop    s <- 0.9 s + 0.1 g²;  w <- w - r g / (sqrt(s) + e)
        adam       w <- w - r a / (sqrt(b) + e), a and b the debiased means of g and g²
        adamw      w <- w - r d w on kernels, then Adam's step: the decay d stays out of Adam's means

    An L1 penalty is met by a proximal step after each of them, in the descent's own metric: the threshold is λ times
    what multiplies a constant gradient (for Adam `r / (sqrt(b) + e)`, element by element). Momentum then takes for v
    what the weights really moved, penalty included (iPiano), and Nesterov's extrapolates from the thresholded point
    (FISTA with constant momentum), but not away from zero: a weight that is thresholded is exactly zero. Without an
    L1 penalty the steps are those of tf_keras.

    Args:
        variables: trainable float32 variables.
        config: which descent, how fast, which schedule.
        total_steps: steps of the whole training, for the schedule.
        steps_per_epoch: steps of one pass over the rows, for the step schedule.
        l1: strength of the L1 penalty.
        penalized: the variables it acts on.
        section: of the config that the descent stands in; messages name it.

    Raises:
        TrainingError: the warm-up is as long as the training, or longer.

    Reference:
        Kingma & Ba 2015, Adam, algorithm 1; Loshchilov & Hutter 2019, Decoupled weight decay regularization,
        algorithm 2; Loshchilov & Hutter 2017, SGDR, eq. (5), one period; Goyal et al. 2017, section 2.2 (warm-up);
        Ochs et al. 2014, iPiano, algorithm 2; Beck & Teboulle 2009, FISTA, section 4.
    """

    def __init__(
        self,
        variables: Sequence[Any],
        config: OptimizerConfig,
        total_steps: int,
        *,
        steps_per_epoch: int = 1,
        l1: float = 0.0,
        penalized: Sequence[Any] = (),
        section: str = "train",
    ) -> None:
        if config.warmup_steps >= max(1, total_steps):
            raise TrainingError(
                f"{section}.optimizer.warmup_steps: expected fewer than the {total_steps} steps of the whole training, "
                f"got {config.warmup_steps}. Lower it, or train for more epochs."
            )
        self._trained = list(variables)
        self._config = config
        self._total_steps, self._steps_per_epoch = total_steps, steps_per_epoch
        self._l1 = l1
        self._penalized = {variable.ref() for variable in penalized} if l1 > 0.0 else set()
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self._slots = [[self._slot(v) for v in self._trained] for _ in range(_SLOTS[config.name])]

    def _slot(self, variable: Any) -> Any:
        # Nesterov's slot under a penalty is the last point that was reached, not a velocity.
        point = self._config.name == "nesterov" and variable.ref() in self._penalized
        return tf.Variable(variable.read_value() if point else tf.zeros_like(variable), trainable=False)

    @property
    def variables(self) -> list[Any]:
        """The step counter and every slot: all there is to keep."""
        return [self._step, *(variable for slot in self._slots for variable in slot)]

    def learning_rate(self, step: int) -> float:
        """Step size of one step.

        Args:
            step: steps done before, in [0, total_steps).

        Returns:
            While warming up, `rate (step + 1) / warmup_steps`; then `rate` (constant),
            `rate / 2 (1 + cos(pi s / S))` (cosine; s of the S steps after the warm-up), or
            `rate drop_factor^floor(epoch / drop_epochs)` (step).
        """
        config = self._config
        if step < config.warmup_steps:
            return config.learning_rate * (step + 1) / config.warmup_steps
        if config.schedule == "cosine":
            done, steps = step - config.warmup_steps, self._total_steps - config.warmup_steps
            return 0.5 * config.learning_rate * (1.0 + math.cos(math.pi * done / steps))
        drops = step // (config.drop_epochs * self._steps_per_epoch) if config.schedule == "step" else 0
        return float(config.learning_rate * config.drop_factor**drops)

    def squared_gradient_norm(self, gradients: Sequence[Any]) -> Any:
        """Adds to the graph the squared norm of the gradient, the L1 penalty's part included; a scalar tensor."""
        return squared_gradient_norm(self._trained, gradients, self._l1, self._penalized)

    def apply(self, gradients: Sequence[Any]) -> None:
        """Adds one descent step to the graph.

        Args:
            gradients: one tensor for each variable, in order; of the loss without the L1 penalty.

        Raises:
            TrainingError: a variable has no gradient: the loss does not depend on it.
        """
        self.require_gradients(gradients)
        step = tf.cast(self._step, tf.float32)
        rate = self._rate(step)
        descend = {
            "sgd": self._sgd,
            "momentum": self._momentum,
            "nesterov": self._nesterov,
            "rmsprop": self._rmsprop,
            "adam": self._adam,
            "adamw": self._adam,
        }[self._config.name]
        for index, variable in enumerate(self._trained):
            slots = [here(slot[index]) for slot in self._slots]
            threshold = self._l1 * rate if variable.ref() in self._penalized else None
            descend(here(variable), tf.convert_to_tensor(gradients[index]), slots, rate, threshold, step + 1.0)
        here(self._step).assign_add(1)

    def require_gradients(self, gradients: Sequence[Any]) -> None:
        """Checks that there is a gradient for each variable.

        Raises:
            TrainingError: there is none for one of them.
        """
        missing = [v.name for v, gradient in zip(self._trained, gradients, strict=True) if gradient is None]
        if missing:
            raise TrainingError(
                f"model.{missing[0]}: expected a weight that the loss depends on, got one without a gradient. "
                "Make it not trainable, or connect it to the output."
            )

    def _rate(self, step: Any) -> Any:
        config = self._config
        base, warmup = config.learning_rate, config.warmup_steps
        if config.schedule == "cosine":
            done = step if warmup == 0 else step - float(warmup)
            rate = 0.5 * base * (1.0 + tf.cos(math.pi * done / float(self._total_steps - warmup)))
        elif config.schedule == "step":
            drops = tf.cast(self._step // (config.drop_epochs * self._steps_per_epoch), tf.float32)
            rate = base * tf.pow(config.drop_factor, drops)
        else:
            rate = tf.constant(base, tf.float32)
        return rate if warmup == 0 else tf.where(step < warmup, base * (step + 1.0) / warmup, rate)

    def _sgd(self, variable: Any, gradient: Any, slots: list[Any], rate: Any, threshold: Any, count: Any) -> None:  # noqa: ARG002 -- one signature
        tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
        if threshold is not None:
            variable.assign(soft_threshold(variable, threshold))

    def _momentum(self, variable: Any, gradient: Any, slots: list[Any], rate: Any, threshold: Any, count: Any) -> None:  # noqa: ARG002
        before = None if threshold is None else variable.read_value()
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle, accum=slots[0].handle, lr=rate, grad=gradient, momentum=self._config.momentum
        )
        if threshold is not None:
            after = soft_threshold(variable, threshold)
            slots[0].assign(after - before)
            variable.assign(after)

    def _nesterov(self, variable: Any, gradient: Any, slots: list[Any], rate: Any, threshold: Any, count: Any) -> None:  # noqa: ARG002
        momentum = self._config.momentum
        if threshold is None:
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle,
                accum=slots[0].handle,
                lr=rate,
                grad=gradient,
                momentum=momentum,
                use_nesterov=True,
            )
            return
        point = soft_threshold(variable - rate * gradient, threshold)
        variable.assign(tf.where(tf.equal(point, 0.0), 0.0, point + momentum * (point - slots[0])))
        slots[0].assign(point)

    def _rmsprop(self, variable: Any, gradient: Any, slots: list[Any], rate: Any, threshold: Any, count: Any) -> None:  # noqa: ARG002
        mean = slots[0].assign(RMSPROP_DECAY * slots[0] + (1.0 - RMSPROP_DECAY) * tf.square(gradient))
        scale = tf.sqrt(mean) + EPSILON
        moved = variable - rate * gradient / scale
        variable.assign(moved if threshold is None else soft_threshold(moved, threshold / scale))

    def _adam(self, variable: Any, gradient: Any, slots: list[Any], rate: Any, threshold: Any, count: Any) -> None:
        if self._config.name == "adamw" and _decays(variable):
            variable.assign_sub(rate * self._config.weight_decay * variable)
        beta_2_power = tf.pow(ADAM_BETA_2, count)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=slots[0].handle,
            v=slots[1].handle,
            beta1_power=tf.pow(ADAM_BETA_1, count),
            beta2_power=beta_2_power,
            lr=rate,
            beta1=ADAM_BETA_1,
            beta2=ADAM_BETA_2,
            epsilon=EPSILON,
            grad=gradient,
        )
        if threshold is not None:
            scale = tf.sqrt(slots[1]) + EPSILON
            variable.assign(soft_threshold(variable, threshold * tf.sqrt(1.0 - beta_2_power) / scale))


def _decays(variable: Any) -> bool:
    """Whether a variable is a kernel; a GRU's biases come in two rows, and are none."""
    own_name = [part for part in variable.name.split(":")[0].split("/") if not part.startswith("replica_")][-1]
    return bool(variable.shape.rank > 1) and own_name != "bias"
