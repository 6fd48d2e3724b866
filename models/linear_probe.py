"""Linear probes: how much a linear model can tell of the labels from what each layer of a network answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.layer_parts import parts_of
from models.legacy_keras import keras
from models.prediction import predict
from models.tasks import Task

TRAINING_ROWS = 2_000
"""Labeled training rows that probes of a run are fitted on; all of them where there are fewer."""

VALIDATION_ROWS = 5_000
"""Validation rows that they are scored on; all of them where there are fewer."""

FEATURES = 1_024
"""Feature maps are averaged over squares just large enough to leave at most so many numbers."""

STRENGTH = 0.01
"""L2 of a probe, a row: of classes `sum_i loss_i + STRENGTH * rows * ||w||^2 / 2`, of a number
`sum_i (y_i - f_i)^2 + STRENGTH * rows * ||w||^2`."""

_MOST_STEPS = 2_000
_VECTOR_RANK = 2


def probe(
    model: Any,
    training: tuple[Any, NDArray[Any]],
    validation: tuple[Any, NDArray[Any]],
    task: Task,
) -> list[dict[str, Any]]:
    """Fits a linear model on the answers of each layer or block, and on the input itself.

    Numbers are standardized by the training rows' mean and deviation. Classes: logistic regression over all classes
    together; numbers: ridge regression; both of scikit-learn, with the strength above, not tuned.

    Args:
        model: an `mlp` or a `cnn`, trained or not.
        training: (x, y), x (rows, *input_shape) float32 as the model eats it; every row labeled.
        validation: the same, of rows that are not trained on.
        task: how the probe is scored.

    Returns:
        From the input on: `layer` (`input`, or the layer's or block's name), `features` (numbers the probe takes),
        `score` on validation.

    Reference:
        Alain & Bengio 2017, Understanding intermediate layers using linear classifier probes, section 3.
    """
    (x, y), (unseen, truth) = training, validation
    places = [("input", model.input), *((part.name, part.outputs) for part in parts_of(model))]
    found = []
    for name, tensor in places:
        network = keras.Model(model.input, flat_features(tensor))
        score = task.score(truth, probe_answers(predict(network, x), y, predict(network, unseen)))
        found.append({"layer": name, "features": int(network.output_shape[1]), "score": score})
    return found


def flat_features(tensor: Any) -> Any:
    """Makes a vector of what a layer answers.

    Args:
        tensor: symbolic, (rows, features), or maps with channels last, (rows, …, channels).

    Returns:
        Symbolic (rows, features): a vector as it is; maps averaged over squares (segments, where they have one side)
        of the smallest side that leaves at most `FEATURES` numbers, then flattened. What does not fill a square at the
        border is averaged over what there is.
    """
    if len(tensor.shape) == _VECTOR_RANK:
        return tensor
    *sides, channels = tensor.shape[1:]
    side = 1
    while channels * int(np.prod([-(-length // side) for length in sides])) > FEATURES and side < max(sides):
        side += 1
    if side > 1:
        pooling = keras.layers.AveragePooling1D if len(sides) == 1 else keras.layers.AveragePooling2D
        tensor = pooling(side, padding="same")(tensor)
    return keras.layers.Flatten()(tensor)


def probe_answers(x: NDArray[Any], y: NDArray[Any], unseen: NDArray[Any]) -> NDArray[np.float64]:
    """Fits one probe and lets it answer.

    Args:
        x: (rows, features).
        y: (rows,) integer class codes, or numbers.
        unseen: (others, features).

    Returns:
        (others, highest code + 1) probabilities, 0 for classes that `y` does not hold; or (others, 1) numbers.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    wide, others = x.astype(np.float64), unseen.astype(np.float64)
    mean, deviation = wide.mean(axis=0), wide.std(axis=0)
    deviation[deviation == 0.0] = 1.0
    wide, others = (wide - mean) / deviation, (others - mean) / deviation
    penalty = STRENGTH * len(wide)
    with threadpool_limits(limits=1, user_api="blas"):  # sums over threads differ in their last bits
        if not np.issubdtype(y.dtype, np.integer):
            answers: NDArray[np.float64] = Ridge(alpha=penalty).fit(wide, y).predict(others).reshape(-1, 1)
            return answers
        present = np.unique(y)
        columns = np.zeros((len(others), int(y.max()) + 1))
        if len(present) == 1:
            columns[:, present] = 1.0
        else:
            fitted = LogisticRegression(C=1.0 / penalty, max_iter=_MOST_STEPS).fit(wide, y)
            columns[:, present] = fitted.predict_proba(others)
    return columns


def drawn(num_rows: int, most: int, seed: int) -> NDArray[np.int64]:
    """Draws at most so many of a number of rows; returns their positions, ascending."""
    return np.sort(np.random.default_rng(seed).permutation(num_rows)[:most])
