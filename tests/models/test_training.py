from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from data.contract import ConfigError, TrainingError
from models.architectures.builder import build
from models.config import MlpConfig, OptimizerConfig, RegularizationConfig, StopConfig
from models.legacy_keras import keras, tf
from models.tasks import task_for
from models.training import FULL_BATCHES_PER_CHECKPOINT, STEPS_PER_CALL, TrainingSettings, predict, train
from models.training_steps import Pulse

TASK = task_for("classification")


def settings(epochs=4, name="adam", rate=0.01, schedule="cosine", **others):
    optimizer = OptimizerConfig(name=name, learning_rate=rate, schedule=schedule)
    return TrainingSettings(epochs=epochs, optimizer=optimizer, seed=1, **others)


def mlp(schema, units=(8,), task="classification"):
    return build(MlpConfig(family="mlp", units=units), schema, task, 1)


def linear(columns):
    inputs = keras.Input((columns,))
    return keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="zeros", name="output")(inputs))


class ScriptedScores:
    """The task's loss, and scores read from a list."""

    metric = "scripted"

    def __init__(self, scores):
        self.scores = iter(scores)

    def loss(self, y_true, outputs, weights):
        return TASK.loss(y_true, outputs, weights)

    def score(self, y, outputs):
        return next(self.scores)


# ------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("class_weights", [None, (1.0, 3.0, 0.5)])
def test_gradient_descent_against_numpy(class_weights, vector_schema, blobs, memory_batches):
    """Softmax regression over two epochs, a smaller last batch in each, worked out slowly."""
    x, y = blobs
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", kernel_initializer="zeros")(inputs))
    batches = memory_batches(x, y, 64)
    penalized = RegularizationConfig(l1=0.01, l2=0.02)
    result = train(
        model,
        batches,
        (x, y),
        ScriptedScores([1.0, 2.0]),
        settings(2, "sgd", 0.1, "constant", class_weights=class_weights, regularization=penalized),
    )
    kernel, bias, losses, norms = np.zeros((6, 3)), np.zeros(3), [], []
    for epoch in range(2):
        total = squares = 0.0
        for index in range(3):
            rows, codes = batches.batch(epoch, index)
            weights = np.ones(len(codes)) if class_weights is None else np.array(class_weights)[codes]
            logits = rows @ kernel + bias
            p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            loss = np.mean(-weights * np.log(p[np.arange(len(codes)), codes]))
            loss += 0.01 * np.abs(kernel).sum() + 0.02 * np.square(kernel).sum()
            total += loss * len(codes)
            delta = weights[:, None] * (p - np.eye(3)[codes]) / len(codes)
            bias = bias - 0.1 * delta.sum(axis=0)
            gradient = rows.T @ delta + 0.04 * kernel
            held = np.sign(gradient) * np.maximum(np.abs(gradient) - 0.01, 0)
            whole = np.where(kernel == 0, held, gradient + 0.01 * np.sign(kernel))
            squares += np.square(whole).sum() + np.square(delta.sum(axis=0)).sum()
            moved = kernel - 0.1 * gradient
            kernel = np.sign(moved) * np.maximum(np.abs(moved) - 0.1 * 0.01, 0)
        losses.append(total / 150)
        norms.append(np.sqrt(squares / 3))
    np.testing.assert_allclose(model.get_weights()[0], kernel, atol=2e-6)
    np.testing.assert_allclose(model.get_weights()[1], bias, atol=2e-6)
    np.testing.assert_allclose([record.loss for record in result.history], losses, rtol=1e-5)
    np.testing.assert_allclose([record.gradient_norm for record in result.history], norms, rtol=1e-5)
    assert [record.learning_rate for record in result.history] == [0.1, 0.1]


