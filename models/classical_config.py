"""The sections of a config that describe classical models, which scikit-learn fits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.contract import FrozenConfig

ClassWeights = Literal["balanced"] | dict[str, Annotated[float, Field(gt=0.0, le=1e6)]]
Depth = Annotated[int, Field(ge=1, le=64)]
BaselineName = Literal[
    "logistic_regression", "ridge_regression", "linear_svm", "rbf_svm", "decision_tree", "random_forest"
]

BASELINES: dict[str, tuple[BaselineName, ...]] = {
    "classification": ("logistic_regression", "linear_svm", "rbf_svm", "decision_tree", "random_forest"),
    "regression": ("ridge_regression", "linear_svm", "rbf_svm", "decision_tree", "random_forest"),
}
"""Baselines that fit each task; all of them are taken where a config names none."""


Scale = Annotated[float, Field(ge=1e-10, le=1e10)]
"""A factor that moves a fit between its two ends, well within float32, which the C holds it and its products in."""


class LogisticRegressionConfig(FrozenConfig):
    """Logistic or softmax regression, solved to its optimum; for classification."""

    family: Literal["logistic_regression"]
    """Kind of model."""

    c: Scale = 1.0
    """Inverse strength of the l2 penalty: smaller is stronger."""

    class_weights: ClassWeights | None = None
    """Weight of each class: `balanced` (inverse frequency), or by class name; all 1 when left out."""


class RidgeRegressionConfig(FrozenConfig):
    """Linear regression with an l2 penalty, in closed form (Hoerl & Kennard 1970); for regression."""

    family: Literal["ridge_regression"]
    """Kind of model."""

    alpha: float = Field(default=1.0, ge=0.0, le=1e10)
    """Strength of the l2 penalty; 0: none."""


class SvmConfig(FrozenConfig):
    """A support vector machine, for classes or numbers (Cortes & Vapnik 1995)."""

    family: Literal["svm"]
    """Kind of model."""

    kernel: Literal["linear", "rbf"] = "rbf"
    """`linear`: one hyperplane a class against the others; `rbf`: exp(-gamma * squared distance) to the support
    vectors, a machine for each pair of classes."""

    c: Scale = 1.0
    """Inverse strength of the penalty: smaller is smoother."""

    gamma: Literal["scale"] | Scale = "scale"
    """`rbf`: how fast a support vector's say fades with the squared distance; `scale`: 1 / (features * variance of the
    inputs)."""

    epsilon: float = Field(default=0.1, ge=0.0, le=1e6)
    """Regression: errors up to this, in standard deviations of the target, cost nothing."""

    max_rows: int = Field(default=10_000, ge=100, le=100_000)
    """`rbf`: training rows that it is fitted on at most, as its time grows with their square; of more rows so many are
    drawn, by class and by the run's seed, and the report says so."""

    class_weights: ClassWeights | None = None
    """Weight of each class: `balanced` (inverse frequency), or by class name; all 1 when left out."""

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> SvmConfig:
        for name in ("gamma", "max_rows"):
            if self.kernel == "linear" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"expected {name} with kernel: rbf alone, got it with linear. Nothing would read it: take it out."
                )
        return self


class DecisionTreeConfig(FrozenConfig):
    """One decision tree, for classes or numbers (Breiman et al. 1984)."""

    family: Literal["decision_tree"]
    """Kind of model."""

    max_depth: Depth | None = 8
    """Most questions from the root to a leaf; null: until leaves are pure."""

    min_leaf_rows: int = Field(default=1, ge=1)
    """Fewest training rows of a leaf."""

    class_weights: ClassWeights | None = None
    """Weight of each class: `balanced` (inverse frequency), or by class name; all 1 when left out."""


class RandomForestConfig(FrozenConfig):
    """A random forest: the mean of trees grown on bootstrapped rows and random features (Breiman 2001)."""

    family: Literal["random_forest"]
    """Kind of model."""

    num_trees: int = Field(default=30, ge=1, le=10_000)
    """Trees."""

    max_depth: Depth | None = 8
    """Most questions from a root to a leaf; null: until leaves are pure."""

    min_leaf_rows: int = Field(default=1, ge=1)
    """Fewest training rows of a leaf."""

    class_weights: ClassWeights | None = None
    """Weight of each class: `balanced` (inverse frequency), or by class name; all 1 when left out."""


ClassicalConfig = LogisticRegressionConfig | RidgeRegressionConfig | SvmConfig | DecisionTreeConfig | RandomForestConfig

CLASSICAL = (LogisticRegressionConfig, RidgeRegressionConfig, SvmConfig, DecisionTreeConfig, RandomForestConfig)
"""The classes of `ClassicalConfig`, for `isinstance`."""


class BaselinesConfig(FrozenConfig):
    """Classical models with scikit-learn's usual settings, fitted on the same splits, to hold the network against."""

    models: tuple[BaselineName, ...] | None = Field(default=None, min_length=1)
    """Which ones; all that fit the task when left out (`logistic_regression` is for classification,
    `ridge_regression` for regression)."""

    max_rbf_rows: int = Field(default=10_000, ge=100, le=100_000)
    """Training rows that `rbf_svm` is fitted on at most, as its time grows with their square; of more rows so many are
    drawn, by class and by the run's seed, and the report says so."""


def baseline_config(name: BaselineName, max_rbf_rows: int, class_weights: ClassWeights | None) -> ClassicalConfig:
    """Returns the model that a baseline is, its settings those scikit-learn has by default.

    Args:
        name: the baseline.
        max_rbf_rows: rows that an RBF SVM is fitted on at most.
        class_weights: weight of each class, as the network's training has them; None for numbers.
    """
    weights = class_weights
    if name == "logistic_regression":
        return LogisticRegressionConfig(family="logistic_regression", class_weights=weights)
    if name == "ridge_regression":
        return RidgeRegressionConfig(family="ridge_regression")
    if name == "linear_svm":
        return SvmConfig(family="svm", kernel="linear", class_weights=weights)
    if name == "rbf_svm":
        return SvmConfig(family="svm", kernel="rbf", max_rows=max_rbf_rows, class_weights=weights)
    if name == "decision_tree":
        return DecisionTreeConfig(family="decision_tree", max_depth=None, class_weights=weights)
    return RandomForestConfig(family="random_forest", num_trees=100, max_depth=None, class_weights=weights)
