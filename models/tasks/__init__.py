"""What a task asks of a network: its output layer, loss, score and decision rule.

Importing this package is cheap: TensorFlow is imported where a layer or a loss is made. Scores and
decisions are NumPy, so that they also judge what LiteRT and TFLite Micro answer.
"""

from __future__ import annotations

from data.contract import ConfigError
from models.config import LOSSES, METRICS, LossConfig, MetricName
from models.tasks.classification import Classification
from models.tasks.clustering import Clustering
from models.tasks.reconstruction import Reconstruction
from models.tasks.regression import Regression
from models.tasks.scores import d2, r2
from models.tasks.task import Task

__all__ = ["TASKS", "Classification", "Clustering", "Reconstruction", "Regression", "Task", "d2", "r2", "task_for"]

TASKS: tuple[type[Classification] | type[Regression] | type[Reconstruction] | type[Clustering], ...] = (
    Classification,
    Regression,
    Reconstruction,
    Clustering,
)


def task_for(name: str, loss: LossConfig | None = None, metric: MetricName | None = None) -> Task:
    """Makes a task by its name in a config.

    Args:
        name: `classification`, `regression`, `reconstruction` or `clustering`.
        loss: what is minimized; the task's first one if None.
        metric: what a score is; the task's first one if None.

    Returns:
        The task.

    Raises:
        ConfigError: there is no such task, or the loss or the metric is another's.
    """
    for task in TASKS:
        if task.name != name:
            continue
        if loss is not None and loss.name is not None and loss.name not in LOSSES[name]:
            raise ConfigError(f"train.loss.name: expected one of {', '.join(LOSSES[name])}, got {loss.name}.")
        if metric is not None and metric not in METRICS[name]:
            raise ConfigError(f"metric: expected one of {', '.join(METRICS[name])}, got {metric}.")
        return task(loss, metric)
    names = " or ".join(task.name for task in TASKS)
    raise ConfigError(f"task: expected {names}, got {name!r}. Name one of them.")
