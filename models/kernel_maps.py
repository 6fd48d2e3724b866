"""Twins of a network that compute with a function of each kernel while they are trained.

What a training needs of a kernel besides its numbers (that it has few values, that its zeros stay, that it is rounded)
is put between the variable and its use, and a gradient passes it on the way back. A twin's layers have the plain ones'
names and weights, and whatever variables the function has of its own; `plain_model` is the way back. A twin is never
saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from models.legacy_keras import clone, keras, tf

KERNEL_NAMES = ("kernel", "depthwise_kernel")


class KernelMap(Protocol):
    """What a kernel passes through on the way to its use. An object serves one layer of one twin."""

    def build(self, layer: Any) -> None:
        """Adds the variables it needs to a layer (`layer.add_weight`), whose own are there already."""

    def used(self, kernel: Any, training: bool) -> Any:
        """Returns what the layer computes with, of the shape of the kernel, a float32 tensor; differentiable."""

    def plain(self, kernel: Any) -> Any:
        """Returns the kernel that the plain model ends with."""


def kernel_of(layer: Any) -> Any:
    """Returns the kernel of a Dense, Conv2D or DepthwiseConv2D layer, a tf.Variable."""
    return getattr(layer, kernel_name(layer))


def kernel_name(layer: Any) -> str:
    """Returns what a Dense, Conv2D or DepthwiseConv2D layer calls its kernel."""
    return KERNEL_NAMES[int(isinstance(layer, keras.layers.DepthwiseConv2D))]


class _MappedDense(keras.layers.Dense):  # type: ignore[misc]  # Keras ships no types
    """A dense layer that computes with a function of its kernel."""

    kernel_map: KernelMap

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.kernel_map.build(self)

    def call(self, inputs: Any, training: bool = False) -> Any:
        kernel = self.kernel_map.used(tf.convert_to_tensor(self.kernel), training)
        outputs = tf.matmul(inputs, kernel) if inputs.shape.rank == 2 else tf.tensordot(inputs, kernel, 1)
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, self.bias)
        return self.activation(outputs)


class _MappedConv2D(keras.layers.Conv2D):  # type: ignore[misc]
    """A convolution that computes with a function of its kernel."""

    kernel_map: KernelMap

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.kernel_map.build(self)

    def call(self, inputs: Any, training: bool = False) -> Any:
        outputs = self.convolution_op(inputs, self.kernel_map.used(tf.convert_to_tensor(self.kernel), training))
        if self.use_bias:
            outputs = tf.nn.bias_add(outputs, self.bias)
        return self.activation(outputs)


class _MappedDepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """A depthwise convolution that computes with a function of its kernel."""

    kernel_map: KernelMap

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.kernel_map.build(self)

    def call(self, inputs: Any, training: bool = False) -> Any:
        outputs = keras.backend.depthwise_conv2d(
            inputs,
            self.kernel_map.used(tf.convert_to_tensor(self.depthwise_kernel), training),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        if self.use_bias:
            outputs = keras.backend.bias_add(outputs, self.bias, data_format=self.data_format)
        return self.activation(outputs)


_MAPPED: dict[Any, Any] = {
    keras.layers.Dense: _MappedDense,
    keras.layers.Conv2D: _MappedConv2D,
    keras.layers.DepthwiseConv2D: _MappedDepthwiseConv2D,
}


def can_be_mapped(layer: Any) -> bool:
    """Whether a layer is a Dense, Conv2D or DepthwiseConv2D layer, and none of their subclasses."""
    return type(layer) in _MAPPED


def mapped_layer(layer: Any, kernel_map: KernelMap, **settings: Any) -> Any:
    """Makes an unbuilt twin of a layer that computes with a function of its kernel.

    Args:
        layer: one that `can_be_mapped`.
        kernel_map: what the kernel passes through.
        settings: entries of the layer's config to replace.

    Returns:
        A layer of the same name and settings.
    """
    mapped = _MAPPED[type(layer)].from_config(layer.get_config() | settings)
    mapped.kernel_map = kernel_map
    return mapped


def copy_weights(model: Any, twin: Any) -> None:
    """Gives a twin the weights of the model it was made from; what its maps added keeps its value.

    Args:
        model: the plain model.
        twin: with layers of the same names, and perhaps others.
    """
    for layer in model.layers:
        for name, variable in _own_weights(layer).items():
            _own_weights(twin.get_layer(layer.name))[name].assign(variable)


def with_kernel_maps(model: Any, maps: Mapping[str, KernelMap]) -> Any:
    """Copies a model so that some layers compute with a function of their kernel.

    Args:
        model: a functional or sequential Keras model; it is not changed.
        maps: what the kernel passes through, by layer name; each map is new.

    Returns:
        A twin with weights of its own, equal to the model's.
    """

    def twin_of(layer: Any) -> Any:
        if layer.name in maps:
            return mapped_layer(layer, maps[layer.name])
        return type(layer).from_config(layer.get_config())

    twin = keras.models.clone_model(model, clone_function=twin_of)
    copy_weights(model, twin)
    return twin


def plain_model(model: Any, twin: Any) -> Any:
    """Takes what was trained in a twin back into a plain model.

    Args:
        model: the plain model that the twin was made from; it is not changed.
        twin: the twin.

    Returns:
        A new model of the plain architecture with the twin's weights, its kernels as their maps leave them.
    """
    trained = clone(model)
    for layer in trained.layers:
        source = twin.get_layer(layer.name)
        for name, variable in _own_weights(layer).items():
            value = _own_weights(source)[name]
            mapped = name in KERNEL_NAMES and hasattr(source, "kernel_map")
            variable.assign(source.kernel_map.plain(tf.convert_to_tensor(value)) if mapped else value)
    return trained


def _own_weights(layer: Any) -> dict[str, Any]:
    """The weights that a plain layer of this kind has, by name."""
    if any(isinstance(layer, kind) for kind in _MAPPED):
        kernel = {kernel_name(layer): kernel_of(layer)}
        return kernel | {"bias": layer.bias} if layer.use_bias else kernel
    return {str(position): weight for position, weight in enumerate(layer.weights)}