def test_ridge_regression_is_scikit_learns(memory_batches):
    """Full batches to convergence: mean error + l2 |w|^2 is scikit-learn's Ridge with alpha = rows * l2."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(80, 4)).astype(np.float32)
    y = (x @ np.array([1.0, -2.0, 0.0, 0.5]) + 0.3 + 0.1 * generator.normal(size=80)).astype(np.float32)
    task = task_for("regression")
    scores = ScriptedScores(range(300))  # rising, so that the model ends with the last weights
    scores.loss = task.loss
    model = linear(4)
    penalized = settings(300, "momentum", 0.05, regularization=RegularizationConfig(l2=0.1))
    train(model, memory_batches(x, y, 80), (x, y), scores, penalized)
    reference = Ridge(alpha=8.0).fit(x, y)
    np.testing.assert_allclose(model.get_weights()[0].ravel(), reference.coef_, atol=2e-4)
    np.testing.assert_allclose(model.get_weights()[1], reference.intercept_, atol=2e-4)
    assert task.score(y, predict(model, x)) == pytest.approx(reference.score(x, y), abs=1e-3)


def test_same_as_keras_fit(vector_schema, blobs, memory_batches):
    """Batch normalization included: its statistics move as they do under `fit`."""
    x, y = blobs

    def model():
        inputs = keras.Input((6,))
        hidden = keras.layers.Dense(8, kernel_initializer=keras.initializers.GlorotUniform(1))(inputs)
        hidden = keras.layers.ReLU()(keras.layers.BatchNormalization()(hidden))
        head = keras.layers.Dense(3, activation="softmax", kernel_initializer=keras.initializers.GlorotUniform(2))
        return keras.Model(inputs, head(hidden))

    ours, theirs = model(), model()
    batches = memory_batches(x, y, 32)
    result = train(ours, batches, (x, y), ScriptedScores([1.0, 2.0]), settings(2, "adam", 0.01, "constant"))
    theirs.compile(keras.optimizers.legacy.Adam(0.01), "sparse_categorical_crossentropy")
    for epoch in range(2):
        for index in range(batches.num_batches):
            theirs.train_on_batch(*batches.batch(epoch, index))
    for got, expected in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    assert result.stopped_by == "epochs"


# ------------------------------------------------------------------------------- rules and records


@pytest.mark.parametrize(
    ("scores", "stop", "epochs", "stopped_by", "best_epoch"),
    [
        ([0.1, 0.3, 0.2, 0.3], StopConfig(), 4, "epochs", 2),
        ([0.5, 0.4, 0.5, 0.6], StopConfig(patience=2), 3, "patience", 1),
        ([0.5, 0.4, 0.6, 0.5], StopConfig(patience=2), 4, "epochs", 3),
        ([-0.5, -0.6], StopConfig(patience=1), 2, "patience", 1),
        ([0.5, 0.4], StopConfig(loss_below=100.0), 1, "loss_below", 1),
        ([0.5, 0.4], StopConfig(gradient_norm_below=100.0), 1, "gradient_norm_below", 1),
        ([0.5, 0.6], StopConfig(steps=4), 2, "steps", 2),  # of three batches an epoch
        ([0.5], StopConfig(steps=1), 1, "steps", 1),
        ([0.1, 0.2, 0.3, 0.4], StopConfig(steps=12), 4, "epochs", 4),
    ],
)
def test_stop_rules(scores, stop, epochs, stopped_by, best_epoch, vector_schema, blobs, memory_batches):
    model = mlp(vector_schema)
    seen = []

    class Watched(ScriptedScores):
        def score(self, y, outputs):
            seen.append(model.get_weights())
            return super().score(y, outputs)

    result = train(model, memory_batches(*blobs, 64), blobs, Watched(scores), settings(4, stop=stop))
    assert (len(result.history), result.stopped_by, result.best_epoch) == (epochs, stopped_by, best_epoch)
    assert result.best_score == scores[best_epoch - 1]
    assert [record.score for record in result.history] == scores[:epochs]
    for kept, best in zip(model.get_weights(), seen[best_epoch - 1], strict=True):
        np.testing.assert_array_equal(kept, best)


def test_an_epoch_that_is_cut_short_counts_the_rows_it_saw(vector_schema, blobs, memory_batches):
    """Two epochs of three batches of 64, 64 and 22 rows, and a third of one batch; the rate of the last is near 0."""
    batches = memory_batches(*blobs, 64)
    cut = train(mlp(vector_schema), batches, blobs, TASK, settings(9, rate=1e-9, stop=StopConfig(steps=7)))
    model = mlp(vector_schema)
    x, y = batches.batch(2, 0)
    assert len(cut.history) == 3
    assert cut.history[2].loss == pytest.approx(float(TASK.loss(y, model(x), None)), rel=1e-5)
    assert cut.history[2].learning_rate == pytest.approx(1e-9 * 0.5 * (1 + np.cos(np.pi * 6 / 7)))


def test_full_batches_share_checkpoints_and_resume_exactly(vector_schema, blobs, memory_batches, checkpoints, killed):
    def run(kept):
        model = mlp(vector_schema)
        batches = memory_batches(*blobs, len(blobs[0]))
        return model, train(model, batches, blobs, TASK, settings(30, "momentum", 0.05), checkpoints=kept)

    checkpoints.kill_after = 2
    with pytest.raises(killed):
        run(checkpoints)
    assert len(checkpoints.load()[1]["history"]) == 2 * FULL_BATCHES_PER_CHECKPOINT
    checkpoints.kill_after = None
    (whole, first), (resumed, second) = run(None), run(checkpoints)
    assert [record.loss for record in first.history] == [record.loss for record in second.history]
    for expected, got in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, got)
    assert checkpoints.saves == 2 + 2  # after epochs 24 and 30


def test_progress_says_epoch_loss_score_speed_and_time_left(vector_schema, blobs, memory_batches, progress):
    result = train(mlp(vector_schema), memory_batches(*blobs, 64), blobs, TASK, settings(2), progress=progress)
    assert [step[:3] for step in progress.steps] == [("train", 1, 2), ("train", 2, 2)]
    figures = progress.steps[-1][3]
    assert list(figures) == ["loss", "accuracy", "samples/s", "left"]
    assert figures["loss"] == result.history[-1].loss
    assert figures["accuracy"] == result.history[-1].score
    assert figures["left"] == "0 s"


def test_long_epoch_says_how_far_it_is(vector_schema, blobs, memory_batches, progress, monkeypatch):
    monkeypatch.setattr("models.training_steps.PULSE_SECONDS", 0.0)
    batches = memory_batches(*blobs, 4)
    num = batches.num_batches
    assert STEPS_PER_CALL < num <= 2 * STEPS_PER_CALL
    train(mlp(vector_schema), batches, blobs, TASK, settings(2), progress=progress)
    within = {"batch": f"{STEPS_PER_CALL} of {num}"}
    assert [step[:3] for step in progress.steps] == [("train", done, 2) for done in (0, 1, 1, 2)]
    assert [step[3] for step in progress.steps[::2]] == [within, within]


def test_pulse_is_silent_for_five_seconds_and_at_the_end_of_an_epoch(progress):
    seconds = iter([0.0, 4.0, 5.0, 6.0, 11.0, 15.9, 16.0])
    pulse = Pulse(progress, "train", 9, 100, lambda: next(seconds))
    for step in (32, 64, 96, 100, 132, 164):
        pulse.beat(step)
    assert progress.steps == [("train", 0, 9, {"batch": "64 of 100"}), ("train", 1, 9, {"batch": "64 of 100"})]


def test_a_network_is_traced_once(vector_schema, memory_batches):
    """One trace for training and one for evaluation, whatever the batches' sizes and the number of epochs."""
    traces = []

    class Counting(keras.layers.Dense):
        def call(self, inputs):
            traces.append(inputs.shape)
            return super().call(inputs)

    inputs = keras.Input((6,))
    model = keras.Model(inputs, Counting(3, activation="softmax")(inputs))
    traces.clear()
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(601, 6)).astype(np.float32), generator.integers(0, 3, 601).astype(np.int32)
    batches = memory_batches(x, y, 8)
    assert batches.num_batches > 2 * STEPS_PER_CALL
    train(model, batches, (x, y), TASK, settings(3))
    assert len(traces) == 2


