"""The activations of hidden layers: names, functions, and what each asks of a kernel's first numbers."""

from __future__ import annotations

from typing import Any

from models.legacy_keras import keras, tf

ELEMENTWISE = frozenset(
    {"linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "sigmoid", "hard_sigmoid", "hard_swish", "tanh"}
    | {"swish", "silu", "softplus", "softsign", "exponential", "mish"}
)
"""Activations that answer each element by itself; a softmax looks at all channels."""

RECTIFIERS = ("relu", "relu6", "leaky_relu", "elu", "hard_swish")
"""Activations that are about the identity above zero and small below it: kernels start by He's rule."""


@keras.saving.register_keras_serializable(package="penjing")  # type: ignore[untyped-decorator]
def hard_swish(x: Any) -> Any:
    """`x * min(max(x + 3, 0), 6) / 6`, in the form that TFLite's converter makes its operator HARD_SWISH of.

    Args:
        x: float32 tensor.

    Returns:
        A tensor of the same shape.

    Reference:
        Howard et al. 2019, Searching for MobileNetV3, section 5.2.
    """
    return x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def activation(name: str) -> Any:
    """Returns what a Keras layer takes as `activation`.

    Args:
        name: as in a config; `leaky_relu` has slope 0.2 below zero (TensorFlow's), `elu` is `exp(x) - 1` there.
    """
    return hard_swish if name == "hard_swish" else name


def activation_name(function: Any) -> str:
    """Returns what a config, or Keras, calls the activation of a layer.

    Args:
        function: `layer.activation`.

    Returns:
        Its name; that of the function itself where Keras does not know it.
    """
    if function is hard_swish:
        return "hard_swish"
    serialized = keras.activations.serialize(function)
    return serialized if isinstance(serialized, str) else getattr(function, "__name__", type(function).__name__)
