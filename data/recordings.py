"""Reads recordings: the channels of a file over time, checked step by step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.channels import found_channels
from data.columns import Place, as_categories, as_numbers, is_number
from data.contract import DataError, Progress
from data.paths import nearest
from data.recording import Recording, Roles
from data.scratch import Scratch
from data.series_files import side_by_side
from data.table_files import read_frame
from data.table_pieces import PIECE_BYTES
from data.table_scan import scan_table

if TYPE_CHECKING:
    import pandas

PACKED_FACTOR = 16
"""Times its size that a packed file is supposed to unpack to, when it is judged how large it is."""

UNEVEN_GAP = 1.5
"""A step in time this many times the median one is worth a warning."""


@dataclass(frozen=True)
class RecordedFile:
    """What a file holds.

    Attributes:
        recordings: one, or one a group, in the order in which they begin.
        channels: names of their channels.
        columns: names of all columns.
        left_out: other columns and why they are no channels.
    """

    recordings: list[Recording]
    channels: tuple[str, ...]
    columns: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)


def read_recordings(
    path: Path,
    name: str,
    roles: Roles,
    *,
    predicted: bool = False,
    scratch: Scratch | None = None,
    progress: Progress | None = None,
) -> RecordedFile:
    """Reads the recordings of a file.

    Args:
        path: the file.
        name: what errors call it.
        roles: what its columns are.
        predicted: whether the file is to be predicted: it may then lack the columns of time and group.
        scratch: where a large file is read to, piece by piece, and where long recordings are kept; None: in memory.
        progress: told how far a large file is read.

    Raises:
        DataError: the file is malformed, lacks a column, or a cell is no finite number; a value is missing where that
            is refused; time does not rise.
    """
    frame = _frame(path, name, roles, scratch, progress)
    names = [str(column) for column in frame.columns]
    roles = _checked_roles(roles, names, name, predicted=predicted)
    if roles.channels is None:
        channels, left_out = found_channels(frame, roles.aside, name)
    else:
        channels, left_out = roles.channels, {}
        for channel in channels:
            _require(channel, names, "data.channels", name)
    place = Place("data.channels", f" of {name!r}", "leave the column out of data.channels")
    columns = [as_numbers(frame[channel], channel, place) for channel in channels]
    labels, vocabulary = (None, ()) if roles.target is None else _labels(frame[roles.target], roles.target, name)
    times = None if roles.time is None else _times(frame[roles.time], roles.time, name)
    recordings = []
    for group, rows in _groups(frame, roles.group, name):
        cut = slice(None) if group is None else rows
        recording = Recording(name, group, rows, np.empty((0, 0), np.float32), None if labels is None else labels[cut])
        values, filled = _whole(columns, cut, channels, recording, roles.missing, scratch)
        uneven = None if times is None else _check_rising(times[cut], str(roles.time), recording)
        recordings.append(Recording(name, group, rows, values, recording.labels, vocabulary, filled, uneven))
    return RecordedFile(recordings, channels, tuple(names), left_out)


def _frame(path: Path, name: str, roles: Roles, scratch: Scratch | None, progress: Progress | None) -> pandas.DataFrame:
    """Reads the columns of a file: into memory, or, where it is large, into files that are mapped."""
    if scratch is None or progress is None or not _is_large(path):
        return read_frame(path).frame
    own = scratch.below(f"file-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}")
    return scan_table([path], (), roles.aside, own, progress).frame


def _is_large(path: Path) -> bool:
    """Says whether a file, unpacked, may have more bytes than a piece of it."""
    factor = PACKED_FACTOR if path.name.lower().endswith((".gz", ".parquet")) else 1
    return factor * path.stat().st_size > PIECE_BYTES


def _checked_roles(roles: Roles, names: Sequence[str], file: str, *, predicted: bool) -> Roles:
    """Returns the roles that the columns of a file have; what may be absent and is, has none.

    Raises:
        DataError: a column of time, group or target is absent.
    """
    if predicted:
        time, group = (each if each in names else None for each in (roles.time, roles.group))
        roles = replace(roles, time=time, group=group)
    for role in ("time", "group", "target"):
        asked = getattr(roles, role)
        if asked is not None:
            _require(asked, names, f"data.{role}", file)
    return roles


def _require(column: str, names: Sequence[str], config_field: str, file: str) -> None:
    if column not in names:
        shown = ", ".join(map(repr, names[:12])) + (" …" if len(names) > 12 else "")
        raise DataError(
            f"{config_field}: expected a column of every file, got {column!r}, which {file!r} "
            f"lacks{nearest(column, names)}. Name one of its columns: {shown}."
        )


def _labels(series: pandas.Series[Any], name: str, file: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Returns the target of each row as numbers, or as positions in a vocabulary where it is text."""
    import pyarrow

    arrow = series.dtype.pyarrow_dtype  # type: ignore[union-attr]
    if is_number(arrow) or pyarrow.types.is_null(arrow):
        return as_numbers(series, name, Place("data.target", f" of {file!r}")), ()
    if pyarrow.types.is_temporal(arrow):
        raise DataError(
            f"data.target: expected labels or numbers, got dates in {name!r} of {file!r}. Name another column."
        )
    codes, vocabulary = as_categories(series, name)
    return (codes, vocabulary) if vocabulary else (np.full(len(codes), np.nan), ())


