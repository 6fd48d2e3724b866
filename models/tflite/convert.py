"""From a Keras model to a TFLite file: float32, float16, dynamic_range and int8.

Every variant has one signature with a batch of exactly one row, so that TFLite Micro, which plans
its memory once, can run it. Only built-in operators are asked for: what the converter cannot
express with them is a `ConversionError`, never a fallback to TensorFlow's or to float operators.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from data.contract import ConversionError
from models.legacy_keras import keras, tf
from models.tflite import audit
from models.tflite.flatbuffer import pack
from models.tflite.integer_operators import join_integer_operators
from models.tflite.loops import OF_AN_LSTM, advice_on_loop
from models.tflite.recurrent_names import name_recurrent_kernels
from models.tflite.recurrent_states import widen_cell_states
from models.tflite.unrolled import unrolled_twin

ConverterPrecision = Literal["float32", "float16", "dynamic_range", "int8"]
"""What TensorFlow's converter makes; `models.tflite.mixed_precision` makes others of its float32."""

SIGNATURE, INPUT, OUTPUT = "serving_default", "input", "output_0"
"""What `get_signature_runner` of LiteRT finds in a file: TensorFlow's own names."""

# The converter's own exception has no public name; it is imported after legacy_keras, which has to be the first to
# import TensorFlow.
_ConverterError: type[Exception] = importlib.import_module("tensorflow.lite.python.convert_phase").ConverterError
_CONVERTER_FAILURES = (_ConverterError, tf.errors.OpError, ValueError, RuntimeError)


def convert(model: Any, precision: ConverterPrecision, calibration: NDArray[np.float32] | None = None) -> bytes:
    """Converts a functional Keras model to a TFLite file with a static batch of one row.

    The same weights give the same bytes, in any process: tensor names come from the layers' names
    alone, and the converter's metadata (which nothing at run time reads) is left out.

    Args:
        model: functional Keras model with one input and one output of known shapes.
        precision: `float32`: as trained; `float16`: weights stored in half, computed in float32;
            `dynamic_range`: weights of 1,024 elements or more in int8, activations float32;
            `int8`: weights, activations, input and output in int8 (Jacob et al. 2018, equation 1).
        calibration: (rows, *input_shape) float32, real training rows as the model eats them (see
            `models.tflite.calibration`); int8 alone needs them, and no other precision looks.

    Returns:
        The bytes of the .tflite file.

    Raises:
        ConversionError: the model has several inputs or outputs; int8 without calibration rows;
            the converter refused it; an int8 model would hold a loop, or came out with operators on floats; or an LSTM
            layer came out as something else than one operator.

    Reference:
        Jacob et al. 2018, Quantization and training of neural networks for efficient
        integer-arithmetic-only inference, section 2.1.
    """
    _check_arguments(model, precision, calibration)
    twin = unrolled_twin(model)
    if precision == "int8":
        _refuse_loops(twin)
    converter = _converter(twin)
    _ask_for(converter, precision, calibration)
    converted = _converted(converter, precision)
    unpacked = audit.read_model(converted)
    joined = precision == "int8" and join_integer_operators(unpacked)
    named = _name_signature(unpacked)
    recurrent = name_recurrent_kernels(unpacked, model)
    widened = widen_cell_states(unpacked)
    if joined or named or recurrent or widened:
        converted = pack(unpacked)
    if precision == "int8":
        _refuse_float_operators(converted)
    return converted


def _converter(model: Any) -> Any:
    """Returns a converter for `model` on one row; TensorFlow's own operators are never allowed."""
    # A name of its own for each conversion would end in the file: Keras numbers models as they come.
    twin = keras.Model(model.inputs, model.outputs, name="model")
    signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="input")
    function = tf.function(lambda x: twin(x, training=False), autograph=False)
    # Of a Keras model a SavedModel would hold every layer's functions, traced anew: seconds that nobody reads.
    weights = tf.Module(name="model")
    weights.held = twin.weights
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(signature)], weights)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.allow_custom_ops = False
    converter.exclude_conversion_metadata = True
    # Weights are frozen into the graph in memory: the default writes and reads a SavedModel, for the same constants and
    # operators at ten times the time. It alone keeps recurrent layers whole, so that they become one operator and not a
    # loop over steps.
    converter.experimental_lower_to_saved_model = _has_recurrent_layers(model)
    return converter


