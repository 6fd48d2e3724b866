"""Whether the layers of a serialized network can be connected at all.

tf_keras connects them by going round and round: a call whose inputs are not there yet is put off to the next round.
It says of itself that malformed networks may keep it at that for ever. So its rounds are gone through here first, with
names in place of tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from data.contract import ConfigError

Reference = tuple[Any, Any]
"""(name of a layer, which of its calls)."""

MAX_ROUNDS = 64
"""Rounds that a network may take; as Keras saves it, one connects all layers, or a few do."""

_CONSTANT = "_CONSTANT_VALUE"
_MODELS = ("Functional", "Model", "Sequential")


def check_wiring(configs: Iterable[Any]) -> None:
    """Refuses networks whose layers wait for one another, or for a call that never comes.

    What is malformed in other ways is left to Keras, which refuses it.

    Args:
        configs: JSON of models or layers; see `Architecture.configs`.

    Raises:
        ConfigError: a layer's input never comes to be.
    """
    for layers in _networks(list(configs)):
        waiting = _left_over(layers)
        if waiting is not None:
            raise ConfigError(
                "model.file: expected layers that can be connected one after another, got layer "
                f"{str(waiting)[:200]!r}, whose input never comes to be. Save it anew from the code that made it."
            )


def _networks(value: Any) -> Iterator[list[dict[str, Any]]]:
    """Finds the layers of each functional network, those within layers too."""
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from _networks(item)
    layers = value.get("layers") if isinstance(value, dict) else None
    if isinstance(layers, list) and any(isinstance(each, dict) and "inbound_nodes" in each for each in layers):
        yield [each for each in layers if isinstance(each, dict) and isinstance(each.get("name"), str)]


def _left_over(layers: list[dict[str, Any]]) -> str | None:
    """Goes through Keras's rounds; returns a layer that is left when a round connects nothing more, or all are over."""
    inputs = {each["name"] for each in layers if each.get("class_name") == "InputLayer"}
    calls_made = {each["name"]: range(_calls_before(each), _calls_before(each)) for each in layers}
    waiting: dict[str, list[list[Reference]]] = {
        each["name"]: [list(_references(node)) for node in _nodes(each)] for each in layers
    }
    for _ in range(MAX_ROUNDS):
        if not any(waiting.values()):
            return None
        progress = False
        for name, calls in waiting.items():
            while calls and all(_is_there(reference, inputs, calls_made) for reference in calls[0]):
                calls.pop(0)
                calls_made[name] = range(calls_made[name].start, calls_made[name].stop + 1)
                progress = True
        if not progress:
            break
    return next((name for name, calls in waiting.items() if calls), None)


def _nodes(layer: dict[str, Any]) -> list[Any]:
    nodes = layer.get("inbound_nodes")
    return nodes if isinstance(nodes, list) else []


def _calls_before(layer: dict[str, Any]) -> int:
    """How many calls a layer has before its first one here: a model that begins with its own input has one."""
    config = layer.get("config")
    layers = config.get("layers") if isinstance(config, dict) else None
    if layer.get("class_name") not in _MODELS or not isinstance(layers, list) or not layers:
        return 0
    first = layers[0] if isinstance(layers[0], dict) else {}
    inner = first.get("config")
    shaped = isinstance(inner, dict) and inner.get("batch_input_shape") is not None
    return int(layer["class_name"] != "Sequential" or first.get("class_name") == "InputLayer" or shaped)


def _references(node: Any) -> Iterator[Reference]:
    """Finds what a call takes: lists that begin with a layer's name and two numbers, keyword arguments included."""
    if isinstance(node, dict):
        for each in node.values():
            yield from _references(each)
    elif isinstance(node, list | tuple):
        if len(node) >= 3 and isinstance(node[0], str) and not isinstance(node[1], list | tuple | dict):
            if node[0] != _CONSTANT:
                yield node[0], node[1]
            yield from _references(node[3:])
        else:
            for each in node:
                yield from _references(each)


def _is_there(reference: Reference, inputs: set[str], calls_made: dict[str, range]) -> bool:
    """Whether an input is there; one of a layer that is not in the file is refused by Keras."""
    name, call = reference
    return name in inputs or name not in calls_made or call in calls_made[name]
