"""Pruning single weights by magnitude, ranked within each layer or over the whole network.

One mask a kernel serves both scopes. A masked weight is zero after every step, so it ranks lowest
when the masks are drawn again. Biases are never pruned: they are few, and each shifts a whole unit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import ConfigError
from models.compression_config import PruneConfig
from models.legacy_keras import tf


def cubic_sparsity(step: int, begin: int, end: int, initial: float, final: float) -> float:
    """Sparsity asked for at a step: `s_f + (s_i - s_f) * (1 - (t - t_0) / (t_end - t_0))^3`.

    It rises fast while there is much to spare and slowly at the end.

    Args:
        step: t, in training steps; before `begin` it counts as `begin`, after `end` as `end`.
        begin: t_0, where the rise begins.
        end: t_0 + n * dt, where `final` is reached; above `begin`.
        initial: s_i, a fraction in [0, 1].
        final: s_f, a fraction in [0, 1].

    Returns:
        A fraction in [0, 1].

    Reference:
        Zhu & Gupta 2017, To prune, or not to prune, eq. (1).
    """
    fraction = min(max((step - begin) / (end - begin), 0.0), 1.0)
    return float(final + (initial - final) * (1.0 - fraction) ** 3)


class MagnitudePruning:
    """Masks that follow the cubic schedule; the constraint that the training loop applies.

    The masks are drawn every `config.update_steps` steps and, whatever that number, at the very last
    step of the ramp of `config.epochs`; from then on they are fixed.

    Args:
        kernels: tf.Variable of each layer by name, as `prunable_kernels` finds them.
        config: scope, sparsity, ramp and floor.
        steps_per_epoch: training steps an epoch.
        sparsities: fraction of zeros in the end by layer name, in place of the config's scope and sparsity.

    Raises:
        ConfigError: the floor of each layer leaves fewer weights than are to be pruned, or a layer would be empty.
    """

    stopped_by = None

    def __init__(
        self,
        kernels: Mapping[str, Any],
        config: PruneConfig,
        steps_per_epoch: int,
        sparsities: Mapping[str, float] | None = None,
    ) -> None:
        if sparsities is None and isinstance(config.sparsity, str):
            raise ValueError("prune.sparsity: expected sparsities with auto, got none. Pass those of the analysis.")
        self._sparsities = sparsities
        self._kernels = dict(kernels)
        self._config = config
        self.settled_step: int = config.epochs * steps_per_epoch
        # Without a ramp nothing is updated while training: `update(0)` prunes at once.
        ramp = (*range(config.update_steps, self.settled_step, config.update_steps), self.settled_step)
        self.update_steps: Sequence[int] = ramp if self.settled_step > 0 else ()
        self._masks = {
            name: tf.Variable(tf.ones_like(kernel), trainable=False, name="mask") for name, kernel in kernels.items()
        }
        # Refused here, before any training, rather than at the last step.
        if sparsities is None and config.scope == "local":
            for name, kernel in kernels.items():
                refuse_empty(name, int(kernel.shape.num_elements()), self.sparsity, "weights")
        self._draw(1.0)

    @property
    def variables(self) -> Sequence[Any]:
        """The masks: float32, 0 where a weight is pruned, else 1; in the order of the kernels."""
        return tuple(self._masks.values())

    @property
    def schedule(self) -> list[dict[str, float | int]]:
        """Sparsity asked for at each update: `step`, counted from 1, and `sparsity`, a fraction of all weights."""
        return [{"step": step, "sparsity": self._rise(step) * self.sparsity} for step in self.update_steps]

    @property
    def sparsity(self) -> float:
        """Fraction of all prunable weights that is asked for in the end."""
        if self._sparsities is None:
            return float(self._config.sparsity)
        sizes = {name: int(kernel.shape.num_elements()) for name, kernel in self._kernels.items()}
        return sum(self._sparsities[name] * size for name, size in sizes.items()) / sum(sizes.values())

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Returns what stays: (kernel's shape) booleans by layer name, True where a weight is kept."""
        return {name: mask.numpy() > 0.0 for name, mask in self._masks.items()}

    def update(self, step: int) -> None:
        """Draws the masks anew from the weights as they are, and zeroes what they leave out.

        Args:
            step: training steps done, counted from 1.
        """
        for name, keep in self._draw(self._rise(step)).items():
            self._masks[name].assign(keep.astype(np.float32))
        self.apply()

    def apply(self) -> None:
        """Multiplies each kernel by its mask, after each optimizer step: the step revives pruned weights."""
        for name, kernel in self._kernels.items():
            kernel.assign(kernel * self._masks[name])

    def _rise(self, step: int) -> float:
        """Part of the final sparsity that is asked for at a step, in [0, 1]."""
        return cubic_sparsity(step, 0, self.settled_step, 0.0, 1.0) if self.settled_step > 0 else 1.0

    def _draw(self, rise: float) -> dict[str, NDArray[np.bool_]]:
        weights = {name: kernel.numpy() for name, kernel in self._kernels.items()}
        if self._sparsities is not None:
            return {name: local_mask(array, rise * self._sparsities[name]) for name, array in weights.items()}
        sparsity = rise * float(self._config.sparsity)
        if self._config.scope == "local":
            return {name: local_mask(array, sparsity) for name, array in weights.items()}
        return global_masks(weights, sparsity, self._config.min_layer_density)


