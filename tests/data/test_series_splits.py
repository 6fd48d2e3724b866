"""Whatever recordings there are: no group and no step that two windows share is cut by the splits."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.config import SeriesData
from data.contract import DataError
from data.sources.series import load_series
from data.splits import split_rows
from data.windows import STRADDLES, Cutting, is_mixed, time_blocks, window_codes

RELAXED = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def write(root: Path, lengths: list[int], groups: list[int]) -> None:
    generator = np.random.default_rng(sum(lengths))
    for number, (length, group) in enumerate(zip(lengths, groups, strict=True)):
        lines = ["a,who,y"]
        lines += [f"{value:.3f},p{group},{step // 3 % 2}" for step, value in enumerate(generator.normal(size=length))]
        (root / f"{number}.csv").write_text("\n".join(lines) + "\n")


@RELAXED
@given(
    lengths=st.lists(st.integers(40, 80), min_size=1, max_size=8),
    groups=st.lists(st.integers(0, 4), min_size=8, max_size=8),
    window=st.integers(2, 6),
    stride=st.integers(1, 7),
    horizon=st.integers(0, 3),
    kind=st.sampled_from(["group", "file", "time"]),
    seed=st.integers(0, 5),
)
def test_nothing_is_shared_by_two_splits(lengths, groups, window, stride, horizon, kind, seed):
    if kind != "time":  # three groups or files at least
        lengths, groups = [50, 60, 70, *lengths[:5]], [5, 6, 7, *groups]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, lengths, groups[: len(lengths)])
        how = {"group": {"group": "who"}, "file": {"split_by": "group"}, "time": {"split_by": "time"}}[kind]
        config = SeriesData(
            source="series",
            path=str(root),
            window=window,
            stride=stride,
            horizon=horizon,
            target="y",
            channels=("a",),
            **how,
        )
        try:
            loaded = load_series(config, "classification")
            assignment = split_rows(loaded, config, seed)
        except DataError as error:  # too few windows or groups for three splits: refused, not cut through
            assert str(error).startswith(("data: ", "data.split_by: ", "data.window: ", "data.target: "))
            return
    windows = loaded.windows
    taken: dict[tuple[int, int], int] = {}
    in_group: dict[str, set[int]] = {}
    for of, start, split in zip(windows.of.tolist(), windows.starts.tolist(), assignment.tolist(), strict=True):
        # The target's step counts too: what is foretold in one split must not be seen in another.
        for step in (*range(start, start + window), start + window - 1 + horizon):
            assert taken.setdefault((of, step), split) == split
        in_group.setdefault(f"{groups[of]}" if kind == "group" else str(of), set()).add(split)
    if kind != "time":
        assert all(len(splits) == 1 for splits in in_group.values())
    assert set(assignment.tolist()) == {0, 1, 2}


@RELAXED
@given(
    num_steps=st.integers(1, 80),
    span=st.integers(1, 20),
    stride=st.integers(1, 9),
    parts=st.lists(st.integers(1, 10), min_size=2, max_size=3),
)
def test_blocks_of_time_hold_whole_windows(num_steps, span, stride, parts):
    fractions = [part / sum(parts) for part in parts]
    starts = Cutting(span, stride).starts(num_steps)
    found = time_blocks(starts, num_steps, span, fractions)
    borders = [round(sum(fractions[:place]) * num_steps) for place in range(len(parts) + 1)]
    for start, block in zip(starts.tolist(), found.tolist(), strict=True):
        inside = [
            place for place in range(len(parts)) if borders[place] <= start and start + span <= borders[place + 1]
        ]
        assert block == (inside[0] if inside else STRADDLES)


@RELAXED
@given(
    codes=st.lists(st.integers(-1, 3), min_size=3, max_size=40),
    window=st.integers(1, 8),
    stride=st.integers(1, 4),
)
def test_labels_are_those_of_a_slow_count(codes, window, stride):
    steps = np.array(codes)
    cutting = Cutting(window, stride)
    starts = cutting.starts(len(codes))
    majority = window_codes(steps, starts, cutting, "majority", 4).tolist()
    mixed = is_mixed(steps, starts, window).tolist()
    for place, start in enumerate(starts.tolist()):
        inside = codes[start : start + window]
        counts = [inside.count(code) for code in range(4)]
        best = [code for code in range(4) if counts[code] == max(counts) > 0]
        expected = -1 if not best else inside[-1] if inside[-1] in best else best[0]
        assert majority[place] == expected
        assert mixed[place] == (len(set(inside)) > 1)
    assert window_codes(steps, starts, cutting, "last", 4).tolist() == [codes[start + window - 1] for start in starts]
