"""A TFLite model as C++11 and C source, for firmware."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.contract import ConversionError
from models.golden_source import float_literal, identifier_of
from models.tflite.audit import operators
from models.tflite.interpreter import LiteRT, TensorInfo

ARENA_MARGIN = 0.25
"""Added to the measured arena: optimized kernels (CMSIS-NN, ESP-NN) ask for scratch buffers that the
measured reference kernels do without."""

_ARENA_ALIGNMENT = 16
_BYTES_A_LINE = 12
# Methods of MicroMutableOpResolver that are not spelled as the operator's words, each capitalized.
_RESOLVER_METHODS = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    "CUSTOM:TFLM_DECODE": "AddDecode",
}


@dataclass(frozen=True)
class ModelSource:
    """The two files of a model, to be written as `model_data.cc` and `model_data.h`."""

    cc: str
    h: str


def recommended_arena_bytes(measured_bytes: int) -> int:
    """Adds the margin to a measured arena and rounds up to whole 16 bytes.

    Args:
        measured_bytes: arena that TFLite Micro reported on this host.

    Returns:
        Bytes to reserve.
    """
    wanted = int(np.ceil(measured_bytes * (1.0 + ARENA_MARGIN)))
    return -(-wanted // _ARENA_ALIGNMENT) * _ARENA_ALIGNMENT


def resolver_methods(model: bytes) -> list[str]:
    """Lists the methods of TFLite Micro's `MicroMutableOpResolver` that register a model's operators.

    Args:
        model: bytes of a .tflite file.

    Returns:
        e.g. `["AddFullyConnected", "AddReshape", "AddSoftmax"]`, sorted, each once.

    Raises:
        ConversionError: the model has a custom operator that is not TFLite Micro's own.
    """
    names = sorted(set(operators(model)))
    foreign = [name for name in names if name.startswith(("CUSTOM", "UNKNOWN"))]
    custom = [name for name in foreign if name not in _RESOLVER_METHODS]
    if custom:
        raise ConversionError(
            f"model.tflite: expected built-in operators only, got {', '.join(custom)}. "
            f"Replace the layer they come from."
        )
    return [_resolver_method(name) for name in names]


def model_data_source(
    model: bytes, name: str, arena_bytes: int | None, arena_reason: str = "", unpacked: bytes | None = None
) -> ModelSource:
    """Writes a model as a 16-byte aligned array, with all that firmware has to know about it.

    The header compiles as C and as C++11. Besides the array and its length it gives the size of
    the arena, measured and recommended (25% more), shape, scale and zero point of input and
    output, and a function template that registers exactly the operators the model needs.

    Args:
        model: bytes of a .tflite file.
        name: name of the run; made a C identifier by turning what is no letter or digit into `_`.
        arena_bytes: arena that TFLite Micro took on this host; None where it cannot run the model.
        arena_reason: then: why.
        unpacked: of a model whose weights are encoded for TFLite Micro, the plain one, which LiteRT can read.

    Returns:
        Both files' text; same arguments, same text.

    Raises:
        ConversionError: the bytes are no TFLite model, or it has custom operators.
    """
    identifier = identifier_of(name)
    runtime = LiteRT(model if unpacked is None else unpacked)
    state = _STATE if "UNIDIRECTIONAL_SEQUENCE_LSTM" in operators(model) else ""
    cc = _C_FILE.format(identifier=identifier, bytes=_byte_rows(model), length=len(model))
    h = _H_FILE.format(
        identifier=identifier,
        guard=f"{identifier.upper()}_MODEL_DATA_H_",
        upper=identifier.upper(),
        length=len(model),
        arena=_arena_lines(identifier.upper(), arena_bytes, arena_reason),
        input=_tensor_lines(f"{identifier.upper()}_INPUT", runtime.input) + state,
        output=_tensor_lines(f"{identifier.upper()}_OUTPUT", runtime.output),
        resolver=_resolver_lines(identifier, resolver_methods(model)),
    )
    return ModelSource(cc=cc, h=h)


def _resolver_method(name: str) -> str:
    words = name.split("_")
    spelled = "".join(word if word[0].isdigit() else word.capitalize() for word in words)
    return _RESOLVER_METHODS.get(name, f"Add{spelled}")


def _byte_rows(model: bytes) -> str:
    rows = [model[start : start + _BYTES_A_LINE] for start in range(0, len(model), _BYTES_A_LINE)]
    return "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)


def _arena_lines(upper: str, arena_bytes: int | None, reason: str) -> str:
    if arena_bytes is None:
        return f"/* Arena: not measured. {_comment(reason)} */"
    return (
        f"/* Arena of TFLite Micro: measured with its reference kernels on a 64-bit host; recommended:\n"
        f" * {ARENA_MARGIN:.0%} more, for scratch buffers of optimized kernels. Align it to "
        f"{_ARENA_ALIGNMENT} bytes. */\n"
        f"#define {upper}_ARENA_MEASURED_BYTES {arena_bytes}u\n"
        f"#define {upper}_ARENA_BYTES {recommended_arena_bytes(arena_bytes)}u"
    )


def _tensor_lines(prefix: str, tensor: TensorInfo) -> str:
    shape = ", ".join(str(size) for size in tensor.shape)
    lines = [f"#define {prefix}_SIZE {int(np.prod(tensor.shape))}u"]
    if tensor.quantized:
        lines += [
            f"#define {prefix}_SCALE {float_literal(np.float32(tensor.scale))}",
            f"#define {prefix}_ZERO_POINT ({tensor.zero_point})",
        ]
        meaning = "real = (q - zero_point) * scale; q = round(real / scale) + zero_point, clipped"
    else:
        meaning = "not quantized"
    return "\n".join([f"/* {tensor.dtype}, shape ({shape}); {meaning}. */", *lines])


def _resolver_lines(identifier: str, methods: list[str]) -> str:
    checks = " &&\n         ".join(f"resolver.{method}() == 0" for method in methods)
    return (
        f"constexpr unsigned int {identifier}_operator_count = {len(methods)};\n\n"
        f"/* Registers what the model needs, and no more, with a\n"
        f" * tflite::MicroMutableOpResolver<{identifier}_operator_count>. True if all went well. */\n"
        f"template <typename Resolver>\n"
        f"bool {identifier}_add_operators(Resolver &resolver) {{\n"
        f"  return {checks};\n"
        f"}}"
    )


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\n", " ")


_STATE = (
    "\n\n/* The model remembers: call the interpreter's Reset() before each input, or it goes on from the last one. */"
)

_C_FILE = """\
/* Model `{identifier}`, a TFLite file of {length} bytes. Generated by Penjing. */
#include "model_data.h"

extern "C" {{
alignas(16) const unsigned char {identifier}_model[] = {{
{bytes}
}};
const unsigned int {identifier}_model_length = {length}u;
}}
"""

_H_FILE = """\
/* Model `{identifier}`. Generated by Penjing. C and C++11; model_data.cc is C++11. */
#ifndef {guard}
#define {guard}

#define {upper}_MODEL_BYTES {length}u

{arena}

{input}

{output}

#ifdef __cplusplus
extern "C" {{
#endif

/* The .tflite file, aligned to 16 bytes. */
extern const unsigned char {identifier}_model[];
extern const unsigned int {identifier}_model_length;

#ifdef __cplusplus
}}

{resolver}
#endif

#endif /* {guard} */
"""
