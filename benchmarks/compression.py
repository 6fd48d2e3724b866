"""Penjing beside a hand-written TFMOT recipe: same rows, model and total training samples, three seeds, one run.

Run from the root of the repository; it takes an hour or so on two cores:

    .venv/bin/python -m benchmarks.compression [--models mlp cnn] [--seeds 1 2 3] [--search]

The recipe (`benchmarks/tfmot_recipe.py`) and Penjing each spend 20 epochs of 55,000 rows of Fashion-MNIST. The honest
control is a net of the shape that pruning arrived at, trained from scratch for 20 epochs under the same schedule. All
settings were chosen on the validation rows; the test rows are read once, here. Every side is the real thing in a
process of its own: the recipe's script, and Penjing's command line.
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

import numpy as np

from data.dataset import Dataset
from models.measurements import gzip_bytes
from models.tflite.interpreter import LiteRT, latency_us
from models.tflite.micro import MicroResult, run_micro

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "lenet_300_100.yaml"
CNN = (
    "model={family: cnn, head: dense, head_units: [64], blocks: ["
    "{filters: 16, padding: valid, batch_normalization: false, pool: 2}, "
    "{filters: 32, padding: valid, batch_normalization: false, pool: 2}]}"
)
SIDES: dict[str, dict[str, tuple[str, ...]]] = {
    "mlp": {
        "nodes": ("convert.variants=[float32, int8, int4]",),
        "nodes, then weights": (
            "prune.unit=[node, weight]",
            "prune.sparsity=0.65",
            "prune.weight_sparsity=0.7",
            "train.epochs=8",
            "prune.epochs=3",
            "prune.recovery_epochs=6",
            "convert.variants=[int8, int8_sparse_micro]",
        ),
        "nodes, weights, clusters": (
            "prune.unit=[node, weight]",
            "prune.sparsity=0.65",
            "prune.weight_sparsity=0.75",
            "train.epochs=8",
            "prune.epochs=2",
            "prune.recovery_epochs=4",
            "cluster={clusters: 32, epochs: 4, batch_size: 128, optimizer: {learning_rate: 0.002, schedule: cosine}, "
            "distillation: {fraction: 0.5, temperature: 2}}",
            "convert.variants=[int8, int8_sparse_micro, int8_tables_micro]",
        ),
    },
    "cnn": {
        "nodes": (CNN, "prune.scope=local", "prune.sparsity=0.5", "convert.variants=[float32, int8, int4]"),
        "nodes, then weights": (
            CNN,
            "prune.sparsity=0.5",
            "prune.unit=[node, weight]",
            "prune.weight_sparsity=0.75",
            "prune.epochs=3",
            "prune.recovery_epochs=4",
            "convert.variants=[int8, int8_sparse_micro]",
        ),
    },
}
"""Overrides of the config by model and side; the epochs of each add up to 20."""


MORE_VARIANTS = {
    "nodes": ("int4",),
    "nodes, then weights": ("int8_sparse_micro",),
    "nodes, weights, clusters": ("int8_sparse_micro", "int8_tables_micro"),
}
"""What is measured of a side besides its int8 file."""


@dataclass
class Measured:
    """What one side came to, seed by seed."""

    score: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    gzip_bytes: list[int] = field(default_factory=list)
    arena_bytes: list[int | None] = field(default_factory=list)

    def add(self, score: float, size: int, gzipped: int, arena: int | None) -> None:
        """Notes one seed."""
        for values, value in zip(vars(self).values(), (score, size, gzipped, arena), strict=True):
            values.append(value)

    def mean(self, name: str) -> float:
        """Returns the mean over the seeds; NaN where a seed has no such figure."""
        values = getattr(self, name)
        return float("nan") if None in values else float(statistics.mean(values))


def penjing(folder: Path, name: str, seed: int, *overrides: str) -> dict[str, Any]:
    """Runs Penjing's command line and returns `summary.json`, with the folder of the bundle as `export`."""
    workdir = folder / "runs"
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", str(CONFIG), f"name={name}", f"seed={seed}"]
    # The settings are those of the config; its target would only end a run with another exit code.
    done = subprocess.run(
        [*command, "target={}", *overrides, "--json", "--workdir", str(workdir)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"{name}, seed {seed}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return {**json.loads(done.stdout), "export": workdir / name / "export"}


def rows(export: Path) -> Dataset:
    """Returns the rows of the run that made a bundle; the split hangs on the seed."""
    keys = json.loads((export.parent / "run.json").read_text(encoding="utf-8"))["keys"]
    return Dataset.open(export.parents[1] / "store" / "ingest" / keys["ingest"])


def recipe(folder: Path, dataset: Dataset, kind: str, seed: int) -> dict[str, bytes]:
    """Runs the recipe on Penjing's own rows; returns its dense int8 file and its last one."""
    arrays, result = folder / f"arrays-{seed}.npz", folder / f"recipe-{kind}-{seed}.json"
    if not arrays.exists():
        x, y = dataset.inputs("train"), dataset.split("train").y
        validation = dataset.split("validation")
        np.savez(arrays, x=x, y=y, x_validation=dataset.inputs("validation"), y_validation=validation.y)
    command = [sys.executable, "-m", "benchmarks.tfmot_recipe", str(arrays), kind, str(seed), str(result)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"recipe, {kind}, seed {seed}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return {name: (folder / f"{kind}-{seed}-{name}.tflite").read_bytes() for name in ("dense", "recipe")}


def judge(file: bytes, runnable: bytes, dataset: Dataset) -> tuple[float, int | None]:
    """Returns accuracy on the test rows in LiteRT, and arena in TFLite Micro (None: refused).

    LiteRT does not run encoded weights: `runnable` is then the same model with plain ones. TFLite Micro's answers
    to both are held to be the same, bit for bit, on 256 test rows here.
    """
    x, y = dataset.inputs("test"), dataset.split("test").y
    runtime = LiteRT(runnable)
    score = float(np.mean(runtime.predict(x).argmax(axis=-1) == y))
    rows = runtime.quantize(x[:: len(x) // 256])
    micro = run_micro(file, rows)
    if runnable != file:
        plain = run_micro(runnable, rows)
        same = isinstance(micro, MicroResult) and isinstance(plain, MicroResult)
        if not same or not np.array_equal(micro.outputs, plain.outputs):  # type: ignore[union-attr]
            raise SystemExit(f"encoded weights: expected the answers of plain ones, got others: {micro}")
    return score, micro.arena_bytes if isinstance(micro, MicroResult) else None


def shape_of(export: Path, kind: str) -> str:
    """Returns the override that builds a net of the exported one's shape: units, or filters and head units."""
    report = json.loads((export.parent / "run.json").read_text(encoding="utf-8"))
    store = export.parents[1] / "store" / "prune" / report["keys"]["prune"]
    details = json.loads((store / "manifest.json").read_text(encoding="utf-8"))["details"]
    after = [layer["after"] for layer in details["parts"][0]["layers"]]
    if kind == "mlp":
        return f"model.units={after}"
    return (
        CNN.replace("head_units: [64]", f"head_units: [{after[2]}]")
        .replace("filters: 16", f"filters: {after[0]}")
        .replace("filters: 32", f"filters: {after[1]}")
    )


def compare(folder: Path, kind: str, seeds: list[int]) -> dict[str, Measured]:
    """Runs every side for every seed, in turn."""
    measured: dict[str, Measured] = {}
    for seed in seeds:
        for side, overrides in SIDES[kind].items():
            summary = penjing(folder, f"{kind}-{'-'.join(side.split(', '))}".replace(" ", "-"), seed, *overrides)
            dataset = rows(summary["export"])
            for variant in ("int8", *MORE_VARIANTS[side]):
                path = summary["export"] / "variants" / f"{variant}.tflite"
                if path.exists():
                    encoded = variant.endswith("_micro")
                    runnable = path.with_name("int8.tflite") if encoded else path
                    _note(measured, f"{side}, {variant}", path.read_bytes(), runnable.read_bytes(), dataset)
            if side == "nodes":
                scratch = (shape_of(summary["export"], kind), "train.epochs=20", "prune=null")
                control = penjing(folder, f"{kind}-control", seed, *scratch)
                file = (control["export"] / "model.tflite").read_bytes()
                _note(measured, "control from scratch, int8", file, file, dataset)
        for name, file in recipe(folder, dataset, kind, seed).items():
            title = "dense int8 of the recipe" if name == "dense" else "TFMOT recipe"
            _note(measured, title, file, file, dataset)
        print(f"{kind}, up to seed {seed}:\n{table(kind, measured)}", file=sys.stderr, flush=True)
    return measured


def latency_ratio(folder: Path, kind: str, seed: int) -> str:
    """Says how much faster the node-pruned int8 file is than the dense float32 one, five times in turn."""
    overrides = tuple(each for each in SIDES[kind]["nodes"] if each.startswith("model"))
    dense = penjing(folder, f"{kind}-dense", seed, *overrides, "prune=null")
    pruned = folder / "runs" / f"{kind}-nodes" / "export"
    files = [dense["export"] / "variants" / "float32.tflite", pruned / "model.tflite"]
    x = rows(dense["export"]).inputs("test", slice(0, 256))
    times = [[latency_us(file.read_bytes(), x) for file in files] for _ in range(5)]
    ratios = sorted(after / before for before, after in times)
    drop = dense["baseline_score"] - json.loads((pruned / "summary.json").read_text(encoding="utf-8"))["model_score"]
    return (
        f"{kind}, seed {seed}: latency of the node-pruned int8 model over the dense float32 one: {ratios[2]:.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}), at a drop of {drop:.4f} on the test rows."
    )


def search_cost(folder: Path) -> str:
    """Says how long a search over 40 candidates took beside the training that it starts from."""
    run = folder / "runs" / "fashion-search"
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "search", str(ROOT / "configs" / "fashion_search.yaml")]
    done = subprocess.run(
        [*command, "--json", "--workdir", str(folder / "runs")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"search: exit code {done.returncode}\n{done.stderr[-2000:]}")
    summary = json.loads(done.stdout)
    key = json.loads((run / "run.json").read_text(encoding="utf-8"))["keys"]["search"]
    store = folder / "runs" / "store" / "search" / key / "manifest.json"
    manifest = json.loads(store.read_text(encoding="utf-8"))
    trained = next(row["seconds"] for row in summary["ledger"] if row["stage"] == "train")
    return (
        f"search: {len(manifest['details']['trials'])} candidates in {manifest['seconds']:.0f} s, "
        f"{manifest['seconds'] / trained:.2f} times the training's {trained:.0f} s; it handed over "
        f"{summary['model_bytes']:,} bytes, test accuracy {summary['model_score']:.4f} "
        f"(dense {summary['baseline_score']:.4f})."
    )


def _note(measured: dict[str, Measured], side: str, file: bytes, runnable: bytes, dataset: Dataset) -> None:
    score, arena = judge(file, runnable, dataset)
    measured.setdefault(side, Measured()).add(score, len(file), gzip_bytes(file), arena)


def table(kind: str, measured: dict[str, Measured]) -> str:
    """Returns the figures as Markdown: means over the seeds, ratios to the recipe's."""
    reference = measured["TFMOT recipe"]
    lines = [
        f"| {kind} | test accuracy (each seed) | bytes | / recipe | gzipped | / recipe | arena |",
        "|---|---|---|---|---|---|---|",
    ]
    for side, figures in measured.items():
        each = ", ".join(f"{score:.4f}" for score in figures.score)
        size, gzipped = figures.mean("bytes"), figures.mean("gzip_bytes")
        lines.append(
            f"| {side} | {figures.mean('score'):.4f} ({each}) | {size:,.0f} | {size / reference.mean('bytes'):.3f} "
            f"| {gzipped:,.0f} | {gzipped / reference.mean('gzip_bytes'):.3f} | {figures.mean('arena_bytes'):,.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Runs the comparison and prints its tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--models", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--search", action="store_true", help="also time a search of 40 candidates")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="penjing-compression-") as name:
        for kind in arguments.models:
            print(table(kind, compare(Path(name), kind, arguments.seeds)), end="\n\n", flush=True)
            print(latency_ratio(Path(name), kind, arguments.seeds[-1]), end="\n\n", flush=True)
        if arguments.search:
            print(search_cost(Path(name)), flush=True)


if __name__ == "__main__":
    main()