def _converted(converter: Any, precision: str) -> bytes:
    try:
        return bytes(converter.convert())
    except _CONVERTER_FAILURES as error:
        raise ConversionError(
            f"convert.variants: expected a model of TFLite's built-in operators, got {_first_line(error)} for "
            f"{precision!r}. Replace the layer it names, or leave this precision out."
        ) from error


def _has_recurrent_layers(model: Any) -> bool:
    return any(isinstance(layer, keras.layers.RNN) for layer in model.submodules)


def _refuse_loops(model: Any) -> None:
    """Refuses a loop over time steps before it is calibrated, which would end the process with a segmentation fault.

    Whether recurrent layers are fused shows in a file alone; one in float32 needs no calibration.
    """
    if not _has_recurrent_layers(model):
        return
    if "WHILE" not in audit.operators(_converted(_converter(model), "int8")):
        return
    looping = [(layer, advice_on_loop(layer)) for layer in model.layers]
    told = ", ".join(f"'{layer.name}'" for layer, advice in looping if advice) or "a recurrent layer"
    advice = next((advice for _, advice in looping if advice), OF_AN_LSTM)
    raise ConversionError(
        f"convert.variants: expected recurrent layers without a loop for 'int8', got WHILE of {told}. {advice}"
    )


def _name_signature(unpacked: Any) -> bool:
    """Names the input and the output, which the converter does for SavedModels alone; returns whether it had to."""
    if unpacked.signatureDefs:
        return False
    graph = unpacked.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey = SIGNATURE
    signature.subgraphIndex = 0
    signature.inputs = [_named_tensor(INPUT, graph.inputs[0])]
    signature.outputs = [_named_tensor(OUTPUT, graph.outputs[0])]
    unpacked.signatureDefs = [signature]
    return True


def _named_tensor(name: str, index: int) -> Any:
    tensor = schema.TensorMapT()
    tensor.name, tensor.tensorIndex = name, int(index)
    return tensor


def _ask_for(converter: Any, precision: ConverterPrecision, calibration: NDArray[np.float32] | None) -> None:
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8" and calibration is not None:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        converter.representative_dataset = lambda: _one_row_batches(calibration)


def _one_row_batches(calibration: NDArray[np.float32]) -> Iterator[list[NDArray[np.float32]]]:
    for row in calibration:
        yield [row[np.newaxis].astype(np.float32, copy=False)]


def _check_arguments(model: Any, precision: str, calibration: NDArray[np.float32] | None) -> None:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ConversionError(
            f"convert.variants: expected a model with one input and one output, got {len(model.inputs)} and "
            f"{len(model.outputs)}. Split it into models of one each."
        )
    if None in model.input_shape[1:]:
        raise ConversionError(
            f"convert.variants: expected a model whose input shape is known, got {model.input_shape}. "
            f"Give the Input layer every dimension."
        )
    if precision != "int8":
        return
    if calibration is None or len(calibration) == 0:
        raise ConversionError(
            "convert.calibration_rows: expected real training rows for 'int8', got none. "
            "Pass rows of the training split."
        )
    if calibration.shape[1:] != tuple(model.input_shape[1:]):
        raise ConversionError(
            f"convert.calibration_rows: expected rows of shape {tuple(model.input_shape[1:])}, got "
            f"{calibration.shape[1:]}. Pass rows as the model eats them."
        )
    if not np.isfinite(calibration).all():
        raise ConversionError(
            "convert.calibration_rows: expected finite numbers, got NaN or infinity. Look at the preprocessing."
        )


def _refuse_float_operators(converted: bytes) -> None:
    left = [name for name in audit.float_operators(converted) if name not in audit.FLOAT_OPERATORS_ALLOWED_IN_INT8]
    if left:
        raise ConversionError(
            f"convert.variants: expected integer operators only for 'int8', "
            f"got {', '.join(sorted(set(left)))} on floats. "
            f"Replace the layer they come from, or choose another precision."
        )


def _first_line(error: BaseException) -> str:
    """The first line of an error's message that says something, without the file it was raised in."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
