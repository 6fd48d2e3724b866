"""Quantization-aware training: the rounding twin by hand and beside TFMOT, and what becomes of it in the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.contract import ConfigError
from models.architectures.builder import build
from models.clustering import cluster, distinct_values, plan_clusters
from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig
from models.fake_quantization import RoundedKernel, observe, ranges_of, rounding_twin
from models.legacy_keras import keras, tf, tfmot
from models.pruning.kernels import prunable_kernels
from models.pruning.weights import local_mask
from models.quantization import check_aware, convert_aware, train_aware
from models.tasks import task_for
from models.tflite import audit
from models.tflite.calibration import with_range_ends
from models.tflite.convert import convert
from models.tflite.interpreter import LiteRT
from models.tflite.kernels import distinct_by_layer
from models.tflite.micro import MicroResult, run_micro
from models.tflite.zeros import check_zeros
from models.training import TrainingSettings, predict, train

ROOT = Path(__file__).resolve().parents[2]
TASK = task_for("classification")


def settings(epochs: int = 2, rate: float = 0.001) -> TrainingSettings:
    return TrainingSettings(epochs=epochs, optimizer=OptimizerConfig(learning_rate=rate, schedule="constant"), seed=1)


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """240 pictures of bright stripes at one of three places, with noise: x (240, 8, 8, 1) in [0, 1], y (240,)."""
    generator = np.random.default_rng(5)
    y = generator.integers(0, 3, 240).astype(np.int32)
    x = 0.5 * generator.random((240, 8, 8, 1))
    for row, label in zip(x, y, strict=True):
        row[2 * label : 2 * label + 3] += 0.3
    return np.round(np.clip(x, 0, 1) * 255).astype(np.float32) / np.float32(255), y


def network(schema: Any) -> Any:
    blocks = (BlockConfig(filters=6, pool=2), BlockConfig(filters=8, separable=True))
    config = CnnConfig(family="cnn", blocks=blocks, head_units=(12,), activation="relu")
    return build(config, schema, "classification", 1)


# ------------------------------------------------------------------------------------ rounding


def rounded_by_hand(values: np.ndarray, limit: Any) -> np.ndarray:
    """Jacob 2018, equation (12), with 254 steps from -limit to limit."""
    scale = 2 * np.asarray(limit, np.float64) / 254
    return np.rint(np.clip(values, -limit, limit) / scale) * scale


@pytest.mark.parametrize("depthwise", [False, True])
def test_kernels_are_rounded_by_equation_12(depthwise: bool) -> None:
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4, 2)).astype(np.float32)
    axes = (0, 1) if depthwise else (0, 1, 2)
    layer = keras.layers.DepthwiseConv2D(3) if depthwise else keras.layers.Conv2D(2, 3)
    rounded = RoundedKernel(per_channel=True)
    rounded.build(layer)
    expected = rounded_by_hand(kernel, np.abs(kernel).max(axis=axes, keepdims=True))
    np.testing.assert_allclose(rounded.used(tf.constant(kernel), False).numpy(), expected, atol=1e-6)
    whole = RoundedKernel(per_channel=False).used(tf.constant(kernel), False).numpy()
    np.testing.assert_allclose(whole, rounded_by_hand(kernel, np.abs(kernel).max()), atol=1e-6)


def test_a_gradient_passes_the_rounding_straight_through() -> None:
    kernel = tf.Variable(np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(RoundedKernel(per_channel=False).used(tf.convert_to_tensor(kernel), True) * 3.0)
    np.testing.assert_array_equal(tape.gradient(loss, kernel).numpy(), np.full((4, 3), 3.0))


def test_a_twin_answers_as_tfmots_with_the_same_ranges() -> None:
    inputs = keras.Input((5,), name="input")
    hidden = keras.layers.Dense(6, activation="relu", name="dense_1")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="output")(hidden))
    x = np.random.default_rng(2).normal(size=(40, 5)).astype(np.float32)
    twin = rounding_twin(model, {}, {})
    observe(twin, x)
    ranges = ranges_of(twin)
    reference = tfmot().quantization.keras.quantize_model(model)
    for variable in reference.variables:
        name = variable.name
        if name.endswith("kernel_min:0") or name.endswith("kernel_max:0"):
            layer = name.split("/")[0].removeprefix("quant_")
            limit = np.abs(model.get_layer(layer).kernel.numpy()).max()
            variable.assign(limit if "max" in name else -limit)
        for ours, theirs in (("input", "quantize_layer/quantize_layer_"), ("dense_1", "quant_dense_1/post_activation_"),
                             ("output", "quant_output/post_activation_")):  # fmt: skip
            if name.startswith(theirs):
                variable.assign(ranges[ours][int("max" in name)])
    np.testing.assert_allclose(predict(twin, x), predict(reference, x), atol=1e-5)


# ------------------------------------------------------------------------------------ training


@pytest.fixture
def trained(image_schema: Any, pictures: Any, memory_batches: Any) -> Any:
    """A network with 60% zeros that was trained and clustered to 6 values."""
    model = network(image_schema)
    batches = memory_batches(*pictures, 32)
    train(model, batches, pictures, TASK, settings(4, 0.01))
    for kernel in prunable_kernels(model).kernels.values():
        kernel.assign(kernel * local_mask(kernel.numpy(), 0.6))
    plan = plan_clusters(model, 6, "linear", 40, 5)
    return cluster(model, plan, batches, pictures, TASK, settings(1)).model, list(plan.layers), batches


def aware(trained: Any, pictures: Any, **more: Any) -> Any:
    model, clustered, batches = trained
    calibration = with_range_ends(pictures[0][:100], (0.0, 1.0))
    return train_aware(
        model, batches, pictures, TASK, settings(3), calibration, input_range=(0.0, 1.0), clustered=clustered, **more
    )


def test_zeros_and_clusters_survive_in_keras_and_in_the_file(trained: Any, pictures: Any) -> None:
    before, clustered, _ = trained
    result = aware(trained, pictures)
    assert clustered == ["block_1_conv", "block_2_pointwise", "dense_1"]
    masks = {name: kernel.numpy() != 0 for name, kernel in prunable_kernels(before).kernels.items()}
    for name, keep in masks.items():
        kernel = result.model.get_layer(name).kernel.numpy()
        assert not kernel[~keep].any()
        assert (kernel != before.get_layer(name).kernel.numpy()).any(), name  # it was trained
    assert max(distinct_values(result.model, clustered).values()) <= 6
    file = convert_aware(result.model, result.ranges)
    assert all(finding.passed for finding in check_zeros(file, masks))
    assert all(count is not None and count <= 6 for count in distinct_by_layer(file, clustered).values())


def test_the_file_computes_in_integers_what_was_trained(trained: Any, pictures: Any) -> None:
    result = aware(trained, pictures)
    file = convert_aware(result.model, result.ranges)
    assert audit.float_operators(file) == []
    runtime = LiteRT(file)
    assert (np.float32(runtime.input.scale), runtime.input.zero_point) == (np.float32(1) / np.float32(255), -128)
    answers = runtime.predict(pictures[0])
    rounding = predict(rounding_twin(result.model, result.ranges, {}), pictures[0])
    steps = np.abs(answers - rounding) * 256
    assert np.mean(steps <= 2) > 0.99
    assert np.abs(answers - rounding).max(axis=1).mean() < 0.01
    micro = run_micro(file, runtime.quantize(pictures[0][:40]))
    assert isinstance(micro, MicroResult)
    assert np.abs(micro.outputs.astype(int) - runtime.invoke(runtime.quantize(pictures[0][:40])).astype(int)).max() <= 2


def test_rounding_costs_less_than_after_training(trained: Any, pictures: Any) -> None:
    x, y = pictures
    model = trained[0]
    after = LiteRT(convert(model, "int8", with_range_ends(x[:100], (0.0, 1.0))))
    result = aware(trained, pictures)
    during = LiteRT(convert_aware(result.model, result.ranges))
    assert TASK.score(y, during.predict(x)) >= TASK.score(y, after.predict(x))


def test_a_killed_training_resumes_with_the_same_bits(
    trained: Any, pictures: Any, checkpoints: Any, killed: Any
) -> None:
    whole = aware(trained, pictures)
    checkpoints.kill_after = 1
    with pytest.raises(killed):
        aware(trained, pictures, checkpoints=checkpoints)
    resumed = aware(trained, pictures, checkpoints=checkpoints)
    assert resumed.ranges == whole.ranges
    for ours, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_process_converts_the_kept_model_to_the_same_bytes(trained: Any, pictures: Any, tmp_path: Path) -> None:
    result = aware(trained, pictures)
    result.model.save(tmp_path / "model.keras")
    (tmp_path / "ranges.json").write_text(json.dumps(result.ranges))
    program = (
        "import json, sys; from pathlib import Path\n"
        "from models.legacy_keras import keras; from models.quantization import convert_aware\n"
        "folder = Path(sys.argv[1]); model = keras.models.load_model(folder / 'model.keras', compile=False)\n"
        "ranges = {name: tuple(ends) for name, ends in json.loads((folder / 'ranges.json').read_text()).items()}\n"
        "(folder / 'model.tflite').write_bytes(convert_aware(model, ranges))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "model.tflite").read_bytes() == convert_aware(result.model, result.ranges)


# ------------------------------------------------------------------------------------ refusals


def test_what_cannot_be_rounded_is_refused_by_name() -> None:
    inputs = keras.Input((6, 4), name="input")
    recurrent = keras.Model(inputs, keras.layers.Dense(2, name="output")(keras.layers.LSTM(3, name="memory")(inputs)))
    with pytest.raises(ConfigError, match=r"quantize\.aware: expected layers .* got 'memory': it is of type LSTM\."):
        check_aware(recurrent)
    alone = keras.Input((4,), name="input")
    normalized = keras.layers.BatchNormalization(name="norm")(alone)
    with pytest.raises(ConfigError, match="got 'norm': it does not follow a convolution"):
        check_aware(keras.Model(alone, keras.layers.Dense(2, name="output")(normalized)))
    with pytest.raises(ConfigError, match="got 'output': its activation is elu"):
        check_aware(keras.Model(alone, keras.layers.Dense(2, activation="elu", name="output")(alone)))


def test_an_mlp_of_tanh_and_sigmoid_is_rounded(vector_schema: Any, blobs: Any, memory_batches: Any) -> None:
    for activation in ("tanh", "sigmoid"):
        config = MlpConfig(family="mlp", units=(8,), activation=activation)  # type: ignore[arg-type]
        model = build(config, vector_schema, "classification", 1)
        batches = memory_batches(*blobs, 32)
        result = train_aware(model, batches, blobs, TASK, settings(2, 0.01), blobs[0])
        answers = LiteRT(convert_aware(result.model, result.ranges)).predict(blobs[0])
        rounding = predict(rounding_twin(result.model, result.ranges, {}), blobs[0])
        assert np.abs(answers - rounding).max(axis=1).mean() < 0.01


def ready(build: Any, rows: np.ndarray) -> tuple[Any, dict[str, tuple[float, float]]]:
    """A network on top of what `build` lays on the inputs, and the ranges of its activations on some rows."""
    inputs = keras.Input(rows.shape[1:], name="input")
    flat = keras.layers.Flatten()(build(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax", name="output")(flat))
    twin = rounding_twin(model, {}, {})
    observe(twin, rows)
    return model, ranges_of(twin)


def emptied(layer: Any, inputs: Any) -> Any:
    """The layer with a bias of its own in every channel, and two channels without weights."""
    outputs = layer(inputs)
    kernel, bias = layer.get_weights()
    kernel.reshape(-1, bias.size)[:, :2] = 0.0
    bias[:] = np.linspace(0.3, 0.9, bias.size)
    layer.set_weights([kernel, bias])
    return outputs


@pytest.mark.parametrize(
    "build",
    [
        lambda inputs: emptied(keras.layers.Conv2D(4, 3, activation="relu", name="a"), inputs),
        lambda inputs: emptied(keras.layers.DepthwiseConv2D(3, activation="relu", name="a"), inputs),
        lambda inputs: emptied(keras.layers.Dense(2, activation="relu", name="a"), keras.layers.Flatten()(inputs)),
    ],
    ids=["convolution", "depthwise", "a whole dense layer"],
)
def test_the_bias_of_an_emptied_channel_fits_its_32_bits(build: Any) -> None:
    rows = np.random.default_rng(4).random((64, 6, 6, 3)).astype(np.float32)
    model, ranges = ready(build, rows)
    runtime = LiteRT(convert_aware(model, ranges))
    quantized = runtime.quantize(rows)
    fed = (quantized.astype(np.float32) - runtime.input.zero_point) * np.float32(runtime.input.scale)
    expected = rounding_twin(model, ranges, {})(fed, training=False).numpy()
    assert np.abs(runtime.dequantize(runtime.invoke(quantized)) - expected).max() <= 1.01 * runtime.output.scale


def test_a_layer_that_is_called_twice_is_refused() -> None:
    layer = keras.layers.Conv2D(3, 3, padding="same", name="twice")
    with pytest.raises(ConfigError, match="got 'twice': it is called more than once"):
        ready(lambda inputs: layer(layer(inputs)), np.zeros((2, 4, 4, 3), np.float32))


def test_batch_normalization_behind_a_rectifier_is_refused() -> None:
    convolution = keras.layers.Conv2D(3, 3, activation="relu", name="a")
    normalization = keras.layers.BatchNormalization(name="b")
    with pytest.raises(ConfigError, match="got 'b': it does not follow a convolution that it could be folded into"):
        ready(lambda inputs: normalization(convolution(inputs)), np.zeros((2, 4, 4, 3), np.float32))
