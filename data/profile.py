"""What is in the data, and what is wrong with it: the figures of `profile.json`."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import SPLIT_NAMES
from data.row_blocks import least_and_largest, mean_and_deviation, present_blocks, row_blocks
from data.sources.loaded import Column, Targets
from data.splits import TRAIN

PROFILE_VERSION = 1

NUM_TOP_CATEGORIES = 20
"""Categories that are listed with their counts."""

RARE_CLASS_ROWS = 20
"""Classes with fewer training rows than this are worth a warning."""

IMBALANCE_RATIO = 10.0
"""A largest class this many times the smallest is worth a warning."""


COMPARED_FIRST = 1024
"""Rows in which columns are compared before all others."""

ROWS_COMPARED = 2**21
"""Rows that are compared for duplicates at once."""

PAIRS = ((0, 1), (0, 2), (1, 2))
"""Splits that are compared, the second with the first."""


def number(value: float) -> float:
    """Returns a figure as it is shown: six significant digits."""
    return float(f"{value:.6g}")


def column_profile(column: Column, why_left_out: str | None) -> dict[str, Any]:
    """Describes one column over all rows of the source that are used.

    Args:
        column: as the source recognised it.
        why_left_out: reason for which it is no input; None for an input.

    Returns:
        name, kind, missing, distinct, used, why_left_out; min, max, mean, std of numbers; top categories with counts.
    """
    figures: dict[str, Any] = {
        "name": column.name,
        "kind": column.kind,
        "missing": column.missing,
        "distinct": column.distinct,
        "used": why_left_out is None,
        "why_left_out": why_left_out,
    }
    if column.values is None:
        return figures
    if column.kind == "categorical":
        counts = np.zeros(len(column.vocabulary), np.int64)
        for block in present_blocks(column.values):
            counts += np.bincount(block.astype(np.int64), minlength=len(counts))
        order = np.lexsort((np.arange(len(column.vocabulary)), -counts))[:NUM_TOP_CATEGORIES]
        figures["top"] = [{"value": column.vocabulary[code], "rows": int(counts[code])} for code in order]
        return figures
    ends = least_and_largest(column.values)
    if ends is not None:
        mean, deviation = mean_and_deviation(column.values)
        figures |= {"min": number(ends[0]), "max": number(ends[1])}
        figures |= {"mean": number(mean), "std": number(deviation)}
    return figures


def duplicate_columns(columns: Sequence[Column]) -> list[list[str]]:
    """Returns groups of names of columns that hold the same values in every row."""
    alike: dict[Hashable, list[Column]] = defaultdict(list)
    for column in columns:
        if column.values is not None:
            first = (np.asarray(column.values[:COMPARED_FIRST], np.float64) + 0.0).tobytes()
            alike[column.vocabulary, first].append(column)
    same: dict[Hashable, list[str]] = defaultdict(list)
    for key, candidates in alike.items():
        for column in candidates if len(candidates) > 1 else ():
            same[key, _digest(column.values)].append(column.name)
    return [names for names in same.values() if len(names) > 1]


def _digest(values: NDArray[Any] | None) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for rows in () if values is None else row_blocks(len(values)):
        digest.update((np.asarray(values[rows], np.float64) + 0.0).tobytes())  # type: ignore[index]
    return digest.digest()


def duplicate_rows(
    digests: NDArray[np.uint64], targets: NDArray[Any], assignment: NDArray[np.int8], has_labels: bool = True
) -> dict[str, Any]:
    """Counts exact duplicates.

    Args:
        digests: (rows,) digest of each row's inputs.
        targets: (rows,) targets.
        assignment: (rows,) split codes; rows of no split do not count.
        has_labels: whether the targets are any.

    Returns:
        `rows`: rows that repeat an earlier one, inputs and target; `across_splits`: for each pair of splits, rows of
        the second whose inputs and target also occur in the first; with labels also `conflicting`: rows whose inputs
        occur with another target too.
    """
    found = {
        "rows": 0,
        **{f"{SPLIT_NAMES[first]}/{SPLIT_NAMES[second]}": 0 for first, second in PAIRS},
        "conflicting": 0,
    }
    parts = 1 + len(digests) // ROWS_COMPARED
    for part in range(parts):
        # Equal rows have equal digests, so that they fall into one part. Rows without labels are counted elsewhere.
        within = np.flatnonzero((digests % np.uint64(parts) == part) & (assignment >= 0) & (assignment < 3))
        if len(within):
            for name, rows in _duplicates(digests[within], targets[within], assignment[within]).items():
                found[name] += rows
    conflicting = found.pop("conflicting")
    counted = {"rows": found.pop("rows"), "across_splits": found}
    return counted | {"conflicting": conflicting} if has_labels else counted


def _duplicates(digests: NDArray[np.uint64], targets: NDArray[Any], assignment: NDArray[np.int8]) -> dict[str, int]:
    _, inputs = np.unique(digests, return_inverse=True)
    _, target_codes = np.unique(targets, return_inverse=True)
    pairs, example = np.unique(inputs * (int(target_codes.max()) + 1) + target_codes, return_inverse=True)
    in_split = np.zeros((3, len(pairs)), bool)
    in_split[assignment, example] = True
    targets_of_inputs = np.bincount(pairs // (int(target_codes.max()) + 1), minlength=int(inputs.max()) + 1)
    found = {"rows": len(digests) - len(pairs), "conflicting": int((targets_of_inputs[inputs] > 1).sum())}
    for first, second in PAIRS:
        seen = in_split[first][example] & (assignment == second)
        found[f"{SPLIT_NAMES[first]}/{SPLIT_NAMES[second]}"] = int(seen.sum())
    return found


def target_profile(targets: Targets, assignment: NDArray[np.int8]) -> dict[str, Any]:
    """Describes the targets: rows of each class in each split, or the range of the numbers; nothing without labels."""
    if targets.name is None:
        return {}
    if targets.class_names:
        balance = {
            split: {
                name: int(rows)
                for name, rows in zip(
                    targets.class_names,
                    np.bincount(targets.values[assignment == code], minlength=len(targets.class_names)),
                    strict=True,
                )
            }
            for code, split in enumerate(SPLIT_NAMES)
        }
        return {"name": targets.name, "class_balance": balance}
    values = targets.values[np.isin(assignment, range(len(SPLIT_NAMES)))]
    return {
        "name": targets.name,
        "min": number(values.min()),
        "max": number(values.max()),
        "mean": number(values.mean()),
        "std": number(values.std()),
    }


def target_warnings(targets: Targets, assignment: NDArray[np.int8], task: str) -> list[str]:
    """Returns what a user should know of the class balance, where classes are learned."""
    if task != "classification":
        return []
    warnings = []
    counts = np.bincount(targets.values[assignment == TRAIN], minlength=len(targets.class_names))
    rare = [targets.class_names[code] for code in np.flatnonzero(counts < RARE_CLASS_ROWS)]
    if rare:
        warnings.append(
            f"{len(rare)} of {len(counts)} classes have fewer than {RARE_CLASS_ROWS} training rows: {_listed(rare)}."
        )
    if counts.max() >= IMBALANCE_RATIO * counts.min():
        largest, smallest = targets.class_names[int(counts.argmax())], targets.class_names[int(counts.argmin())]
        warnings.append(
            f"Classes are unbalanced: {counts.max()} training rows of {largest!r}, {counts.min()} of {smallest!r}."
        )
    for code, split in enumerate(SPLIT_NAMES[1:], start=1):
        absent = set(range(len(counts))) - set(targets.values[assignment == code].tolist())
        if absent:
            names = [targets.class_names[position] for position in sorted(absent)]
            warnings.append(f"The {split} split has no row of {_listed(names)}.")
    return warnings


def duplicate_warnings(
    duplicates: Mapping[str, Any], same_columns: Sequence[Sequence[str]], has_labels: bool
) -> list[str]:
    """Returns what a user should know of duplicates."""
    warnings = []
    what = "inputs and target" if has_labels else "input for input"
    for pair, rows in duplicates["across_splits"].items():
        if rows:
            first, second = pair.split("/")
            warnings.append(
                f"{rows} rows of the {second} split also occur in the {first} split, {what}: they flatter its score."
            )
    if duplicates.get("conflicting"):
        warnings.append(f"{duplicates['conflicting']} rows have the same inputs as a row with another target.")
    warnings.extend(f"Columns {_listed(list(names))} hold the same values in every row." for names in same_columns)
    return warnings


def _listed(names: Sequence[str], most: int = 10) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
