"""Tuning for the score beside tuning for the pruned score: the same trials, judged twice, then pruned and shipped.

Run from the root of the repository; it takes about ten minutes on two cores:

    .venv/bin/python -m benchmarks.tuning_objective [--seeds 1 2 3] [--sparsities 0.9 0.95]

784-300-100-10 (LeCun 1998) on Fashion-MNIST. Eight penalties, a grid of L1 and L2, are trained once;
`tune.objective` says which of their models, or `train`'s own, goes on. Each is then pruned by the section `prune`, at
once or with training, quantized to int8 and scored on the test rows, which nothing else reads. Both sides run the
command line and share a store, so that no trial is trained twice.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.tuning_space import described

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """\
name: objective
task: classification
data: {source: idx, path: /usr/share/datasets/fashion-mnist, validation_fraction: 0.0833333}
model: {family: mlp, units: [300, 100]}
train: {epochs: 4, batch_size: 128}
tune:
  {oracle: grid, trials: 8, penalties: [l1, l2], grid_points: 4, min_strength: 0.000001, max_strength: 0.001}
prune: {unit: weight, scope: global, batch_size: 128}
quantize: {precision: int8}
convert: {variants: [int8]}
"""
PRUNINGS = {
    "at once": ("prune.epochs=0", "prune.recovery_epochs=0"),
    "in 3 epochs": ("prune.epochs=2", "prune.recovery_epochs=1"),
}
"""How the kept model is pruned, as overrides."""

OBJECTIVES = ("score", "pruned_score")


def shipped(folder: Path, objective: str, seed: int, sparsity: float, pruning: str) -> dict[str, Any]:
    """Runs the command line; returns `summary.json` with the kept trial as `kept`."""
    name = f"{objective.replace('_', '-')}-{seed}-{round(1000 * sparsity)}-{len(pruning)}"
    overrides = (f"name={name}", f"seed={seed}", f"tune.objective={objective}", f"prune.sparsity={sparsity}")
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(folder / "objective.yaml"), *overrides]
    done = subprocess.run(
        [*command, *PRUNINGS[pruning], "--json", "--workdir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    key = json.loads((folder / name / "run.json").read_text(encoding="utf-8"))["keys"]["tune"]
    manifest = json.loads((folder / "store" / "tune" / key / "manifest.json").read_text(encoding="utf-8"))
    details = manifest["details"]
    return {**json.loads(done.stdout), "kept": details["trials"][details["best"]]}


def measured(folder: Path, seeds: list[int], sparsity: float, pruning: str) -> None:
    """Prints a line a seed and side, and the mean difference."""
    print(f"\nsparsity {sparsity:g}, pruned {pruning}", flush=True)
    print("seed  objective     kept           before pruning   int8, test rows", flush=True)
    gains = []
    for seed in seeds:
        scores = {}
        for objective in OBJECTIVES:
            summary = shipped(folder, objective, seed, sparsity, pruning)
            scores[objective] = summary["model_score"]
            told = described(summary["kept"])
            columns = f"{objective:<13} {told:<14} {summary['baseline_score']:14.4f} {summary['model_score']:17.4f}"
            print(f"{seed:4}  {columns}", flush=True)
        gains.append(scores["pruned_score"] - scores["score"])
    print(f"mean gain of pruned_score: {statistics.mean(gains):+.4f} (seeds: {', '.join(f'{g:+.4f}' for g in gains)})")


def main() -> None:
    """Parses the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.9, 0.95])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "objective.yaml").write_text(CONFIG, encoding="utf-8")
        for sparsity in asked.sparsities:
            for pruning in PRUNINGS:
                measured(Path(folder), asked.seeds, sparsity, pruning)


if __name__ == "__main__":
    main()
