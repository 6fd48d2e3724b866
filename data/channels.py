"""Says which columns of a file of recordings are channels, and why the others are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data.columns import Place, as_numbers, count_missing, is_number, is_numeral, number_column, stripped
from data.contract import DataError

if TYPE_CHECKING:
    import pandas


def found_channels(frame: pandas.DataFrame, aside: Sequence[str], file: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Returns the columns of numbers, and why the others are none.

    Args:
        frame: Arrow-backed columns.
        aside: those that have another role.
        file: what errors call the file.

    Raises:
        DataError: there are none; a column is empty, or mostly of numbers.
    """
    channels, left_out = [], {}
    place = Place("data.channels", f" of {file!r}", "name the columns to learn from in data.channels")
    for column in (str(name) for name in frame.columns if str(name) not in aside):
        series = frame[column]
        if count_missing(series) == len(series):
            raise DataError(
                f"data.channels: expected numbers in column {column!r} of {file!r}, got no value. "
                "Remove the column, or name those to learn from in data.channels."
            )
        reason = _why_no_channel(column, series, place)
        if reason is None:
            channels.append(column)
        else:
            left_out[column] = reason
    if not channels:
        reasons = "; ".join(f"{column}: {reason}" for column, reason in left_out.items())
        raise DataError(
            f"data.channels: expected one or more columns of numbers, got none in {file!r}"
            f"{f' ({reasons})' if reasons else ''}. Add one."
        )
    return tuple(channels), left_out


def _why_no_channel(name: str, series: pandas.Series[Any], place: Place) -> str | None:
    import pyarrow

    arrow = series.dtype.pyarrow_dtype  # type: ignore[union-attr]
    if pyarrow.types.is_boolean(arrow):
        return None
    if is_number(arrow):
        return number_column(name, as_numbers(series, name, place), False).why_left_out
    if pyarrow.types.is_temporal(arrow):
        return "dates or times; name it in data.time"
    if not pyarrow.types.is_string(arrow) and not pyarrow.types.is_large_string(arrow):
        return f"values of type {arrow}"
    texts = [str(word) for word in stripped(series).dropna()]
    if 2 * sum(map(is_numeral, texts)) >= max(1, len(texts)):
        as_numbers(series, name, place)  # refuses the text among the numbers
    return "text"
