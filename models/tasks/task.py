"""What every task can be asked."""

from __future__ import annotations

from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from data.contract import Schema


class Task(Protocol):
    """What is learned, and how an answer is judged."""

    @property
    def name(self) -> str:
        """Name of the task in a config."""

    @property
    def metric(self) -> str:
        """Name of the score, one of `models.config.METRICS`; higher is better, 1 is perfect."""

    @property
    def judged_by(self) -> Literal["labels", "inputs"]:
        """What `score` holds a model's answers against: the rows' labels, or the inputs themselves, flattened."""

    @property
    def chooses(self) -> bool:
        """Whether an answer is a probability for each of several choices, of which `decide` takes one."""

    def output_layer(self, schema: Schema, seed: int) -> Any:
        """Makes the last layer, named `output`, its kernel drawn from `seed`."""

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:
        """Returns the mean loss of a batch, a float32 scalar tensor."""

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:
        """Returns the score of a model's answers; y: (rows,) labels or (rows, columns) inputs, see `judged_by`."""

    def decide(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Turns a model's answers into decisions."""
