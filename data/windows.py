"""Cuts windows out of recordings: where they begin, what they are labeled, in which block of time they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from data.contract import DataError
from data.recording import Recording

STRADDLES = -1
"""Block of a window that lies in none: it crosses a border."""


@dataclass(frozen=True)
class Cutting:
    """How windows are cut.

    Attributes:
        window: steps of a window.
        stride: steps from the start of one window to that of the next.
        horizon: steps from the last one of a window to the one whose target it has.
    """

    window: int
    stride: int
    horizon: int = 0

    @property
    def span(self) -> int:
        """Steps that a window and its target take up."""
        return self.window + self.horizon

    def starts(self, num_steps: int) -> NDArray[np.int64]:
        """Returns (windows,) first steps: 0, stride, 2 stride, … as long as window and horizon fit in."""
        return np.arange(0, num_steps - self.span + 1, self.stride, dtype=np.int64)


def time_blocks(starts: NDArray[np.int64], num_steps: int, span: int, fractions: Sequence[float]) -> NDArray[np.int8]:
    """Says in which block of time each window lies.

    With fractions f the borders are `round(num_steps * (f_1 + … + f_k))`; a window belongs to a block if it and its
    target lie inside.

    Args:
        starts: (windows,) first step of each.
        num_steps: of the recording.
        span: steps of a window and its horizon.
        fractions: of the blocks, in their order; their sum is 1.

    Returns:
        (windows,) position of the block, `STRADDLES` on a border.
    """
    borders = np.rint(np.cumsum([0.0, *fractions]) * num_steps).astype(np.int64)
    first = np.searchsorted(borders, starts, side="right") - 1
    last = np.searchsorted(borders, starts + span - 1, side="right") - 1
    return np.where(first == last, first, STRADDLES).astype(np.int8)


def window_codes(
    codes: NDArray[np.int64], starts: NDArray[np.int64], cutting: Cutting, rule: str, num_classes: int
) -> NDArray[np.int64]:
    """Returns the class of each window.

    Args:
        codes: (steps,) class of each step, -1 where missing.
        starts: (windows,) first step of each window.
        cutting: its horizon is 0 unless the rule is `last`.
        rule: `last`: of the last step (the horizon later); `majority`: the most frequent of the steps that have one;
            among equally frequent ones that of the last step, else the one that comes first in the order of classes.
        num_classes: how many there are.

    Returns:
        (windows,) int64, -1 where missing.
    """
    last = codes[starts + cutting.span - 1]
    if rule == "last":
        return last
    best, most = np.full(len(starts), -1, np.int64), np.zeros(len(starts), np.int64)
    for code in range(num_classes):
        before = np.concatenate([[0], np.cumsum(codes == code)])
        # Doubled, so that the last step's class can win by one where it is as frequent as another.
        count = 2 * (before[starts + cutting.window] - before[starts])
        count += (count > 0) & (last == code)
        best, most = np.where(count > most, code, best), np.maximum(count, most)
    return best


def is_mixed(codes: NDArray[np.int64], starts: NDArray[np.int64], window: int) -> NDArray[np.bool_]:
    """Says of each window (windows,) whether its steps have several classes; a missing one counts as another."""
    changes = np.concatenate([[0], np.cumsum(codes[1:] != codes[:-1])])
    mixed: NDArray[np.bool_] = changes[starts + window - 1] > changes[starts]
    return mixed


def has_steps(marked: NDArray[np.bool_], starts: NDArray[np.int64], window: int) -> NDArray[np.bool_]:
    """Says of each window (windows,) whether any of its steps is marked in `marked` (steps,)."""
    before = np.concatenate([[0], np.cumsum(marked)])
    found: NDArray[np.bool_] = before[starts + window] > before[starts]
    return found


def _check_lengths(recordings: Sequence[Recording], cutting: Cutting) -> None:
    """Refuses windows that are longer than a recording.

    Raises:
        DataError: with the name of the shortest one, and its length.
    """
    short = [recording for recording in recordings if len(recording.values) < cutting.span]
    if not short:
        return
    first = min(short, key=lambda recording: len(recording.values))
    horizon = f" and {cutting.horizon} of horizon" if cutting.horizon else ""
    others = f" ({len(short)} of {len(recordings)} series are shorter)" if len(short) > 1 else ""
    least = len(first.values) - cutting.horizon
    advice = f"Set data.window to {least} or less, or take" if least >= 2 else "Take"
    raise DataError(
        f"data.window: expected windows no longer than any series, got {cutting.window} steps{horizon} with "
        f"{first.name!r} of {len(first.values)} rows{others}. {advice} the short ones out."
    )


@dataclass(frozen=True, eq=False)
class Windows(Sequence[str]):
    """Windows over recordings, cut when they are read; as a sequence, their names.

    A window is called `a.csv rows 1-64`: rows of the file, counted from 1.

    Attributes:
        recordings: what they are cut from.
        of: (windows,) recording of each, never falling.
        starts: (windows,) first step of each.
        steps: steps of each.
    """

    recordings: Sequence[Recording]
    of: NDArray[np.int64]
    starts: NDArray[np.int64]
    steps: int

    @classmethod
    def cut(cls, recordings: Sequence[Recording], cutting: Cutting) -> Windows:
        """Returns all windows that fit, in the order of the recordings.

        Raises:
            DataError: a recording is shorter than a window and its horizon.
        """
        _check_lengths(recordings, cutting)
        starts = [cutting.starts(len(recording.values)) for recording in recordings]
        of = np.repeat(np.arange(len(starts)), [len(each) for each in starts])
        return cls(recordings, of, np.concatenate(starts), cutting.window)

    def only(self, keep: NDArray[np.bool_]) -> Windows:
        """Returns the windows that `keep` (windows,) marks."""
        return replace(self, of=self.of[keep], starts=self.starts[keep])

    def rows_of(self, recording: int) -> slice:
        """Returns which windows are cut from a recording."""
        first, last = np.searchsorted(self.of, (recording, recording + 1))
        return slice(int(first), int(last))

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Takes row numbers (n,) and returns their windows, float32 (n, steps, channels)."""
        windows = np.empty((len(rows), self.steps, self.recordings[0].values.shape[1]), np.float32)
        of, starts = self.of[rows], self.starts[rows]
        order = np.argsort(of, kind="stable")
        for here in np.split(order, np.flatnonzero(np.diff(of[order])) + 1):
            recording = self.recordings[of[here[0]]]
            views = np.lib.stride_tricks.sliding_window_view(recording.values, self.steps, axis=0)
            windows[here] = views[starts[here]].transpose(0, 2, 1)
        return windows

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, position: int) -> str: ...

    @overload
    def __getitem__(self, position: slice) -> list[str]: ...

    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self[each] for each in range(*position.indices(len(self)))]
        recording, start = self.recordings[self.of[position]], int(self.starts[position])
        return f"{recording.name} rows {recording.rows[start] + 1}-{recording.rows[start + self.steps - 1] + 1}"


NO_WINDOWS = Windows((), np.empty(0, np.int64), np.empty(0, np.int64), 1)
