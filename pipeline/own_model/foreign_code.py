"""What of a serialized model could run code that is not Keras's own, found in its JSON before any of it is made.

tf_keras makes objects by name: it imports the module that a file names and calls what it finds there, and a Lambda
layer carries Python's byte code. So the names that may stand in a file are listed here, and all others are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from data.contract import ConfigError
from pipeline.config_reading.likeness import nearest


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = _words(
    """
    InputLayer Dense Activation Softmax ReLU LeakyReLU PReLU ELU ThresholdedReLU Dropout Flatten Reshape Permute
    RepeatVector Masking Conv1D Conv2D Conv1DTranspose Conv2DTranspose SeparableConv1D SeparableConv2D
    DepthwiseConv1D DepthwiseConv2D MaxPooling1D MaxPooling2D AveragePooling1D AveragePooling2D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalAveragePooling1D GlobalAveragePooling2D ZeroPadding1D
    ZeroPadding2D Cropping1D Cropping2D UpSampling1D UpSampling2D BatchNormalization SyncBatchNormalization
    LayerNormalization GroupNormalization UnitNormalization Normalization Rescaling Add Subtract Multiply
    Average Maximum Minimum Concatenate Dot LSTM GRU SimpleRNN LSTMCell GRUCell SimpleRNNCell StackedRNNCells
    RNN Bidirectional TimeDistributed Embedding EinsumDense Attention AdditiveAttention MultiHeadAttention
    ActivityRegularization GaussianNoise GaussianDropout AlphaDropout SpatialDropout1D SpatialDropout2D
    TFOpLambda SlicingOpLambda Functional Sequential Model
    """
)
"""Keras's layers that a file may hold: on floats, and none that reads files."""

OBJECTS = _words(
    """
    Zeros Ones Constant Identity Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling
    GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform L1 L2 L1L2 OrthogonalRegularizer
    MaxNorm MinMaxNorm NonNeg UnitNorm RadialConstraint Policy TensorShape __tuple__ __tensor__ __numpy__
    """
)
"""What else a layer's fields may hold: initializers, regularizers, constraints, plain values."""

FUNCTIONS = _words(
    """
    linear relu relu6 leaky_relu elu selu gelu sigmoid hard_sigmoid tanh softmax log_softmax swish silu softplus
    softsign exponential mish
    """
)
"""Keras's activations."""

OWN = frozenset(
    {
        ("models.activations", "hard_swish"),
        ("models.architectures.dropout", "StatelessDropout"),
    }
)
"""(module, name) of what Penjing's own networks hold besides."""

REGISTERED = frozenset(f"penjing>{name}" for _, name in OWN)
"""The same, as Keras looks them up among what is registered."""

OPERATIONS = re.compile(
    r"(math|nn|linalg|signal|__operators__|compat\.v1\.nn)\.\w+(\.\w+)*|reshape|expand_dims|squeeze|"
    r"concat|stack|unstack|split|transpose|cast|identity|pad|tile|reverse|slice|gather|where|"
    r"zeros_like|ones_like|clip_by_value|reduce_\w+|image\.resize|__getitem__|_slice_helper"
)
"""TensorFlow's functions that a layer of one operation may call: on numbers, without files and without Python."""

_MODULES = re.compile(r"(tf_)?keras(\.\w+)*|builtins")
_LAMBDA = "Lambda"


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
    told = [f"{each.what} in layer '{each.layer}'" for each in found]
    return f"{'; '.join(told[:3])}{f' and {len(told) - 3} more' if len(told) > 3 else ''}"


def _search(value: Any, layer: str) -> Iterator[ForeignCode]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _search(item, layer)
        return
    if not isinstance(value, dict):
        return
    name = value.get("class_name")
    inner = value.get("config")
    if name is not None and "config" in value:
        kind = _kind(name)
        if kind == "layer" and isinstance(inner, dict):
            layer = str(inner.get("name", layer))
        yield from _judge(value, name, kind, layer)
    elif "value" in value and isinstance(value["value"], list | tuple) and len(value) == 1:
        yield ForeignCode(layer, "Python byte code", allowable=False)
    for each in value.values():
        yield from _search(each, layer)


def _kind(name: Any) -> Literal["layer", "object", "function"]:
    if name == "function":
        return "function"
    return "object" if name in OBJECTS or name == "__lambda__" else "layer"


def _judge(value: dict[str, Any], name: Any, kind: str, layer: str) -> Iterator[ForeignCode]:
    inner, module = value.get("config"), value.get("module")
    if kind == "function":
        if not (inner in FUNCTIONS | REGISTERED and _is_keras(module)) and (module, inner) not in OWN:
            yield ForeignCode(layer, f"the function {_dotted(module, inner)}", allowable=False)
    elif name == "__lambda__":
        yield ForeignCode(layer, "a Python lambda", allowable=False)
    elif name == _LAMBDA and _is_keras(module) and isinstance(inner, dict):
        yield _lambda(inner, layer)
    elif (module, name) in OWN:
        return
    elif name not in LAYERS | OBJECTS | REGISTERED or not _is_keras(module):
        yield ForeignCode(layer, f"the class {_dotted(module, name)}", allowable=False)
    elif name == "TFOpLambda":
        operation = inner.get("function") if isinstance(inner, dict) else None
        if not isinstance(operation, str) or OPERATIONS.fullmatch(operation) is None:
            yield ForeignCode(layer, f"TensorFlow's function tf.{operation}", allowable=False)


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


def _is_keras(module: Any) -> bool:
    return module is None or (isinstance(module, str) and _MODULES.fullmatch(module) is not None)


def _dotted(module: Any, name: Any) -> str:
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else str(name)