def refuse_empty(layer: str, count: int, sparsity: float, what: str) -> None:
    """Refuses a sparsity that leaves nothing of a layer.

    Args:
        layer: its name.
        count: how many nodes or weights it has.
        sparsity: fraction of them that is to go.
        what: `nodes` or `weights`.

    Raises:
        ConfigError: `round(sparsity * count)` is all of them.
    """
    if round(sparsity * count) < count:
        return
    most = math.floor(10_000 * (1.0 - 1.0 / count)) / 10_000
    advice = (
        "Lower it, or set prune.scope to global." if count > 1 else "Set prune.scope to global, or widen the layer."
    )
    raise ConfigError(
        f"prune.sparsity: expected at most {most:g} where {layer} keeps one of its {count} {what} under local scope, "
        f"got {sparsity:g}, which leaves none. {advice}"
    )


def local_mask(weights: NDArray[Any], sparsity: float) -> NDArray[np.bool_]:
    """Chooses a layer's smallest weights: `round(sparsity * size)` of them, but never all.

    Args:
        weights: a kernel of any shape.
        sparsity: fraction to prune, in [0, 1].

    Returns:
        Booleans of the kernel's shape, True where a weight is kept.
    """
    pruned = min(round(sparsity * weights.size), weights.size - 1)
    return _keep_largest(np.abs(weights).ravel(), pruned).reshape(weights.shape)


def global_masks(
    weights: Mapping[str, NDArray[Any]], sparsity: float, min_layer_density: float
) -> dict[str, NDArray[np.bool_]]:
    """Chooses the smallest weights of all layers together: `round(sparsity * total)` of them, exactly.

    The `ceil(min_layer_density * size)` largest weights of each layer are out of the ranking: what a
    layer is spared that way, the others give.

    Args:
        weights: kernels of any shapes by layer name.
        sparsity: fraction to prune of all weights together, in [0, 1].
        min_layer_density: fraction of each layer that stays, in (0, 1].

    Returns:
        Booleans of each kernel's shape by layer name, True where a weight is kept.

    Raises:
        ConfigError: fewer weights are in the ranking than are to be pruned.
    """
    magnitudes = [np.abs(array).ravel() for array in weights.values()]
    total = sum(array.size for array in magnitudes)
    # The product is rounded first: 0.07 * 100 is a little above 7 in floating point.
    floors = [math.ceil(round(min_layer_density * array.size, 9)) for array in magnitudes]
    pruned = round(sparsity * total)
    if pruned > total - sum(floors):
        raise ConfigError(
            f"prune.sparsity: expected at most {1.0 - sum(floors) / total:.4f} where every layer keeps "
            f"{min_layer_density} of its weights, got {sparsity}. Lower it, or prune.min_layer_density."
        )
    # Where no layer falls below its floor, and that is nearly always, the plain ranking is the answer.
    keep = _split(_keep_largest(np.concatenate(magnitudes), pruned), magnitudes)
    if any(np.count_nonzero(part) < floor for part, floor in zip(keep, floors, strict=True)):
        spared = [_keep_largest(array, array.size - floor) for array, floor in zip(magnitudes, floors, strict=True)]
        ranked = np.where(np.concatenate(spared), np.float32(np.inf), np.concatenate(magnitudes))
        keep = _split(_keep_largest(ranked, pruned), magnitudes)
    return {name: part.reshape(weights[name].shape) for name, part in zip(weights, keep, strict=True)}


def _keep_largest(magnitudes: NDArray[Any], pruned: int) -> NDArray[np.bool_]:
    """Leaves out the `pruned` smallest; of equal ones at the threshold, those that come first."""
    keep = np.ones(magnitudes.size, np.bool_)
    if pruned > 0:
        threshold = _nth_smallest(magnitudes, pruned)
        below = magnitudes < threshold
        keep[below] = False
        equal = np.flatnonzero(magnitudes == threshold)
        keep[equal[: pruned - np.count_nonzero(below)]] = False
    return keep


def _split(whole: NDArray[np.bool_], parts: Sequence[NDArray[Any]]) -> list[NDArray[np.bool_]]:
    return np.split(whole, np.cumsum([part.size for part in parts])[:-1])


def _nth_smallest(magnitudes: NDArray[Any], number: int) -> Any:
    # Weights that are zero already are counted, not sorted: selection among many equal values is ten times slower.
    positive = magnitudes[magnitudes > 0.0]
    position = number - 1 - (magnitudes.size - positive.size)
    return magnitudes.dtype.type(0.0) if position < 0 else np.partition(positive, position)[position]
