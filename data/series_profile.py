"""What recordings and windows there are: the part of `profile.json` that series have beside others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import SPLIT_NAMES
from data.profile import number
from data.sources.loaded import LoadedSeries
from data.splits import TRAIN

MOST_RECORDINGS = 200
"""Recordings that are listed one by one."""

MOST_EXAMPLES = 8
"""Windows that are kept to be drawn."""

MOST_DRAWN_STEPS = 256
"""Longer windows are thinned out to at most so many steps; they are looked at, not computed with."""

MOST_DRAWN_CHANNELS = 6
"""Channels of a window that are drawn."""


def series_profile(loaded: LoadedSeries, assignment: NDArray[np.int8]) -> dict[str, Any]:
    """Describes the windows.

    Args:
        loaded: the windows.
        assignment: (windows,) split codes.

    Returns:
        `window`, `stride`, `channels`; `recordings`: `name`, `steps` and windows in each split, the first
        `MOST_RECORDINGS` of `num_recordings`; `examples`: training windows, of each class one or spread evenly over
        the rows: `name`, `target` (class, number or None) and `values` by channel, in the source's units.
    """
    windows = loaded.windows
    counts = np.zeros((len(windows.recordings), len(SPLIT_NAMES)), np.int64)
    placed = (assignment >= 0) & (assignment < len(SPLIT_NAMES))
    np.add.at(counts, (windows.of[placed], assignment[placed]), 1)
    listed = list(zip(windows.recordings, counts.tolist(), strict=True))[:MOST_RECORDINGS]
    return {
        "window": windows.steps,
        "stride": loaded.stride,
        "channels": list(loaded.channels),
        "num_recordings": len(windows.recordings),
        "recordings": [
            {"name": recording.name, "steps": len(recording.values), **dict(zip(SPLIT_NAMES, each, strict=True))}
            for recording, each in listed
        ],
        "examples": [_example(loaded, row) for row in _example_rows(loaded, assignment == TRAIN)],
    }


def drawn(window: NDArray[np.float32], channels: tuple[str, ...]) -> dict[str, list[float]]:
    """Returns what is drawn of a window, by channel: its values, thinned out.

    Args:
        window: (steps, channels) in the source's units.
        channels: their names.
    """
    step = -(-len(window) // MOST_DRAWN_STEPS)
    shown = channels[:MOST_DRAWN_CHANNELS]
    return {name: [number(value) for value in window[::step, place].tolist()] for place, name in enumerate(shown)}


def _example_rows(loaded: LoadedSeries, train: NDArray[np.bool_]) -> list[int]:
    rows = np.flatnonzero(train)
    if loaded.targets.class_names:
        classes = loaded.targets.values[rows]
        return [int(rows[np.argmax(classes == code)]) for code in np.unique(classes)[:MOST_EXAMPLES]]
    return [int(row) for row in rows[np.linspace(0, len(rows) - 1, min(MOST_EXAMPLES, len(rows))).astype(np.int64)]]


def _example(loaded: LoadedSeries, row: int) -> dict[str, Any]:
    value, names = loaded.targets.values[row], loaded.targets.class_names
    known = names[int(value)] if names else number(float(value))
    return {
        "name": loaded.windows[row],
        "target": None if loaded.targets.name is None else known,
        "values": drawn(loaded.windows.read(np.array([row]))[0], loaded.channels),
    }
