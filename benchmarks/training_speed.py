"""Seconds of the stage `train` beside a bare tf_keras `fit` script: same model, data, epochs, in turn.

Run from the root of the repository:

    .venv/bin/python -m benchmarks.training_speed [--repeats 5] [--quick]

Each measurement is a process of its own, so that neither side warms up the other. All sides start from the
artifacts of `ingest` and `build`, on disk. `fit` does what a script of its users does: it loads the model and
the rows, makes float32 of them, and trains with `validation_data`; a second row gives it
`steps_per_execution=20`. `stage` is the whole stage: deterministic operations, best weights kept, a checkpoint
each epoch, the trained model saved, scored and measured as a float32 .tflite; `loop` is the training in it.
Imports are left out on all sides; tracing is in.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from data.config import ArraysData
from data.dataset import Dataset
from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig, TrainConfig
from pipeline.artifacts import SavedModel
from pipeline.executors.serial import SerialTrials
from pipeline.progress import RunProgress
from pipeline.workspace import Workspace

BATCH_SIZE = 128
LIMIT = 1.05
SIDES = ("fit", "fit-20", "stage")
NETWORKS: dict[str, tuple[MlpConfig | CnnConfig, int, int]] = {
    "mlp": (MlpConfig(family="mlp", units=(300, 100)), 30_000, 10),
    "cnn": (
        CnnConfig(family="cnn", blocks=(BlockConfig(filters=16, pool=2), BlockConfig(filters=32, pool=2))),
        8_000,
        5,
    ),
}


def workspace(folder: Path) -> Workspace:
    """Returns what a stage is lent, with new folders for what it makes."""
    output = Path(tempfile.mkdtemp(dir=folder))
    scratch = Path(tempfile.mkdtemp(dir=folder))
    quiet = RunProgress(Console(file=scratch.joinpath("console.txt").open("w", encoding="utf-8")))
    return Workspace(output, scratch, 1, quiet, SerialTrials(_no_trial, _no_trial))


def prepare(network: str, rows: int, folder: Path) -> None:
    """Makes pictures of ten classes, each one noisy pattern, and runs `ingest` and `build` on them.

    Args:
        network: which of `NETWORKS` to build.
        rows: pictures for training; 1,000 more are for validation and 100 for the test split.
        folder: where `dataset` and `model` will lie.
    """
    from pipeline.stages import build, ingest

    generator = np.random.default_rng(1)
    total = rows + 1_100
    codes = np.arange(total) % 10
    noisy = generator.integers(0, 200, (10, 28, 28, 1))[codes] + generator.integers(0, 56, (total, 28, 28, 1))
    np.savez(folder / "pictures.npz", x=noisy.astype(np.uint8), y=codes)
    data = ArraysData(
        source="arrays",
        path=str(folder / "pictures.npz"),
        validation_fraction=1_000 / total,
        test_fraction=100 / total,
    )
    space = workspace(folder)
    ingest.ingest(ingest.Inputs(), ingest.Config("classification", data), space)
    space.output.rename(folder / "dataset")
    dataset = Dataset.open(folder / "dataset")
    space = workspace(folder)
    build.build(build.Inputs(dataset), build.Config("classification", None, NETWORKS[network][0]), space)
    space.output.rename(folder / "model")


def run_stage(folder: Path, epochs: int) -> dict[str, float]:
    """Calls the stage; returns its seconds, and those of the epochs in it."""
    from pipeline.stages import train

    section = TrainConfig(epochs=epochs, batch_size=BATCH_SIZE, optimizer=OptimizerConfig(schedule="constant"))
    space = workspace(folder)
    started = time.perf_counter()
    inputs = train.Inputs(Dataset.open(folder / "dataset"), SavedModel.open(folder / "model", "build"))
    outcome = train.train(inputs, train.Config(section), space)
    seconds = time.perf_counter() - started
    history = outcome.details["history"]
    if len(history) != epochs:
        raise RuntimeError(f"benchmark: expected {epochs} epochs, got {len(history)}.")
    return {"stage": seconds, "loop": sum(record["seconds"] for record in history)}


def run_fit(folder: Path, epochs: int, steps_per_execution: int) -> float:
    """Does what a script of tf_keras' users does; returns its seconds."""
    from models.legacy_keras import keras

    started = time.perf_counter()
    model = keras.models.load_model(folder / "model" / "model.keras", compile=False)
    x, y, validation_x, validation_y = (
        np.load(folder / "dataset" / f"{name}.npy") for name in ("train_x", "train_y", "validation_x", "validation_y")
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.002),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
        steps_per_execution=steps_per_execution,
    )
    validation = (np.float32(validation_x) / np.float32(255), validation_y)
    rows = np.float32(x) / np.float32(255)
    model.fit(rows, y, batch_size=BATCH_SIZE, epochs=epochs, validation_data=validation, verbose=0)
    return time.perf_counter() - started


def measure(side: str, folder: Path, epochs: int) -> dict[str, float]:
    """Measures one side in this process: name of a row -> seconds."""
    if side == "stage":
        return run_stage(folder, epochs)
    return {side: run_fit(folder, epochs, 20 if side == "fit-20" else 1)}


def main() -> int:
    """Measures the sides in turn and prints medians and ratios; 1 if a ratio to `fit` is above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each side")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one epoch")
    parser.add_argument("--measure", nargs=3, metavar=("SIDE", "FOLDER", "EPOCHS"), help="one measurement, here")
    arguments = parser.parse_args()
    if arguments.measure is not None:
        side, folder, epochs = arguments.measure
        print(json.dumps(measure(side, Path(folder), int(epochs))))
        return 0
    ratios = [compare(network, arguments.repeats, arguments.quick) for network in NETWORKS]
    print(f"largest ratio of stage to fit: {max(ratios):.2f} (limit {LIMIT})")
    return int(max(ratios) > LIMIT)


def compare(network: str, repeats: int, quick: bool) -> float:
    """Measures all sides of a network in turn, prints a row for each, and returns median stage over median fit."""
    _, rows, epochs = NETWORKS[network]
    if quick:
        rows, epochs = rows // 10, 1
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(network, rows, folder)
        for _ in range(repeats):
            for side in SIDES:
                for row, value in _measured_in_child(side, folder, epochs).items():
                    seconds.setdefault(row, []).append(value)
    fit = statistics.median(seconds["fit"])
    print(f"{network}: {rows} rows, {epochs} epochs, batch {BATCH_SIZE}, {repeats} repeats in turn")
    for row, values in seconds.items():
        spread = f"{min(values):.2f} to {max(values):.2f}"
        median = statistics.median(values)
        print(f"  {row:8} {median:6.2f} s ({spread})  {median / fit:.2f} x fit", flush=True)
    return statistics.median(seconds["stage"]) / fit


def _measured_in_child(side: str, folder: Path, epochs: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.training_speed", "--measure", side, str(folder), str(epochs)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode != 0:
        raise RuntimeError(f"benchmark: expected {side} to train, got an error. See it here:\n{child.stderr}")
    measured: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return measured


def _no_trial(*asked: Any) -> Any:
    raise RuntimeError(f"benchmark: expected no trials, got {asked[0]}.")


if __name__ == "__main__":
    sys.exit(main())
