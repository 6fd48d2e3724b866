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

MOMENTUM = 0.9
# Kingma & Ba 2015, algorithm 1, with Keras's epsilon.
ADAM_BETA_1 = 0.9
ADAM_BETA_2 = 0.999
ADAM_EPSILON = 1e-7


class GradientDescent:
    """SGD, SGD with momentum, or Adam, over a fixed list of variables and a known number of steps.

    The steps are the fused operations below tf_keras's legacy optimizers, without the wrapping.

    Args:
        variables: trainable float32 variables.
        config: which descent, how fast, which schedule.
        total_steps: steps of the whole training, for the cosine schedule.

    Reference:
        Kingma & Ba 2015, Adam, algorithm 1; Loshchilov & Hutter 2017, SGDR, eq. (5), one period.
    """

    def __init__(self, variables: Sequence[Any], config: OptimizerConfig, total_steps: int) -> None:
        self._trained = list(variables)
        self._config = config
        self._total_steps = total_steps
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        slots = {"sgd": 0, "momentum": 1, "adam": 2}[config.name]
        self._slots = [[tf.Variable(tf.zeros_like(v), trainable=False) for v in self._trained] for _ in range(slots)]

    @property
    def variables(self) -> list[Any]:
        """The step counter and every slot: all there is to keep."""
        return [self._step, *(variable for slot in self._slots for variable in slot)]

    def learning_rate(self, step: int) -> float:
        """Step size of one step.

        Args:
            step: steps done before, in [0, total_steps).

        Returns:
            `rate` (constant) or `rate / 2 * (1 + cos(pi * step / total_steps))` (cosine).
        """
        if self._config.schedule == "constant":
            return self._config.learning_rate
        return 0.5 * self._config.learning_rate * (1.0 + math.cos(math.pi * step / self._total_steps))

    def apply(self, gradients: Sequence[Any]) -> None:
        """Adds one descent step to the graph.

        Args:
            gradients: one tensor for each variable, in order.

        Raises:
            TrainingError: a variable has no gradient: the loss does not depend on it.
        """
        missing = [v.name for v, gradient in zip(self._trained, gradients, strict=True) if gradient is None]
        if missing:
            raise TrainingError(
                f"model.{missing[0]}: expected a weight that the loss depends on, got one without a gradient. "
                "Make it not trainable, or connect it to the output."
            )
        step = tf.cast(self._step, tf.float32)
        rate = self._rate(step)
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        if self._config.name == "sgd":
            for variable, gradient in zip(self._trained, dense, strict=True):
                tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=rate, delta=gradient)
        elif self._config.name == "momentum":
            for variable, slot, gradient in zip(self._trained, self._slots[0], dense, strict=True):
                tf.raw_ops.ResourceApplyKerasMomentum(
                    var=variable.handle, accum=slot.handle, lr=rate, grad=gradient, momentum=MOMENTUM
                )
        else:
            self._apply_adam(dense, rate, step + 1.0)
        self._step.assign_add(1)

    def _rate(self, step: Any) -> Any:
        if self._config.schedule == "constant":
            return tf.constant(self._config.learning_rate, tf.float32)
        return 0.5 * self._config.learning_rate * (1.0 + tf.cos(math.pi * step / float(self._total_steps)))

    def _apply_adam(self, gradients: Sequence[Any], rate: Any, count: Any) -> None:
        beta_1_power = tf.pow(ADAM_BETA_1, count)
        beta_2_power = tf.pow(ADAM_BETA_2, count)
        for variable, first, second, gradient in zip(self._trained, *self._slots, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=rate,
                beta1=ADAM_BETA_1,
                beta2=ADAM_BETA_2,
                epsilon=ADAM_EPSILON,
                grad=gradient,
            )
