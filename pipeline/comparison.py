"""Holds the delivered model against the baselines of its run."""

from __future__ import annotations

from typing import Any

from data.dataset import Dataset
from models.classical.forms import evaluate
from models.tasks import Task
from pipeline.classical_artifacts import Baselines

_DECIMALS = 9
"""Scores are fractions: equal ones must not differ by the last bit of a float."""


def compared(
    baselines: Baselines | None, dataset: Dataset, task: Task, delivered_score: float, delivered_bytes: int
) -> list[dict[str, Any]] | None:
    """Scores baselines on the test split, and says which of them beat the delivered model on validation.

    Args:
        baselines: those of the run; None where none were asked for.
        dataset: the rows, every input of them.
        task: how to score them.
        delivered_score: validation score of the model that is handed over.
        delivered_bytes: its size.

    Returns:
        A record each, the fields of `BaselineResult`, in the order of the fits; None without baselines.
    """
    if baselines is None:
        return None
    x, y = dataset.inputs("test"), dataset.split("test").y
    flat = x.reshape(len(x), -1)
    return [
        {
            "name": row.variant,
            "validation_score": row.score,
            "test_score": task.score(y, evaluate(baselines.load(row.variant), flat)),
            "joblib_bytes": row.joblib_bytes,
            "constant_bytes": row.constant_bytes,
            "fit_seconds": row.seconds,
            "predict_us": row.predict_us,
            "num_rows": row.num_rows,
            "delivered_score": delivered_score,
            "delivered_bytes": delivered_bytes,
            "beats": round(row.score, _DECIMALS) > round(delivered_score, _DECIMALS),
        }
        for row in baselines.rows
    ]
