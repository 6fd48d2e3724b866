"""What a network must answer for each task, so that one which somebody else made can be held against it."""

from __future__ import annotations

from dataclasses import dataclass

from data.contract import ConfigError, Schema


@dataclass(frozen=True)
class Answer:
    """The output that a task asks of a network.

    Attributes:
        shape: shape of one row's output.
        activation: name of the last layer's activation.
        meaning: what the numbers are, in words.
    """

    shape: tuple[int, ...]
    activation: str
    meaning: str


def expected_answer(task: str, schema: Schema) -> Answer:
    """Says what a task asks of a network's output.

    Args:
        task: name of the task in a config.
        schema: classes of the data.

    Returns:
        Probabilities of the classes, in the order of their codes; or one standardized value.

    Raises:
        ConfigError: the task takes no network that was made elsewhere.
    """
    if task == "classification":
        count = schema.num_classes
        return Answer((count,), "softmax", f"the probabilities of {count} classes ({_listed(schema.class_names)})")
    if task == "regression":
        return Answer((1,), "linear", "one value, standardized")
    raise ConfigError(
        f"task: expected classification or regression with a model of your own, got {task}. Choose a family."
    )


MOST_NAMES = 6
"""Classes that a message names."""


def _listed(names: tuple[str, ...]) -> str:
    more = f", … {names[-1]}" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
