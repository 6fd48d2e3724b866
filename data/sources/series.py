"""Series: windows over the recordings in one table, or in a folder of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.config import SeriesData, label_use
from data.contract import SPLIT_NAMES, ConfigError, DataError, Progress
from data.recording import Recording, Roles
from data.recordings import RecordedFile, read_recordings
from data.scratch import Scratch
from data.series_files import Gathering
from data.series_folders import SeriesFile, loose_files, series_files
from data.series_targets import window_targets
from data.sources.loaded import LoadedSeries, Targets
from data.splits import TEST, TRAIN, VALIDATION
from data.windows import STRADDLES, Cutting, Windows, time_blocks

NUM_SHOWN = 5
"""Groups that an error names."""

FEWEST_FILES = 3
"""So many files are divided as wholes where the config does not say how; fewer are cut in time."""


@dataclass(frozen=True)
class _Read:
    """All recordings of the source.

    Attributes:
        recordings: in the order of the files.
        files: the file of each recording.
        left_out: other columns and why they are no channels.
        roles: what the columns are, channels by name.
    """

    recordings: list[Recording]
    files: list[SeriesFile]
    left_out: dict[str, str]
    roles: Roles

    @property
    def ships_splits(self) -> bool:
        """Whether folders say which recordings are for what."""
        return any(file.split is not None for file in self.files)


def load_series(
    config: SeriesData, task: str, scratch: Scratch | None = None, progress: Progress | None = None
) -> LoadedSeries:
    """Reads recordings and cuts them into windows; nothing is cut out before it is stored.

    Args:
        config: path, window, and what else the config says.
        task: says whether a target is needed, and what it is.
        scratch: where files and recordings are kept that may be larger than memory; None: in memory.
        progress: told how far large files are read.

    Returns:
        The windows; `groups` holds their group (or file) where these stay together, `given` their split where the
        folders or blocks of time say it.

    Raises:
        ConfigError: the task does not fit the config.
        DataError: a file is malformed, a series is shorter than a window, or a split would be empty.
    """
    root = Path(config.path)
    read = _read(config, task, root, scratch, progress)
    cutting = Cutting(config.window, config.window if config.stride is None else config.stride, config.horizon)
    windows = Windows.cut(read.recordings, cutting)
    found = window_targets(config, task, windows, [file.class_name for file in read.files])
    in_time = _is_in_time(config, read)
    given = _given(config, read, windows, cutting, in_time)
    keep = found.keep & (given != STRADDLES)
    _check_division(config, read, given[keep], cutting, in_time)
    warnings = (*_warnings(config, root, read, int((found.keep & ~keep).sum())), *found.warnings)
    windows, given = windows.only(keep), given[keep]
    groups = None if in_time else _groups(config, read)[windows.of]
    if config.group is not None and read.ships_splits:
        _check_shipped_groups(config, read, windows, given)
    targets = Targets(found.targets.values[keep], found.targets.class_names, found.targets.name)
    if config.normal is None:  # else classes are but names of what is normal
        warnings, targets = (*warnings, *_lost_classes(targets)), _with_classes_that_are_left(targets)
    return LoadedSeries(
        targets,
        _description(config, root, read, cutting, in_time),
        np.arange(len(windows), dtype=np.int64),
        warnings,
        given if in_time or read.ships_splits else None,
        groups,
        names=windows,
        windows=windows,
        stride=cutting.stride,
        roles=read.roles,
        left_out=read.left_out,
        scratch=scratch,
    )


def _read(
    config: SeriesData, task: str, root: Path, scratch: Scratch | None = None, progress: Progress | None = None
) -> _Read:
    """Reads all files; the first one says which columns are channels where the config does not.

    Raises:
        ConfigError: the task needs numbers, and no column is named.
        DataError: besides what is wrong in a file: files of different columns.
    """
    if task == "regression" and config.target is None:
        raise ConfigError(
            "data.target: expected a column of numbers for task regression, got none. Name one; folders are classes."
        )
    roles = Roles(config.channels, config.time, config.group, config.target, config.missing)
    files = series_files(root, config.target is None and label_use(config, task) != "unread")
    recordings = Gathering(scratch)
    places: list[SeriesFile] = []
    first: RecordedFile | None = None
    for file in files:
        found = read_recordings(file.path, file.name, roles, scratch=scratch, progress=progress)
        if first is None:
            first, roles = found, replace(roles, channels=found.channels)
        elif config.channels is None and (others := sorted(set(found.columns) - set(first.columns))):
            raise DataError(
                f"data.channels: expected the same columns in every file, got {', '.join(map(repr, others[:5]))} in "
                f"{file.name!r}, which {files[0].name!r} lacks. Name the columns to learn from."
            )
        recordings.add(found.recordings)
        places += [file] * len(found.recordings)
    return _Read(recordings.all(), places, {} if first is None else first.left_out, roles)


def _is_in_time(config: SeriesData, read: _Read) -> bool:
    """Says whether each series is cut into blocks, rather than groups or files divided."""
    if config.split_by is not None:
        return config.split_by == "time"
    divided = {file.name for file in read.files if file.split in (None, "train")}
    return config.group is None and len(divided) < FEWEST_FILES


def _groups(config: SeriesData, read: _Read) -> NDArray[np.int64]:
    """Returns (recordings,) the group of each: of one value of the group column, or of one file."""
    names = [file.name if config.group is None else str(one.group) for one, file in _pairs(read)]
    known = {name: code for code, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], np.int64)


def _pairs(read: _Read) -> list[tuple[Recording, SeriesFile]]:
    return list(zip(read.recordings, read.files, strict=True))


def _given(config: SeriesData, read: _Read, windows: Windows, cutting: Cutting, in_time: bool) -> NDArray[np.int8]:
    """Returns (windows,) split that folders or blocks of time give, 0 where none does, `STRADDLES` on a border."""
    codes = [SPLIT_NAMES.index(file.split or "train") for file in read.files]
    given = np.array(codes, np.int8)[windows.of]
    if not in_time:
        return given
    wanted, fractions = _wanted(config, codes)
    for position, recording in enumerate(read.recordings):
        if codes[position] == TRAIN:
            here = windows.rows_of(position)
            blocks = time_blocks(windows.starts[here], len(recording.values), cutting.span, fractions)
            given[here] = np.where(blocks == STRADDLES, STRADDLES, np.array(wanted, np.int8)[blocks])
    return given


def _wanted(config: SeriesData, codes: Sequence[int]) -> tuple[list[int], list[float]]:
    """Returns the splits that training recordings are divided into, in the order of time, and their fractions."""
    fractions = {VALIDATION: config.validation_fraction, TEST: config.test_fraction}
    missing = [split for split in (VALIDATION, TEST) if split not in codes]
    shares = [fractions[split] for split in missing]
    return [TRAIN, *missing], [1.0 - sum(shares), *shares]


def _check_division(config: SeriesData, read: _Read, given: NDArray[np.int8], cutting: Cutting, in_time: bool) -> None:
    """Refuses what cannot be divided: too few groups, or blocks of time that no window fits into."""
    codes = [SPLIT_NAMES.index(file.split or "train") for file in read.files]
    wanted, fractions = _wanted(config, codes)
    if in_time:
        empty = [split for split in wanted if not (given == split).any()]
        if empty:
            longest = max(range(len(codes)), key=lambda each: len(read.recordings[each].values))
            steps = len(read.recordings[longest].values)
            block = int(fractions[wanted.index(empty[0])] * steps)
            raise DataError(
                f"data.window: expected windows that fit into the {SPLIT_NAMES[empty[0]]} block of a series, got "
                f"{cutting.span} steps with blocks of {block} or less (of the {steps} rows of "
                f"{read.recordings[longest].name!r}). Use shorter windows, larger fractions, or longer series."
            )
        return
    divided = {group for group, code in zip(_groups(config, read).tolist(), codes, strict=True) if code == TRAIN}
    if len(divided) < len(wanted):
        what = "files" if config.group is None else f"groups in {config.group!r}"
        advice = "Set data.split_by: time" if config.group is None else "Name another column"
        raise DataError(
            f"data.split_by: expected {len(wanted)} or more {what} to divide, one a split at least, got {len(divided)}"
            f". {advice}, or add recordings."
        )


def _check_shipped_groups(config: SeriesData, read: _Read, windows: Windows, given: NDArray[np.int8]) -> None:
    """Refuses splits of the source that cut through a group.

    Raises:
        DataError: with the groups that have windows in two splits or more.
    """
    splits: dict[str, set[int]] = {}
    for of, split in zip(windows.of.tolist(), given.tolist(), strict=True):
        splits.setdefault(str(read.recordings[of].group), set()).add(split)
    shared = {group: codes for group, codes in splits.items() if len(codes) > 1}
    if not shared:
        return
    shown = ", ".join(
        f"{group!r} (in {' and '.join(SPLIT_NAMES[code] for code in sorted(codes))})"
        for group, codes in list(shared.items())[:NUM_SHOWN]
    )
    raise DataError(
        f"data.group: expected each group of {config.group!r} in one of the splits that the source ships, got "
        f"{len(shared)} of {len(splits)} in several: {shown}{' …' if len(shared) > NUM_SHOWN else ''}. Keep a "
        "group's files in the folder of one split, or put all files into one folder, whose groups are then divided."
    )


def _with_classes_that_are_left(targets: Targets) -> Targets:
    """Renumbers the classes where some label no window that is left."""
    if not targets.class_names:
        return targets
    present, codes = np.unique(targets.values, return_inverse=True)
    return Targets(codes.astype(np.int32), tuple(targets.class_names[code] for code in present), targets.name)


def _lost_classes(targets: Targets) -> list[str]:
    """Names the classes that label no window that is left."""
    present = set(targets.values.tolist()) if targets.class_names else set()
    absent = [name for code, name in enumerate(targets.class_names) if code not in present]
    return [f"Class {name!r} labels no window and is left out." for name in absent]


def _description(config: SeriesData, root: Path, read: _Read, cutting: Cutting, in_time: bool) -> dict[str, Any]:
    return {
        "source": "series",
        "file" if root.is_file() else "folder": root.name,
        "files": len({file.name for file in read.files}),
        "recordings": len(read.recordings),
        "steps": sum(len(recording.values) for recording in read.recordings),
        "window": cutting.window,
        "stride": cutting.stride,
        "horizon": cutting.horizon,
        "group": config.group,
        "split_by": "time" if in_time else "group",
        "ships_splits": read.ships_splits,
    }


def _warnings(config: SeriesData, root: Path, read: _Read, straddling: int) -> list[str]:
    """Returns what a user should know of how the files were read and cut."""
    warnings = [f"Column {name!r} is left out: {reason}." for name, reason in read.left_out.items()]
    loose = loose_files(root, read.files)
    if loose:
        warnings.append(
            f"{len(loose)} tables lie outside of the class and split folders and are left out (the first: "
            f"{loose[0]!r})."
        )
    filled = sum(recording.filled for recording in read.recordings)
    if filled:
        warnings.append(f"{filled} missing cells are interpolated (data.missing: interpolate).")
    uneven = [recording for recording in read.recordings if recording.uneven is not None]
    if uneven:
        worst = max(uneven, key=lambda recording: recording.uneven or 0.0)
        warnings.append(
            f"Steps in {config.time!r} are uneven in {len(uneven)} of {len(read.recordings)} series: in {worst.name!r} "
            f"one is {worst.uneven:.3g} times the median. Windows count rows, and run across such gaps."
        )
    if straddling:
        warnings.append(f"{straddling} windows on a border between blocks of time are left out of all splits.")
    return warnings
