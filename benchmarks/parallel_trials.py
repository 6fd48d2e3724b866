"""Seconds of twelve trials of `tune`: one worker, two, two on Ray, the run's own process, and keras-tuner's own loop.

Run from the root of the repository:

    .venv/bin/python -m benchmarks.parallel_trials [--repeats 3] [--units 300 100] [--batch-size 128] [--quick]

Each measurement is a process of its own, all sides in turn. The trials are the same everywhere: 784-300-100-10 (or
other hidden layers) under twelve strengths of L2 on a grid, the same rows, epochs, batch size and Adam. What is
measured on Penjing's side is the whole stage: workers that start and import TensorFlow, checkpoints each epoch, every
model saved and measured, the best one handed on. Ray's side runs on a cluster of one node that is up already; what it
takes to start one is told besides. keras-tuner's side is `GridSearch.search` on Keras 3, which it needs, without its
imports.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

TRIALS = 12
SIDES = {
    "keras-tuner": "",
    "own process": "null",
    "one worker": "{workers: 1}",
    "two workers": "{workers: 2}",
    "two on Ray": "{kind: ray, workers: 2}",
}
LEAST = {("one worker", "two workers"): 1.7, ("keras-tuner", "two workers"): 1.5}
"""(slower, faster) -> how many times faster it must be."""

MOST_RAY_OVERHEAD = 1.15
"""How many times as long two workers on Ray may take as two local ones."""

CONFIG = """\
name: trials
seed: 1
task: classification
data: {{source: arrays, path: pictures.npz, validation_fraction: {validation}, test_fraction: {test}}}
model: {{family: mlp, units: {units}}}
train: {{epochs: {epochs}, batch_size: {batch_size}, optimizer: {{learning_rate: 0.002, schedule: constant}}}}
tune: {{trials: 12, oracle: grid, penalties: [l2], grid_points: 12, batch_trials: 4}}
"""


@dataclass(frozen=True)
class Trials:
    """What every trial trains.

    Attributes:
        rows: pictures for training; 1,000 more are for validation and 100 for the test split.
        epochs: of each trial.
        units: of the hidden layers.
        batch_size: rows a step.
    """

    rows: int
    epochs: int
    units: list[int]
    batch_size: int


def prepare(folder: Path, trials: Trials) -> None:
    """Makes pictures of ten classes, each one noisy pattern, and runs the stages before `tune` on them.

    Args:
        folder: where the config and its store will lie.
        trials: what they train.
    """
    generator = np.random.default_rng(1)
    total = trials.rows + 1_100
    codes = np.arange(total) % 10
    noisy = generator.integers(0, 200, (10, 28, 28, 1))[codes] + generator.integers(0, 56, (total, 28, 28, 1))
    np.savez(folder / "pictures.npz", x=noisy.astype(np.uint8), y=codes)
    text = CONFIG.format(
        validation=1_000 / total,
        test=100 / total,
        epochs=trials.epochs,
        units=trials.units,
        batch_size=trials.batch_size,
    )
    (folder / "trials.yaml").write_text(text, encoding="utf-8")
    execute(folder, folder / "store", "null", last="train")


def execute(folder: Path, store: Path, engine: str, last: str) -> Any:
    """Runs the config up to a stage; returns the manifest of that one."""
    from pipeline.config_reading.file import load_config
    from pipeline.executors.engine import lent_engine
    from pipeline.planner import Scope, make_plan
    from pipeline.runner import Runner
    from pipeline.store import Store
    from pipeline.terminal import TerminalListener

    config = load_config(folder / "trials.yaml", [f"engine={engine}"]).config
    scope, place = Scope(last=last), Store(store)
    with (folder / "console.txt").open("a", encoding="utf-8") as stream:
        listener = TerminalListener(Console(file=stream))
        with lent_engine(config, place, listener) as lent:
            plan = make_plan(config, place, scope, {}, rehash=False)
            made = Runner(place, listener, config.seed, lent).execute(plan, scope)
    return made[last][0].manifest


def run_tune(folder: Path, engine: str) -> float:
    """Runs the stage on a copy of the store that holds no trials; returns its seconds."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        shutil.copytree(folder / "store", Path(name) / "store")
        manifest = execute(folder, Path(name) / "store", engine, last="tune")
    states = [trial["state"] for trial in manifest.details["trials"]]
    if states != ["done"] * (TRIALS + 1):
        raise RuntimeError(f"benchmark: expected {TRIALS} trials, got {states}.")
    return float(manifest.seconds)


