"""Training rows as one hidden layer meets them, worked out in NumPy where batches are gathered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from data.contract import Batches

# The last bits of a product depend on how many threads share it; one thread makes them the same on every machine.
_BLAS = ThreadpoolController()

# Lower layers are computed where batches are gathered, in NumPy: TensorFlow's threads stay with the layer that learns.
ACTIVATIONS: Mapping[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "relu": lambda z: np.maximum(z, np.float32(0.0)),
    "relu6": lambda z: np.clip(z, np.float32(0.0), np.float32(6.0)),
    "sigmoid": lambda z: np.float32(0.5) * (np.float32(1.0) + np.tanh(np.float32(0.5) * z)),
    "leaky_relu": lambda z: np.where(z > 0, z, np.float32(0.2) * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, np.float32(0.0)))),
    "hard_swish": lambda z: z * np.clip(z + np.float32(3.0), np.float32(0.0), np.float32(6.0)) * np.float32(1.0 / 6.0),
    "tanh": np.tanh,
    "linear": lambda z: z,
}


class LayerBatches:
    """Batches as one hidden layer meets them: mapped through the layers below, corrupted if asked.

    Args:
        batches: the training rows.
        below: (kernel, bias, activation) of each layer below, from the input on.
        reconstruct: targets are the layer's clean inputs instead of the labels.
        corruption_fraction: chance of each input to be set to zero (masking noise), in [0, 1).
        seed: of the noise, which is a function of (seed, epoch, batch) alone.
    """

    def __init__(
        self,
        batches: Batches,
        below: Sequence[tuple[NDArray[Any], NDArray[Any], str]],
        reconstruct: bool,
        corruption_fraction: float,
        seed: int,
    ) -> None:
        self._batches, self._below, self._reconstruct = batches, below, reconstruct
        self._corruption_fraction, self._seed = corruption_fraction, seed

    @property
    def num_rows(self) -> int:
        """Rows an epoch passes over."""
        return self._batches.num_rows

    @property
    def num_batches(self) -> int:
        """Batches an epoch."""
        return self._batches.num_batches

    @property
    def batch_size(self) -> int:
        """Rows of every batch but the last."""
        return self._batches.batch_size

    def batch(self, epoch: int, index: int) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Returns (x, y): x float32 (rows, features), corrupted if asked; y labels, or the clean x."""
        rows, labels = self._batches.batch(epoch, index)
        clean = activations(rows, self._below)
        x = clean
        if self._corruption_fraction > 0.0:
            draw = np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, epoch, index])))
            x = clean * (draw.random(clean.shape, np.float32) >= self._corruption_fraction)
        return x, clean if self._reconstruct else labels


def activations(rows: Any, below: Sequence[tuple[NDArray[Any], NDArray[Any], str]]) -> NDArray[np.float32]:
    """What dense layers answer: `act_k(W_k x + b_k)`, one after the other.

    Args:
        rows: (rows, *input_shape); images are flattened.
        below: (kernel, bias, activation) of each layer.

    Returns:
        (rows, units of the last layer) float32; without layers the flat rows.
    """
    values: NDArray[np.float32] = np.asarray(rows, np.float32).reshape(len(rows), -1)
    with _BLAS.limit(limits=1, user_api="blas"):
        for kernel, bias, activation in below:
            values = ACTIVATIONS[activation](values @ kernel + bias)
    return values
