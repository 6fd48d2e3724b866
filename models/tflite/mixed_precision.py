"""int16x8, int4, and mixtures of them with int8 layer by layer, made from a float32 .tflite file.

The integers are ai-edge-quantizer's. Around it, this module measures the ranges, says which operator
gets how many bits, keeps biases within 32 bits, and refuses what would stay in float.
TensorFlow is not imported.

Weights are symmetric: `q = rint(w / s)`, `s = max|w| / (2^(b-1) - 1)` for b bits, over a kernel or
over each of its filters; two 4-bit weights share a byte. 8-bit activations are asymmetric and
include 0, `s = (max - min) / 255`; 16-bit ones symmetric, `s = max|a| / 32767`; their ranges are
the extremes over the calibration rows, as the converter of int8 takes them. Biases have scale
`s_input * s_weights`; where a bias would exceed 2^30 steps (a filter that pruning emptied), the
weights' scale is raised until it does not. Zero weights are the integer 0 in every precision.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import numpy as np
from ai_edge_quantizer.model_modifier import ModelModifier
from ai_edge_quantizer.params_generator import ParamsGenerator
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.tfl_flatbuffer_utils import read_model as read_for_quantizer
from numpy.typing import NDArray

from data.contract import ConfigError, ConversionError
from models.tflite import audit
from models.tflite.calibration import PIXEL_STEP_INT16
from models.tflite.flatbuffer import self_contained
from models.tflite.float_graph import FloatGraph, FloatOperator, Range, float_graph, measured_ranges

LayerPrecision = Literal["int8", "int16x8", "int4"]
DenseScales = Literal["auto", "tensor", "channel"]

_PRECISIONS: Final = get_args(LayerPrecision)
_ACTIVATION_BITS: Final[dict[LayerPrecision, int]] = {"int8": 8, "int16x8": 16, "int4": 8}
_WEIGHT_BITS: Final[dict[LayerPrecision, int]] = {"int8": 8, "int16x8": 8, "int4": 4}
_INT4_OPERATORS: Final = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D"})
_ACTIVATION_INPUT: Final = {"FULLY_CONNECTED": 0, "CONV_2D": 0, "DEPTHWISE_CONV_2D": 0, "TRANSPOSE_CONV": 2}
_LARGEST_INT4, _LARGEST_INT8 = 7, 127
_BIAS_LIMIT: Final = 2**30  # half of what 32 bits hold: the products are added to the bias in the same 32 bits
_QUANTIZER_FAILURES: Final = (ValueError, RuntimeError, KeyError, IndexError, NotImplementedError)


@dataclass(frozen=True)
class Recipe:
    """How many bits each layer has.

    Attributes:
        default: precision of every layer that is not named, and of the model's two ends.
            `int8`: 8-bit weights and activations; `int16x8`: 8-bit weights, 16-bit activations;
            `int4`: 4-bit weights, 8-bit activations.
        overrides: Keras layer name -> its precision.
        dense_scales: scales of FULLY_CONNECTED kernels: `tensor`: one; `channel`: one a neuron, nearer
            to Keras, 24 bytes a neuron more; `auto`: one where the weights have 4 bits, for TFLite
            Micro refuses others there, else one a neuron. Convolutions have one a filter, always.

    Example:
        >>> Recipe("int4", overrides={"conv_1": "int8", "output": "int16x8"})

    Raises:
        ConfigError: a precision, or a kind of scales, that there is not.
    """

    default: LayerPrecision = "int8"
    overrides: Mapping[str, LayerPrecision] = field(default_factory=dict)
    dense_scales: DenseScales = "auto"

    def __post_init__(self) -> None:
        """Checks the words, which may come from a user's config."""
        named = {"precision": self.default, **{f"layers.{name}": given for name, given in self.overrides.items()}}
        for where, given in named.items():
            if given not in _PRECISIONS:
                raise ConfigError(
                    f"quantize.{where}: expected one of {', '.join(_PRECISIONS)}, got {given!r}. Choose one of them."
                )
        if self.dense_scales not in get_args(DenseScales):
            raise ConfigError(
                f"quantize.dense_scales: expected one of {', '.join(get_args(DenseScales))}, "
                f"got {self.dense_scales!r}. Choose one of them."
            )


