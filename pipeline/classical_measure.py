"""The measurements of a classical model that go into the ledger."""

from __future__ import annotations

import io
from typing import Any

import joblib
import numpy as np

from data.contract import PenjingError
from data.dataset import Dataset
from models.classical.c_source import constant_bytes
from models.classical.fitting import Fitted, answers, predict_us
from models.classical.forms import evaluate, numbers_of
from models.tasks import Task
from pipeline.ledger import ClassicalRow

PREDICT_REPEATS = 30
"""Timed calls of scikit-learn's `predict`."""

_SAME = 1e-6
"""By how much a model and its plain arrays may differ, both in float64, relative to the largest answer."""


def measure_classical(stage: str, name: str, fitted: Fitted, dataset: Dataset, task: Task) -> ClassicalRow:
    """Measures a fitted model on the validation split: score, bytes, time.

    Args:
        stage: the stage that fitted it.
        name: the baseline, or the family.
        fitted: the model.
        dataset: rows to score it on.
        task: how to score it.

    Raises:
        PenjingError: its plain arrays answer otherwise than scikit-learn does.
    """
    x, y = dataset.inputs("validation"), dataset.split("validation").y
    outputs = answers(fitted.estimator, x, dataset.schema.num_classes)
    own = evaluate(fitted.form, x.reshape(len(x), -1))
    difference = float(np.abs(outputs - own).max())
    if not difference <= _SAME * max(1.0, float(np.abs(outputs).max())):
        raise PenjingError(
            f"{stage}.{name}: expected plain arrays that answer as scikit-learn does, got answers {difference:g} away. "
            "This is a fault of Penjing's: please report it."
        )
    return ClassicalRow(
        stage=stage,
        variant=name,
        score=task.score(y, outputs),
        parameters=int(numbers_of(fitted.form).size),
        macs=fitted.form.macs,
        joblib_bytes=_joblib_bytes(fitted.estimator),
        constant_bytes=constant_bytes(fitted.form),
        predict_us=round(predict_us(fitted.estimator, x, PREDICT_REPEATS), 3),
        num_rows=fitted.num_rows,
        seconds=round(fitted.seconds, 6),
    )


def _joblib_bytes(estimator: Any) -> int:
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return len(buffer.getvalue())
