"""Divides rows into training, validation and test: seeded, stratified, groups kept together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.config import SplitFields
from data.contract import DataError, derive_seed
from data.sources.loaded import Loaded

TRAIN, VALIDATION, TEST = 0, 1, 2
"""Codes of the splits, in the order of `SPLIT_NAMES`."""

UNLABELED = 3
"""Code of training rows whose labels are put aside."""

LEFT_OUT = -1
"""Code of rows that may be in no split."""

FEWEST_ROWS = 10
"""Fewer rows say nothing about a model."""

NUM_QUANTILE_BINS = 10
"""Regression targets are stratified by deciles (fewer for fewer rows)."""


def split_rows(loaded: Loaded, config: SplitFields, seed: int) -> NDArray[np.int8]:
    """Assigns every row to a split.

    Args:
        loaded: the source's rows; where `given` holds validation or test rows they are kept, and the split
            that is not given is taken from the training rows.
        config: the fractions.
        seed: the run's seed; one use of it is derived here.

    Returns:
        (rows,) int8: 0 train, 1 validation, 2 test; -1 for rows for the test split alone whose group is in another.

    Raises:
        DataError: too few rows, or groups, for every split to get some.
    """
    strata = _strata(loaded)
    if len(strata) < FEWEST_ROWS:
        raise DataError(
            f"data: expected {FEWEST_ROWS} or more rows, got {len(strata)}. Collect more data: three splits are made."
        )
    generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "ingest", "split")))
    fractions = np.array([0.0, config.validation_fraction, config.test_fraction])
    assignment = np.zeros(len(strata), np.int8) if loaded.given is None else loaded.given.astype(np.int8)
    for split in (VALIDATION, TEST):
        if (assignment == split).any():
            fractions[split] = 0.0
    test_only = np.zeros(len(strata), bool) if loaded.test_only is None else loaded.test_only
    rows = np.flatnonzero((assignment == TRAIN) & ~test_only)
    fractions[TRAIN] = 1.0 - fractions.sum()
    if fractions[TRAIN] == 1.0:
        pass  # the source ships all three
    elif loaded.groups is None:
        assignment[rows] = _stratified(strata[rows], fractions, generator)
    else:
        assignment[rows] = _grouped(strata[rows], loaded.groups[rows], fractions, generator)
    moved = test_only & (assignment != TEST)
    assignment[moved] = TEST
    if loaded.groups is not None:
        assignment[moved & np.isin(loaded.groups, loaded.groups[assignment != TEST])] = LEFT_OUT
    if loaded.test_only is None:
        _check_training_classes(loaded, assignment)
    return _with_every_split(assignment)


def keep_labels(loaded: Loaded, assignment: NDArray[np.int8], num_labels: int, seed: int) -> NDArray[np.int8]:
    """Puts the labels of all but a few training rows aside.

    Each class, or range of the numbers to predict, keeps its share `num_labels * rows / training rows`, rounded so
    that each class keeps a row at least.

    Args:
        loaded: the source's rows.
        assignment: (rows,) split codes.
        num_labels: training rows that keep their labels.
        seed: the run's seed; one use of it is derived here.

    Returns:
        (rows,) int8: the assignment, 3 for the training rows that lose their labels.

    Raises:
        DataError: fewer training rows than that, or fewer labels than classes.
    """
    rows = np.flatnonzero(assignment == TRAIN)
    strata, members = np.unique(_strata(loaded)[rows], return_inverse=True)
    if num_labels > len(rows):
        raise DataError(
            f"data.num_labels: expected at most the {len(rows)} training rows, got {num_labels}. "
            "Ask for fewer, or leave it out."
        )
    least = 1 if loaded.targets.class_names else 0
    if num_labels < least * len(strata):
        raise DataError(
            f"data.num_labels: expected a label of each of {len(strata)} classes at least, got {num_labels}. "
            "Ask for more."
        )
    generator = np.random.Generator(np.random.PCG64(derive_seed(seed, "ingest", "labels")))
    result = assignment.copy()
    result[rows] = UNLABELED
    for stratum, count in enumerate(_shares(np.bincount(members), num_labels, least)):
        result[generator.permutation(rows[members == stratum])[:count]] = TRAIN
    return result


def _shares(sizes: NDArray[np.int64], total: int, least: int) -> NDArray[np.int64]:
    """Divides `total` among strata by their sizes, to each `least` or more; the largest remainders are rounded up."""
    exact = sizes * (total / sizes.sum())
    counts: NDArray[np.int64] = np.maximum(np.floor(exact).astype(np.int64), least)
    while counts.sum() < total:
        counts[np.argmax(np.where(counts < sizes, exact - counts, -np.inf))] += 1
    while counts.sum() > total:
        counts[np.argmax(np.where(counts > least, counts - exact, -np.inf))] -= 1
    return counts


def _strata(loaded: Loaded) -> NDArray[np.int64]:
    """Returns (rows,) stratum of each row: its class, or its quantile bin; one for all where there are no labels."""
    values = loaded.targets.values
    if loaded.strata is not None:
        return loaded.strata
    if not loaded.targets.are_numbers:
        return values.astype(np.int64)
    bins = min(NUM_QUANTILE_BINS, max(1, len(values) // FEWEST_ROWS))
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def _stratified(
    strata: NDArray[np.int64], fractions: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.int8]:
    """Divides each stratum by the fractions; what rounding leaves over goes where most is owed.

    A stratum of three rows or more has a row in every split that is asked for; one of two keeps one for training.
    """
    assignment = np.zeros(len(strata), np.int8)
    owed = np.zeros(len(fractions))
    for stratum in np.unique(strata):
        members = generator.permutation(np.flatnonzero(strata == stratum))
        exact = fractions * len(members)
        counts = np.floor(exact).astype(np.int64)
        owed += exact - counts
        for _ in range(len(members) - int(counts.sum())):
            most = int(np.argmax(np.where(fractions > 0, owed, -np.inf)))
            counts[most] += 1
            owed[most] -= 1.0
        for split in np.flatnonzero((fractions > 0) & (counts == 0)):
            richest = int(np.argmax(counts))
            if split == TRAIN or (counts[richest] >= 2 and len(members) >= 3):
                counts[richest] -= 1
                counts[split] += 1
                owed[richest] += 1.0
                owed[split] -= 1.0
        assignment[members] = np.repeat(np.arange(len(fractions)), counts)
    return assignment


def _grouped(
    strata: NDArray[np.int64],
    groups: NDArray[np.int64],
    fractions: NDArray[np.float64],
    generator: np.random.Generator,
) -> NDArray[np.int8]:
    """Divides whole groups, the largest first, each to the split that it brings nearest to its share of each stratum.

    Greedy, as scikit-learn's StratifiedGroupKFold; ties fall by the shuffled order.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    needed = int((fractions > 0).sum())
    if len(names) < needed:
        raise DataError(
            f"data.group: expected {needed} or more groups, one a split at least, got {len(names)}. "
            "Name a column with more values, or leave data.group out."
        )
    stratum_of = np.unique(strata, return_inverse=True)[1]
    counts = np.zeros((len(names), int(stratum_of.max()) + 1))
    np.add.at(counts, (group_of, stratum_of), 1.0)
    wanted = fractions[:, None] * counts.sum(axis=0)[None, :]
    filled = np.zeros_like(wanted)
    weight = 1.0 / counts.sum(axis=0)  # a rare class weighs as much as a frequent one
    shuffled = generator.permutation(len(names))
    split_of = np.zeros(len(names), np.int8)
    num_groups = np.zeros(len(fractions), np.int64)
    for left, group in zip(
        range(len(names), 0, -1), shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")], strict=True
    ):
        before = (((filled - wanted) * weight) ** 2).sum(axis=1)
        after = (((filled + counts[group] - wanted) * weight) ** 2).sum(axis=1)
        empty = (fractions > 0) & (num_groups == 0)
        allowed = empty if left <= empty.sum() else fractions > 0  # the last groups go where there is none yet
        split = int(np.argmin(np.where(allowed, after - before, np.inf)))
        num_groups[split] += 1
        split_of[group] = split
        filled[split] += counts[group]
    return split_of[group_of]


def _check_training_classes(loaded: Loaded, assignment: NDArray[np.int8]) -> None:
    names = loaded.targets.class_names
    if not names:
        return
    counts = np.bincount(loaded.targets.values[assignment == TRAIN], minlength=len(names))
    absent = [names[code] for code in np.flatnonzero(counts == 0)]
    if absent:
        raise DataError(
            f"data.target: expected training rows of every class, got none of {', '.join(map(repr, absent[:5]))}. "
            "Its rows all fall into groups or blocks of time of other splits, or into the source's own test split: add "
            "rows or drop it."
        )


def _with_every_split(assignment: NDArray[np.int8]) -> NDArray[np.int8]:
    counts = np.bincount(assignment[assignment != LEFT_OUT], minlength=3)
    for split, name in ((TRAIN, "training"), (VALIDATION, "validation"), (TEST, "test")):
        if counts[split] == 0:
            raise DataError(
                f"data: expected rows in every split, got none for {name} out of {len(assignment)}. "
                "Add rows or groups, or ask for larger fractions."
            )
    return assignment
