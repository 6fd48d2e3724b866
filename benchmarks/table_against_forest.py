"""Scores of Penjing's defaults beside a random forest of 100 trees, on tables of 50,000 rows.

Run from the root of the repository:

    .venv/bin/python -m benchmarks.table_against_forest [--rows 50000] [--only orders]

Each table is written as a CSV and given to the real command line with a config that names nothing but its
name, task, data, family (mlp) and precision (int8); everything else is a default. The forest is scikit-learn's
with its own defaults, fitted on the same training rows: numbers as they are (its trees handle missing
values themselves, and care for no tail), categories as ordinals. Both are scored on the same test rows,
Penjing by the exported int8 `model.tflite`. The tables are drawn at random, with what real ones have: heavy
tails, missing values, rare categories, interactions, noise. `rules` is a forest's home ground: its classes
are cut out by axis-aligned thresholds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 0.02
NUM_TREES = 100
Columns = dict[str, NDArray[Any]]
Table = tuple[Columns, NDArray[Any]]


@dataclass(frozen=True)
class Outcome:
    """Both scores on the test split of one table, and what they took."""

    penjing: float
    forest: float
    model_bytes: int
    penjing_seconds: float
    forest_seconds: float


def orders(generator: np.random.Generator, rows: int) -> Table:
    """Will an order be returned? Two classes; effects of categories, products of columns, 400 shops, noise."""
    draw = generator
    price = draw.lognormal(3.0, 1.2, rows)
    distance = draw.pareto(1.5, rows) * 10.0
    age = np.clip(draw.normal(42.0, 15.0, rows), 18.0, 95.0).round()
    discount = draw.uniform(0.0, 0.6, rows).round(2)
    hour = draw.integers(0, 24, rows)
    express, newsletter = draw.random(rows) < 0.3, draw.random(rows) < 0.55
    country, country_names = categories(draw, rows, "country", 12)
    kind, kind_names = categories(draw, rows, "kind", 30)
    shop, shop_names = categories(draw, rows, "shop", 400)
    payment, payment_names = categories(draw, rows, "payment", 5)
    logit = draw.normal(0.0, 1.0, 30)[kind] * np.tanh(np.log(price) - 3.0) * 1.5
    logit += draw.normal(0.0, 0.8, 400)[shop] + draw.normal(0.0, 0.6, 12)[country]
    logit += np.where(express, -1.0, 1.0) * np.log1p(distance / 10.0) * 0.8
    logit += draw.normal(0.0, 1.0, 5)[payment] * np.where(newsletter, 1.0, -0.5)
    logit += 3.0 * (discount > 0.4) * (age < 35.0) + 0.8 * np.sin(hour / 24.0 * 2.0 * np.pi)
    returned = draw.random(rows) < 1.0 / (1.0 + np.exp(-1.5 * (logit - np.median(logit))))
    columns: Columns = {
        "price": price.round(2),
        "distance_km": with_missing(draw, distance.round(1), 0.05),
        # Older customers keep their age to themselves: what is missing says something.
        "age": np.where(draw.random(rows) < np.where(age > 60.0, 0.4, 0.05), np.nan, age),
        "discount": discount,
        "hour": hour,
        "express": np.where(express, "yes", "no"),
        "newsletter": np.where(newsletter, "true", "false"),
        "country": country_names,
        "kind": kind_names,
        "shop": shop_names,
        "payment": payment_names,
    }
    return columns, np.where(returned, "returned", "kept")


def rules(generator: np.random.Generator, rows: int) -> Table:
    """Four classes cut out by a random tree of 7 levels over numbers, booleans and categories; 5% of labels wrong."""
    draw = generator
    numbers = {f"reading_{index}": draw.lognormal(0.0, 1.0 + index / 4, rows).round(4) for index in range(6)}
    flags = {f"flag_{index}": draw.random(rows) < 0.4 for index in range(2)}
    model, model_names = categories(draw, rows, "model", 10)
    site, site_names = categories(draw, rows, "site", 60)
    tests: list[Callable[[NDArray[np.bool_]], NDArray[np.bool_]]] = []
    for values in numbers.values():
        tests.append(lambda inside, values=values: values > np.quantile(values[inside], draw.uniform(0.25, 0.75)))  # type: ignore[misc]
    for flag in flags.values():
        tests.append(lambda _inside, flag=flag: flag)  # type: ignore[misc]
    tests.append(lambda _inside: np.isin(model, draw.permutation(10)[:5]))
    tests.append(lambda _inside: site < draw.integers(3, 12))
    leaves = np.zeros(rows, int)
    for _ in range(7):
        split = np.zeros(rows, bool)
        for leaf in np.unique(leaves):
            inside = leaves == leaf
            split[inside] = tests[draw.integers(len(tests))](inside)[inside]
        leaves = leaves * 2 + split
    classes = draw.integers(0, 4, 2**7)[leaves]
    classes = np.where(draw.random(rows) < 0.05, draw.integers(0, 4, rows), classes)
    columns: Columns = {
        **{name: with_missing(draw, values, 0.03) for name, values in numbers.items()},
        **{name: np.where(flag, "yes", "no") for name, flag in flags.items()},
        "model": model_names,
        "site": site_names,
    }
    return columns, np.array(["ok", "worn", "loose", "broken"])[classes]


def rents(generator: np.random.Generator, rows: int) -> Table:
    """What rent does a flat fetch? A number: products, steps, districts of unequal size, heavy-tailed noise."""
    draw = generator
    area = draw.lognormal(4.0, 0.5, rows)
    year = draw.integers(1880, 2024, rows)
    floor = draw.poisson(2.5, rows)
    metres = draw.exponential(600.0, rows)
    balcony, lift = draw.random(rows) < 0.5, draw.random(rows) < 0.3
    district, district_names = categories(draw, rows, "district", 80)
    heating, heating_names = categories(draw, rows, "heating", 6)
    level = draw.normal(0.0, 0.35, 80)[district] - 0.15 * np.log1p(metres / 300.0)
    level += 0.25 * (year > 1990) - 0.2 * ((year > 1950) & (year < 1975)) + draw.normal(0.0, 0.1, 6)[heating]
    level += np.where(lift, 0.03, -0.05) * floor + 0.1 * balcony * (area > 50.0)
    rent = 9.0 * area**0.9 * np.exp(level) * (1.0 + 0.1 * draw.standard_t(4, rows))
    columns: Columns = {
        "area": area.round(1),
        "year": with_missing(draw, year.astype(np.float64), 0.1),
        "floor": floor,
        "metres_to_station": with_missing(draw, metres.round(), 0.15),
        "balcony": np.where(balcony, "yes", "no"),
        "lift": np.where(lift, "yes", "no"),
        "district": district_names,
        "heating": heating_names,
    }
    return columns, rent.round(2)


TABLES: dict[str, tuple[Callable[[np.random.Generator, int], Table], str]] = {
    "orders": (orders, "classification"),
    "rules": (rules, "classification"),
    "rents": (rents, "regression"),
}


def categories(
    draw: np.random.Generator, rows: int, name: str, count: int
) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Draws codes of `count` categories, the k-th as often as 1/k, and their names; 2% have none."""
    share = 1.0 / np.arange(1, count + 1)
    codes = draw.choice(count, rows, p=share / share.sum())
    # Names in an order of their own: an alphabet that follows the frequencies would be a gift to ordinals.
    names = np.array([f"{name}-{number:03d}" for number in draw.permutation(count)], object)[codes]
    names[draw.random(rows) < 0.02] = None
    return codes, names


