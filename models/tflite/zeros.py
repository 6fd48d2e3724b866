"""Whether the zeros that pruning made are still zeros in a TFLite file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.tflite.audit import Constant
from models.tflite.kernels import gate_tensors, in_scope, kernel_tensors


@dataclass(frozen=True)
class ZeroFinding:
    """What became of one pruned layer.

    Attributes:
        layer: name of the Keras layer.
        tensor: name of the tensor its kernel became, of a recurrent kernel several; None where none was found.
        pruned: weights that its mask holds at zero.
        revived: those of them that are not exactly zero in the file; all where no tensor was found.
        message: empty where all is well; else what is not.
    """

    layer: str
    tensor: str | None
    pruned: int
    revived: int
    message: str

    @property
    def passed(self) -> bool:
        """Whether the tensor was found and every pruned weight in it is zero."""
        return self.message == ""


def check_zeros(model: bytes, masks: Mapping[str, NDArray[np.bool_]]) -> list[ZeroFinding]:
    """Looks up each pruned layer's kernel in the file and counts pruned weights that are not zero.

    A tensor belongs to a layer if one of the operations in its name lies in the layer's scope and
    its shape is that of the layer's kernel in TFLite's order; where the names say nothing, the
    one tensor of that shape that no other layer claims by name. Batch normalization folded into
    the kernel scales whole channels, which keeps zeros. A layer that is not found is a finding.

    Args:
        model: bytes of a .tflite file of any precision.
        masks: for each pruned layer its mask in Keras' order, True where a weight was kept:
            Dense (in, out), Conv2D (height, width, in, out), DepthwiseConv2D (height, width, in,
            multiplier); of a recurrent layer two, `<layer>/kernel` (in, gates * units) and
            `<layer>/recurrent_kernel` (units, gates * units), which lie in the file in parts, some gates each.

    Returns:
        One finding a layer, in the order of `masks`.

    Raises:
        ConversionError: the bytes are no TFLite model.
    """
    parts = {layer: gate_tensors(model, layer) for layer in masks}
    whole = {layer: mask for layer, mask in masks.items() if not parts[layer]}
    weights = kernel_tensors(model)
    named = {layer: [t for t in weights if in_scope(t.name, layer)] for layer in whole}
    claimed = {id(tensor) for tensors in named.values() for tensor in tensors}
    unclaimed = [tensor for tensor in weights if id(tensor) not in claimed]
    return [
        _of_gates(layer, mask, parts[layer]) if parts[layer] else _finding(layer, mask, named[layer] or unclaimed)
        for layer, mask in masks.items()
    ]


def _of_gates(layer: str, mask: NDArray[np.bool_], parts: list[Constant]) -> ZeroFinding:
    """Looks at a recurrent kernel, whose columns lie in several tensors, one behind the other."""
    pruned = int((~mask).sum())
    rows = [part.values.reshape(len(part.values), -1) for part in parts]
    if any(part.shape[1] != len(mask) for part in rows) or sum(len(part) for part in rows) != mask.shape[1]:
        message = f"tensors of the file do not add up to the kernel {mask.shape} of this layer"
        return ZeroFinding(layer, None, pruned, pruned, message)
    alive = np.concatenate([part.nonzero().reshape(len(part.values), -1) for part in parts])
    revived = int((alive & ~mask.T).sum())
    message = f"{revived} of {pruned} pruned weights are not zero" if revived else ""
    return ZeroFinding(layer, ", ".join(part.name for part in parts), pruned, revived, message)


def _finding(layer: str, mask: NDArray[np.bool_], candidates: list[Constant]) -> ZeroFinding:
    pruned = int((~mask).sum())
    fitting = [(tensor, kept) for tensor in candidates for kept in [_as_stored(mask, tensor)] if kept is not None]
    if len(fitting) != 1:
        return ZeroFinding(
            layer, None, pruned, pruned, f"{len(fitting)} tensors of the file fit the kernel {mask.shape} of this layer"
        )
    tensor, kept = fitting[0]
    revived = int((tensor.nonzero() & ~kept).sum())
    message = f"{revived} of {pruned} pruned weights are not zero" if revived else ""
    return ZeroFinding(layer, tensor.name, pruned, revived, message)


def _as_stored(mask: NDArray[np.bool_], tensor: Constant) -> NDArray[np.bool_] | None:
    """The mask in TFLite's order, in the shape of `tensor`; None where it does not fit.

    FULLY_CONNECTED has (out, in); CONV_2D (out, height, width, in); DEPTHWISE_CONV_2D (1, height,
    width, in * multiplier). A 1x1 convolution may be stored as a FULLY_CONNECTED.
    """
    if "DEPTHWISE_CONV_2D" in tensor.consumers:
        stored = mask.reshape(1, *mask.shape[:2], -1) if mask.ndim == 4 else None
    else:
        stored = np.moveaxis(mask, -1, 0)
    if stored is None or _without_ones(stored.shape) != _without_ones(tensor.values.shape):
        return None
    return stored.reshape(tensor.values.shape)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)
