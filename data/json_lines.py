"""Reads JSON lines: an object a line, whose keys are columns; strictly, and with the line of what is wrong."""

from __future__ import annotations

import io
import json
import re
from typing import IO, Any

import numpy as np

from data.contract import DataError
from data.unpacking import most_unpacked

BLOCK_BYTES = 2**20
"""Bytes that a thread parses at once."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

MOST_NESTED = 32
"""Deepest nesting that is read: the parser goes a step down its stack for each level, and breaks down at its end."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_KEY = re.compile(rb'"((?:[^"\\]|\\.)*+)"[ \t\r\n]*:', re.DOTALL)


def parse_json_lines(block: bytes, schema: Any | None = None) -> Any:
    """Parses whole lines into an Arrow table.

    Args:
        block: one or more lines, UTF-8; blank ones are passed over.
        schema: the columns and their types; found in the block when left out.

    Returns:
        A column for each key in the order in which they come up, null where a line lacks it or says null.

    Raises:
        pyarrow.ArrowInvalid: a line is no object, repeats a key, nests too deep, or holds a value of another type than
            the column, or a key that `schema` lacks; or there are so many keys that the table would be a desert.
        UnicodeDecodeError: the block is not UTF-8.
    """
    import pyarrow.json

    block.decode("utf-8")  # strings are taken as they are by the parser
    if _nests_too_deep(block):
        raise pyarrow.ArrowInvalid(f"an object of more than {MOST_NESTED} levels")
    if schema is None:
        _check_keys(block)
    options = pyarrow.json.ParseOptions(
        explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "error"
    )
    size = BLOCK_BYTES
    while True:
        try:
            return pyarrow.json.read_json(
                io.BytesIO(block), read_options=pyarrow.json.ReadOptions(block_size=size), parse_options=options
            )
        except pyarrow.ArrowInvalid as error:
            if "straddling" not in str(error) or size > len(block):
                raise
            size *= 8  # a line is longer than the blocks that threads share


def _nests_too_deep(block: bytes) -> bool:
    """Says whether brackets and braces nest deeper than may be; those in strings do not count."""
    # Usually each line is one object: nothing else opens.
    more = block.count(b"{") + block.count(b"[") - block.count(b"}\n{") - block.count(b"}\r\n{")
    if more <= MOST_NESTED:
        return False
    letters = np.frombuffer(_STRING.sub(b"", block), np.uint8)
    opening = (letters == ord("{")) | (letters == ord("["))
    closing = (letters == ord("}")) | (letters == ord("]"))
    depths = np.cumsum(opening[opening | closing].astype(np.int64) * 2 - 1)
    return bool(depths.size) and int(depths.max()) > MOST_NESTED


def _check_keys(block: bytes) -> None:
    """Refuses lines that each have keys of their own, before the parser makes a column of each for all lines.

    Raises:
        pyarrow.ArrowInvalid: the cells would take far more memory than the lines.
    """
    import pyarrow

    lines, limit = block.count(b"\n") + 1, most_unpacked(len(block))
    if 8 * lines * block.count(b":") <= limit:
        return
    keys = len({match.group(1) for match in _KEY.finditer(block)})
    if 8 * lines * keys > limit:
        raise pyarrow.ArrowInvalid(f"{keys} different keys in {lines} lines: {8 * lines * keys} bytes of cells")


def explain_json_lines(stream: IO[bytes], name: str) -> None:
    """Reads the lines again, slowly, and raises for the first one that is at fault; returns if none is.

    Args:
        stream: the file.
        name: what errors call it.

    Raises:
        DataError: with the number of the line.
    """
    kinds: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(stream, start=1):
        text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
        try:
            row = json.loads(text, object_pairs_hook=_once) if text.strip() else {}
        except UnicodeDecodeError as error:
            raise DataError(
                f"data.path: expected UTF-8 text, got byte 0x{text[error.start]:02x} in line {number} of {name!r}. "
                "Save the file as UTF-8."
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"data.path: expected a JSON object in every line, got {error} in line {number} of {name!r}. "
                "Correct the line, or the end of the file if it was cut short."
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"data.path: expected a JSON object in every line, got {_kind(row)} in line {number} of {name!r}. "
                "Write each row as an object of column names and values."
            )
        if _nests_too_deep(text):
            raise DataError(
                f"data.path: expected at most {MOST_NESTED} levels of nesting, got more in line {number} of {name!r}. "
                "Write values that are numbers or text."
            )
        _check_kinds(row, kinds, number, name)


def _check_kinds(row: dict[str, Any], kinds: dict[str, tuple[str, int]], number: int, name: str) -> None:
    for key, value in row.items():
        if value is None:
            continue
        kind, first = kinds.setdefault(key, (_kind(value), number))
        if kind != _kind(value):
            raise DataError(
                f"data.path: expected values of one kind in every column, got {_kind(value)} in {key!r} in line "
                f"{number} of {name!r}, and {kind} in line {first}. Write all of them alike."
            )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} twice")
    return found


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "null"
