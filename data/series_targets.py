"""What windows are to be labeled with, from the steps' targets or from folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.config import SeriesData, label_use
from data.contract import DataError
from data.recording import Recording
from data.sources.loaded import Targets, no_targets
from data.targets import classes_from_numbers
from data.windows import Cutting, Windows, has_steps, is_mixed, window_codes


@dataclass(frozen=True)
class WindowTargets:
    """Targets of all windows that fit.

    Attributes:
        targets: (windows,) values; those of windows that are not kept mean nothing.
        keep: (windows,) bool; False where the target is missing or mixed, and the config leaves such windows out.
        warnings: what the user should know.
    """

    targets: Targets
    keep: NDArray[np.bool_]
    warnings: tuple[str, ...] = ()


def window_targets(config: SeriesData, task: str, windows: Windows, folders: Sequence[str | None]) -> WindowTargets:
    """Labels windows.

    With `data.normal` a window has a normal class only if all its steps have one; else it has the class of its last
    abnormal step.

    Args:
        config: which column, which step, what of mixed and missing ones.
        task: says whether a target is needed, and what it is.
        windows: all that fit into their recordings.
        folders: class folder of each recording.

    Raises:
        DataError: there is nothing to label with, labels are not what the task takes, or some are missing.
    """
    cutting = Cutting(config.window, 1, config.horizon)
    use = label_use(config, task)
    unsorted = config.target is None and (None in folders or len(set(folders)) < 2)
    if use == "unread" or (use == "optional" and unsorted):
        return WindowTargets(no_targets(len(windows)), np.ones(len(windows), bool))
    if config.target is None:
        return _of_folders(windows, folders)
    recordings = windows.recordings
    cut = [windows.starts[windows.rows_of(position)] for position in range(len(recordings))]
    if task == "regression":
        pairs = zip(recordings, cut, strict=True)
        found = np.concatenate([_numbers(config.target, one)[starts + cutting.span - 1] for one, starts in pairs])
        keep, warnings = _present(config, ~np.isnan(found), windows)
        return WindowTargets(Targets(found, (), config.target), keep, warnings)
    steps, classes = _step_codes(config.target, task, recordings)
    both = list(zip(steps, cut, strict=True))
    if config.normal is not None:
        return _whole_windows(config, config.normal, classes, both, windows)
    rule = config.window_label
    codes = np.concatenate([window_codes(each, starts, cutting, rule, len(classes)) for each, starts in both])
    keep, warnings = _present(config, codes >= 0, windows)
    mixed = np.concatenate([is_mixed(each, starts, config.window) for each, starts in both])
    if mixed.any() and config.horizon == 0:
        chosen = "the class of their last step" if rule == "last" else "their most frequent class"
        told = "are left out (data.mixed_windows: drop)" if config.mixed_windows == "drop" else f"have {chosen}"
        warnings = (*warnings, f"{int(mixed.sum())} of {len(mixed)} windows hold steps of several classes and {told}.")
        if config.mixed_windows == "drop":
            keep = keep & ~mixed
    return WindowTargets(Targets(codes.astype(np.int32), classes, config.target), keep, warnings)


def _whole_windows(
    config: SeriesData,
    normal: Sequence[str],
    classes: tuple[str, ...],
    steps: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    windows: Windows,
) -> WindowTargets:
    """Labels windows of normal and abnormal steps: nothing may be learned from one that holds any abnormal step.

    Args:
        config: what of mixed windows and missing labels.
        normal: names of the classes that are normal.
        classes: names of all classes.
        steps: of each recording the classes (steps,) of its steps, -1 where missing, and the first steps (windows,)
            of its windows.
        windows: all of them.
    """
    abnormal_codes = [code for code, name in enumerate(classes) if name not in normal]
    codes, mixed = [], []
    for of_steps, starts in steps:
        missing, abnormal = of_steps < 0, np.isin(of_steps, abnormal_codes)
        # The last abnormal step at or before each step; -1 before the first.
        latest = np.maximum.accumulate(np.where(abnormal, np.arange(len(of_steps)), -1))
        ends = starts + config.window - 1
        any_abnormal = latest[ends] >= starts
        found = of_steps[np.where(any_abnormal, latest[ends], ends)]
        codes.append(np.where(~any_abnormal & has_steps(missing, starts, config.window), -1, found))
        mixed.append(any_abnormal & has_steps(~abnormal & ~missing, starts, config.window))
    labels, both = np.concatenate(codes), np.concatenate(mixed)
    keep, warnings = _present(config, labels >= 0, windows)
    if both.any():
        dropped = config.mixed_windows == "drop"
        told = "are left out (data.mixed_windows: drop)" if dropped else "are abnormal"
        warnings = (*warnings, f"{int(both.sum())} of {len(both)} windows hold normal and abnormal steps and {told}.")
        keep = keep & ~both if dropped else keep
    return WindowTargets(Targets(labels.astype(np.int32), classes, config.target), keep, warnings)


def _of_folders(windows: Windows, folders: Sequence[str | None]) -> WindowTargets:
    classes = sorted({name for name in folders if name is not None})
    if None in folders:
        raise DataError(
            f"data.target: expected a column with the class of each step, or one folder a class, got neither for "
            f"{windows.recordings[folders.index(None)].file!r}. Name the column, or sort the files into folders."
        )
    codes = np.array([classes.index(str(name)) for name in folders], np.int32)
    return WindowTargets(Targets(codes[windows.of], tuple(classes)), np.ones(len(windows), bool))


def _numbers(name: str, recording: Recording) -> NDArray[np.float64]:
    """Returns (steps,) numbers to predict, NaN where missing."""
    if recording.vocabulary or recording.labels is None:
        other = next((word for word in recording.vocabulary), "nothing")
        raise DataError(
            f"data.target: expected numbers for task regression, got {other[:40]!r} in {name!r} of {recording.file!r}. "
            "Set task: classification, or name a column of numbers."
        )
    return recording.labels


def _step_codes(
    name: str, task: str, recordings: Sequence[Recording]
) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Returns the class of each step of each recording, -1 where missing, and the names of the classes."""
    labels = [np.empty(0) if one.labels is None else one.labels for one in recordings]
    if not any(one.vocabulary for one in recordings):
        present = np.concatenate([each[~np.isnan(each)] for each in labels])
        if len(present) == 0:
            raise DataError(f"data.target: expected values in {name!r}, got none in any step. Name another column.")
        distinct = np.unique(present)
        codes = [np.where(np.isnan(each), -1, np.searchsorted(distinct, each)) for each in labels]
        return codes, classes_from_numbers(present, name, task).class_names
    # A file of numbers beside files of text: its numbers are names too.
    texts = [one.vocabulary or _as_names(each) for one, each in zip(recordings, labels, strict=True)]
    classes = sorted({text for vocabulary in texts for text in vocabulary})
    codes = []
    for one, each, vocabulary in zip(recordings, labels, texts, strict=True):
        places = np.array([*(classes.index(text) for text in vocabulary), -1], np.int64)
        local = each if one.vocabulary else _positions(each)
        codes.append(places[local])
    return codes, tuple(classes)


def _as_names(values: NDArray[np.float64]) -> tuple[str, ...]:
    distinct = np.unique(values[~np.isnan(values)])
    return tuple(str(int(value)) if value.is_integer() else f"{value:g}" for value in distinct.tolist())


def _positions(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Returns (steps,) positions in the distinct values, -1 where missing."""
    distinct = np.unique(values[~np.isnan(values)])
    return np.where(np.isnan(values), -1, np.searchsorted(distinct, values))


def _present(
    config: SeriesData, present: NDArray[np.bool_], names: Sequence[str]
) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """Returns which windows (windows,) have a target, and what is to be said of the others.

    Raises:
        DataError: some have none, and the config does not leave them out; or all have none.
    """
    missing = int((~present).sum())
    if missing == 0:
        return present, ()
    if config.missing_target == "error" or missing == len(present):
        advice = (
            "Name another column."
            if missing == len(present)
            else ("Fill them in, or set data.missing_target: drop_windows.")
        )
        raise DataError(
            f"data.target: expected a value for every window, got {missing} of {len(present)} without one in "
            f"{config.target!r} (first: {names[int(np.argmin(present))]!r}). {advice}"
        )
    return present, (f"{missing} windows without a target are left out (data.missing_target: drop_windows).",)
