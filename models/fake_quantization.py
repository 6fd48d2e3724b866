r"""A twin of a network that rounds kernels and activations as its int8 file will: fake quantization.

    fq(x; low, high) = s (round(clip(x) / s + z) - z),    s = (high - low) / 255          (Jacob 2018, eq. (12))

Kernels are rounded symmetrically, `high = -low = max |w|` and 254 steps, so that zero is a step and equal weights stay
equal: per output channel for convolutions, one scale for a dense kernel, which keeps a clustered one a table of few
integers. Activations are rounded where the file holds a tensor: at the input; after a layer's bias, batch
normalization and rectifier, which conversion fuses; before softmax, sigmoid and tanh; and after means, sums and
concatenations. Pooling, flattening and reshaping keep the scale they get.

TFMOT's wrappers do the same and are the reference in tests. They are not used: a wrapped model cannot be loaded from
a `.keras` file (0.8.1 with tf_keras 2.21: "expected 5 variables, but received 3"), its scheme that preserves clusters
and zeros turned every zero of a dense kernel into another value, and its ranges start at -6 and 6 and need a thousand
steps to arrive.

Reference:
    Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import ConfigError
from models.activations import activation_name
from models.kernel_maps import KernelMap, can_be_mapped, copy_weights, mapped_layer
from models.legacy_keras import keras, tf

Ranges = Mapping[str, tuple[float, float]]
"""(low, high) of what is rounded at a layer, by its name; low <= 0 <= high."""

# Part of a range that a batch leaves as it was. The ranges start from calibration, so they need not hurry.
RANGE_MEMORY = 0.99

# Least limit of a channel, as a part of the layer's: the bias is held in steps of input times kernel, in 32 bits, and
# of an emptied filter the steps would be so small that its bias does not fit.
_LEAST_PART = 2.0**-10
_RECTIFIERS = ("relu", "relu6")
# TFLite fixes the outputs of these: 1/256 from zero point -128, and 1/128 from 0. Softmax's needs not be said.
_FIXED_OUTPUTS = {"sigmoid": (0.0, 255.0 / 256.0), "tanh": (-1.0, 127.0 / 128.0), "softmax": None}
_SAME_SCALE = (
    "MaxPooling2D",
    "AveragePooling2D",
    "GlobalMaxPooling2D",
    "Flatten",
    "Reshape",
    "UpSampling2D",
    "Cropping2D",
    "Dropout",
    "StatelessDropout",
)
_OWN_SCALE = ("GlobalAveragePooling2D", "Add", "Concatenate")
_ROUNDED = "_rounded"


class RoundedKernel:
    """The map of a kernel to its int8 values: rounded on the way to its use, plain at the end.

    Args:
        per_channel: one scale an output channel (the last axis; of a depthwise kernel the last two), not one for all.
        held: a map before it, such as held clusters.
    """

    def __init__(self, per_channel: bool, held: KernelMap | None = None) -> None:
        self._per_channel, self._held = per_channel, held
        self._depthwise = False

    def build(self, layer: Any) -> None:
        """Adds what the map before it needs."""
        self._depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        if self._held is not None:
            self._held.build(layer)

    def used(self, kernel: Any, training: bool) -> Any:
        """Returns the rounded kernel; a gradient passes straight through."""
        values = kernel if self._held is None else self._held.used(kernel, training)
        if not training:
            return self._rounded(values)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def through(x: Any) -> tuple[Any, Any]:
            return self._rounded(x), lambda upstream: upstream

        return through(values)

    def plain(self, kernel: Any) -> Any:
        """Returns the kernel before it is rounded."""
        return kernel if self._held is None else self._held.plain(kernel)

    def _rounded(self, values: Any) -> Any:
        if not self._per_channel:
            limit = _largest(values)
            return tf.quantization.fake_quant_with_min_max_vars(values, -limit, limit, narrow_range=True)
        shape = values.shape
        flat = tf.reshape(values, [*shape[:-2], shape[-2] * shape[-1]]) if self._depthwise else values
        channels = tf.reduce_max(tf.abs(flat), axis=list(range(len(flat.shape) - 1)))
        limit = tf.maximum(channels, _LEAST_PART * _largest(values))
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(flat, -limit, limit, narrow_range=True)
        return tf.reshape(rounded, shape)


def _largest(values: Any) -> Any:
    """Largest magnitude of a kernel; 1 where all is zero and any scale is right."""
    largest = tf.reduce_max(tf.abs(values))
    return tf.where(largest > 0.0, largest, 1.0)


class RoundedActivation(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """Rounds what passes to 255 steps of a range that follows the batches while it is trained.

    Args:
        name: the layer's.
        ends: the range at the start.
        fixed: whether the range stays so.
    """

    def __init__(self, name: str, ends: tuple[float, float], fixed: bool) -> None:
        super().__init__(name=name)
        self._ends, self.fixed, self.observing = ends, fixed, False

    def build(self, input_shape: Any) -> None:
        """Adds the ends of the range."""
        self.low, self.high = (
            self.add_weight(name, shape=(), initializer=keras.initializers.Constant(end), trainable=False)
            for name, end in zip(("low", "high"), self._ends, strict=True)
        )
        super().build(input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns the inputs, rounded."""
        if self.observing:
            self.low.assign(tf.minimum(self.low, tf.reduce_min(inputs)))
            self.high.assign(tf.maximum(self.high, tf.reduce_max(inputs)))
            return inputs
        if training and not self.fixed:
            for end, seen in (
                (self.low, tf.minimum(tf.reduce_min(inputs), 0.0)),
                (self.high, tf.maximum(tf.reduce_max(inputs), 0.0)),
            ):
                end.assign(RANGE_MEMORY * end + (1.0 - RANGE_MEMORY) * seen)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, self.low, self.high)


