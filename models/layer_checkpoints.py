"""Checkpoints of layer-wise pretraining: the finished layers, and the training of the one that learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from data.contract import Checkpoints
from models.training import TrainingResult


class LayerCheckpoints:
    """Checkpoints of one layer's training that carry the finished layers along.

    Args:
        checkpoints: where; None: nowhere.
        hidden: the hidden layers; those kept as finished get their weights back.
    """

    def __init__(self, checkpoints: Checkpoints | None, hidden: Sequence[Any]) -> None:
        self._checkpoints = checkpoints
        self._finished: dict[str, NDArray[Any]] = {}
        self._current: tuple[dict[str, NDArray[Any]], dict[str, Any]] | None = None
        self.records: list[dict[str, Any]] = []
        self._names = [layer.name for layer in hidden]
        kept = None if checkpoints is None else checkpoints.load()
        if kept is not None:
            arrays, state = kept
            self.records = list(state["layers"])
            self._finished = {name: array for name, array in arrays.items() if name.startswith("finished/")}
            for layer in hidden[: len(self.records)]:
                layer.set_weights([self._finished[f"finished/{layer.name}/{i}"] for i in range(len(layer.weights))])
            if state["current"] is not None:
                names = [name for name in arrays if name.startswith("current/")]
                self._current = ({name.removeprefix("current/"): arrays[name] for name in names}, state["current"])

    def save(self, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Replaces the kept state of the current layer's training."""
        self._current = (dict(arrays), dict(state))
        self._write()

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Returns the kept state of the current layer's training, or None."""
        return self._current

    def finish_layer(self, layer: Any, result: TrainingResult) -> None:
        """Keeps a layer as finished; the next one starts without a state."""
        self._finished |= {f"finished/{layer.name}/{i}": array for i, array in enumerate(layer.get_weights())}
        losses, scores = ([getattr(record, name) for record in result.history] for name in ("loss", "score"))
        self.records.append({"layer": layer.name, "loss": losses, "score": scores})
        self._current = None
        self._write()

    def _write(self) -> None:
        if self._checkpoints is None:
            return
        arrays, state = ({}, None) if self._current is None else self._current
        current = {f"current/{name}": array for name, array in arrays.items()}
        kept = {"layers": self.records, "current": state, "resumes_at": self._resumes_at(state)}
        self._checkpoints.save(self._finished | current, kept)

    def _resumes_at(self, state: Mapping[str, Any] | None) -> str:
        if len(self.records) == len(self._names):
            return "the end of pretraining"
        layer = self._names[len(self.records)]
        return layer if state is None else f"{layer}, {state['resumes_at']}"
