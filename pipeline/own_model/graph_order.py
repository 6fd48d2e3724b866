"""Whether the layers of a serialized network can be laid one after the other.

tf_keras lays what it can and begins again, until nothing is left: of a network whose layers wait for each other, or
for an output that is never made, it would do so for ever.

Reference:
    tf_keras/src/engine/functional.py, reconstruct_from_config.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

MAX_ROUNDS = 64
"""Times that layers are gone through; networks are saved in an order in which one is enough, or a few."""

_MODELS = frozenset({"Functional", "Model", "Sequential"})


def waiting_layer(config: Any) -> str | None:
    """Returns the name of a layer that is never laid, or too late; None where all of them are.

    Args:
        config: a serialized model; those inside of it are looked at too.
    """
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
            stuck = _stuck(value.get("layers"))
            if stuck is not None:
                return stuck
    return None


def _stuck(layers: Any) -> str | None:
    listed = [each for each in layers if isinstance(each, dict)] if isinstance(layers, list) else []
    nodes: dict[str, list[Any]] = {}
    made: dict[str, int] = {}
    for layer in listed:
        name, calls = layer.get("name"), layer.get("inbound_nodes")
        if not isinstance(name, str):
            continue  # Keras refuses it by itself
        calls = calls if isinstance(calls, list) else []
        nodes[name] = [*nodes.get(name, []), *calls]  # a copy: calls are taken out
        # A model inside of it was called when it was made: its first call is no node of this one.
        made[name] = int(layer.get("class_name") in _MODELS) or int(layer.get("class_name") == "InputLayer")
    waiting = {name: calls for name, calls in nodes.items() if calls}
    for _ in range(MAX_ROUNDS):
        for name in list(waiting):
            calls = waiting[name]
            while calls and all(_is_made(each, made) for each in _outputs(calls[0], made)):
                calls.pop(0)
                made[name] += 1
            if not calls:
                del waiting[name]
        if not waiting:
            return None
    return next(iter(waiting))


def _outputs(node: Any, made: dict[str, int]) -> Iterator[list[Any]]:
    """Yields what of the data of a node names an output of a layer: [layer, node, tensor, …]."""
    if isinstance(node, dict):
        for each in node.values():
            yield from _outputs(each, made)
    elif isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str) and node[0] in made:
            yield node
        for each in node:
            yield from _outputs(each, made)


def _is_made(output: list[Any], made: dict[str, int]) -> bool:
    name, number = output[0], output[1]
    return isinstance(number, int) and 0 <= number < made[name]
