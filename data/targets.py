"""Checks what is to be predicted, and turns labels into class codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import DataError
from data.sources.loaded import Loaded, Targets

MOST_CLASSES = 1000
"""More distinct labels than this are taken for numbers or names, not classes."""


def classes_from_numbers(values: NDArray[Any], name: str, task: str = "classification") -> Targets:
    """Turns numeric labels into class codes, in ascending order.

    Args:
        values: (rows,) integers, or floats without NaN.
        name: name of the target for errors and reports.
        task: what the labels are for, for errors.

    Raises:
        DataError: the numbers look like quantities: fractions, or too many distinct ones.
    """
    distinct, codes = np.unique(values, return_inverse=True)
    integral = bool(np.all(distinct == np.round(distinct.astype(np.float64))))
    many = len(distinct) > MOST_CLASSES or (len(distinct) > 20 and (not integral or len(distinct) > len(values) / 5))
    if many or (not integral and len(distinct) > 10):
        other = "Set task: regression" if task == "classification" else "Leave the labels out"
        raise DataError(
            f"data.target: expected class labels for task {task}, got {len(distinct)} distinct numbers "
            f"in {name!r}, from {distinct[0]:g} to {distinct[-1]:g}. {other}, or name a column of labels."
        )
    names = tuple(str(int(value)) if integral else f"{value:g}" for value in distinct)
    return Targets(codes.astype(np.int32), names, name)


def classes_from_names(codes: NDArray[Any], vocabulary: Sequence[str], name: str) -> Targets:
    """Turns coded labels into class codes in the sorted order of their names.

    Args:
        codes: (rows,) positions in the vocabulary.
        vocabulary: distinct labels, in any order; those without rows get no class.
        name: name of the target.
    """
    present = np.unique(codes)
    names = sorted(vocabulary[int(code)] for code in present)
    code_of = np.zeros(len(vocabulary), np.int32)
    for position, label in enumerate(names):
        code_of[vocabulary.index(label)] = position
    return Targets(code_of[codes.astype(np.int64)], tuple(names), name)


def check_targets(loaded: Loaded, task: str) -> None:
    """Refuses targets that nothing can be learned from; labels that are there for comparison alone may be any.

    Raises:
        DataError: no rows; one class or one value alone; a class with a single row; a target that is not finite.
    """
    values, names = loaded.targets.values, loaded.targets.class_names
    if len(values) == 0:
        raise DataError("data: expected one or more rows, got none. Check the source.")
    if task not in ("classification", "regression"):
        return
    if task == "regression":
        if not np.isfinite(values).all():
            raise DataError(
                f"data.target: expected finite numbers, got {int((~np.isfinite(values)).sum())} that are not in "
                f"{loaded.targets.name!r}. Correct or remove these rows."
            )
        if (values == values[0]).all():
            raise DataError(
                f"data.target: expected two or more distinct values, got 1 ({values[0]:g} in all {len(values)} rows). "
                "Check data.target, or collect rows that differ."
            )
        return
    counts = np.bincount(values, minlength=len(names))
    if (counts > 0).sum() < 2:
        only = names[int(counts.argmax())]
        raise DataError(
            f"data.target: expected two or more classes, got 1 ({only!r} in all {len(values)} rows). "
            "Check data.target, or collect rows of other classes."
        )
    if (counts == 0).any():
        empty = ", ".join(repr(names[code]) for code in np.flatnonzero(counts == 0)[:10])
        raise DataError(
            f"data.target: expected rows of every class, got none of {empty}. Add rows, or take the class out."
        )
    single = [names[code] for code in np.flatnonzero(counts == 1)]
    if single:
        raise DataError(
            f"data.target: expected two or more rows of every class, got 1 of {', '.join(map(repr, single[:10]))}"
            f"{f' and {len(single) - 10} more' if len(single) > 10 else ''}. Add rows of it, or remove its row."
        )
