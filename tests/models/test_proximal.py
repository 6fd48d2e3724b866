"""L1 and elastic net by proximal steps: scikit-learn's solutions, with the same zeros."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, Ridge

from data.contract import TrainingError
from models.architectures.builder import build
from models.config import LinearConfig, OptimizerConfig, RegularizationConfig, StopConfig
from models.legacy_keras import tf
from models.optimizers import GradientDescent
from models.proximal import soft_threshold
from models.tasks import task_for
from models.training import TrainingSettings, train


class LastWins:
    """A task whose score rises, so that a model ends with its last weights."""

    def __init__(self, name):
        self.loss = task_for(name).loss
        self.calls = 0

    def score(self, y, outputs):
        self.calls += 1
        return float(self.calls)


def standardized(x):
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)


def trained(x, y, schema, name, batches, optimizer, penalty, epochs, stop=None):
    sized = schema.model_copy(update={"input_shape": (x.shape[1],), "class_names": tuple(str(c) for c in range(3))})
    classes = tuple(str(code) for code in range(int(y.max()) + 1)) if name == "classification" else ()
    model = build(LinearConfig(family="linear"), sized.model_copy(update={"class_names": classes}), name, 1)
    settings = TrainingSettings(epochs, optimizer, 1, stop or StopConfig(), penalty)
    result = train(model, batches(x, y, len(y)), (x[:1], y[:1]), LastWins(name), settings)
    return (*model.get_weights(), result)


def same_zeros(got, expected):
    np.testing.assert_array_equal(got == 0.0, expected == 0.0)


def test_soft_threshold_by_hand():
    moved = soft_threshold(tf.constant([-3.0, -0.5, 0.0, 0.5, 2.0]), 1.0).numpy()
    np.testing.assert_array_equal(moved, [-2.0, 0.0, 0.0, 0.0, 1.0])


class SlowDescent:
    """The steps of `GradientDescent` in NumPy and float64, one weight after the other, penalty included."""

    def __init__(self, config, weights, l1):
        self.config, self.weights, self.l1 = config, np.array(weights, np.float64), l1
        self.first, self.second = np.zeros_like(self.weights), np.zeros_like(self.weights)
        self.point, self.count = self.weights.copy(), 0

    @staticmethod
    def shrunk(value, threshold):
        return 0.0 if abs(value) <= threshold else value - threshold * (1 if value > 0 else -1)

    def apply(self, gradient):
        self.count += 1
        r, m, lam, c = self.config.learning_rate, self.config.momentum, self.l1, self.count
        for i in np.ndindex(self.weights.shape):
            w, g = self.weights[i], gradient[i]
            if self.config.name == "sgd":
                w = self.shrunk(w - r * g, lam * r)
            elif self.config.name == "momentum":  # v is what the weight really moved by
                after = self.shrunk(w + m * self.first[i] - r * g, lam * r)
                self.first[i], w = after - w, after
            elif self.config.name == "nesterov":  # a weight that is thresholded stays at zero
                after = self.shrunk(w - r * g, lam * r)
                w = 0.0 if after == 0.0 else after + m * (after - self.point[i])
                self.point[i] = after
            elif self.config.name == "rmsprop":
                self.second[i] = 0.9 * self.second[i] + 0.1 * g * g
                step = r / (self.second[i] ** 0.5 + 1e-7)
                w = self.shrunk(w - step * g, lam * step)
            else:
                w -= r * self.config.weight_decay * w if self.config.name == "adamw" else 0.0
                self.first[i] = 0.9 * self.first[i] + 0.1 * g
                self.second[i] = 0.999 * self.second[i] + 0.001 * g * g
                step = r * (1 - 0.999**c) ** 0.5 / (self.second[i] ** 0.5 + 1e-7)
                w = self.shrunk(w - step * self.first[i] / (1 - 0.9**c), lam * step)
            self.weights[i] = w


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"])
def test_steps_under_a_penalty_are_those_of_a_slow_reference(name):
    """Gradients that depend on the weights; some weights become zero, some leave zero again."""
    fields = {"weight_decay": 0.2} if name == "adamw" else {}
    config = OptimizerConfig(name=name, learning_rate=0.1, schedule="constant", **fields)
    start = np.random.default_rng(1).normal(scale=0.3, size=(6, 4)).astype(np.float32)
    kernel, bias = tf.Variable(start), tf.Variable(tf.ones(4))
    descent = GradientDescent([kernel, bias], config, 20, l1=0.4, penalized=[kernel])
    slow = SlowDescent(config, start, 0.4)
    pulls = np.random.default_rng(2).normal(size=(20, 6, 4)).astype(np.float32)
    zeros = []
    for pull in pulls:
        descent.apply([tf.sin(kernel) + pull, tf.ones(4)])
        slow.apply(np.sin(slow.weights) + pull)
        np.testing.assert_allclose(kernel.numpy(), slow.weights, atol=2e-5)
        same_zeros(kernel.numpy(), slow.weights)
        zeros.append(kernel.numpy() == 0.0)
    assert any(np.logical_and(before, ~after).any() for before, after in itertools.pairwise(zeros))
    assert 0 < sum(each.sum() for each in zeros) < 20 * 24
    assert np.all(bias.numpy() != 0.0)


def least_squares(name, rate, epochs, l1, l2, vector_schema, memory_batches):
    """Returns kernel, bias and training of `linear` on standardized diabetes, and the rows."""
    data = load_diabetes()
    x, y = standardized(data.data), standardized(data.target)
    fields = {"weight_decay": 0.0} if name == "adamw" else {}
    descent = OptimizerConfig(name=name, learning_rate=rate, schedule="cosine", **fields)
    penalty = RegularizationConfig(l1=l1, l2=l2)
    return (*trained(x, y, vector_schema, "regression", memory_batches, descent, penalty, epochs), x.astype(float), y)


@pytest.mark.parametrize(
    ("name", "rate", "epochs"),
    [
        ("sgd", 0.2, 700),
        ("momentum", 0.05, 500),
        ("nesterov", 0.05, 400),
        ("rmsprop", 0.02, 900),
        ("adam", 0.05, 700),
        ("adamw", 0.05, 700),
    ],
)
def test_elastic_net_is_scikit_learns(name, rate, epochs, vector_schema, memory_batches):
    """mean (y - f)² + l1 |w| + l2 w²: ElasticNet's objective twice, alpha = l1 / 2 + l2, l1_ratio = l1 / 2 / alpha."""
    l1, l2 = 0.1, 0.02
    kernel, bias, result, x, y = least_squares(name, rate, epochs, l1, l2, vector_schema, memory_batches)
    alpha = l1 / 2 + l2
    reference = ElasticNet(alpha=alpha, l1_ratio=l1 / 2 / alpha, tol=1e-12, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(kernel[:, 0], reference.coef_, atol=1e-3)
    np.testing.assert_allclose(bias, reference.intercept_, atol=1e-3)
    same_zeros(kernel[:, 0], reference.coef_)
    assert 0 < np.count_nonzero(reference.coef_) < 10
    assert result.history[-1].gradient_norm < 1e-2 < result.history[0].gradient_norm


@pytest.mark.parametrize("l1", [0.02, 0.3, 1.0])
def test_l1_alone_is_the_lasso(l1, vector_schema, memory_batches):
    kernel, _, _, x, y = least_squares("nesterov", 0.05, 500, l1, 0.0, vector_schema, memory_batches)
    reference = Lasso(alpha=l1 / 2, tol=1e-12, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(kernel[:, 0], reference.coef_, atol=1e-3)
    same_zeros(kernel[:, 0], reference.coef_)


def test_l2_alone_is_ridge_regression_and_makes_no_zeros(vector_schema, memory_batches):
    """Ridge adds alpha w² to the sum, not the mean, of squares."""
    kernel, _, _, x, y = least_squares("nesterov", 0.05, 500, 0.0, 0.1, vector_schema, memory_batches)
    reference = Ridge(alpha=len(y) * 0.1).fit(x, y)
    np.testing.assert_allclose(kernel[:, 0], reference.coef_, atol=1e-3)
    assert np.count_nonzero(kernel) == kernel.size


@pytest.mark.parametrize(("l1", "l2"), [(0.02, 0.0), (0.0, 0.01), (0.01, 0.005)], ids=["l1", "l2", "elastic-net"])
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer], ids=["three-classes", "two-classes"])
def test_softmax_regression_is_scikit_learns(load, l1, l2, vector_schema, memory_batches):
    """mean cross-entropy + l1 |W| + l2 W²: LogisticRegression, C = 1 / (rows (l1 + 2 l2)), l1_ratio = l1 / (l1 + 2 l2).

    scikit-learn has one column of weights for two classes, a softmax two, which under L2 end as each other's opposites:
    their difference is held against it, and half of its squares.
    """
    data = load()
    x, y = standardized(data.data), data.target.astype(np.int32)
    two = int(y.max()) == 1
    descent = OptimizerConfig(name="nesterov", learning_rate=0.1, schedule="constant", momentum=0.95)
    stop = StopConfig(gradient_norm_below=2e-6)
    penalty = RegularizationConfig(l1=l1, l2=l2)
    kernel, _, result = trained(x, y, vector_schema, "classification", memory_batches, descent, penalty, 20_000, stop)
    assert result.stopped_by == "gradient_norm_below", result.history[-1]
    # Of two columns with weights of either sign, L1 leaves |w| of the difference, as one column has; L2 a half of w².
    lasso, ridge = l1, (l2 if two else 2 * l2)
    total = lasso + ridge
    reference = LogisticRegression(
        C=1 / (len(y) * total), l1_ratio=lasso / total, solver="saga", tol=1e-9, max_iter=100_000
    ).fit(x.astype(np.float64), y)  # in float32 it stops too early
    if two:
        np.testing.assert_allclose(kernel[:, 1] - kernel[:, 0], reference.coef_[0], atol=1e-3)
        same_zeros(kernel[:, 1] - kernel[:, 0], reference.coef_[0])
    else:
        np.testing.assert_allclose(kernel, reference.coef_.T, atol=1e-3)
        same_zeros(kernel, reference.coef_.T)
    if l1 > 0:
        assert 0 < np.count_nonzero(kernel) < kernel.size


def test_the_norm_counts_what_a_penalty_holds_at_zero():
    """By hand: at w = (0, 0, 2), λ = 1, g = (0.5, -3, 1): 0 (held), -2 (pulled over the edge), 1 + 1."""
    variable = tf.Variable([0.0, 0.0, 2.0])
    free = tf.Variable([0.0])
    descent = GradientDescent([variable, free], OptimizerConfig(name="sgd"), 1, l1=1.0, penalized=[variable])
    squares = descent.squared_gradient_norm([tf.constant([0.5, -3.0, 1.0]), tf.constant([0.5])])
    assert float(squares) == pytest.approx(0.0 + 4.0 + 4.0 + 0.25)


def test_a_warm_up_longer_than_the_training_is_refused():
    with pytest.raises(TrainingError, match=r"^prune\.optimizer\.warmup_steps: expected fewer than the 5 steps"):
        GradientDescent([], OptimizerConfig(warmup_steps=5), 5, section="prune")
