"""Texts and numbers as C99 takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np


def c_string(text: str) -> str:
    """Returns a C string literal of the UTF-8 bytes of a text.

    Bytes that are not plain are octal escapes of three digits, which end where they end; a question mark is escaped,
    so that no trigraph comes about.
    """
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def c_float(value: float) -> str:
    """Returns a C float literal that reads back as the same float32."""
    text = np.format_float_scientific(np.float32(value), unique=True, trim="0")
    return f"{text}f"


def enum_names(names: Sequence[str], prefix: str) -> list[str]:
    """Returns one C name for each; the position keeps names apart that differ in other than letters and digits.

    Args:
        names: of columns or channels.
        prefix: what the C names begin with, without the underscore.
    """
    found: list[str] = []
    for position, each in enumerate(names):
        word = re.sub(r"[^A-Z0-9]+", "_", each.upper().encode("ascii", "replace").decode()).strip("_")
        name = f"{prefix}_{word}"[:60]
        found.append(f"{name}_{position}" if not word or name in found else name)
    return found if len(set(found)) == len(found) else [f"{name}_AT_{place}" for place, name in enumerate(found)]


def commented(name: str) -> str:
    """Returns a name that can stand in a comment: printable ASCII, no end of the comment, no trigraph or backslash."""
    ascii_name = name.encode("ascii", "replace").decode()
    return re.sub(r"[^ -~]|[*/?\\]", "_", ascii_name)