def quantize(
    float_model: bytes,
    recipe: Recipe,
    calibration_rows: NDArray[np.float32],
    input_range: tuple[float, float] | None = None,
) -> bytes:
    """Turns a float32 .tflite file into one of integers, by the formulas at the head of this module.

    An operator without weights computes in the activations of the layer that its name says, else of
    the operator before it; the last one, and the model's input, in the default's. So for `int8` and
    `int4` and images in [0, 1] the int8 input is pixel - 128, and a softmax answers in steps of 1/256;
    for `int16x8` the input is pixel * 128 where `input_range` is (0, 1), and the step 1/32768. Where the
    last operator has weights itself (regression), the output has the type of its layer.

    Args:
        float_model: bytes of a float32 .tflite file with one row (`models.tflite.convert`).
        recipe: bits by layer.
        calibration_rows: (rows, *input_shape) float32, real training rows as the model eats them (see
            `models.tflite.calibration`).
        input_range: `Schema.input_range`; matters for 16-bit inputs alone.

    Returns:
        The bytes of the .tflite file; the same for the same arguments.

    Raises:
        ConfigError: the recipe names a layer that has no weights in the file.
        ConversionError: the bytes are no float TFLite model of one row, input and output; calibration
            rows that do not fit; 4 bits for a TRANSPOSE_CONV; or an operator that stays in float.

    Reference:
        Jacob et al. 2018, Quantization and training of neural networks for efficient
        integer-arithmetic-only inference, equations 1 and 12; TensorFlow Lite 8-bit quantization
        specification; ai-edge-quantizer 0.10.0, `algorithms/uniform_quantize`.
    """
    graph = float_graph(float_model)
    _check_names(graph, recipe)
    ranges = measured_ranges(float_model, graph, calibration_rows)
    if input_range == (0.0, 1.0) and recipe.default == "int16x8":
        ranges[graph.input_name] = Range.of(0.0, 32767 * PIXEL_STEP_INT16, len(graph.input_shape))
    rules = _rules(graph, recipe)
    quantized = _quantized(float_model, rules, ranges)
    widened = _ranges_that_hold_biases(graph, quantized)
    if widened:
        quantized = _quantized(float_model, rules, {**ranges, **widened})
    _refuse_float_operators(quantized)
    return quantized


def layer_names(float_model: bytes) -> list[str]:
    """Lists the Keras layers that a recipe may name: those with a kernel in the file, in the order they run.

    Args:
        float_model: bytes of a float32 .tflite file.

    Raises:
        ConversionError: the bytes are no float TFLite model.
    """
    return float_graph(float_model).layer_names


def _check_names(graph: FloatGraph, recipe: Recipe) -> None:
    known = graph.layer_names
    for name in recipe.overrides:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (the nearest is {near[0]!r})" if near else ""
            raise ConfigError(
                f"quantize.layers.{name}: expected a layer that has weights in the model, got {name!r}{hint}. "
                f"Choose of {', '.join(known) or 'none: the file names no layer'}."
            )


def _rules(graph: FloatGraph, recipe: Recipe) -> list[dict[str, Any]]:
    """One rule an operator, in ai-edge-quantizer's form; then input and output, for there the last rule holds."""
    precision_of: dict[int, LayerPrecision] = {}  # of the tensors made so far
    rules = []
    for operator in graph.operators:
        named = [precision for name, precision in recipe.overrides.items() if name in operator.layers]
        precision = named[0] if named else recipe.default
        if not named and operator.kernel is None and graph.output not in operator.outputs:
            precision = next((precision_of[index] for index in operator.inputs if index in precision_of), precision)
        precision_of.update(dict.fromkeys(operator.outputs, precision))
        rules.append(_rule(operator, precision, recipe.dense_scales))
    ends = {"INPUT": recipe.default, "OUTPUT": precision_of.get(graph.output, recipe.default)}
    return [*rules, *(_rule_body(".*", end, _ACTIVATION_BITS[given], 8, "CHANNELWISE") for end, given in ends.items())]


