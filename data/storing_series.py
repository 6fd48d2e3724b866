"""Stores windows: cut from their recordings block by block, and standardized by figures of the training steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.c_source import write_c_source
from data.contract import SPLIT_NAMES, DataError, Progress
from data.preprocessing import Preprocessing
from data.profile import column_profile
from data.row_blocks import distinct_values, mean_and_deviation
from data.scratch import Scratch
from data.series_profile import series_profile
from data.series_steps import SERIES_CLIP, SeriesChannel, SeriesSteps
from data.sources.loaded import Column, LoadedSeries
from data.splits import TRAIN
from data.storage import digest_rows, write_array
from data.storing import Stored


def store_series(
    loaded: LoadedSeries,
    assignment: NDArray[np.int8],
    common: Mapping[str, Any],
    folder: Path,
    progress: Progress,
) -> Stored:
    """Fits the channels on the training windows and writes the windows of each split, float32.

    Windows are never held in memory together: the recordings are.

    Args:
        loaded: the windows.
        assignment: (windows,) split codes.
        common: fields of `Preprocessing` that every source has.
        folder: where the arrays and the C source go.
        progress: told how many windows are stored.

    Raises:
        DataError: no channel varies.
    """
    channels, warnings = fit_channels(loaded, assignment == TRAIN)
    preprocessing = _preprocessing(loaded, channels, common)
    digests, value_range = _write_windows(loaded, preprocessing, assignment, folder, progress)
    write_c_source(preprocessing, folder)
    columns = [_profile(loaded, place, name) for place, name in enumerate(loaded.channels)]
    columns += [column_profile(Column(name, "dropped", None), reason) for name, reason in loaded.left_out.items()]
    told = series_profile(loaded, assignment)

    def read(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return preprocessing.transform(loaded.windows.read(rows))

    return Stored(preprocessing, digests, columns, [], value_range, warnings, read, told)


def _preprocessing(
    loaded: LoadedSeries, channels: tuple[SeriesChannel, ...], common: Mapping[str, Any]
) -> Preprocessing:
    roles = loaded.roles
    return Preprocessing(
        kind="series",
        input_shape=(loaded.windows.steps, len(channels)),
        divisor=1.0,
        pixel_maximum=1.0,
        columns=(),
        series=SeriesSteps(
            stride=loaded.stride, channels=channels, time=roles.time, group=roles.group, missing=roles.missing
        ),
        clip=SERIES_CLIP,
        **common,
    )


def fit_channels(loaded: LoadedSeries, train: NDArray[np.bool_]) -> tuple[tuple[SeriesChannel, ...], list[str]]:
    """Fits mean and standard deviation of each channel over the steps of training windows, each step once.

    Args:
        loaded: the windows.
        train: (windows,) which of them are for training.

    Returns:
        The channels in order, figures representable in float32; and what the user should know.

    Raises:
        DataError: no channel varies in the training windows.
    """
    covered = [_covered(loaded, train, position) for position in range(len(loaded.windows.recordings))]
    channels, constant, warnings = [], [], []
    for place, name in enumerate(loaded.channels):
        pairs = zip(loaded.windows.recordings, covered, strict=True)
        values = _together([recording.values[steps, place] for recording, steps in pairs], loaded.scratch)
        mean, deviation = (float(np.float32(figure)) for figure in mean_and_deviation(values))
        if deviation == 0.0 or (values == values[0]).all():
            deviation = 1.0
            constant.append(name)
        elif abs(mean) > deviation * 2.0**17:  # less than 7 of the 24 bits of a float32 are left for what varies
            warnings.append(f"Channel {name!r} loses precision in float32: subtract an offset.")
        channels.append(SeriesChannel(name=name, mean=mean, scale=deviation))
    if len(constant) == len(channels):
        raise DataError(
            f"data.channels: expected one or more channels that vary, got {', '.join(map(repr, constant))} constant in "
            "all training windows. Name others."
        )
    warnings += [f"Channel {name!r} is constant in the training windows: it says nothing." for name in constant]
    return tuple(channels), warnings


def _covered(loaded: LoadedSeries, train: NDArray[np.bool_], recording: int) -> NDArray[np.bool_]:
    """Marks the steps (steps,) of a recording that lie in one training window or more."""
    windows, rows = loaded.windows, loaded.windows.rows_of(recording)
    starts = windows.starts[rows][train[rows]]
    opened = np.zeros(len(windows.recordings[recording].values) + 1, np.int32)
    np.add.at(opened, starts, 1)
    np.add.at(opened, starts + windows.steps, -1)
    covered: NDArray[np.bool_] = np.cumsum(opened, dtype=np.int32)[:-1] > 0
    return covered


def _together(parts: list[NDArray[np.float32]], scratch: Scratch | None) -> NDArray[np.float32]:
    """Returns the values of all parts as one column, which lies in a file where it is long."""
    values = np.concatenate(parts)
    parts.clear()
    return values if scratch is None else scratch.keep(values)


def _write_windows(
    loaded: LoadedSeries,
    preprocessing: Preprocessing,
    assignment: NDArray[np.int8],
    folder: Path,
    progress: Progress,
) -> tuple[NDArray[np.uint64], tuple[float, float]]:
    """Writes model input of all splits, raw windows of the held-out ones; returns digests and the range of inputs."""
    digests = np.zeros(len(assignment), np.uint64)  # rows of no split keep the 0
    ends: list[float] = []
    done = 0

    def raw_of(chosen: NDArray[np.int64], rows: slice) -> NDArray[np.float32]:
        return loaded.windows.read(chosen[rows])

    def input_of(chosen: NDArray[np.int64], rows: slice) -> NDArray[np.float32]:
        raw = loaded.windows.read(chosen[rows])
        digests[chosen[rows]] = digest_rows(raw)
        values = preprocessing.transform(raw)
        ends.extend((float(values.min()), float(values.max())))
        return values

    def told(before: int, rows: int) -> None:
        progress.step("store", before + rows, len(assignment), {})

    for code, name in enumerate(SPLIT_NAMES):
        chosen = np.flatnonzero(assignment == code)
        shape = (len(chosen), *preprocessing.input_shape)
        write_array(folder / f"{name}_x.npy", shape, np.float32, partial(input_of, chosen), partial(told, done))
        if name != "train":
            write_array(folder / f"{name}_raw.npy", shape, np.float32, partial(raw_of, chosen))
        done += len(chosen)
    return digests, (min(ends), max(ends))


def _profile(loaded: LoadedSeries, place: int, name: str) -> dict[str, Any]:
    """Describes a channel over all steps of all recordings."""
    values = _together([recording.values[:, place] for recording in loaded.windows.recordings], loaded.scratch)
    return column_profile(Column(name, "numeric", values, distinct=distinct_values(values)), None)