def rounding_twin(model: Any, ranges: Ranges, held: Mapping[str, KernelMap], input_range: Any = None) -> Any:
    """Builds the twin of a model that rounds.

    Args:
        model: a functional or sequential Keras model of layers that can be rounded; it is not changed.
        ranges: of the activations; those that are missing start empty, to be observed.
        held: what kernels pass through before they are rounded, by layer name; each map is new.
        input_range: (low, high) that the input keeps; None: one that follows the batches.

    Returns:
        A keras.Model; layers keep their names, those that round activations are `<layer>_rounded`.

    Raises:
        ConfigError: a layer cannot be rounded.
    """
    return _Builder(model, dict(ranges), held, input_range).build()


def observe(twin: Any, rows: NDArray[np.float32]) -> None:
    """Widens the ranges of a twin to what its activations are on some rows, nothing rounded but the kernels."""
    rounding = [layer for layer in twin.layers if isinstance(layer, RoundedActivation) and not layer.fixed]
    for layer in rounding:
        layer.observing = True
    twin(tf.constant(rows), training=False)
    for layer in rounding:
        layer.observing = False


def ranges_of(twin: Any) -> dict[str, tuple[float, float]]:
    """Reads the ranges of a twin's activations, by the name of the layer they are of."""
    return {
        layer.name.removesuffix(_ROUNDED): (float(layer.low.numpy()), float(layer.high.numpy()))
        for layer in twin.layers
        if isinstance(layer, RoundedActivation)
    }