def _rule(operator: FloatOperator, precision: LayerPrecision, dense_scales: DenseScales) -> dict[str, Any]:
    weight_bits = 8 if operator.kernel is None else _WEIGHT_BITS[precision]
    if weight_bits == 4 and operator.name not in _INT4_OPERATORS:
        raise ConversionError(
            f"quantize.precision: expected 4-bit weights of {', '.join(sorted(_INT4_OPERATORS))} only, got "
            f"{operator.name} in layer {' '.join(operator.layers)!r}. Give that layer int8 in quantize.layers."
        )
    one_scale = operator.name == "FULLY_CONNECTED" and (
        dense_scales == "tensor" or (dense_scales == "auto" and weight_bits == 4)
    )
    return _rule_body(
        f"^{re.escape(operator.scope)}$",
        "*",
        _ACTIVATION_BITS[precision],
        weight_bits,
        "TENSORWISE" if one_scale else "CHANNELWISE",
        # The quantizer's own list leaves 4-bit depthwise kernels out; all three runtimes have them.
        skip_checks=weight_bits == 4 and operator.name == "DEPTHWISE_CONV_2D",
    )


def _rule_body(
    regex: str, operation: str, activation_bits: int, weight_bits: int, granularity: str, *, skip_checks: bool = False
) -> dict[str, Any]:
    activations = {
        "num_bits": activation_bits,
        "symmetric": activation_bits == 16,
        "granularity": "TENSORWISE",
        "dtype": "INT",
    }
    weights = {"num_bits": weight_bits, "symmetric": True, "granularity": granularity, "dtype": "INT"}
    return {
        "regex": regex,
        "operation": operation,
        "algorithm_key": "min_max_uniform_quantize",
        "op_config": {
            "activation_tensor_config": activations,
            "weight_tensor_config": weights,
            "compute_precision": "INTEGER",
            "explicit_dequantize": False,
            "skip_checks": skip_checks,
        },
    }


def _quantized(float_model: bytes, rules: Sequence[dict[str, Any]], ranges: Mapping[str, Range]) -> bytes:
    """ai-edge-quantizer's three steps; its `Quantizer` also runs the model, in an interpreter that warns of itself."""
    manager = RecipeManager()
    manager.load_quantization_recipe(list(rules))
    extremes = {name: {"min": found.low, "max": found.high} for name, found in ranges.items()}
    model = read_for_quantizer(memoryview(float_model))
    try:
        parameters = ParamsGenerator(model).generate_quantization_parameters(
            manager, extremes, enable_progress_bar=False
        )
        made = ModelModifier(model).modify_model(parameters, enable_progress_bar=False)
    except _QUANTIZER_FAILURES as error:
        raise ConversionError(
            f"quantize.precision: expected a model that ai-edge-quantizer can quantize, got {error}. "
            f"Choose int8, which TensorFlow's converter makes."
        ) from error
    # From 256 KiB on it puts constants behind the flatbuffer, where TFLite Micro does not look.
    return self_contained(bytes(made))


def _ranges_that_hold_biases(graph: FloatGraph, quantized: bytes) -> dict[str, Range]:
    """Ranges of the kernels whose scale is too small for their bias: |b| / (s_input s_weights) above 2^30."""
    biases = {operator.kernel: operator.bias for operator in graph.operators if operator.bias is not None}
    unpacked = audit.read_model(quantized)
    tensors = unpacked.subgraphs[0].tensors
    ranges: dict[str, Range] = {}
    for operator, details in zip(unpacked.subgraphs[0].operators, audit.operator_details(quantized), strict=True):
        if details.name not in _ACTIVATION_INPUT:
            continue
        kernel, eaten = tensors[int(operator.inputs[1])], tensors[int(operator.inputs[_ACTIVATION_INPUT[details.name]])]
        name = kernel.name.decode(errors="replace")
        if biases.get(name) is None or kernel.quantization.scale is None or eaten.quantization.scale is None:
            continue
        scales = np.asarray(kernel.quantization.scale, np.float64)
        needed = np.abs(biases[name].astype(np.float64)) / (float(eaten.quantization.scale[0]) * _BIAS_LIMIT)
        needed = needed if scales.size > 1 else needed.max(keepdims=True)
        if (needed > scales).any():
            shape = [1] * graph.ranks[name]
            shape[int(kernel.quantization.quantizedDimension)] = scales.size
            largest = _LARGEST_INT4 if details.input_types[1] == "INT4" else _LARGEST_INT8
            bound = (np.maximum(needed, scales) * largest).reshape(shape)
            ranges[name] = Range(-bound, bound)
    return ranges


def _refuse_float_operators(quantized: bytes) -> None:
    left = sorted(set(audit.float_operators(quantized)))
    if left:
        raise ConversionError(
            f"quantize.precision: expected operators that compute in integers, got {', '.join(left)}, which "
            f"ai-edge-quantizer leaves in float at these bits. Replace the layer, or choose int8."
        )
