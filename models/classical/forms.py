"""Fitted classical models as plain arrays, and what they answer: three forms serve all families.

A form knows nothing of scikit-learn: it is what is kept on disk, what `predict` evaluates in NumPy, and what is
written as C. No pickle is ever needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.contract import ConversionError
from models.classical.form_checks import check_kernel, check_linear, check_parts, check_trees, refused

LEAF = -1
"""Feature of a node that asks no question."""

_KERNEL_ARRAYS = ("support", "weights", "intercepts", "counts")
_TREES_ARRAYS = ("features", "thresholds", "nexts", "roots", "leaves")
_CHUNK_NUMBERS = 4_000_000
"""Kernel values that are held at a time."""


@dataclass(frozen=True)
class LinearForm:
    """Scores z = W x + b, and how they are told.

    Attributes:
        coefficients: W, (scores, features).
        intercepts: b, (scores,).
        answer: `softmax`: exp(z_k) / sum exp(z); `sigmoid`: of the one score, [1 - p, p] with p = 1 / (1 + exp(-z));
            `opposites`: of the one score, [-z, z]; `values`: z itself.
    """

    coefficients: NDArray[Any]
    intercepts: NDArray[Any]
    answer: Literal["softmax", "sigmoid", "opposites", "values"]

    @property
    def num_features(self) -> int:
        """Numbers it takes."""
        return int(self.coefficients.shape[1])

    @property
    def num_outputs(self) -> int:
        """Numbers it answers."""
        return 2 if self.answer in ("sigmoid", "opposites") else len(self.intercepts)

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one inference."""
        return int(self.coefficients.size)


@dataclass(frozen=True)
class KernelForm:
    """Scores d_p = sum_s a_ps exp(-gamma |x - v_s|²) + b_p over the support vectors v_s.

    Attributes:
        support: the vectors v, (vectors, features), those of the first class first.
        weights: (scores of a class, vectors). With `votes`, each vector has a weight against each other class:
            `weights[r, s]` is for the pair of its own class c and the class r (r < c) or r + 1 (r >= c).
        intercepts: b, (pairs,); pairs of classes in the order (0, 1), (0, 2), …, (1, 2), ….
        gamma: positive.
        counts: with `votes`: vectors of each class, (classes,); else empty.
        answer: `votes`: how many pairs a class i wins (d_ij >= 0), plus c / (3 (|c| + 1)) of the sum c of its d;
            `opposites`: of the one score, [-d, d]; `values`: d itself.
    """

    support: NDArray[Any]
    weights: NDArray[Any]
    intercepts: NDArray[Any]
    gamma: float
    counts: NDArray[np.int64]
    answer: Literal["votes", "opposites", "values"]

    @property
    def num_features(self) -> int:
        """Numbers it takes."""
        return int(self.support.shape[1])

    @property
    def num_outputs(self) -> int:
        """Numbers it answers."""
        return {"votes": len(self.counts), "opposites": 2, "values": 1}[self.answer]

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one inference: distances and sums; exponentials are not counted."""
        return int(self.support.size + self.weights.size)


@dataclass(frozen=True)
class TreesForm:
    """The mean of decision trees. A row goes left where `x[feature] <= threshold`.

    Attributes:
        features: feature a node asks for, (nodes,); LEAF where it asks none. The left child of a node is the next one.
        thresholds: float32 (nodes,), rounded down from scikit-learn's float64, so that float32 inputs go the same way.
        nexts: (nodes,): where a row goes right, counted from the tree's root; of a leaf, its row of `leaves`.
        roots: first node of each tree, (trees,).
        leaves: distinct answers of leaves, (answers, outputs).
        num_features: numbers it takes.
    """

    features: NDArray[np.int32]
    thresholds: NDArray[np.float32]
    nexts: NDArray[np.int32]
    roots: NDArray[np.int32]
    leaves: NDArray[Any]
    num_features: int

    @property
    def num_outputs(self) -> int:
        """Numbers it answers."""
        return int(self.leaves.shape[1])

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations of one inference: trees compare, they do not multiply."""
        return 0


Form = LinearForm | KernelForm | TreesForm


def evaluate(form: Form, x: NDArray[Any]) -> NDArray[np.float64]:
    """Returns what a model answers.

    Args:
        form: the model.
        x: (rows, features) float32.

    Returns:
        (rows, outputs) float64: probabilities or scores of each class, of which the largest decides; or (rows, 1)
        standardized numbers.
    """
    if isinstance(form, TreesForm):
        return _evaluate_trees(form, np.ascontiguousarray(x, np.float32))
    rows = np.asarray(x, np.float64)
    if isinstance(form, LinearForm):
        z = rows @ form.coefficients.T.astype(np.float64) + form.intercepts.astype(np.float64)
        if form.answer == "softmax":
            powers = np.exp(z - z.max(axis=1, keepdims=True))
            softmax: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
            return softmax
        if form.answer == "sigmoid":
            p = 0.5 * (1.0 + np.tanh(0.5 * z))
            return np.hstack([1.0 - p, p])
        return np.hstack([-z, z]) if form.answer == "opposites" else np.asarray(z)
    d = pair_scores(form, rows)
    if form.answer == "votes":
        return _votes(d, len(form.counts))
    return np.hstack([-d, d]) if form.answer == "opposites" else d


