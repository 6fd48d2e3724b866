"""Fits classical models with scikit-learn, and takes their plain arrays out of them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from data.contract import ConfigError
from models.classical.forms import LEAF, Form, KernelForm, LinearForm, TreesForm
from models.classical_config import (
    ClassicalConfig,
    DecisionTreeConfig,
    LogisticRegressionConfig,
    RidgeRegressionConfig,
    SvmConfig,
)

_ITERATIONS = 10_000
"""Most iterations of a solver; scikit-learn's own limits are short for data of many features."""

_TWO_CLASSES = 2


@dataclass(frozen=True)
class Fitted:
    """A fitted classical model.

    Attributes:
        estimator: scikit-learn's.
        form: the same as plain arrays, float64.
        num_rows: training rows it was fitted on.
        seconds: that the fit took, one thread.
        warnings: what scikit-learn had to say of it.
    """

    estimator: Any
    form: Form
    num_rows: int
    seconds: float
    warnings: tuple[str, ...]


def fit(
    config: ClassicalConfig,
    x: NDArray[np.float32],
    y: NDArray[Any],
    num_classes: int,
    class_weights: Sequence[float] | None,
    seed: int,
) -> Fitted:
    """Fits a model, on one thread, so that the same rows and seed give the same numbers.

    Args:
        config: the section `model`, or what a baseline stands for.
        x: (rows, ...) float32 model input; flattened here.
        y: (rows,) class codes, each code with a row; or float32 standardized targets.
        num_classes: 0 for numbers.
        class_weights: weight of each class code; None: all 1.
        seed: of whatever is drawn: bootstraps, features, rows of a limited SVM.

    Raises:
        ConfigError: the limit of rows is below the number of classes.
    """
    rows = x.reshape(len(x), -1)
    limited = isinstance(config, SvmConfig) and config.kernel == "rbf" and len(rows) > config.max_rows
    if isinstance(config, SvmConfig) and limited:
        drawn = drawn_rows(y, num_classes, config.max_rows, seed)
        rows, y = rows[drawn], y[drawn]
    weights = None if class_weights is None else dict(enumerate(class_weights))
    estimator = _estimator(config, num_classes > 0, weights, seed)
    # Trees compare float32 anyway; the solvers of the others need the precision.
    rows = rows if hasattr(estimator, "max_depth") else rows.astype(np.float64)
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.perf_counter()
        estimator.fit(rows, y if num_classes > 0 else y.astype(np.float64))
        seconds = time.perf_counter() - started
    told = tuple(dict.fromkeys(" ".join(str(each.message).split()) for each in caught))
    return Fitted(estimator, form_of(estimator, num_classes), len(rows), seconds, told)


def drawn_rows(y: NDArray[Any], num_classes: int, limit: int, seed: int) -> NDArray[np.int64]:
    """Draws rows so that each class keeps its share, and at least one row.

    Args:
        y: (rows,) class codes, or numbers.
        num_classes: 0 for numbers, which are drawn evenly.
        limit: rows to draw, fewer than there are.
        seed: of the draw.

    Returns:
        (limit,) positions, rising.

    Raises:
        ConfigError: there are more classes than rows may be drawn.
    """
    if num_classes > limit:
        raise ConfigError(
            f"model.max_rows: expected a row of each of {num_classes} classes at least, got {limit}. Raise it."
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(y))
    codes = y[order] if num_classes > 0 else np.zeros(len(y), np.int64)
    place = np.empty(len(y))
    for code in np.unique(codes):  # the i-th of n rows of a class has place i / n: all classes go at the same pace
        members = np.flatnonzero(codes == code)
        place[members] = np.arange(len(members)) / len(members)
    return np.sort(order[np.argsort(place, kind="stable")[:limit]])


def answers(estimator: Any, x: NDArray[np.float32], num_classes: int) -> NDArray[np.float64]:
    """Returns what scikit-learn's own model answers, laid out as `forms.evaluate` does.

    Args:
        estimator: a fitted one of `fit`.
        x: (rows, ...) float32.
        num_classes: 0 for numbers.

    Returns:
        (rows, num_classes) probabilities, or decision values of machines that have none; (rows, 1) for numbers.
    """
    rows = x.reshape(len(x), -1)
    if num_classes == 0:
        return np.asarray(estimator.predict(rows), np.float64)[:, None]
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(rows), np.float64)
    scores = np.asarray(estimator.decision_function(rows.astype(np.float64)), np.float64)
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def predict_us(estimator: Any, x: NDArray[np.float32], repeats: int) -> float:
    """Returns the median time of predicting one row in microseconds: one thread, one row a call.

    Args:
        estimator: a fitted one of `fit`.
        x: (rows, ...) float32, taken in turn; at least one.
        repeats: timed calls.
    """
    rows = x.reshape(len(x), -1)
    times = []
    with threadpool_limits(1):
        for repeat in range(repeats):
            row = rows[repeat % len(rows)][None]
            started = time.perf_counter()
            estimator.predict(row)
            times.append(time.perf_counter() - started)
    return float(np.median(times)) * 1e6


