from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.compression_config import Precision
from models.legacy_keras import clone, keras
from models.tflite.calibration import calibration_rows
from models.tflite.convert import convert
from models.tflite.zeros import check_zeros

PRECISIONS: list[Precision] = ["float32", "float16", "dynamic_range", "int8"]
CNN_LAYERS = ["conv_1", "depthwise_2", "conv_2", "output"]


def _kernel(layer: Any) -> Any:
    return layer.depthwise_kernel if hasattr(layer, "depthwise_kernel") else layer.kernel


def _pruned(model: Any, layers: list[str]) -> tuple[Any, dict[str, np.ndarray]]:
    """A copy with 60% of the weights of these layers at zero, and the masks, True where kept."""
    model, masks = clone(model), {}
    generator = np.random.default_rng(4)
    for name in layers:
        kernel = _kernel(model.get_layer(name))
        masks[name] = generator.random(kernel.shape) > 0.6
        kernel.assign(kernel.numpy() * masks[name])
    return model, masks


@pytest.fixture(scope="module")
def pruned(mlp: Any, cnn: Any, digits: np.ndarray) -> dict[Any, Any]:
    rows = calibration_rows(digits.__getitem__, len(digits), (0.0, 1.0), 50, 1)
    made: dict[Any, Any] = {}
    for network, model, layers in (("mlp", mlp, ["dense_1", "output"]), ("cnn", cnn, CNN_LAYERS)):
        sparse, made[network] = _pruned(model, layers)
        made.update({(network, precision): convert(sparse, precision, rows) for precision in PRECISIONS})
    return made


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_pruned_zeros_are_found_in_every_precision(pruned: Any, network: str, precision: str) -> None:
    masks = pruned[network]
    findings = check_zeros(pruned[network, precision], masks)
    assert [finding.layer for finding in findings] == list(masks)
    assert [finding.message for finding in findings] == [""] * len(masks)
    assert all(finding.passed for finding in findings)
    assert [finding.pruned for finding in findings] == [int((~mask).sum()) for mask in masks.values()]
    assert all(finding.tensor is not None and f"/{finding.layer}/" in finding.tensor for finding in findings)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("layer", CNN_LAYERS)
def test_one_revived_weight_is_found(pruned: Any, edited: Callable[..., bytes], layer: str, precision: str) -> None:
    masks = pruned["cnn"]
    sound = next(f for f in check_zeros(pruned["cnn", precision], masks) if f.layer == layer)
    zero = next(position for position in np.argwhere(~masks[layer]))

    def revive(unpacked: Any) -> None:
        tensor = next(t for t in unpacked.subgraphs[0].tensors if t.name.decode() == sound.tensor)
        shape = [int(size) for size in tensor.shape]
        mask_order = np.arange(masks[layer].size).reshape(masks[layer].shape)
        stored = mask_order.reshape(shape) if layer == "depthwise_2" else np.moveaxis(mask_order, -1, 0).reshape(shape)
        place = int(np.flatnonzero(stored.ravel() == mask_order[tuple(zero)])[0])
        buffer = unpacked.buffers[tensor.buffer]
        data = np.array(buffer.data, np.uint8)
        width = data.size // masks[layer].size
        data[place * width + width - 1] = 1  # the highest byte: no denormal, which a thread may flush
        buffer.data = data

    findings = {f.layer: f for f in check_zeros(edited(pruned["cnn", precision], revive), masks)}
    assert findings[layer].revived == 1
    assert findings[layer].message == f"1 of {sound.pruned} pruned weights are not zero"
    assert [name for name, finding in findings.items() if not finding.passed] == [layer]


def test_a_transposed_square_kernel_is_not_taken_for_right(digits: np.ndarray) -> None:
    """64 x 64: only the order tells the weights apart."""
    inputs = keras.Input((64,))
    layer = keras.layers.Dense(64, name="square")
    model = keras.Model(inputs, layer(inputs))
    mask = np.triu(np.ones((64, 64), bool), 1)
    layer.kernel.assign(np.where(mask, 0.5, 0.0))
    model_bytes = convert(model, "float32")
    assert check_zeros(model_bytes, {"square": mask})[0].passed
    assert check_zeros(model_bytes, {"square": mask.T})[0].revived == 64 * 63 // 2


def test_a_layer_that_is_not_in_the_file_is_a_finding(pruned: Any) -> None:
    masks = {"dense_9": np.zeros((3, 5), bool), "dense_1": np.zeros((64, 21), bool)}
    findings = check_zeros(pruned["mlp", "int8"], masks)
    assert [finding.passed for finding in findings] == [False, False]
    assert findings[0].message == "0 tensors of the file fit the kernel (3, 5) of this layer"
    assert findings[1].revived == findings[1].pruned == 64 * 21


def test_without_names_the_only_tensor_of_that_shape_is_taken(pruned: Any, edited: Callable[..., bytes]) -> None:
    def forget_names(unpacked: Any) -> None:
        for tensor in unpacked.subgraphs[0].tensors:
            tensor.name = b"t"

    assert all(f.passed for f in check_zeros(edited(pruned["mlp", "int8"], forget_names), pruned["mlp"]))
