"""The measurements that every stage yielding a model records."""

from __future__ import annotations

from typing import Any

from data.dataset import Dataset
from models.measurements import count_macs, count_nonzero, count_parameters, gzip_bytes
from models.tasks import Task
from models.tflite.convert import convert
from models.training import predict
from pipeline.ledger import LedgerRow
from pipeline.lessons import reference


def measure(stage: str, model: Any, dataset: Dataset, task: Task) -> LedgerRow:
    """Measures a Keras model: validation score, parameters, MACs, and its size as a float32 .tflite.

    Args:
        stage: the stage that yields it.
        model: a tf_keras model.
        dataset: rows to score it on.
        task: how to score it.
    """
    score = task.score(reference(dataset, "validation", task), predict(model, dataset.inputs("validation")))
    return ledger_row(stage, "keras", score, model, convert(model, "float32", None))


def ledger_row(stage: str, variant: str, score: float, model: Any, file: bytes) -> LedgerRow:
    """Puts together what is known of a model.

    Args:
        stage: the stage that yields it.
        variant: `keras`, or the precision of its file.
        score: on the validation split.
        model: a tf_keras model.
        file: the model as .tflite, or its float32 conversion.
    """
    return LedgerRow(
        stage=stage,
        variant=variant,
        score=score,
        parameters=count_parameters(model),
        nonzero_parameters=count_nonzero(model),
        macs=count_macs(model),
        tflite_bytes=len(file),
        tflite_gzip_bytes=gzip_bytes(file),
    )
