"""Normal rows to learn from, abnormal ones to be told from them: labels of normal and abnormal, from those of classes.

Reference:
    Ruff et al. 2021, A Unifying Review of Deep and Shallow Anomaly Detection, section II.C (unsupervised training on
    normal data, labels for the evaluation alone).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from data.contract import DataError
from data.paths import nearest
from data.sources.loaded import Loaded, Targets
from data.splits import TEST

NORMAL_NAMES = ("normal", "abnormal")
"""Names of the codes 0 and 1."""

ABNORMAL = 1
"""Code of the rows that nothing is learned from."""


def mark_normal(loaded: Loaded, normal: Sequence[str]) -> Loaded:
    """Makes labels of normal and abnormal out of labels of classes, and holds abnormal rows back for the test split.

    Args:
        loaded: the source's rows, with class codes.
        normal: names of the classes whose rows are normal.

    Returns:
        The same rows with targets 0 (normal) or 1 (abnormal), stratified by their classes; where the source ships its
        test split, without the abnormal rows outside of it.

    Raises:
        DataError: a class that the data does not have; no normal row to learn from, or no abnormal row to test with.
    """
    names = loaded.targets.class_names
    unknown = [name for name in normal if name not in names]
    if unknown:
        wrong = ", ".join(f"{name!r}{nearest(name, names)}" for name in unknown)
        raise DataError(f"data.normal: expected classes of the data, got {wrong}. Its classes are {_listed(names)}.")
    abnormal = ~np.isin(loaded.targets.values, [names.index(name) for name in normal])
    shipped = loaded.given is not None and bool((loaded.given == TEST).any())
    outside = loaded.given != TEST if shipped else np.ones(len(abnormal), bool)
    if not (outside & ~abnormal).any():
        raise DataError(
            f"data.normal: expected rows of {_listed(normal)} to learn from, got none. Add rows, or name other classes."
        )
    marked = replace(
        loaded,
        targets=Targets(abnormal.astype(np.int32), NORMAL_NAMES, loaded.targets.name),
        strata=loaded.targets.values.astype(np.int64),
        test_only=abnormal,
    )
    left_out = abnormal & outside
    if shipped and left_out.any():
        number = int(left_out.sum())
        marked = marked.without_rows(
            ~left_out, f"{number} abnormal rows outside of the test split are left out: nothing is learned from them."
        )
    return marked


def check_test_rows(loaded: Loaded, assignment: NDArray[np.int8]) -> None:
    """Refuses a test split that cannot tell how well normal and abnormal rows are told apart.

    Raises:
        DataError: it has no abnormal row, or no normal one.
    """
    counts = np.bincount(loaded.targets.values[assignment == TEST], minlength=2)
    if counts[ABNORMAL] == 0:
        raise DataError(
            f"data.normal: expected abnormal rows in the test split, got none among {int(counts.sum())}. "
            "Take a class out of data.normal, add rows of other classes, or leave data.normal out."
        )
    if counts.sum() == counts[ABNORMAL]:
        raise DataError(
            f"data.normal: expected normal rows in the test split too, got none among {int(counts.sum())}. "
            "Add rows of the normal classes to it."
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:12])) + (" …" if len(names) > 12 else "")
