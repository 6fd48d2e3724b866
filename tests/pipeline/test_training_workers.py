"""One training on two worker processes of this machine: interrupted, killed, and compared with one that was not."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.tflite.convert import convert
from pipeline.artifacts import SavedModel
from pipeline.config_reading.file import load_config
from pipeline.planner import Scope, make_plan
from pipeline.runner import Runner
from pipeline.store import Artifact, Store
from tests.pipeline.test_worker_processes import workers

SMALL = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: digits}
model: {family: cnn, blocks: [{filters: 4, pool: 2}], head: dense, dropout_fraction: 0.1}
"""
TEXT = f"""\
{SMALL}train:
  workers: 2
  epochs: 12
  batch_size: 50
  optimizer: {{learning_rate: 0.01}}
  regularization: {{l1: 0.0001, l2: 0.0001}}
  class_weights: balanced
"""
EPOCHS = 12


class Listener:
    """Remembers what it hears; at some epoch there is a Ctrl-C, or a worker is killed."""

    def __init__(self, ctrl_c: int | None = None, kill: int | None = None) -> None:
        self.ctrl_c, self.kill = ctrl_c, kill
        self.notes: list[str] = []
        self.epochs: list[int] = []

    def begin(self, planned: Any) -> None: ...

    def end(self, planned: Any, artifact: Artifact, cached: bool) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        if label != "train" or "loss" not in figures:
            return
        self.epochs.append(done)
        if done == self.ctrl_c:
            raise KeyboardInterrupt
        if done == self.kill:
            self.kill = None
            os.kill(workers("member")[1], signal.SIGKILL)


def run(folder: Path, listener: Listener, text: str = TEXT) -> Artifact:
    path = folder / "small.yaml"
    path.write_text(text)
    scope, config, store = Scope(last="train"), load_config(path).config, Store(folder / "store", listener.note)
    plan = make_plan(config, store, scope, {}, rehash=False)
    return Runner(store, listener, config.seed).execute(plan, scope)["train"][0]


def history(made: Artifact) -> list[dict[str, float]]:
    told = made.manifest.details["history"]
    return [{name: each[name] for name in ("epoch", "loss", "score", "gradient_norm")} for each in told]


def file(made: Artifact) -> bytes:
    """The model as a float32 .tflite: a .keras file holds the time of day."""
    return convert(SavedModel.open(made.folder, "train").load(), "float32", None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run(tmp_path_factory.mktemp("whole"), Listener())


def test_two_workers_learn_what_one_does(whole: Artifact, tmp_path: Path) -> None:
    alone = run(tmp_path, Listener(), TEXT.replace("  workers: 2\n", ""))
    assert alone.manifest.key != whole.manifest.key
    losses = [[record["loss"] for record in history(made)] for made in (alone, whole)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-4)  # 26 steps an epoch
    # Not the very bits, or the key would not have to tell them apart: sums are taken in another order.
    assert losses[1] != losses[0]
    norms = [[record["gradient_norm"] for record in history(made)] for made in (alone, whole)]
    np.testing.assert_allclose(norms[1], norms[0], rtol=0, atol=1e-4)
    models = [SavedModel.open(made.folder, "train").load() for made in (alone, whole)]
    for own, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(other, own, rtol=0, atol=1e-3)


def test_interrupted_and_killed_it_ends_with_the_same_bytes(whole: Artifact, tmp_path: Path) -> None:
    interrupted = Listener(ctrl_c=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, interrupted)
    assert workers("member") == []
    resumed = Listener(kill=4)
    made = run(tmp_path, resumed)
    # Epoch 2 may have been told of before it was kept.
    assert resumed.epochs[0] in (2, 3)
    assert resumed.epochs[-1] == EPOCHS
    (note,) = resumed.notes
    killed = r"train: worker 1 was killed \(SIGKILL\), as systems do that run out of memory"
    assert re.fullmatch(rf"{killed}; all 2 start again at epoch \d+", note)
    assert made.manifest.key == whole.manifest.key
    assert history(made) == history(whole)
    assert file(made) == file(whole)
    assert workers("member") == []
