"""What a model file may ask for: a few bytes of architecture can name a layer that no memory holds.

The weights that layers make are counted against those that the file holds, as they are made. What layers do besides
(how many there are, how often they are called, how long a loop is written out) is limited by numbers that no network
for a small device comes near.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from data.contract import ConfigError
from models.legacy_keras import tf
from pipeline.own_model.keras_names import LAYERS

MAX_CALLS = 5_000
"""Layers that are laid on others, those of a model inside of the model as often as it is called."""

MAX_LEVELS = 16
"""Models and wrappers inside of each other."""

MAX_SIZE = 1 << 20
"""Largest size that a layer may be given: units, filters, a length, a factor."""

MAX_NUMBERS = 1 << 26
"""Largest tensor, a row, that a single operation may be told to make (256 MiB of float32)."""

MAX_UNROLLED_STEPS = 4_096
"""Steps of all recurrent layers that are written out one by one."""

SPARE_BYTES = 1 << 20
"""Bytes of weights that a file need not hold: counters, and what a layer keeps of its own."""

_SIZES = frozenset(
    (
        *("units", "filters", "kernel_size", "pool_size", "strides", "dilation_rate", "padding", "cropping", "size"),
        *("target_shape", "n", "num_heads", "key_dim", "value_dim", "input_dim", "output_dim", "batch_input_shape"),
        *("batch_shape", "input_shape", "depth_multiplier", "groups", "rank", "output_padding", "input_length"),
        *("attention_axes", "output_shape"),
    )
)
_SIZED_BY_ARGUMENT = frozenset({"tile", "repeat", "broadcast_to", "pad", "reshape", "image.resize"})
_MODELS = frozenset({"Functional", "Model", "Sequential"})


def check_architecture(config: Mapping[str, Any]) -> None:
    """Refuses a serialized model that asks for more layers, sizes or steps than may be.

    Args:
        config: class_name and config of the model, as the file has it.

    Raises:
        ConfigError: with the first limit that it breaks.
    """
    if _calls(config, 0) > MAX_CALLS:
        raise _refused(f"at most {MAX_CALLS:,} layers, those of inner models as often as they are called", "more")
    layers = list(_layers(config))
    for layer in layers:
        _check_layer(layer)
    unrolled = sum(bool(_told(layer).get("unroll")) for layer in layers)
    longest = _longest(layers)
    if unrolled * longest > MAX_UNROLLED_STEPS:
        got = f"{unrolled} such layers in a model of lengths up to {longest:,}"
        raise _refused(f"at most {MAX_UNROLLED_STEPS:,} steps in layers with unroll=True", got)


def _check_layer(layer: Mapping[str, Any]) -> None:
    """Refuses sizes beyond the limits."""
    told = _told(layer)
    for key in _SIZES & told.keys():
        if not max(map(abs, _numbers(told[key])), default=0) <= MAX_SIZE:
            raise _refused(f"sizes of at most {MAX_SIZE:,}", f"{key} {_short(told[key])} of {_name(layer)}")
    if _is_sized_by_argument(layer):
        numbers = [abs(number) for number in _numbers(layer.get("inbound_nodes")) if abs(number) > 1]
        if not math.prod(numbers) <= MAX_NUMBERS:
            raise _refused(f"operations that make at most {MAX_NUMBERS:,} numbers", f"more by {_name(layer)}")


def _longest(layers: Sequence[Mapping[str, Any]]) -> int:
    """Returns the longest dimension that the sizes of checked layers let one expect."""
    sizes, input_size, reshapes = [1], 1, False
    for layer in layers:
        told = _told(layer)
        for key in _SIZES & told.keys():
            sizes += [int(abs(number)) for number in _numbers(told[key])]
        for shape in (told.get("batch_input_shape"), told.get("batch_shape")):
            input_size = max(input_size, math.prod(int(size) for size in _numbers(shape)))
        reshapes = reshapes or -1 in _numbers(told.get("target_shape")) or _is_sized_by_argument(layer)
    # What a row is laid out to anew may be as long as the row has numbers.
    return max(*sizes, input_size if reshapes else 1)


def _is_sized_by_argument(layer: Mapping[str, Any]) -> bool:
    function = _told(layer).get("function")
    return layer.get("class_name") == "TFOpLambda" and isinstance(function, str) and function in _SIZED_BY_ARGUMENT


def _told(layer: Mapping[str, Any]) -> dict[str, Any]:
    told = layer.get("config")
    return told if isinstance(told, dict) else {}


@contextmanager
def within_weights(num_bytes: int) -> Iterator[None]:
    """Lets layers make as many bytes of weights as a file holds, and some to spare, and no more.

    Raises:
        ConfigError: they asked for more; it is raised before the memory is taken.
    """
    left = num_bytes + SPARE_BYTES
    refusal: list[ConfigError] = []

    def count(next_creator: Any, **options: Any) -> Any:
        nonlocal left
        shape = options.get("shape")
        dtype = tf.as_dtype(options.get("dtype") or tf.float32)
        known = shape is not None and tf.TensorShape(shape).is_fully_defined()
        asked = tf.TensorShape(shape).num_elements() * dtype.size if known else 0
        left -= asked
        if left < 0:
            got = f"{tuple(tf.TensorShape(shape))} for {str(options.get('name'))[:60]!r}"
            refusal.append(_refused(f"weights that the file holds ({num_bytes:,} bytes of them)", f"more, with {got}"))
            raise refusal[0]
        return next_creator(**options)

    try:
        with tf.variable_creator_scope(count):
            yield
    except Exception as error:
        if refusal and error is not refusal[0]:  # Keras words what is raised in a layer anew
            raise refusal[0] from error
        raise


def _calls(config: Any, level: int) -> int:
    """Returns how many layers a model lays, those of inner models as often as these are called."""
    if level > MAX_LEVELS:
        raise _refused(f"at most {MAX_LEVELS} models inside of each other", "more")
    inner = config.get("config") if isinstance(config, dict) else None
    listed = inner.get("layers") if isinstance(inner, dict) else None
    total = 0
    for layer in listed if isinstance(listed, list) else []:
        nodes = layer.get("inbound_nodes") if isinstance(layer, dict) else None
        times = max(1, len(nodes)) if isinstance(nodes, list) else 1
        is_model = isinstance(layer, dict) and layer.get("class_name") in _MODELS
        total += times * (_calls(layer, level + 1) if is_model else 1)
        if total > MAX_CALLS:
            break
    return total


def _layers(config: Any) -> Iterator[dict[str, Any]]:
    """Yields every serialized layer, those inside of others too."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str) and value["class_name"] in LAYERS | {"Lambda"}:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _numbers(value: Any) -> list[float]:
    """Returns all numbers in a value, however deep; NaN and infinity too, which nothing is at most."""
    found, waiting = [], [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | tuple):
            waiting.extend(each)
        elif isinstance(each, dict):
            waiting.extend(each.values())
        elif isinstance(each, int | float) and not isinstance(each, bool):
            found.append(each)
    return found


def _name(layer: Mapping[str, Any]) -> str:
    return f"layer {_short(_told(layer).get('name'))}"


def _short(value: Any) -> str:
    return ascii(value)[:60]


def _refused(rule: str, got: str) -> ConfigError:
    return ConfigError(
        f"model.file: expected {rule}, got {got}. Save the whole model anew; what is larger, no small device runs."
    )
