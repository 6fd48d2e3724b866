"""Rows a second of one training: one worker, and several on this machine.

Run from the root of the repository:

    .venv/bin/python -m benchmarks.training_workers [--workers 2] [--epochs 6]

Each side is a run of its own on scikit-learn's digits. What is told is the median over its epochs, the first left out:
starting the processes and tracing the network are not in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

NETWORKS = {
    "mlp": "{family: mlp, units: [300, 100]}",
    "cnn": "{family: cnn, blocks: [{filters: 16, pool: 2}, {filters: 32}], head: dense}",
}
CONFIG = """\
name: speed
seed: 1
task: classification
data: {{source: builtin, name: digits}}
model: {model}
train: {{workers: {workers}, epochs: {epochs}, batch_size: {batch_size}}}
"""
BATCH_SIZES = (32, 256)


def rows_a_second(model: str, workers: int, epochs: int, batch_size: int) -> float:
    """Trains once, in a work directory of its own, and returns the median of its epochs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = CONFIG.format(model=model, workers=workers, epochs=epochs, batch_size=batch_size)
        (folder / "speed.yaml").write_text(text, encoding="utf-8")
        command = ["run_pipeline.py", "run", str(folder / "speed.yaml"), "--to", "train", "--workdir", str(folder)]
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        (manifest,) = (folder / "store" / "train").glob("*/manifest.json")
        history = json.loads(manifest.read_text(encoding="utf-8"))["details"]["history"]
    return float(statistics.median(record["samples_per_second"] for record in history[1:]))


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=6)
    asked = parser.parse_args()
    console = Console(highlight=False)
    console.print(f"| network | batch size | rows a second, 1 worker | {asked.workers} workers |")
    console.print("|---|---|---|---|")
    for network, model in NETWORKS.items():
        for size in BATCH_SIZES:
            found = [rows_a_second(model, workers, asked.epochs, size) for workers in (1, asked.workers)]
            console.print(f"| {network} | {size} | {found[0]:,.0f} | {found[1]:,.0f} |")


if __name__ == "__main__":
    main()