def run_keras_tuner(folder: Path) -> float:
    """Runs the same trials in keras-tuner's own loop; returns its seconds."""
    import keras
    import keras_tuner

    from models.config import MlpConfig
    from models.tuning_config import TuneConfig
    from pipeline.config_reading.file import load_config
    from pipeline.tuning_space import strengths

    config = load_config(folder / "trials.yaml").config
    section = TuneConfig(oracle="grid", grid_points=TRIALS)
    choices = [float(f"{each:.3g}") for each in strengths(section).grid(TRIALS)]
    dataset = next((folder / "store" / "ingest").iterdir())
    x, y, validation_x, validation_y = (
        np.load(dataset / f"{name}.npy") for name in ("train_x", "train_y", "validation_x", "validation_y")
    )
    hidden = config.model.units if isinstance(config.model, MlpConfig) else ()
    started = time.perf_counter()

    def build(space: Any) -> Any:
        penalty = keras.regularizers.L2(space.Choice("l2", choices))
        layers = [keras.layers.Dense(units, "relu", kernel_regularizer=penalty) for units in hidden]
        output = keras.layers.Dense(10, "softmax", kernel_regularizer=penalty)
        model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), *layers, output])
        model.compile(keras.optimizers.Adam(0.002), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    class Loop(keras_tuner.GridSearch):  # type: ignore[misc]  # untyped base
        def _configure_tensorboard_dir(self, *arguments: Any) -> None:
            """Does nothing: the original imports tensorboard, which is not installed, whatever is asked for."""

    with tempfile.TemporaryDirectory(dir=folder) as name:
        tuner = Loop(build, "val_accuracy", max_trials=TRIALS, directory=name, project_name="trials")
        tuner.search(
            np.float32(x) / np.float32(255),
            y,
            batch_size=config.train.batch_size,
            epochs=config.train.epochs,
            validation_data=(np.float32(validation_x) / np.float32(255), validation_y),
            verbose=0,
        )
        seconds = time.perf_counter() - started
        if len(tuner.oracle.trials) != TRIALS:
            raise RuntimeError(f"benchmark: expected {TRIALS} trials, got {len(tuner.oracle.trials)}.")
    return seconds


def main() -> int:
    """Measures the sides in turn and prints medians and ratios; 1 if a ratio is below what it must be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each side")
    parser.add_argument("--units", nargs="+", type=int, default=[300, 100], help="of the hidden layers")
    parser.add_argument("--batch-size", type=int, default=128, help="rows a step")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, two epochs")
    parser.add_argument("--measure", nargs=2, metavar=("SIDE", "FOLDER"), help="one measurement, here")
    arguments = parser.parse_args()
    if arguments.measure is not None:
        side, folder = arguments.measure
        print(json.dumps(run_tune(Path(folder), SIDES[side]) if SIDES[side] else run_keras_tuner(Path(folder))))
        return 0
    rows, epochs = (3_000, 2) if arguments.quick else (30_000, 12)
    trials = Trials(rows, epochs, arguments.units, arguments.batch_size)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name), trials)
        with _cluster() as (address, starting):
            for _ in range(arguments.repeats):
                for side in SIDES:
                    seconds[side].append(_measured_in_child(side, Path(name), address))
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    cores = len(os.sched_getaffinity(0))
    network = "-".join(map(str, (784, *trials.units, 10)))
    print(
        f"{TRIALS} trials of {network}, {rows} rows, {epochs} epochs, batches of {trials.batch_size}, {cores} cores, "
        f"{arguments.repeats} repeats in turn"
    )
    for side, values in seconds.items():
        spread = f"{min(values):.1f} to {max(values):.1f}"
        print(f"  {side:12} {medians[side]:6.1f} s ({spread})  {60 * TRIALS / medians[side]:5.1f} trials a minute")
    ratios = {pair: medians[pair[0]] / medians[pair[1]] for pair in LEAST}
    for (slower, faster), ratio in ratios.items():
        print(f"{faster} over {slower}: {ratio:.2f} times faster (at least {LEAST[slower, faster]})")
    overhead = medians["two on Ray"] / medians["two workers"]
    print(f"two on Ray over two workers: {overhead:.2f} times as long (at most {MOST_RAY_OVERHEAD})")
    print(f"  a cluster of one node took {starting:.1f} s to start")
    return int(overhead > MOST_RAY_OVERHEAD or any(ratio < LEAST[pair] for pair, ratio in ratios.items()))


@contextmanager
def _cluster() -> Iterator[tuple[str, float]]:
    """Starts a Ray cluster of one node on this machine; lends its address, and the seconds it took."""
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    started = time.perf_counter()
    head = {"num_cpus": len(os.sched_getaffinity(0)), "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster.address, time.perf_counter() - started
    finally:
        ray.shutdown()
        cluster.shutdown()


def _measured_in_child(side: str, folder: Path, address: str) -> float:
    command = [sys.executable, "-m", "benchmarks.parallel_trials", "--measure", side, str(folder)]
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    environment["RAY_ADDRESS"] = address
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if child.returncode != 0:
        raise RuntimeError(f"benchmark: expected {side} to run its trials, got an error. See it here:\n{child.stderr}")
    measured: float = json.loads(child.stdout.splitlines()[-1])
    return measured


if __name__ == "__main__":
    sys.exit(main())
