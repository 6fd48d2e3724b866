"""Takes in a network that was made elsewhere: what later stages rely on is checked here, before any training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from data.contract import ConfigError, ConversionError, PenjingError, Schema
from models.activations import activation_name
from models.answers import Answer, expected_answer
from models.legacy_keras import keras, tf
from models.measurements import count_macs
from models.prediction import predict
from models.rebuilding import LastLayer, Weights, all_layers, has_finite_weights, last_layer, rebuild
from models.tflite.loops import advice_on_loop

Output = Literal["standard", "logits", "sigmoid", "original_units"]

_RANDOM = frozenset(
    {"GaussianNoise", "GaussianDropout", "AlphaDropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"}
)
"""Layers that draw random numbers from a generator whose state no checkpoint keeps."""

MAX_NUMBERS = 1 << 26
"""Most numbers that a layer may answer to one row: 256 MiB as float32."""

MAX_MACS = 10**11
"""Most multiply-accumulates of one row: some seconds on a processor of a desk."""


@dataclass(frozen=True)
class Adopted:
    """A network as Penjing goes on with it.

    Attributes:
        model: flat, uncompiled, with an input named `input`.
        renamed: original name -> name, of layers whose names had to change.
    """

    model: Any
    renamed: dict[str, str]


def adopt(model: Any, schema: Schema, task: str, where: str, seed: int, output: Output = "standard") -> Adopted:
    """Checks a network against the data and the task, and lays it out anew.

    Args:
        model: what came from a file or a function.
        schema: shape of one row, classes, and the target's mean and scale.
        task: name of the task in a config.
        where: field of the config that messages begin with, `model.file` or `model.builder`.
        seed: of dropout.
        output: what it answers. `standard`: what the task asks; `logits`: softmax(z) is put on them; `sigmoid`: p of
            the second of two classes, which becomes (1 - p, p); `original_units`: y, which becomes (y - mean) / scale.

    Returns:
        A copy that takes float32 (rows, *schema.input_shape) and answers what the task asks.

    Raises:
        ConfigError: it is no functional or sequential tf_keras model of one input and output, is compiled or unbuilt,
            takes or answers another shape, has layers that Penjing cannot train, measure or resume, nothing to train,
            or numbers that are not finite.
    """

    def refused(rule: str, got: str, advice: str) -> ConfigError:
        return ConfigError(f"{where}: expected {rule}, got {got}. {advice}")

    _check_kind(model, refused, compiled=where == "model.builder")
    _check_input(model, schema, refused)
    for complaint in _complaints(model):
        raise refused(*complaint)
    if not model.trainable_weights:
        advice = "Set trainable to True where it may learn: it is trained, or retrained when it is compressed."
        raise refused("weights to train", "none", advice)
    change, softmax = _change(model, schema, expected_answer(task, schema), output, refused)
    if not has_finite_weights(model):
        raise refused(
            "finite weights", "NaN or infinity", "Was its training interrupted? Save a model that has learned."
        )
    try:
        flat, renamed = rebuild(model, schema.input_shape, seed, change, softmax=softmax)
        for complaint in _too_much(flat):
            raise refused(*complaint)
        predict(flat, np.zeros((2, *schema.input_shape), np.float32))
    except (ValueError, TypeError, NotImplementedError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise refused(
            f"layers that can be laid on rows of shape {_shape(schema.input_shape)}",
            f"the refusal {first!r}",
            "Use plain layers of Keras, each called on the outputs of others.",
        ) from error
    except (ConfigError, ConversionError):
        raise
    except PenjingError as error:
        raise ConfigError(f"{where}: {str(error).partition(': ')[2]}") from error
    return Adopted(flat, renamed)


_Refused = Callable[[str, str, str], ConfigError]


def _check_kind(model: Any, refused: _Refused, *, compiled: bool) -> None:
    rule = "an uncompiled functional or sequential tf_keras model"
    if not isinstance(model, keras.Model):
        if any(each.__module__.split(".")[0] == "keras" for each in type(model).__mro__):
            advice = "Import Keras as `from tensorflow import keras` or `import tf_keras as keras`."
            raise refused(rule, "one of Keras 3", advice)
        advice = "Return the keras.Model." if model is None else "Return a keras.Model."
        raise refused(rule, "nothing (None)" if model is None else type(model).__name__, advice)
    if isinstance(model, keras.Sequential) and not model.inputs:
        raise refused(
            "a built model", "a sequential one without an input", "Begin it with keras.Input(schema.input_shape)."
        )
    if not getattr(model, "_is_graph_network", False):
        advice = "Connect layers from keras.Input to an output: what a subclass does in `call` cannot be pruned."
        raise refused(rule, f"a subclass ({type(model).__name__})", advice)
    if compiled and model.optimizer is not None:
        advice = "Take compile() out: section `train` says how it is trained, and nothing would read the rest."
        raise refused(rule, "a compiled one", advice)
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        counts = f"{len(model.inputs)} and {len(model.outputs)}"
        raise refused("one input and one output", counts, "Cut it to the part that answers the task.")
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    for layer in nested:
        _check_nested(layer, refused)


def _check_nested(model: Any, refused: _Refused) -> None:
    if not getattr(model, "_is_graph_network", False) or len(model.inputs) != 1 or len(model.outputs) != 1:
        advice = "Connect its layers directly."
        raise refused("models of one input and output inside of it, not subclassed", f"'{model.name}'", advice)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _check_nested(layer, refused)


def _check_input(model: Any, schema: Schema, refused: _Refused) -> None:
    given, asked = tuple(model.inputs[0].shape[1:]), schema.input_shape
    fits = len(given) == len(asked) and all(
        size is None or size == wanted for size, wanted in zip(given, asked, strict=True)
    )
    if not fits:
        kinds = {"image": "images (height, width, channels) in [0, 1]", "vector": "vectors of standardized features"}
        raise refused(
            f"an input of shape {_shape(asked)}",
            _shape(given),
            f"The data's rows are {kinds.get(schema.kind, 'arrays')}; give the model such an input.",
        )
    if model.inputs[0].dtype != "float32":
        raise refused(
            "a float32 input", model.inputs[0].dtype.name, "Rows come as floats, whatever they were stored as."
        )


def _complaints(model: Any) -> Iterator[tuple[str, str, str]]:
    """Yields what later stages could not keep to, as (rule, got, advice)."""
    for layer in all_layers(model):
        kind, named = type(layer).__name__, f"'{layer.name}' ({type(layer).__name__})"
        if layer.compute_dtype != "float32" or layer.dtype != "float32":
            yield "float32 layers", f"{layer.compute_dtype} in {named}", "Make the model without mixed precision."
        if kind in _RANDOM or (kind == "Dropout" and layer.noise_shape is not None):
            advice = "A killed training could not be resumed exactly: use Dropout without noise_shape, or take it out."
            yield "layers that draw no numbers but Dropout", named, advice
        if any(_drops(each) for each in layer._flatten_layers()):
            advice = "A killed training could not be resumed exactly: put a Dropout layer before it."
            yield "recurrent layers without dropout of their own", named, advice
        if getattr(layer, "stateful", False) and kind in ("LSTM", "GRU", "SimpleRNN", "RNN"):
            yield "layers that forget between rows", named, "Set stateful=False."
        without_loop = advice_on_loop(layer)
        if without_loop is not None:
            yield "recurrent layers that TFLite runs without a loop", named, without_loop
        if any(getattr(weight, "constraint", None) is not None for weight in layer.weights):
            yield "weights without constraints", named, "Training would not keep them: take them out."


def _too_much(model: Any) -> Iterator[tuple[str, str, str]]:
    """Yields what would take more memory or time than there is, as (rule, got, advice); nothing is computed yet."""
    for layer in model.layers:
        shapes = [tuple(tensor.shape[1:]) for tensor in tf.nest.flatten(layer.output)]
        numbers = max(math.prod(size or 1 for size in shape) for shape in shapes)
        if numbers > MAX_NUMBERS:
            got = f"{numbers:,} of '{layer.name}' ({type(layer).__name__})"
            yield f"layers that answer at most {MAX_NUMBERS:,} numbers a row", got, "No small device holds them."
    macs = count_macs(model)
    if macs > MAX_MACS:
        yield f"at most {MAX_MACS:,} multiply-accumulates a row", f"{macs:,}", "No small device does them."


def _drops(layer: Any) -> bool:
    """Whether a recurrent layer, in a wrapper or not, draws numbers for a dropout of its own."""
    return any(_number(getattr(layer, name, 0.0)) for name in ("recurrent_dropout", "dropout"))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def _change(
    model: Any, schema: Schema, asked: Answer, output: Output, refused: _Refused
) -> tuple[LastLayer | None, bool]:
    """Checks the output; returns how the last layer has to change, and whether a softmax goes on top."""
    last = last_layer(model)
    shape, activation = tuple(model.outputs[0].shape[1:]), _activation_of(last)
    wanted = (1,) if output == "sigmoid" else asked.shape
    if shape != wanted:
        hint = ""
        if output == "standard" and asked.shape == (2,) and shape == (1,):
            hint = " If it answers the probability of the second class, say model.output: sigmoid (of a file)."
        raise refused(
            f"an output of shape {_shape(wanted)}, {asked.meaning if output != 'sigmoid' else 'one probability'}",
            f"{_shape(shape)} of layer '{last.name}'",
            f"Its last layer needs {wanted[0]} {'unit' if wanted[0] == 1 else 'units'}.{hint}",
        )
    needed = {"standard": asked.activation, "sigmoid": "sigmoid"}.get(output, "linear")
    if activation != needed:
        raise refused(
            f"{needed} at the end ({asked.meaning})",
            f"{activation} of layer '{last.name}'",
            _activation_advice(asked, activation, output),
        )
    dense = isinstance(last, keras.layers.Dense)
    if output == "logits":
        return (LastLayer({"activation": "softmax"}, lambda weights: weights), False) if dense else (None, True)
    if output in ("sigmoid", "original_units") and not dense:
        raise refused(
            f"a Dense layer at the end with output: {output}",
            f"'{last.name}' ({type(last).__name__})",
            "Only its weights can be changed so.",
        )
    if output == "sigmoid":
        return LastLayer({"activation": "softmax", "units": 2}, _of_two_classes), False
    if output == "original_units":
        return LastLayer({"use_bias": True}, _standardizing(schema)), False
    return None, False


def _activation_advice(asked: Answer, activation: str, output: Output) -> str:
    if asked.activation == "softmax" and output == "standard" and activation == "linear":
        return "Put a softmax on it; of a file that answers logits, say model.output: logits."
    if asked.activation == "linear":
        return "Standardized values lie on both sides of zero: end with a layer without activation."
    return "Say by model.output what it answers, or change its last layer."


def _activation_of(layer: Any) -> str:
    """Returns the name of the activation that a layer ends with; `linear` for layers that have none."""
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    activation = getattr(layer, "activation", None)
    if activation is not None:
        return activation_name(activation)
    return type(layer).__name__.lower() if type(layer).__name__ in ("ReLU", "LeakyReLU", "ELU", "PReLU") else "linear"


def _of_two_classes(weights: Weights) -> Weights:
    """softmax((0, z)) = (1 - sigmoid(z), sigmoid(z))."""
    return [np.stack([np.zeros_like(array[..., 0]), array[..., 0]], axis=-1) for array in weights]


def _standardizing(schema: Schema) -> Callable[[Weights], Weights]:
    """(W x + b - mean) / scale, as weights and bias."""

    def standardized(weights: Weights) -> Weights:
        kernel, *rest = weights
        bias = rest[0] if rest else np.zeros(kernel.shape[-1:], kernel.dtype)
        mean, scale = np.float64(schema.target_mean), np.float64(schema.target_scale)
        return [(kernel / scale).astype(np.float32), ((bias - mean) / scale).astype(np.float32)]

    return standardized


def _shape(shape: tuple[Any, ...]) -> str:
    return f"({', '.join('?' if size is None else str(size) for size in shape)}{',' if len(shape) == 1 else ''})"
