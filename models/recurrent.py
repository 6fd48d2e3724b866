"""What a recurrent layer's weights are: two kernels, each with a column for every gate of every unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.legacy_keras import keras

GATES = {keras.layers.LSTM: "ifco", keras.layers.GRU: "zrh", keras.layers.SimpleRNN: "h"}
"""Kind of layer -> its gates in the order of a kernel's columns: for each gate a column a unit."""


def is_recurrent(layer: Any) -> bool:
    """Whether a layer is an LSTM, GRU or SimpleRNN layer, and none of their subclasses."""
    return type(layer) in GATES


def recurrent_kernels(layer: Any) -> dict[str, Any]:
    """Returns the two kernels of a recurrent layer by the names that masks have.

    Args:
        layer: a built layer that `is_recurrent`.

    Returns:
        `<layer>/kernel`, (inputs, gates * units), which reads the input, and `<layer>/recurrent_kernel`,
        (units, gates * units), which reads the state: one tf.Variable each.
    """
    return {
        f"{layer.name}/kernel": layer.cell.kernel,
        f"{layer.name}/recurrent_kernel": layer.cell.recurrent_kernel,
    }


def kernel_named(model: Any, name: str) -> Any:
    """Returns a kernel by the name that masks have: of the layer, or of a recurrent layer `<layer>/<kernel>`.

    Args:
        model: a built Keras model.
        name: as `prunable_kernels` names it.

    Returns:
        A tf.Variable.
    """
    layer_name, _, kernel = name.rpartition("/")
    layer = model.get_layer(layer_name if kernel in ("kernel", "recurrent_kernel") and layer_name else name)
    return recurrent_kernels(layer)[name] if is_recurrent(layer) else layer.kernel


def gate_columns(layer: Any, units: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns which columns of a recurrent layer's kernels belong to some of its units, (gates * units,) booleans."""
    return np.tile(units, len(GATES[type(layer)]))


def by_unit(layer: Any, array: NDArray[Any]) -> NDArray[Any]:
    """Puts a kernel's columns of one unit together.

    Args:
        layer: a recurrent layer.
        array: (..., gates * units).

    Returns:
        (numbers of a unit, units).
    """
    gates = len(GATES[type(layer)])
    return array.reshape(-1, array.shape[-1] // gates)
