"""The state of a training between two epochs, as arrays and JSON: all that exact resume needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Checkpoints, TrainingError


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to.

    Attributes:
        epoch: counted from 1.
        loss: mean training loss over the epoch's rows, penalty included, while weights still moved.
        score: validation score after the epoch, higher is better.
        learning_rate: of the epoch's last step.
        gradient_norm: root mean square, over the epoch's steps, of the norm of the gradient of the whole objective.
        seconds: wall-clock seconds, evaluation included.
        samples_per_second: training rows a second, evaluation left out.
    """

    epoch: int
    loss: float
    score: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    samples_per_second: float


@dataclass
class TrainingState:
    """Where a training stands after an epoch.

    Attributes:
        history: one record for each finished epoch.
        best_epoch: epoch of the best weights, 0 while there are none.
        best_score: validation score of the best weights.
        best_weights: all weights of the model then, in the order of `model.weights`.
        stopped_by: the rule that ended the training; None while it goes on.
    """

    history: list[EpochRecord] = field(default_factory=list)
    best_epoch: int = 0
    best_score: float = -np.inf
    best_weights: list[NDArray[Any]] = field(default_factory=list)
    stopped_by: str | None = None


def save_state(
    checkpoints: Checkpoints,
    state: TrainingState,
    variables: Mapping[str, Sequence[Any]],
    fingerprint: Mapping[str, Any],
) -> None:
    """Keeps a training's state.

    Args:
        checkpoints: where.
        state: counters, history and best weights.
        variables: groups of tf.Variables (`model`, `optimizer`, `constraint`) by name.
        fingerprint: JSON-able settings that a resumed training must share.
    """
    arrays = {f"{group}/{i}": v.numpy() for group, members in variables.items() for i, v in enumerate(members)}
    arrays |= {f"best/{i}": array for i, array in enumerate(state.best_weights)}
    kept = {
        "fingerprint": dict(fingerprint),
        "history": [asdict(record) for record in state.history],
        "best_epoch": state.best_epoch,
        "best_score": state.best_score if state.best_epoch > 0 else None,
        "stopped_by": state.stopped_by,
        "resumes_at": f"epoch {len(state.history) + 1}" if state.stopped_by is None else "the end of training",
    }
    checkpoints.save(arrays, kept)


def load_state(
    checkpoints: Checkpoints | None, variables: Mapping[str, Sequence[Any]], fingerprint: Mapping[str, Any]
) -> TrainingState:
    """Puts a kept state back into the variables.

    Args:
        checkpoints: where it may be; None: nowhere.
        variables: the groups given to `save_state`; assigned in place.
        fingerprint: the settings of this training.

    Returns:
        The state after the last kept epoch, or a fresh one where nothing was kept.

    Raises:
        TrainingError: what was kept belongs to another training, or is no state of one.
    """
    kept = None if checkpoints is None else checkpoints.load()
    if kept is None:
        return TrainingState()
    arrays, state = kept
    try:
        _check_fingerprint(state.get("fingerprint", {}), fingerprint)
        found = _state_in(arrays, state, len(variables["model"]))
        for group, members in variables.items():
            for i, variable in enumerate(members):
                variable.assign(arrays[f"{group}/{i}"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # a digest says nothing of what it is of
        raise TrainingError(
            f"checkpoint: expected the state of a training, got something else ({type(error).__name__}: "
            f"{str(error)[:100]}). Remove the stage's scratch folder and run again."
        ) from error
    return found


def _state_in(arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any], num_weights: int) -> TrainingState:
    history = [EpochRecord(**record) for record in state["history"]]
    figures = (figure for record in history for figure in asdict(record).values())
    if not all(isinstance(figure, int | float) for figure in (*figures, state["best_epoch"])):
        raise TypeError("figures that are no numbers")
    has_best = state["best_epoch"] > 0
    return TrainingState(
        history=history,
        best_epoch=state["best_epoch"],
        best_score=float(state["best_score"]) if has_best else -np.inf,
        best_weights=[np.array(arrays[f"best/{i}"]) for i in range(num_weights if has_best else 0)],
        stopped_by=state["stopped_by"],
    )


def _check_fingerprint(kept: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    plain = json.loads(json.dumps(wanted))
    for name, value in plain.items():
        if kept.get(name) != value:
            raise TrainingError(
                f"checkpoint.{name}: expected {value}, got {kept.get(name)}: it was kept by another training. "
                "Remove the stage's scratch folder and run again."
            )