def pair_scores(form: KernelForm, x: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the scores d_p of a kernel machine, (rows, pairs) float64.

    Args:
        form: the model.
        x: (rows, features).
    """
    support, weights = form.support.astype(np.float64), _pair_weights(form)
    squares = np.square(support).sum(axis=1)
    chunk = max(1, _CHUNK_NUMBERS // len(support))
    parts = []
    for start in range(0, len(x), chunk):
        rows = np.asarray(x[start : start + chunk], np.float64)
        distances = np.square(rows).sum(axis=1)[:, None] + squares - 2.0 * (rows @ support.T)
        parts.append(np.exp(-form.gamma * np.maximum(distances, 0.0)) @ weights.T + form.intercepts)
    return np.concatenate(parts) if parts else np.empty((0, len(form.intercepts)))


def _pair_weights(form: KernelForm) -> NDArray[np.float64]:
    """Lays the weights out by pair, (pairs, vectors), zero where a vector belongs to neither class of it."""
    weights = form.weights.astype(np.float64)
    if form.answer != "votes":
        return weights
    owners = np.repeat(np.arange(len(form.counts)), form.counts)
    spread = []
    for i in range(len(form.counts)):
        for j in range(i + 1, len(form.counts)):
            spread.append(np.where(owners == i, weights[j - 1], np.where(owners == j, weights[i], 0.0)))
    return np.array(spread)


def _votes(d: NDArray[np.float64], num_classes: int) -> NDArray[np.float64]:
    votes = np.zeros((len(d), num_classes))
    sums = np.zeros((len(d), num_classes))
    pair = 0
    for i in range(num_classes):
        for j in range(i + 1, num_classes):
            sums[:, i] += d[:, pair]
            sums[:, j] -= d[:, pair]
            won = d[:, pair] >= 0.0
            votes[:, i] += won
            votes[:, j] += ~won
            pair += 1
    answer: NDArray[np.float64] = votes + sums / (3.0 * (np.abs(sums) + 1.0))
    return answer


def _evaluate_trees(form: TreesForm, x: NDArray[np.float32]) -> NDArray[np.float64]:
    total = np.zeros((len(x), form.num_outputs))
    every = np.arange(len(x))
    for root in form.roots:
        nodes = np.full(len(x), root, np.int64)
        waiting = every
        while waiting.size:
            waiting = waiting[form.features[nodes[waiting]] != LEAF]
            here = nodes[waiting]
            left = x[waiting, form.features[here]] <= form.thresholds[here]
            nodes[waiting] = np.where(left, here + 1, root + form.nexts[here])
        total += form.leaves[form.nexts[nodes]]
    return total / len(form.roots)


def rounded(form: Form) -> Form:
    """Returns a model whose numbers are those of its C source: float32."""
    if isinstance(form, LinearForm):
        return LinearForm(form.coefficients.astype(np.float32), form.intercepts.astype(np.float32), form.answer)
    if isinstance(form, KernelForm):
        return KernelForm(
            support=form.support.astype(np.float32),
            weights=form.weights.astype(np.float32),
            intercepts=form.intercepts.astype(np.float32),
            gamma=float(np.float32(form.gamma)),
            counts=form.counts,
            answer=form.answer,
        )
    leaves = form.leaves.astype(np.float32)
    return TreesForm(form.features, form.thresholds, form.nexts, form.roots, leaves, form.num_features)


def numbers_of(form: Form) -> NDArray[Any]:
    """Returns the real numbers that fitting chose, flattened: weights, support vectors, thresholds and leaves."""
    if isinstance(form, LinearForm):
        return np.concatenate([form.coefficients.ravel(), form.intercepts])
    if isinstance(form, KernelForm):
        return np.concatenate([form.support.ravel(), form.weights.ravel(), form.intercepts])
    return np.concatenate([form.thresholds[form.features != LEAF], form.leaves.ravel()])


def pack(form: Form) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Takes a model apart: what JSON can say, and the arrays; `unpack` is its inverse."""
    if isinstance(form, LinearForm):
        parts = {"coefficients": form.coefficients, "intercepts": form.intercepts}
        return {"form": "linear", "answer": form.answer}, parts
    if isinstance(form, KernelForm):
        arrays = {name: getattr(form, name) for name in _KERNEL_ARRAYS}
        return {"form": "kernel", "answer": form.answer, "gamma": form.gamma}, arrays
    arrays = {name: getattr(form, name) for name in _TREES_ARRAYS}
    return {"form": "trees", "num_features": form.num_features}, arrays


def unpack(described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Form:
    """Puts a model together from what `pack` returned.

    Raises:
        ConversionError: the parts are not those of a model.
    """
    if not isinstance(described, dict):
        raise refused("a description of a model", type(described).__name__)
    try:
        if described["form"] == "linear":
            check_parts(described, arrays, {"coefficients": 2, "intercepts": 1}, set())
            form = LinearForm(arrays["coefficients"], arrays["intercepts"], described["answer"])
            check_linear(form.answer, form.coefficients, form.intercepts)
            return form
        if described["form"] == "kernel":
            dimensions = dict(zip(_KERNEL_ARRAYS, (2, 2, 1, 1), strict=True))
            check_parts(described, arrays, dimensions, {"counts"})
            parts = {name: arrays[name] for name in _KERNEL_ARRAYS}
            check_kernel(described["answer"], _number(described["gamma"]), parts)
            return KernelForm(**parts, gamma=float(described["gamma"]), answer=described["answer"])
        if described["form"] == "trees":
            dimensions = dict(zip(_TREES_ARRAYS, (1, 1, 1, 1, 2), strict=True))
            check_parts(described, arrays, dimensions, {"features", "nexts", "roots"})
            parts = {name: arrays[name] for name in _TREES_ARRAYS}
            check_trees(int(_number(described["num_features"])), parts)
            return TreesForm(**parts, num_features=int(described["num_features"]))
    except KeyError as error:
        raise ConversionError(
            f"model: expected the parts of a classical model, got none called {error}. Run the pipeline again."
        ) from error
    raise ConversionError(
        f"model: expected a form linear, kernel or trees, got {described['form']!r}. Run the pipeline again."
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise refused("a finite number", repr(value)[:40])
    return float(value)
