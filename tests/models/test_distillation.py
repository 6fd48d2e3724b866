from __future__ import annotations

import numpy as np
import pytest

from models.compression_config import DistillationConfig
from models.distillation import Distillation, distilled_targets
from models.legacy_keras import tf
from models.tasks import Classification, Regression


def softened(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of the logits over T, by way of p^(1/T)."""
    powers = probabilities ** (1.0 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("class_weights", [None, (1.0, 2.0, 0.5)])
def test_loss_of_classes_is_the_papers(temperature: float, class_weights: tuple[float, ...] | None) -> None:
    generator = np.random.default_rng(0)
    teacher, student = (generator.dirichlet(np.ones(3), 6).astype(np.float32) for _ in range(2))
    y = np.array([0, 1, 2, 2, 1, 0])
    config = DistillationConfig(fraction=0.3, temperature=temperature)
    objective = Distillation(Classification(), config, class_weights)
    found = float(objective.loss(tf.constant(distilled_targets(y, teacher)), tf.constant(student), None))
    weights = np.ones(6) if class_weights is None else np.array(class_weights)[y]
    entropy = np.mean(-weights * np.log(student[np.arange(6), y]))
    q, p = softened(teacher.astype(np.float64), temperature), softened(student.astype(np.float64), temperature)
    divergence = np.mean(np.sum(q * np.log(q / p), axis=1))
    assert found == pytest.approx(0.7 * entropy + 0.3 * temperature**2 * divergence, rel=1e-5)


def test_loss_of_numbers_mixes_two_squares() -> None:
    y, teacher = np.array([1.0, -1.0]), np.array([[0.5], [0.0]], np.float32)
    student = np.array([[2.0], [1.0]], np.float32)
    objective = Distillation(Regression(), DistillationConfig(fraction=0.25), None)
    found = float(objective.loss(tf.constant(distilled_targets(y, teacher)), tf.constant(student), None))
    assert found == pytest.approx(0.75 * (1 + 4) / 2 + 0.25 * (2.25 + 1) / 2)


def test_a_sure_teacher_gives_a_finite_loss_and_gradient() -> None:
    teacher = np.array([[1.0, 0.0]], np.float32)
    objective = Distillation(Classification(), DistillationConfig(), None)
    logits = tf.Variable([[-60.0, 60.0]])
    with tf.GradientTape() as tape:
        loss = objective.loss(tf.constant(distilled_targets(np.array([0]), teacher)), tf.nn.softmax(logits), None)
    assert np.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


def test_the_score_is_the_tasks() -> None:
    objective = Distillation(Classification(), DistillationConfig(), None)
    assert objective.metric == "accuracy"
    assert objective.score(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]])) == 0.5
