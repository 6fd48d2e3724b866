"""Recognises what the columns of a table hold: numbers, yes or no, categories, or nothing to learn from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.contract import DataError
from data.row_blocks import distinct_values, least_and_largest, row_blocks
from data.sources.loaded import Column

if TYPE_CHECKING:
    import pandas

BOOLEAN_WORDS = {"true": 1.0, "yes": 1.0, "y": 1.0, "t": 1.0, "false": 0.0, "no": 0.0, "n": 0.0, "f": 0.0}

DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}:\d{2}.*)?$")
"""Dates that pyarrow does not take for dates: 31/12/2020, 12-31-20 10:15."""

COMMA_NUMBER = re.compile(r"[+-]?[0-9,][0-9,.' ]*([eE][+-]?[0-9]+)?$")
"""Numbers with a decimal comma, or with separators of thousands: 1,5, 1.234,5, 1,234.5."""

COMMA_ADVICE = "write 1.5; 1,5 is read where semicolons separate the values"
"""What to do about numbers with commas."""

ID_NAME = re.compile(r"(?:^|[\W_])(?:id|Id|ID|uuid|UUID|guid|GUID)$|[a-z](?:Id|ID)$")
"""Names of columns whose whole numbers name the rows where all differ: id, customer_id, userId."""

MOST_DISTINCT_FRACTION = 0.5
"""Text with more distinct values than this fraction of its rows is no category."""

IDENTIFIER_FRACTION = 0.9
"""Words with more distinct values than this fraction of the rows are identifiers."""

FREE_TEXT_WORDS = 3.0
"""Values of more words than this, on average, are free text where most are distinct."""


@dataclass(frozen=True)
class Place:
    """How errors speak of a column of numbers.

    Attributes:
        field: of the config, that they begin with.
        of_file: the file, where a source has several, as ` of 'a.csv'`.
        otherwise: what else a user can do than correct text.
    """

    field: str = "data.types"
    of_file: str = ""
    otherwise: str = "set its type to categorical"


TABLE_COLUMN = Place()


def recognise(name: str, series: pandas.Series[Any], override: str | None, asked_for: bool) -> Column:
    """Recognises one column.

    Args:
        name: its name.
        series: (rows,) Arrow-backed values.
        override: `numeric`, `boolean` or `categorical` where the config says so.
        asked_for: whether the config names it as a feature; numbers are then taken as they are.

    Returns:
        The column; `why_left_out` says why it cannot be learned from.

    Raises:
        DataError: an infinite number, or values that are not of the type the config says.
    """
    import pyarrow

    arrow = series.dtype.pyarrow_dtype  # type: ignore[union-attr]
    missing = count_missing(series)
    if override == "numeric":
        return _numeric(name, as_numbers(series, name))
    if override == "boolean":
        return _boolean(name, as_booleans(series, name))
    if override == "categorical":
        return _categorical(name, *as_categories(series, name))
    if missing == len(series):
        return Column(name, "empty", None, (), missing, 0, "no value in any row")
    if pyarrow.types.is_boolean(arrow):
        return _boolean(name, as_booleans(series, name))
    if is_number(arrow):
        return number_column(name, as_numbers(series, name), asked_for)
    if pyarrow.types.is_temporal(arrow):
        return Column(name, "date", None, (), missing, int(series.nunique()), "dates or times")
    if pyarrow.types.is_string(arrow) or pyarrow.types.is_large_string(arrow):
        return _text(name, series)
    return Column(name, "unsupported", None, (), missing, 0, f"values of type {arrow}")


def count_missing(series: pandas.Series[Any]) -> int:
    """Returns how many rows lack a value; NaN is none."""
    import pyarrow

    if pyarrow.types.is_floating(series.dtype.pyarrow_dtype):  # type: ignore[union-attr]
        return int(np.isnan(series.to_numpy(dtype=np.float64, na_value=np.nan)).sum())
    return int(series.isna().sum())


def as_numbers(series: pandas.Series[Any], name: str, place: Place = TABLE_COLUMN) -> NDArray[np.float64]:
    """Returns (rows,) float64 numbers, NaN where missing.

    Raises:
        DataError: a value is no number, is infinite, or is beyond float32.
    """
    import pandas
    import pyarrow

    arrow = series.dtype.pyarrow_dtype  # type: ignore[union-attr]
    field, where = place.field, place.of_file
    if is_number(arrow) or pyarrow.types.is_boolean(arrow) or pyarrow.types.is_null(arrow):
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
    elif pyarrow.types.is_string(arrow) or pyarrow.types.is_large_string(arrow):
        texts = stripped(series)
        numbers = pandas.to_numeric(texts.astype(object), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        wrong = np.isnan(numbers) & texts.notna().to_numpy()
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{field}: expected numbers in column {name!r}{where}, got {str(texts.iloc[row])[:40]!r} in row "
                f"{_row(texts, row)} (one of {int(wrong.sum())}). Correct them, or {place.otherwise}."
            )
    else:
        raise DataError(f"{field}: expected numbers in column {name!r}{where}, got {arrow}. Convert or drop it.")
    ends = least_and_largest(numbers) or (0.0, 0.0)
    if np.isinf(ends).any():
        infinite = np.isinf(numbers)
        raise DataError(
            f"data.path: expected finite numbers, got {int(infinite.sum())} infinite in column {name!r}{where} (first "
            f"in row {_row(series, int(np.flatnonzero(infinite)[0]))}). Correct them, or leave them empty as missing."
        )
    if max(map(abs, ends)) > float(np.finfo(np.float32).max):
        raise DataError(
            f"{field}: expected numbers within ±3.4e38, got larger in column {name!r}{where}. Scale or drop the column."
        )
    return numbers


def as_booleans(series: pandas.Series[Any], name: str) -> NDArray[np.float64]:
    """Returns (rows,) float64 of 1, 0 and NaN where missing.

    Raises:
        DataError: a value is neither true/false, yes/no, y/n, t/f nor 1/0.
    """
    import pyarrow

    arrow = series.dtype.pyarrow_dtype  # type: ignore[union-attr]
    if pyarrow.types.is_string(arrow) or pyarrow.types.is_large_string(arrow):
        texts = stripped(series).str.lower()
        codes, words = texts.factorize()
        values = np.array([*(BOOLEAN_WORDS.get(str(word), _zero_or_one(str(word))) for word in words), np.nan])
        numbers: NDArray[np.float64] = values[codes]
        wrong = np.isnan(numbers) & (codes >= 0)
    else:
        numbers = as_numbers(series, name)
        wrong = ~np.isnan(numbers) & (numbers != 0) & (numbers != 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"data.types: expected true or false, yes or no, 1 or 0 in column {name!r}, got {series.iloc[row]!r} in "
            f"row {_row(series, row)}. Correct it, or set its type to categorical."
        )
    return numbers


def as_categories(series: pandas.Series[Any], name: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Returns (rows,) int32 positions in the sorted distinct values, -1 where missing, and these values as text.

    Rows are looked at chunk by chunk; what is held in memory is the positions and the distinct values.

    Raises:
        DataError: the values are lists or other values that hold values.
    """
    import pandas
    import pyarrow

    arrow = series.dtype.pyarrow_dtype  # type: ignore[union-attr]
    if pyarrow.types.is_nested(arrow):
        raise DataError(f"data.types: expected categories in column {name!r}, got {arrow}. Convert or drop it.")
    is_text = pyarrow.types.is_string(arrow) or pyarrow.types.is_large_string(arrow)
    positions, known, start = np.empty(len(series), np.int32), dict[str, int](), 0
    column = series.array.__arrow_array__()
    for chunk in column.chunks if isinstance(column, pyarrow.ChunkedArray) else [column]:
        part = pandas.Series(chunk, dtype=series.dtype)
        codes, found = (stripped(part) if is_text else part).factorize()
        places = [known.setdefault(_as_text(value), len(known)) for value in found]
        positions[start : start + len(part)] = np.array([*places, -1], np.int32)[codes]
        start += len(part)
    vocabulary = sorted(known)
    order = np.empty(len(vocabulary) + 1, np.int32)
    order[[known[word] for word in vocabulary]] = np.arange(len(vocabulary), dtype=np.int32)
    order[-1] = -1
    for rows in row_blocks(len(positions)):
        positions[rows] = order[positions[rows]]
    return positions, tuple(vocabulary)


