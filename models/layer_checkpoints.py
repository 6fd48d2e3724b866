"""Checkpoints of layer-wise pretraining: the finished layers, and the training of the one that learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from data.contract import Checkpoints
from models.layer_parts import Part
from models.training import TrainingResult


class LayerCheckpoints:
    """Checkpoints of one part's training that carry the finished parts along.

    Args:
        checkpoints: where; None: nowhere.
        model: the network that is pretrained; parts kept as finished get their weights back.
        parts: its parts.
    """

    def __init__(self, checkpoints: Checkpoints | None, model: Any, parts: Sequence[Part]) -> None:
        self._checkpoints, self._model, self._parts = checkpoints, model, parts
        self._finished: dict[str, NDArray[Any]] = {}
        self._current: tuple[dict[str, NDArray[Any]], dict[str, Any]] | None = None
        self.records: list[dict[str, Any]] = []
        kept = None if checkpoints is None else checkpoints.load()
        if kept is not None:
            arrays, state = kept
            self.records = list(state["layers"])
            self._finished = {name: array for name, array in arrays.items() if name.startswith("finished/")}
            for part in parts[: len(self.records)]:
                self._restore(part)
            if state["current"] is not None:
                names = [name for name in arrays if name.startswith("current/")]
                self._current = ({name.removeprefix("current/"): arrays[name] for name in names}, state["current"])

    def save(self, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Replaces the kept state of the current part's training."""
        self._current = (dict(arrays), dict(state))
        self._write()

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Returns the kept state of the current part's training, or None."""
        return self._current

    def finish(self, part: Part, result: TrainingResult, macs: int) -> None:
        """Keeps a part as finished, with what its training spent; the next one starts without a state."""
        for name in part.layers:
            weights = self._model.get_layer(name).get_weights()
            self._finished |= {f"finished/{name}/{i}": array for i, array in enumerate(weights)}
        losses, scores = ([getattr(record, name) for record in result.history] for name in ("loss", "score"))
        ended = {"stopped_by": result.stopped_by, "best_epoch": result.best_epoch, "macs": macs}
        self.records.append({"layer": part.name, "loss": losses, "score": scores, **ended})
        self._current = None
        self._write()

    def _restore(self, part: Part) -> None:
        for name in part.layers:
            layer = self._model.get_layer(name)
            layer.set_weights([self._finished[f"finished/{name}/{i}"] for i in range(len(layer.weights))])

    def _write(self) -> None:
        if self._checkpoints is None:
            return
        arrays, state = ({}, None) if self._current is None else self._current
        current = {f"current/{name}": array for name, array in arrays.items()}
        kept = {"layers": self.records, "current": state, "resumes_at": self._resumes_at(state)}
        self._checkpoints.save(self._finished | current, kept)

    def _resumes_at(self, state: Mapping[str, Any] | None) -> str:
        if len(self.records) == len(self._parts):
            return "the end of pretraining"
        name = self._parts[len(self.records)].name
        return name if state is None else f"{name}, {state['resumes_at']}"
