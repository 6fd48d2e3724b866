"""Quantization-aware training: a network learns to be right when it is rounded to int8.

It trains `models.fake_quantization`'s twin and ends with a plain Keras model and the ranges of its activations. The
twin is built again from the two wherever it is needed, as for conversion in another process, so no file ever holds a
custom layer. The converter takes scales from the fake quantization in the graph alone: no calibration rows are given.

Reference:
    Jacob et al. 2018, Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    section 3.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Batches, Checkpoints, ConversionError, Progress
from models.fake_quantization import Ranges, observe, ranges_of, rounding_twin
from models.held_kernels import HeldClusters, HeldZeros, existing_clusters
from models.kernel_maps import KernelMap, can_be_mapped, kernel_of, plain_model
from models.legacy_keras import keras, tf
from models.tflite import audit
from models.training import Objective, TrainingResult, TrainingSettings, train

_ConverterError: type[Exception] = importlib.import_module("tensorflow.lite.python.convert_phase").ConverterError


@dataclass
class AwareTraining:
    """What came of quantization-aware training.

    Attributes:
        model: a plain Keras model; its kernels are not rounded.
        ranges: (low, high) of its activations by layer name: JSON keeps them exactly.
        training: how the training went.
    """

    model: Any
    ranges: dict[str, tuple[float, float]]
    training: TrainingResult


def check_aware(model: Any) -> None:
    """Refuses what cannot be trained with quantization.

    Args:
        model: a functional or sequential Keras model.

    Raises:
        ConfigError: a layer cannot be rounded; it is named.
    """
    rounding_twin(model, {}, {})


def train_aware(
    model: Any,
    batches: Batches,
    validation: tuple[Any, NDArray[Any]],
    objective: Objective,
    settings: TrainingSettings,
    calibration: NDArray[np.float32],
    *,
    input_range: tuple[float, float] | None = None,
    clustered: Sequence[str] = (),
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> AwareTraining:
    """Trains a model that rounds as its int8 file will; zeros of its Dense and Conv2D kernels stay zeros.

    Given the same arguments the same bits come out, also where a killed training was resumed from its checkpoints.

    Args:
        model: a trained model, pruned and clustered or not; it is not changed.
        batches: training rows.
        validation: (x, y) as `train` takes them; the rounded model is what is scored.
        objective: loss and score.
        settings: how to train, at least one epoch; a tenth of the first training's rate is a good start.
        calibration: (rows, *input_shape) float32, training rows that the ranges start from.
        input_range: `Schema.input_range`: the input's scale is then `(high - low) / 255` exactly.
        clustered: names of layers whose kernels keep as few distinct values as they have.
        checkpoints: where the training keeps its state.
        progress: told of each epoch.

    Returns:
        A plain model and its ranges, for `convert_aware`.

    Raises:
        ConfigError: a layer cannot be rounded; it is named.
        ConversionError: the converter would refuse the model.
        TrainingError: as `train`.
    """
    twin = rounding_twin(model, {}, _held(model, clustered), input_range)
    observe(twin, calibration)
    convert_aware(model, ranges_of(twin))  # what the converter refuses is refused before the training, not after it
    result = train(twin, batches, validation, objective, settings, checkpoints=checkpoints, progress=progress)
    return AwareTraining(plain_model(model, twin), ranges_of(twin), result)


def convert_aware(model: Any, ranges: Ranges) -> bytes:
    """Converts a model that was trained with quantization to int8, by the ranges it was trained with.

    Args:
        model: `AwareTraining.model`, or that model loaded.
        ranges: `AwareTraining.ranges`.

    Returns:
        The bytes of an int8 .tflite file with a static batch of one row; int8 input and output.

    Raises:
        ConfigError: a layer cannot be rounded.
        ConversionError: the converter refused it, or operators on floats are left.
    """
    twin = rounding_twin(model, ranges, {})
    twin = keras.Model(twin.inputs, twin.outputs, name="model")
    signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="input")
    function = tf.function(lambda x: twin(x, training=False), autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(signature)], twin)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converter.exclude_conversion_metadata = True
    try:
        converted = bytes(converter.convert())
    except (_ConverterError, tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ConversionError(
            f"quantize.aware: expected a model that TFLite's converter takes, got {error}. Leave quantize.aware out."
        ) from error
    left = sorted(set(audit.float_operators(converted)))
    if left:
        raise ConversionError(
            f"quantize.aware: expected integer operators only, got {', '.join(left)} on floats. "
            "Leave quantize.aware out: int8 is then calibrated on training rows."
        )
    return converted


def _held(model: Any, clustered: Sequence[str]) -> dict[str, KernelMap]:
    """What keeps clusters and zeros, new for each twin."""
    held: dict[str, KernelMap] = {}
    for layer in model.layers:
        if not can_be_mapped(layer):
            continue
        kernel = kernel_of(layer).numpy()
        if layer.name in clustered:
            held[layer.name] = HeldClusters(existing_clusters(kernel))
        elif not kernel.all():
            held[layer.name] = HeldZeros(kernel != 0.0)
    return held