def stripped(series: pandas.Series[Any]) -> pandas.Series[Any]:
    """Returns text without spaces around it; nothing and `?` become missing."""
    texts = series.str.strip()
    return texts.mask(texts.isin(["", "?"]))


def _row(series: pandas.Series[Any], position: int) -> int:
    """Returns the number of a row in the file, counted from 1: rows that were left out count too."""
    return int(series.index[position]) + 1


def _zero_or_one(word: str) -> float:
    return {"1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}.get(word, np.nan)


def _as_text(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def is_number(arrow: Any) -> bool:
    """Says whether an Arrow type is of whole, decimal or floating numbers."""
    import pyarrow

    types = pyarrow.types
    return bool(types.is_integer(arrow) or types.is_floating(arrow) or types.is_decimal(arrow))


def _numeric(name: str, values: NDArray[np.float64]) -> Column:
    return Column(name, "numeric", values, (), _absent(values), distinct_values(values))


def _boolean(name: str, values: NDArray[np.float64]) -> Column:
    return Column(name, "boolean", values, (), _absent(values), distinct_values(values))


def _absent(values: NDArray[np.float64]) -> int:
    return int(np.isnan(values).sum())


def _categorical(name: str, codes: NDArray[np.int32], vocabulary: tuple[str, ...]) -> Column:
    values = np.where(codes < 0, np.nan, codes)
    return Column(name, "categorical", values, vocabulary, int((codes < 0).sum()), len(vocabulary))


def number_column(name: str, values: NDArray[np.float64], asked_for: bool) -> Column:
    """Takes (rows,) numbers for an input, unless they only count or name the rows and the config does not ask."""
    column = _numeric(name, values)
    if asked_for or column.distinct < len(values) or len(values) < 2:
        return column
    if values[0] in (0.0, 1.0) and (np.diff(values) == 1.0).all():
        return Column(name, "row_number", None, (), 0, column.distinct, "row numbers")
    if ID_NAME.search(name) and (values == np.round(values)).all():
        return Column(name, "identifier", None, (), 0, column.distinct, "identifiers: distinct in every row")
    return column


def _text(name: str, series: pandas.Series[Any]) -> Column:
    codes, vocabulary = as_categories(series, name)
    present = int((codes >= 0).sum())
    missing, distinct = len(codes) - present, len(vocabulary)
    if present == 0:
        return Column(name, "empty", None, (), missing, 0, "no value in any row")
    if distinct == 2 and {BOOLEAN_WORDS.get(word.lower()) for word in vocabulary} == {0.0, 1.0}:
        numbers = np.array([*(BOOLEAN_WORDS[word.lower()] for word in vocabulary), np.nan])
        return _boolean(name, numbers[codes])
    if sum(DATE.match(word) is not None for word in vocabulary) >= 0.95 * distinct:
        return Column(name, "date", None, (), missing, distinct, "dates or times")
    if distinct > max(2.0, MOST_DISTINCT_FRACTION * present):
        return Column(name, *_why_no_category(vocabulary, distinct / present, missing, distinct))
    return _categorical(name, codes, vocabulary)


def _why_no_category(
    vocabulary: tuple[str, ...], distinct_fraction: float, missing: int, distinct: int
) -> tuple[Any, None, tuple[str, ...], int, int, str]:
    """Returns the fields of a text column that cannot be learned from, after its name."""
    others = [word for word in vocabulary if not is_numeral(word) and not _has_comma(word)]
    if len(others) <= 0.5 * distinct:
        commas = f" written with commas ({COMMA_ADVICE})" if any(map(_has_comma, vocabulary)) else ""
        also = f" ({others[0][:40]!r} is none; `data.types: {{…: numeric}}` names its row)" if others else ""
        numbers = "all" if not others else f"{distinct - len(others):,d} of {distinct:,d}"
        reason = f"text, though {numbers} of its distinct values are numbers{commas}{also}"
        return "text", None, (), missing, distinct, reason
    words = sum(len(word.split()) for word in vocabulary) / distinct
    if words <= FREE_TEXT_WORDS and distinct_fraction >= IDENTIFIER_FRACTION:
        reason = f"identifiers: {distinct_fraction:.0%} of its values are distinct"
        return "identifier", None, (), missing, distinct, reason
    return "text", None, (), missing, distinct, f"free text: {distinct_fraction:.0%} of its values are distinct"


def comma_numbers(column: Column) -> bool:
    """Says whether the categories of a column are numbers, some written with commas."""
    words = column.vocabulary if column.kind == "categorical" else ()
    return any(map(_has_comma, words)) and all(is_numeral(word) or _has_comma(word) for word in words)


def _has_comma(word: str) -> bool:
    return "," in word and COMMA_NUMBER.match(word) is not None


def is_numeral(word: str) -> bool:
    """Says whether a word is a number as Python writes it."""
    try:
        float(word)
    except ValueError:
        return False
    return True
