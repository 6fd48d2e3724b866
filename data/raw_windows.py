"""Opens files of series as a model eats them: cut into windows as the training data was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.preprocessing import Preprocessing
from data.recording import Roles
from data.series_folders import series_files
from data.windows import Cutting, Windows


def read_windows(preprocessing: Preprocessing, path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Cuts recordings into windows; what is left over at the end of a recording is in none.

    Args:
        preprocessing: of kind `series`.
        path: a table, or a folder of tables at any depth.

    Returns:
        The names of the windows, and (windows, steps, channels) float32 in the source's units.

    Raises:
        DataError: a file is malformed, lacks a channel, or is shorter than a window.
        ValueError: the preprocessing is of another kind.
    """
    series = preprocessing.series
    if series is None:
        raise ValueError(f"read_windows: expected a series, got {preprocessing.kind}.")
    from data.recordings import read_recordings

    roles = Roles(preprocessing.channel_names, series.time, series.group, None, series.missing)
    recordings = [
        recording
        for file in series_files(path, by_folder=False)
        for recording in read_recordings(file.path, file.name, roles, predicted=True).recordings
    ]
    windows = Windows.cut(recordings, Cutting(preprocessing.input_shape[0], series.stride))
    return list(windows), windows.read(np.arange(len(windows)))
