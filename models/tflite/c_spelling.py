"""How names, types and numbers are spelled in C."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from data.contract import ConversionError

_C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}


def c_identifier(name: str) -> str:
    """Returns a name as C can spell it: what is no letter or digit becomes `_`."""
    identifier = re.sub(r"[^A-Za-z0-9]", "_", name)
    return f"model_{identifier}" if identifier == "" or identifier[0].isdigit() else identifier


def c_type(dtype: np.dtype[Any]) -> str:
    """Returns what C calls the type of an array's elements.

    Raises:
        ConversionError: it is none that a model's tensors or raw rows have.
    """
    found = _C_TYPES.get(dtype.name)
    if found is None:
        raise ConversionError(
            f"golden: expected values of {', '.join(_C_TYPES)}, got {dtype}. Pass the model's own types."
        )
    return found


def c_number(value: np.float32) -> str:
    """Writes a float32 with nine significant digits, which give it back; `NAN` is math.h's."""
    if np.isnan(value):
        return "NAN"
    text = f"{float(value):.9g}"
    return f"{text if any(mark in text for mark in '.e') else text + '.0'}f"
