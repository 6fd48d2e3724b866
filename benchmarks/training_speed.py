"""Seconds of Penjing's training loop beside a bare tf_keras `fit`: same model, data, epochs, in turn.

Run from the root of the repository:

    .venv/bin/python -m benchmarks.training_speed [--repeats 5] [--quick]

Each measurement is a process of its own, so that neither side warms up the other. `fit` is given what
its users give it: float32 arrays, `validation_data`, default settings; a second row gives it
`steps_per_execution=20`. The loop does more: operations are deterministic, rows are gathered from uint8,
best weights are kept, and a checkpoint is written each epoch. Importing, building and making the data
are left out on both sides; tracing is in.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.batches import ArrayBatches
from data.contract import Schema
from models.config import BlockConfig, CnnConfig, MlpConfig, OptimizerConfig

BATCH_SIZE = 128
LIMIT = 1.05
SIDES = ("fit", "fit-20", "loop")
NETWORKS: dict[str, tuple[MlpConfig | CnnConfig, int, int]] = {
    "mlp": (MlpConfig(family="mlp", units=(300, 100)), 30_000, 5),
    "cnn": (
        CnnConfig(family="cnn", blocks=(BlockConfig(filters=16, pool=2), BlockConfig(filters=32, pool=2))),
        8_000,
        3,
    ),
}


class FileCheckpoints:
    """Keeps a training's state in one .npz file, replaced at once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.npz"

    def save(self, arrays: Mapping[str, NDArray[Any]], state: Mapping[str, Any]) -> None:
        """Writes beside the file, then renames."""
        partial = self._path.with_name("partial.npz")
        np.savez(partial, __state__=np.array(json.dumps(state)), **dict(arrays))  # type: ignore[arg-type]
        partial.replace(self._path)

    def load(self) -> None:
        """Nothing is continued here."""


def images(rows: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Makes pictures of ten classes: (rows, 28, 28, 1) uint8 and (rows,) codes; each class one noisy pattern."""
    generator = np.random.default_rng(seed)
    patterns = np.random.default_rng(0).integers(0, 200, (10, 28, 28, 1))
    codes = generator.integers(0, 10, rows).astype(np.int32)
    noisy = patterns[codes] + generator.integers(0, 56, (rows, 28, 28, 1))
    return noisy.astype(np.uint8), codes


def measure(network: str, side: str, rows: int, epochs: int) -> float:
    """Trains once in this process; returns wall-clock seconds."""
    from models.architectures.builder import build
    from models.legacy_keras import keras, use_determinism
    from models.tasks import task_for
    from models.training import TrainingSettings, train

    if side == "loop":
        use_determinism(1)
    classes = tuple(str(digit) for digit in range(10))
    schema = Schema(
        kind="image",
        input_shape=(28, 28, 1),
        input_range=(0.0, 1.0),
        storage_divisor=255.0,
        class_names=classes,
        target_name="class",
    )
    model = build(NETWORKS[network][0], schema, "classification", seed=1)
    (x, y), (validation_x, validation_y) = images(rows, 1), images(1_000, 2)
    validation = (np.float32(validation_x) / np.float32(255), validation_y)
    if side == "loop":
        settings = TrainingSettings(epochs=epochs, optimizer=OptimizerConfig(schedule="constant"), seed=1)
        batches = ArrayBatches(x, y, BATCH_SIZE, 1, 255.0)
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            task = task_for("classification")
            train(model, batches, validation, task, settings, checkpoints=FileCheckpoints(Path(folder)))
            return time.perf_counter() - started
    floats = np.float32(x) / np.float32(255)
    started = time.perf_counter()
    model.compile(
        optimizer=keras.optimizers.Adam(0.002),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
        steps_per_execution=20 if side == "fit-20" else 1,
    )
    model.fit(floats, y, batch_size=BATCH_SIZE, epochs=epochs, validation_data=validation, verbose=0)
    return time.perf_counter() - started


def main() -> int:
    """Measures the sides in turn and prints medians and ratios; 1 if a ratio to `fit` is above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each side")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one epoch")
    parser.add_argument("--measure", nargs=2, metavar=("NETWORK", "SIDE"), help="one measurement, in this process")
    arguments = parser.parse_args()
    worst = 0.0
    for network, (_, all_rows, all_epochs) in NETWORKS.items():
        rows, epochs = (all_rows // 10, 1) if arguments.quick else (all_rows, all_epochs)
        if arguments.measure is not None:
            if arguments.measure[0] == network:
                print(measure(network, arguments.measure[1], rows, epochs))
            continue
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(arguments.repeats):
            for side in SIDES:
                seconds[side].append(_measured_in_child(network, side, arguments.quick))
        fit = statistics.median(seconds["fit"])
        print(f"{network}: {rows} rows, {epochs} epochs, batch {BATCH_SIZE}, {arguments.repeats} repeats in turn")
        for side in SIDES:
            median = statistics.median(seconds[side])
            spread = f"{min(seconds[side]):.2f} to {max(seconds[side]):.2f}"
            print(f"  {side:8} {median:6.2f} s ({spread})  {median / fit:.2f} x fit", flush=True)
        worst = max(worst, statistics.median(seconds["loop"]) / fit)
    if arguments.measure is None:
        print(f"largest ratio of loop to fit: {worst:.2f} (limit {LIMIT})")
    return int(worst > LIMIT)


def _measured_in_child(network: str, side: str, quick: bool) -> float:
    command = [sys.executable, "-m", "benchmarks.training_speed", "--measure", network, side]
    child = subprocess.run([*command, *(["--quick"] if quick else [])], capture_output=True, text=True, check=False)
    if child.returncode != 0:
        raise RuntimeError(f"benchmark: expected {network} {side} to train, got an error. See it here:\n{child.stderr}")
    return float(child.stdout.split()[-1])


if __name__ == "__main__":
    sys.exit(main())
