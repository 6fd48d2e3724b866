"""Whether arrays from a file are a classical model: all that evaluating them relies on is looked at first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import ConversionError

LINEAR_ANSWERS = ("softmax", "sigmoid", "opposites", "values")
KERNEL_ANSWERS = ("votes", "opposites", "values")


def check_parts(
    described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], dimensions: Mapping[str, int], whole: set[str]
) -> None:
    """Refuses arrays of another type or number of dimensions, or numbers that are not finite.

    Args:
        described: what JSON says of the model.
        arrays: name -> array.
        dimensions: name -> how many an array has.
        whole: names of arrays of whole numbers.

    Raises:
        ConversionError: with the first array that does not fit.
        KeyError: an array is missing.
    """
    for name, count in dimensions.items():
        array = arrays[name]
        kinds = "iu" if name in whole else "f"
        if array.ndim != count or array.dtype.kind not in kinds or not np.isfinite(array).all():
            raise refused(f"{count} dimensions of finite numbers in {name}", f"{array.dtype} of shape {array.shape}")
    if not isinstance(described.get("answer", "values"), str):
        raise refused("an answer by name", repr(described["answer"])[:40])


def check_linear(answer: str, coefficients: NDArray[Any], intercepts: NDArray[Any]) -> None:
    """Refuses scores that do not fit each other, (scores, features) and (scores,)."""
    scores, features = coefficients.shape
    _check_answer(answer, LINEAR_ANSWERS)
    if answer in ("sigmoid", "opposites") and scores != 1:
        raise refused(f"one score that is told as {answer}", f"{scores}")
    if not scores or not features or intercepts.shape != (scores,):
        raise refused("an intercept for each of one or more scores", f"{coefficients.shape} and {intercepts.shape}")


def check_kernel(answer: str, gamma: float, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuses support vectors, weights, intercepts and counts that do not fit each other."""
    support, weights, intercepts, counts = (arrays[name] for name in ("support", "weights", "intercepts", "counts"))
    _check_answer(answer, KERNEL_ANSWERS)
    classes = len(counts)
    pairs = classes * (classes - 1) // 2 if answer == "votes" else 1
    rows = classes - 1 if answer == "votes" else 1
    fits = bool(len(support)) and intercepts.shape == (pairs,) and weights.shape == (rows, len(support))
    if answer == "votes":
        fits = fits and classes > 1 and int(counts.min()) >= 0 and int(counts.sum()) == len(support)
    if not fits or not np.isfinite(gamma) or gamma < 0.0:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise refused("vectors, weights and intercepts that fit each other", f"{shapes} and gamma {gamma}")


def check_trees(num_features: int, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuses trees in which a row could go round in circles, or leave the arrays."""
    features, thresholds, nexts, roots = (arrays[name] for name in ("features", "thresholds", "nexts", "roots"))
    count = len(features)
    if (
        not count
        or thresholds.shape != (count,)
        or nexts.shape != (count,)
        or not len(roots)
        or 0 in arrays["leaves"].shape
    ):
        raise refused("a feature, a threshold and a next one for each node", f"{count} nodes, {len(roots)} trees")
    if roots[0] != 0 or (np.diff(roots) <= 0).any() or roots[-1] >= count:
        raise refused("trees one after the other", "roots in another order")
    places = np.arange(count)
    own = roots[np.searchsorted(roots, places, side="right") - 1].astype(np.int64)
    leaf = features < 0
    # Rows go on to later nodes alone: each step leads further, so there is an end.
    right = own + nexts
    inner_fits = (features < num_features) & (places + 1 < count) & (right > places) & (right < count)
    leaf_fits = (nexts >= 0) & (nexts < len(arrays["leaves"]))
    wrong = np.flatnonzero(np.where(leaf, ~leaf_fits | (features != -1), ~inner_fits))
    if wrong.size:
        raise refused(
            "nodes that lead on to nodes or answers", f"node {int(wrong[0])} of {count}, which leads elsewhere"
        )


def refused(rule: str, got: str) -> ConversionError:
    """Returns the error for parts that are no model."""
    return ConversionError(f"model: expected {rule}, got {got}. Run the pipeline again.")


def _check_answer(answer: str, known: tuple[str, ...]) -> None:
    if answer not in known:
        raise refused(f"one of {', '.join(known)} as the answer", repr(answer)[:40])