def with_missing(draw: np.random.Generator, values: NDArray[np.float64], fraction: float) -> NDArray[np.float64]:
    """Returns the values, a fraction of them NaN."""
    return np.where(draw.random(len(values)) < fraction, np.nan, values)


def compare(name: str, rows: int, seed: int, folder: Path) -> Outcome:
    """Runs Penjing and the forest on one table."""
    import pandas

    make, task = TABLES[name]
    columns, target = make(np.random.default_rng([seed, *name.encode()]), rows)
    frame = pandas.DataFrame({**columns, "target": target})
    frame.to_csv(folder / f"{name}.csv", index=False)
    config = folder / f"{name}.yaml"
    config.write_text(
        f"name: {name}\ntask: {task}\ndata: {{source: table, path: {name}.csv, target: target}}\n"
        "model: {family: mlp}\nquantize: {precision: int8}\n"
    )
    started = time.monotonic()
    summary, dataset = run_penjing(config, folder / "runs")
    ran = time.monotonic()
    split = {part: np.load(dataset / f"{part}_rows.npy") for part in ("train", "test")}
    score = forest_score(frame, split["train"], split["test"], task)
    return Outcome(summary["model_score"], score, summary["model_bytes"], ran - started, time.monotonic() - ran)


def run_penjing(config: Path, workdir: Path) -> tuple[dict[str, Any], Path]:
    """Runs a config on the command line; returns its summary and the folder of its dataset.

    Raises:
        RuntimeError: the run failed.
    """
    command = [sys.executable, "run_pipeline.py", "run", str(config), "--json", "--workdir", str(workdir)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"benchmark: expected {config.name} to run, got exit code {run.returncode}.\n{run.stderr}")
    summary: dict[str, Any] = json.loads(run.stdout)
    keys = json.loads((workdir / config.stem / "run.json").read_text())["keys"]
    return summary, workdir / "store" / "ingest" / keys["ingest"]


def forest_score(frame: Any, train: NDArray[np.int64], test: NDArray[np.int64], task: str) -> float:
    """Fits the forest on the training rows; returns accuracy or R² on the test rows."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder

    inputs = frame.drop(columns="target")
    texts = [column for column in inputs if inputs[column].dtype.kind not in "if"]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    chosen = RandomForestRegressor if task == "regression" else RandomForestClassifier
    forest = make_pipeline(
        make_column_transformer((encoder, texts), remainder="passthrough"),
        chosen(n_estimators=NUM_TREES, random_state=1, n_jobs=-1),
    )
    forest.fit(inputs.iloc[train], frame["target"].iloc[train])
    return float(forest.score(inputs.iloc[test], frame["target"].iloc[test]))


def main() -> int:
    """Prints both test scores for each table as Markdown; 1 if Penjing falls more than the limit behind."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=50_000, help="rows of each table")
    parser.add_argument("--seed", type=int, default=1, help="what the tables are drawn from")
    parser.add_argument("--only", choices=list(TABLES), action="append", help="one table; may be given again")
    arguments = parser.parse_args()
    worst = np.inf
    print(f"{arguments.rows:,} rows, seed {arguments.seed}; scores on the test split (15% of the rows)\n")
    print("| table | score | Penjing, int8 | forest | difference | model.tflite | Penjing took | forest took |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only or TABLES:
            found = compare(name, arguments.rows, arguments.seed, Path(folder))
            metric = "R²" if TABLES[name][1] == "regression" else "accuracy"
            difference = found.penjing - found.forest
            worst = min(worst, difference)
            print(
                f"| {name} | {metric} | {found.penjing:.4f} | {found.forest:.4f} | {difference:+.4f} "
                f"| {found.model_bytes:,} B | {found.penjing_seconds:.0f} s | {found.forest_seconds:.0f} s |",
                flush=True,
            )
    print(f"\nsmallest difference: {worst:+.4f} (limit -{LIMIT})")
    return int(worst < -LIMIT)


if __name__ == "__main__":
    sys.exit(main())