class _Builder:
    """Lays the twin's layers on one another, in the model's order."""

    def __init__(self, model: Any, ranges: dict[str, Any], held: Mapping[str, KernelMap], input_range: Any) -> None:
        self.model, self.ranges, self.held, self.input_range = model, ranges, held, input_range
        self.tensors: dict[int, Any] = {}
        nodes = model._nodes_by_depth
        self.calls = [call for depth in sorted(nodes, reverse=True) for call in nodes[depth]]

    def build(self) -> Any:
        inputs = []
        for call in self.calls:
            layer = call.layer
            calls = sum(node in self.calls for node in layer.inbound_nodes)
            self._refuse_unless(layer, calls <= 1, "it is called more than once")
            if isinstance(layer, keras.layers.InputLayer):
                outputs = keras.Input(layer.output_shape[0][1:], name=layer.name)
                inputs.append(outputs)
                outputs = self._range(outputs, layer.name, self.input_range)
            else:
                taken = [self.tensors[id(tensor)] for tensor in call.keras_inputs]
                outputs = self._laid(layer, taken[0] if len(taken) == 1 else taken)
            self.tensors[id(call.outputs)] = outputs
        twin = keras.Model(inputs, [self.tensors[id(tensor)] for tensor in self.model.outputs], name=self.model.name)
        copy_weights(self.model, twin)
        return twin

    def _laid(self, layer: Any, inputs: Any) -> Any:
        kind = type(layer).__name__
        if can_be_mapped(layer):
            rounded = RoundedKernel(not isinstance(layer, keras.layers.Dense), self.held.get(layer.name))
            name = activation_name(layer.activation)
            split = name in _FIXED_OUTPUTS
            outputs = mapped_layer(layer, rounded, **({"activation": "linear"} if split else {}))(inputs)
            if split:
                return self._saturated(self._range(outputs, layer.name), layer.name, name)
            self._refuse_unless(layer, name in (*_RECTIFIERS, "linear"), f"its activation is {name}")
            return outputs if name == "linear" and self._fused(layer) else self._range(outputs, layer.name)
        twin = type(layer).from_config(layer.get_config())
        if kind in _SAME_SCALE:
            return twin(inputs)
        if kind == "BatchNormalization":
            before = layer.inbound_nodes[0].inbound_layers
            convolves = isinstance(before, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
            folds = convolves and before.activation is keras.activations.linear and self._fused(before)
            self._refuse_unless(layer, folds, "it does not follow a convolution that it could be folded into")
            return twin(inputs) if self._fused(layer) else self._range(twin(inputs), layer.name)
        if kind in ("Activation", "ReLU", "Softmax"):
            name = activation_name(layer.activation) if kind == "Activation" else kind.lower()
            if name in _FIXED_OUTPUTS:
                return self._saturated(inputs, layer.name, name)
            plain = kind != "ReLU" or (layer.negative_slope == 0.0 and layer.threshold == 0.0)
            self._refuse_unless(layer, name in _RECTIFIERS and plain, f"its activation is {name}")
            return self._range(twin(inputs), layer.name)
        self._refuse_unless(layer, kind in _OWN_SCALE, f"it is of type {kind}")
        return self._range(twin(inputs), layer.name)

    def _fused(self, layer: Any) -> bool:
        """Whether what follows a linear layer is computed with it: batch normalization, or a rectifier."""
        after = [node.layer for node in layer.outbound_nodes if node in self.calls]
        if len(after) != 1 or any(layer.output is tensor for tensor in self.model.outputs):
            return False
        kind = type(after[0]).__name__
        if kind == "BatchNormalization":
            return can_be_mapped(layer)
        return kind == "ReLU" or (kind == "Activation" and activation_name(after[0].activation) in _RECTIFIERS)

    def _range(self, tensor: Any, name: str, fixed: Any = None) -> Any:
        ends = self.ranges.get(name, (0.0, 0.0)) if fixed is None else fixed
        return RoundedActivation(f"{name}{_ROUNDED}", ends, fixed is not None)(tensor)

    def _saturated(self, tensor: Any, name: str, activation: str) -> Any:
        outputs = keras.layers.Activation(activation, name=f"{name}_{activation}")(tensor)
        ends = _FIXED_OUTPUTS[activation]
        return outputs if ends is None else RoundedActivation(f"{name}_{activation}{_ROUNDED}", ends, True)(outputs)

    def _refuse_unless(self, layer: Any, supported: bool, reason: str) -> None:
        if not supported:
            raise ConfigError(
                f"quantize.aware: expected layers that can be rounded while they are trained, got {layer.name!r}: "
                f"{reason}. Leave quantize.aware out: int8 is then calibrated on training rows."
            )