def _groups(
    frame: pandas.DataFrame, group: str | None, file: str
) -> list[tuple[str | None, range | NDArray[np.int64]]]:
    """Returns each group and its rows, in the order in which they begin; all rows where there are no groups."""
    if group is None:
        return [(None, range(len(frame)))]
    codes, vocabulary = as_categories(frame[group], group)
    if (codes < 0).any():
        raise DataError(
            f"data.group: expected a value in every row, got {int((codes < 0).sum())} missing in {group!r} of "
            f"{file!r} (first in row {int(np.argmax(codes < 0)) + 1}). Fill them in, or remove these rows."
        )
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return [(vocabulary[codes[rows[0]]], rows) for rows in sorted(parts, key=lambda rows: int(rows[0]))]


def _whole(
    columns: Sequence[NDArray[np.float64]],
    cut: slice | range | NDArray[np.int64],
    channels: Sequence[str],
    recording: Recording,
    missing: str,
    scratch: Scratch | None,
) -> tuple[NDArray[np.float32], int]:
    """Returns (steps, channels) float32 values without gaps, and how many cells were filled.

    Args:
        columns: (rows,) of each channel in the file.
        cut: which rows are the recording's.
        channels: their names; `recording` is what errors speak of, `missing` what to do about gaps.
        scratch: where long recordings are kept, a channel at a time and then together; None: in memory.

    Raises:
        DataError: a value is missing, and that is refused or there is nothing to draw a line between.
    """
    narrow, filled = list[NDArray[np.float32]](), 0
    for whole, channel in zip(columns, channels, strict=True):
        column = whole[cut]
        gaps = np.isnan(column)
        count = int(gaps.sum())
        if count and (missing == "error" or count == len(column)):
            found = "no value" if count == len(column) else f"{count} missing"
            advice = "set data.missing: interpolate" if missing == "error" else "leave the channel out"
            raise DataError(
                f"data.missing: expected a value in every step, got {found} in channel {channel!r} "
                f"of {recording.name!r} (first in row {recording.rows[int(gaps.argmax())] + 1}). Fill them in, or "
                f"{advice}."
            )
        if count:
            steps = np.arange(len(column))
            column = np.interp(steps, steps[~gaps], column[~gaps])
        kept = column.astype(np.float32)
        narrow.append(kept if scratch is None else scratch.keep(kept))
        filled += count
    return side_by_side(narrow, scratch), filled


def _times(series: pandas.Series[Any], name: str, file: str) -> NDArray[Any]:
    """Returns (rows,) times as numbers.

    Raises:
        DataError: they are text, or some are missing.
    """
    import pyarrow

    arrow = series.dtype.pyarrow_dtype  # type: ignore[union-attr]
    if series.isna().any():
        raise DataError(
            f"data.time: expected a time in every row, got {int(series.isna().sum())} missing in {name!r} of {file!r}. "
            "Fill them in, or remove these rows."
        )
    if is_number(arrow):
        return as_numbers(series, name, Place("data.time", f" of {file!r}"))
    if not pyarrow.types.is_temporal(arrow):
        raise DataError(
            f"data.time: expected numbers or dates in {name!r} of {file!r}, got {str(series.iloc[0])[:40]!r}. "
            "Write dates as 2026-01-31 12:00:00, or leave data.time out."
        )
    array = pyarrow.Array.from_pandas(series)
    if array.type.bit_width == 32:  # dates without a time of day, and times in seconds
        array = array.cast(pyarrow.int32())
    times: NDArray[Any] = array.cast(pyarrow.int64()).to_numpy(zero_copy_only=False)
    return times


def _check_rising(times: NDArray[Any], name: str, recording: Recording) -> float | None:
    """Returns the largest step in time over the median one where it is uneven.

    Raises:
        DataError: a step does not rise.
    """
    steps = np.diff(times)
    if (steps <= 0).any():
        at = int(np.argmax(steps <= 0)) + 1
        raise DataError(
            f"data.time: expected times that rise from row to row, got one in row {recording.rows[at] + 1} of "
            f"{recording.name!r} that is not after the one before it, in {name!r}. Sort the rows, or name in "
            "data.group the column that tells recordings apart."
        )
    median = float(np.median(steps)) if len(steps) else 0.0
    largest = float(steps.max(initial=0)) / median if median > 0 else 1.0
    return largest if largest > UNEVEN_GAP else None
