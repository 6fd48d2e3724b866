"""Layer-wise pretraining against training end to end: 1,000 labels of Fashion-MNIST, deep sigmoids, three seeds.

Run from the root of the repository; it takes half an hour or so on two cores:

    .venv/bin/python -m benchmarks.layerwise [--seeds 1 2 3] [--optimizers adam momentum] [--workdir DIR]

The network, the rows and the pretraining are those of `configs/fashion_layerwise.yaml`. Training end to end starts from
the same untrained weights and may take as many epochs as the autoencoders' pretraining and their fine-tuning cost
together, in multiply-accumulates (`models/training_cost.py`); supervised pretraining costs far less than that. The
control's learning rates are the best on validation rows of other draws; fine-tuning's are the middle of what was tried
(`RATES`; docs/performance.md tells how they came about). The validation rows choose the epoch; this script reads the
test rows once. Every side is the command line in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.dataset import Dataset
from models.measurements import count_macs
from models.training import predict
from models.training_cost import control_epochs
from pipeline.artifacts import SavedModel

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "fashion_layerwise.yaml"
FINE_TUNING = 100
"""Epochs of fine-tuning, as in the config."""

END_TO_END = "end to end"
SIDES: dict[str, tuple[str, ...]] = {
    "denoising_autoencoder": (),
    "autoencoder": ("pretrain.kind=autoencoder",),
    "supervised": (
        "pretrain={kind: supervised, epochs: 50, batch_size: 50, optimizer: {name: adam, learning_rate: 0.004}}",
    ),
}
"""Overrides of each kind of pretraining."""

RATES: dict[str, dict[str, float]] = {
    "adam": {END_TO_END: 0.004, "denoising_autoencoder": 0.001, "autoencoder": 0.001, "supervised": 0.001},
    "momentum": {END_TO_END: 0.01, "denoising_autoencoder": 0.1, "autoencoder": 0.1, "supervised": 0.1},
}
"""Learning rates. End to end the best on validation of those tried: of Adam 0.001, 0.002, 0.004 and 0.008, mean of
three draws of 500 epochs each; of momentum 0.003, 0.01, 0.03, 0.1, 0.3 and 1, one draw of 1,000 epochs each.
Fine-tuning was tried on one draw with 0.0003, 0.001 and 0.003, and 0.03, 0.1 and 0.3, which differed by 0.01 at most:
the middle was taken for every kind."""


@dataclass
class Measured:
    """What one side came to, seed by seed."""

    epochs: list[int] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)


def keys_of(workdir: Path, name: str, seed: int, *overrides: str) -> dict[str, str]:
    """Runs the command line up to the stage train; returns the key of each stage."""
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(CONFIG), f"name={name}", f"seed={seed}"]
    done = subprocess.run(
        [*command, "train.control=false", *overrides, "--to", "train", "--json", "--workdir", str(workdir)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"{name}, seed {seed}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    keys: dict[str, str] = json.loads((workdir / name / "run.json").read_text(encoding="utf-8"))["keys"]
    return keys


def note(measured: Measured, workdir: Path, keys: dict[str, str]) -> None:
    """Scores what a side trained, on both splits."""
    dataset = Dataset.open(workdir / "store" / "ingest" / keys["ingest"])
    folder = workdir / "store" / "train" / keys["train"]
    saved = SavedModel.open(folder, "train")
    model, task = saved.load(), saved.record.as_task()
    for name, scores in (("validation", measured.validation), ("test", measured.test)):
        scores.append(task.score(dataset.split(name).y, predict(model, dataset.inputs(name))))
    details = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["details"]
    measured.epochs.append(len(details["history"]))


def budget(workdir: Path, keys: dict[str, str]) -> int:
    """Returns the epochs end to end that pretraining and fine-tuning cost together."""
    saved = SavedModel.open(workdir / "store" / "pretrain" / keys["pretrain"], "pretrain")
    rows = len(Dataset.open(workdir / "store" / "ingest" / keys["ingest"]).split("train"))
    return control_epochs(FINE_TUNING, saved.record.pretraining_macs or 0, count_macs(saved.load()), rows)


def compare(workdir: Path, optimizer: str, seeds: list[int]) -> dict[str, Measured]:
    """Trains every side under one optimizer, over the seeds."""
    found = {side: Measured() for side in (END_TO_END, *SIDES)}
    for seed in seeds:
        most = 0
        for side, overrides in SIDES.items():
            keys = keys_of(workdir, f"{side}-{optimizer}", seed, *overrides, *descent(optimizer, side))
            note(found[side], workdir, keys)
            most = max(most, budget(workdir, keys))
        alone = ("train.mode=end_to_end", "pretrain=null", f"train.epochs={most}")
        keys = keys_of(workdir, f"end-{optimizer}", seed, *alone, *descent(optimizer, END_TO_END))
        note(found[END_TO_END], workdir, keys)
        print(f"{optimizer}, seed {seed}: done", file=sys.stderr, flush=True)
    return found


def descent(optimizer: str, side: str) -> tuple[str, ...]:
    """Returns the overrides of a side's optimizer."""
    return (f"train.optimizer={{name: {optimizer}, learning_rate: {RATES[optimizer][side]}}}",)


def table(optimizer: str, found: dict[str, Measured]) -> str:
    """Writes one optimizer's table, in Markdown."""
    lines = [
        f"| {optimizer} | learning rate | epochs on labels | validation | test accuracy (each seed) | - end to end |",
        "|---|---|---|---|---|---|",
    ]
    base = statistics.mean(found[END_TO_END].test)
    for side, measured in found.items():
        mean, spread = statistics.mean(measured.test), statistics.pstdev(measured.test)
        each = ", ".join(f"{score:.4f}" for score in measured.test)
        lines.append(
            f"| {side.replace('_', ' ')} | {RATES[optimizer][side]:g} | {max(measured.epochs):,d} | "
            f"{statistics.mean(measured.validation):.4f} | {mean:.4f} ± {spread:.4f} ({each}) | "
            f"{'' if side == END_TO_END else f'{mean - base:+.4f}'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Parses the arguments, compares, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--optimizers", nargs="+", default=list(RATES), choices=list(RATES))
    parser.add_argument("--workdir", type=Path, default=None, help="kept; a temporary one that is removed if left out")
    given: Any = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        workdir = Path(temporary) if given.workdir is None else given.workdir
        for optimizer in given.optimizers:
            print(table(optimizer, compare(workdir, optimizer, given.seeds)) + "\n", flush=True)


if __name__ == "__main__":
    main()