def test_a_loss_that_is_not_finite(memory_batches):
    x = np.random.default_rng(1).normal(size=(64, 3)).astype(np.float32) * np.float32(1e20)
    y = x[:, 0].copy()
    message = (
        r"train\.optimizer\.learning_rate: expected one that keeps the loss finite, got a loss of (nan|inf) "
        r"in epoch 1 with 10\.0\. Try a tenth of it"
    )
    with pytest.raises(TrainingError, match=message):
        train(linear(3), memory_batches(x, y, 16), (x, y), task_for("regression"), settings(2, "sgd", 10.0))


def test_a_gradient_whose_norm_is_not_finite(vector_schema, blobs, memory_batches):
    # The square of a slope of 1e25 is beyond float32, the loss and the weights are not.
    x, y = blobs
    x = (x * np.float32(1e-25)).astype(np.float32)
    model = mlp(vector_schema)
    penalized = RegularizationConfig.model_construct(l1=0.0, l2=1e25)
    message = r"got a gradient whose squared norm is beyond float32 \(inf\) in epoch 1 with 1e-30\. Try a tenth of it"
    with pytest.raises(TrainingError, match=message):
        train(model, memory_batches(x, y, 64), (x, y), TASK, settings(1, "sgd", 1e-30, regularization=penalized))