def _estimator(config: ClassicalConfig, classifies: bool, weights: dict[int, float] | None, seed: int) -> Any:
    if isinstance(config, LogisticRegressionConfig):
        return LogisticRegression(C=config.c, class_weight=weights, max_iter=_ITERATIONS)
    if isinstance(config, RidgeRegressionConfig):
        return Ridge(alpha=config.alpha)
    if isinstance(config, SvmConfig):
        return _machine(config, classifies, weights, seed)
    growth = {"max_depth": config.max_depth, "min_samples_leaf": config.min_leaf_rows, "random_state": seed}
    if isinstance(config, DecisionTreeConfig):
        if classifies:
            return DecisionTreeClassifier(class_weight=weights, **growth)
        return DecisionTreeRegressor(**growth)
    if classifies:
        return RandomForestClassifier(config.num_trees, class_weight=weights, n_jobs=1, **growth)
    return RandomForestRegressor(config.num_trees, n_jobs=1, **growth)


def _machine(config: SvmConfig, classifies: bool, weights: dict[int, float] | None, seed: int) -> Any:
    if config.kernel == "linear":
        shared = {"C": config.c, "dual": "auto", "random_state": seed, "max_iter": _ITERATIONS}
        if classifies:
            return LinearSVC(class_weight=weights, **shared)
        return LinearSVR(epsilon=config.epsilon, **shared)
    if classifies:
        return SVC(C=config.c, gamma=config.gamma, class_weight=weights, break_ties=True)
    return SVR(C=config.c, gamma=config.gamma, epsilon=config.epsilon)


def form_of(estimator: Any, num_classes: int) -> Form:
    """Takes the plain arrays out of a fitted estimator.

    Args:
        estimator: one of those that `fit` makes.
        num_classes: 0 for numbers.
    """
    if hasattr(estimator, "support_vectors_"):
        return _kernel_form(estimator, num_classes)
    if hasattr(estimator, "coef_"):
        coefficients, intercepts = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
        if num_classes == 0:
            return LinearForm(coefficients, intercepts, "values")
        probable = hasattr(estimator, "predict_proba")
        if num_classes == _TWO_CLASSES:
            return LinearForm(coefficients, intercepts, "sigmoid" if probable else "opposites")
        return LinearForm(coefficients, intercepts, "softmax" if probable else "values")
    return _trees_form(estimator)


def _kernel_form(estimator: Any, num_classes: int) -> KernelForm:
    votes = num_classes > _TWO_CLASSES
    return KernelForm(
        support=np.asarray(estimator.support_vectors_, np.float64),
        weights=np.asarray(estimator.dual_coef_, np.float64),
        intercepts=np.asarray(estimator.intercept_, np.float64),
        gamma=float(estimator._gamma),  # scikit-learn tells what `scale` came to nowhere else
        counts=np.asarray(estimator.n_support_, np.int64) if votes else np.empty(0, np.int64),
        answer="votes" if votes else "opposites" if num_classes else "values",
    )


def _trees_form(estimator: Any) -> TreesForm:
    trees = [each.tree_ for each in getattr(estimator, "estimators_", [estimator])]
    parts: list[tuple[NDArray[Any], ...]] = []
    roots, start = [], 0
    for tree in trees:
        parts.append(_preorder(tree))
        roots.append(start)
        start += tree.node_count
    features, thresholds, nexts, values = (np.concatenate(each) for each in zip(*parts, strict=True))
    leaf = features == LEAF
    distinct, position = np.unique(values[leaf], axis=0, return_inverse=True)
    nexts[leaf] = position.ravel()
    # The largest float32 that is not above: x <= t holds for the same float32 x.
    below = thresholds.astype(np.float32)
    below = np.where(below > thresholds, np.nextafter(below, np.float32(-np.inf)), below)
    return TreesForm(
        features=features.astype(np.int32),
        thresholds=np.where(leaf, np.float32(0.0), below).astype(np.float32),
        nexts=nexts.astype(np.int32),
        roots=np.array(roots, np.int32),
        leaves=distinct,
        num_features=int(estimator.n_features_in_),
    )


def _preorder(tree: Any) -> tuple[NDArray[Any], ...]:
    """Returns (features, thresholds, where right, answers) of a tree's nodes, each followed by its left child."""
    order, waiting = [], [0]
    while waiting:
        node = waiting.pop()
        order.append(node)
        if tree.children_left[node] != tree.children_right[node]:
            waiting += [tree.children_right[node], tree.children_left[node]]
    nodes = np.array(order, np.int64)
    place = np.empty(len(nodes), np.int64)
    place[nodes] = np.arange(len(nodes))
    leaf = tree.children_left[nodes] == tree.children_right[nodes]
    features = np.where(leaf, LEAF, tree.feature[nodes])
    nexts = np.where(leaf, 0, place[np.where(leaf, 0, tree.children_right[nodes])])
    return features, tree.threshold[nodes], nexts, tree.value[nodes][:, 0, :]


def decisions(estimator: Any, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """Returns the class codes that scikit-learn's own `predict` gives, (rows,).

    Args:
        estimator: a fitted one of `fit`, of classes.
        x: (rows, ...) float32.
    """
    rows = x.reshape(len(x), -1)
    rows = rows if hasattr(estimator, "max_depth") else rows.astype(np.float64)
    return np.asarray(estimator.predict(rows), np.int64)
