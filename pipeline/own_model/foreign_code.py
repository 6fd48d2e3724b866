"""What of a serialized model could run code that is not Keras's own, found in its JSON before any of it is made.

tf_keras makes objects by name: it imports the module that a file names and calls what it finds there, and a Lambda
layer carries Python's byte code. So the names that may stand in a file are listed, and all others are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from data.contract import ConfigError
from pipeline.config_reading.likeness import nearest
from pipeline.own_model.keras_names import (
    ACTIVATIONS,
    FUNCTION_MODULES,
    FUNCTIONS,
    LAYERS,
    MODULES,
    OBJECTS,
    OPERATIONS,
    OWN,
    REGISTERED,
    SLICINGS,
    is_object,
)

_LAMBDA = "Lambda"
_OPERATIONS = {"TFOpLambda": OPERATIONS, "SlicingOpLambda": SLICINGS}
_NESTED = frozenset({"layer", "backward_layer", "cell"})
_NUMBERS = frozenset({"bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"})


@dataclass(frozen=True)
class ForeignCode:
    """Something that would run code.

    Attributes:
        layer: name of the layer it stands in.
        what: what it is, in words.
        allowable: whether the file brings the code along, so that allowing the layer lets it run.
    """

    layer: str
    what: str
    allowable: bool


def foreign_code(configs: Iterable[Any]) -> list[ForeignCode]:
    """Finds all in serialized objects that is not of Keras or Penjing.

    Args:
        configs: JSON of models or layers; see `Architecture.configs`.

    Returns:
        One entry a layer and kind, in the order they stand in.

    Raises:
        ConfigError: JSON nested too deep to be looked at.
    """
    try:
        return list(dict.fromkeys(found for config in configs for found in _search(config, "the model")))
    except RecursionError as error:
        raise ConfigError("model.file: expected an architecture of few levels, got one nested too deep.") from error


def refuse_foreign_code(found: Iterable[ForeignCode], allowed: Iterable[str]) -> tuple[str, ...]:
    """Refuses what would run code and is not allowed by name.

    Args:
        found: by `foreign_code`.
        allowed: names of layers; `model.allow`.

    Returns:
        The allowed layers that do bring code.

    Raises:
        ConfigError: a layer is not allowed, cannot be, or is allowed and not there.
    """
    found, allowed = list(found), tuple(allowed)
    without = [each for each in found if not each.allowable]
    if without:
        raise ConfigError(
            f"model.file: expected Keras's own layers, got {_told(without)}. The file names code that it does not "
            "bring along: write a function that returns such a model of Keras's layers, and name it by model.builder."
        )
    names = list(dict.fromkeys(each.layer for each in found))
    for position, name in enumerate(allowed):
        if name not in names:
            near = nearest(name, names)
            hint = f" Did you mean '{near}'?" if near is not None else " Take it out."
            raise ConfigError(f"model.allow[{position}]: expected a layer that brings code along, got '{name}'.{hint}")
    refused = [each for each in found if each.layer not in allowed]
    if refused:
        lacking = ", ".join(dict.fromkeys(each.layer for each in refused))
        raise ConfigError(
            f"model.file: expected a model that runs no code of its own, got {_told(refused)}. Such code can do "
            f"whatever you can. If you trust the file, allow it by name: `allow: [{lacking}]`; or use Keras's layers."
        )
    return tuple(names)


def _told(found: list[ForeignCode]) -> str:
    told = [f"{each.what[:200]} in layer '{each.layer[:200]}'" for each in found]
    return f"{'; '.join(told[:3])}{f' and {len(told) - 3} more' if len(told) > 3 else ''}"


def _search(value: Any, layer: str) -> Iterator[ForeignCode]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _search(item, layer)
        return
    if not isinstance(value, dict):
        return
    if "class_name" in value:
        name, inner = value["class_name"], value.get("config")
        kind = _kind(name)
        if kind == "layer" and isinstance(inner, dict):
            layer = _word(inner.get("name", layer))
        yield from _judge(value, name, kind, layer)
    elif "value" in value and isinstance(value["value"], list | tuple) and len(value) == 1:
        yield ForeignCode(layer, "Python byte code", allowable=False)
    for key, each in value.items():
        if isinstance(each, str):
            yield from _judge_text(key, each, layer)
        yield from _search(each, layer)


def _kind(name: Any) -> Literal["layer", "object", "function"]:
    if name == "function":
        return "function"
    return "object" if isinstance(name, str) and (name in OBJECTS or name == "__lambda__") else "layer"


def _judge(value: dict[str, Any], name: Any, kind: str, layer: str) -> Iterator[ForeignCode]:
    inner, module = value.get("config"), value.get("module")
    named = inner if kind == "function" else name
    registered = value.get("registered_name")
    if not isinstance(named, str) or not isinstance(module, str | None) or not isinstance(registered, str | None):
        what = "function" if kind == "function" else "class"
        yield ForeignCode(layer, f"a {what} whose name is no text ({_dotted(module, named)})", allowable=False)
    elif name == "__lambda__":
        yield ForeignCode(layer, "a Python lambda", allowable=False)
    elif name == _LAMBDA and _is_keras(module) and registered in (None, name) and isinstance(inner, dict):
        yield _lambda(inner, layer)
    elif not _is_known(kind, module, named, registered):
        what = "function" if kind == "function" else "class"
        hides = registered not in (None, named, "function") and (module is None or module in MODULES)
        shown = f"{named} ({registered})" if hides else named
        yield ForeignCode(layer, f"the {what} {_dotted(module, shown)}", allowable=False)
    elif name in _OPERATIONS:
        operation = inner.get("function") if isinstance(inner, dict) else None
        if not isinstance(operation, str) or operation not in _OPERATIONS[name]:
            yield ForeignCode(layer, f"TensorFlow's function tf.{_word(operation)}", allowable=False)
    elif name in ("__tensor__", "__numpy__"):
        dtype = inner.get("dtype") if isinstance(inner, dict) else None
        if not isinstance(dtype, str) or dtype not in _NUMBERS:
            yield ForeignCode(layer, f"numbers of the type {_word(dtype)}", allowable=False)


def _is_known(kind: str, module: str | None, name: str, registered: str | None) -> bool:
    """Whether Keras finds its own, or Penjing's, by what a serialized object says of where it lies.

    `registered_name` is looked up too, among what is registered and in the module.
    """
    if (module, name) in OWN:
        return registered in (None, name) or registered in REGISTERED
    if registered not in (None, name, "function" if kind == "function" else name):
        return False
    if name in REGISTERED:
        return _is_keras(module) or module in FUNCTION_MODULES
    if kind == "function":
        return name in FUNCTIONS and (module is None or module in FUNCTION_MODULES)
    return (name in LAYERS or name in OBJECTS) and _is_keras(module)


def _judge_text(key: Any, text: str, layer: str) -> Iterator[ForeignCode]:
    """Judges what a field names by text alone: Keras looks that up among all that one of its modules holds."""
    kind = str(key).rpartition("_")[2]
    if kind == "activation" and text not in ACTIVATIONS:
        yield ForeignCode(layer, f"the function {_word(text)}", allowable=False)
    elif kind in ("initializer", "regularizer", "constraint") and not is_object(text):
        yield ForeignCode(layer, f"the {kind} {_word(text)}", allowable=False)
    elif key in _NESTED:
        yield ForeignCode(layer, f"the class {_word(text)}", allowable=False)


def _lambda(inner: dict[str, Any], layer: str) -> ForeignCode:
    """A Lambda layer brings byte code, or names a function of a module."""
    function = inner.get("function")
    brings = isinstance(function, list | tuple) or (
        isinstance(function, dict) and function.get("class_name") in ("__lambda__", "__tuple__")
    )
    if brings:
        return ForeignCode(layer, "Python byte code (a Lambda layer)", allowable=True)
    named = function.get("config") if isinstance(function, dict) else function
    return ForeignCode(layer, f"a Lambda layer of the function {_dotted(inner.get('module'), named)}", allowable=False)


def _is_keras(module: str | None) -> bool:
    return module is None or module in MODULES


def _dotted(module: Any, name: Any) -> str:
    return _word(f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name)


def _word(value: Any) -> str:
    """What a file says, in one line that can be shown."""
    return value if isinstance(value, str) and value.isprintable() else ascii(value)