def test_outputs_that_are_not_finite(memory_batches):
    x, y = np.ones((8, 3), np.float32), np.ones(8, np.float32)
    with pytest.raises(TrainingError, match="got outputs that are not in epoch 1 with"):
        train(linear(3), memory_batches(x, y, 4), (x * np.nan, y), task_for("regression"), settings(2))


def test_weights_that_are_not_finite_do_not_hide_behind_a_rectifier(vector_schema, blobs, memory_batches):
    model = mlp(vector_schema)
    kernel = model.get_layer("dense_1").kernel
    kernel.assign(kernel * np.nan)  # where TensorFlow fuses relu, it makes zeros of it: loss and outputs are finite
    with pytest.raises(TrainingError, match=r"got (weights that are not|a loss of nan) in epoch 1 with"):
        train(model, memory_batches(*blobs, 64), blobs, TASK, settings(2))


def test_errors_of_the_data_come_through(vector_schema, blobs, memory_batches):
    batches = memory_batches(*blobs, 64)
    whole = batches.batch

    def failing(epoch, index):
        if (epoch, index) == (1, 1):
            raise OSError("disk gone")
        return whole(epoch, index)

    batches.batch = failing
    with pytest.raises(OSError, match="disk gone"):
        train(mlp(vector_schema), batches, blobs, TASK, settings(3))


def test_a_model_without_kernels_cannot_be_penalized(blobs, memory_batches):
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    with pytest.raises(ConfigError, match=r"train\.regularization: expected a model with dense"):
        train(model, memory_batches(*blobs, 64), blobs, TASK, settings(1, regularization=RegularizationConfig(l1=0.1)))


def test_memory_that_does_not_suffice_is_said(vector_schema, memory_batches):
    """One product of 65,536 x 2^24 float32 numbers is more than any machine has."""
    rows = np.zeros((65536, vector_schema.input_shape[0]), np.float32), np.zeros(65536, np.int32)

    class Greedy(type(TASK)):
        def loss(self, y_true, outputs, weights):
            greed = tf.matmul(tf.zeros([tf.shape(y_true)[0], 1]), tf.zeros([1, 2**24]))
            return super().loss(y_true, outputs, weights) + tf.reduce_sum(greed)

    model = build(MlpConfig(family="mlp", units=(2,)), vector_schema, "classification", 1)
    # In a thread of its own: TensorFlow leaves the one it fails in with denormals flushed to zero.
    with ThreadPoolExecutor(1) as thread:
        training = thread.submit(train, model, memory_batches(*rows, 65536), rows, Greedy(), settings(1))
        with pytest.raises(TrainingError, match=r"^train\.batch_size: expected a training that fits into memory"):
            training.result()
    assert np.float32(1e-45) != 0.0
