"""A small network on series, from CSV files to a verified int8 bundle and its predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.small_run import Run

CONFIG = """\
name: gestures
seed: 1
task: classification
data: {source: series, path: gestures, window: 24, stride: 12}
model:
  family: cnn
  blocks:
    - {filters: 6, kernel: 5, pool: 2}
    - {filters: 8, kernel: 3, separable: true}
train: {epochs: 12, batch_size: 16, optimizer: {learning_rate: 0.01}}
prune: {unit: node, sparsity: 0.25, epochs: 1, recovery_epochs: 1, batch_size: 16}
quantize: {precision: int8}
convert: {variants: [float32]}
"""


@pytest.fixture(scope="module")
def folder(penjing: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signals of two channels that turn slowly or fast, eight recordings of each, and a finished run on them."""
    root = tmp_path_factory.mktemp("series")
    generator = np.random.default_rng(5)
    for number in range(16):
        kind = ("slow", "fast")[number % 2]
        steps = np.arange(120 + 5 * number)
        turns = (0.15, 0.45)[number % 2] * steps + generator.uniform(0, 6)
        values = np.stack([9 * np.cos(turns), np.sin(turns)], axis=1) + generator.normal(0, 0.3, (len(steps), 2))
        place = root / "gestures" / kind / f"{number:02d}.csv"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("\n".join(["x,y", *(f"{x:.4f},{y:.4f}" for x, y in values)]) + "\n")
    (root / "gestures.yaml").write_text(CONFIG)
    told = penjing("run", root / "gestures.yaml", "--workdir", root / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    return root


def test_the_bundle_takes_windows(folder: Path) -> None:
    export = folder / "runs" / "gestures" / "export"
    summary = json.loads((export / "summary.json").read_text())
    assert (summary["input"]["dtype"], summary["input"]["shape"]) == ("int8", [1, 24, 2])
    assert summary["arena_bytes"] is not None
    assert summary["model_score"] > 0.9
    raw = np.load(export / "golden" / "inputs_raw.npy")
    assert (raw.dtype, raw.shape[1:]) == (np.float32, (24, 2))
    assert "#define PENJING_NUM_STEPS 24" in (export / "preprocessing.h").read_text()
    assert (export / "labels.txt").read_text() == "fast\nslow\n"


def test_predictions_name_their_windows(folder: Path, penjing: Run, tmp_path: Path) -> None:
    path = folder / "gestures" / "slow" / "00.csv"
    told = penjing("predict", "gestures", path, "--json", "--workdir", folder / "runs")
    assert told.returncode == 0, told.stderr
    rows = json.loads(told.stdout)
    assert [row["name"] for row in rows] == [f"00.csv rows {start}-{start + 23}" for start in range(1, 98, 12)]
    assert np.mean([row["label"] == "slow" for row in rows]) > 0.8
    (tmp_path / "short.csv").write_text("x,y\n1,2\n")
    refused = penjing("predict", "gestures", tmp_path / "short.csv", "--workdir", folder / "runs")
    assert refused.returncode == 3
    assert (
        "input: expected windows no longer than any series, got 24 steps with 'short.csv' of 1 rows. Take the short "
        "ones out, or record longer ones: the model takes that many steps at once."
    ) in " ".join(refused.stderr.split())


def test_the_report_and_the_card_tell(folder: Path) -> None:
    export = folder / "runs" / "gestures" / "export"
    report = (export / "report.html").read_text()
    assert report.count('class="lines"') >= 2
    assert "windows of 24 × 2, steps × channels" in report
    assert "Windows of 24 steps, one every 12 steps." in report
    card = (export / "MODEL_CARD.md").read_text()
    assert "It takes a window of 24 × 2, steps × channels, and gives one probability" in card
    assert "Keep the last 24 steps of all channels" in card
    assert "`model_data.cc` and `preprocessing.c`" in card


def test_a_longer_window_is_one_message_before_any_training(folder: Path, penjing: Run) -> None:
    told = penjing("run", folder / "gestures.yaml", "data.window=126", "--workdir", folder / "runs")
    assert told.returncode == 3
    assert (
        "data.window: expected windows no longer than any series, got 126 steps with 'slow/00.csv' of 120 rows (2 of "
        "16 series are shorter)."
    ) in " ".join((told.stdout + told.stderr).split())
    assert "train    runs" not in told.stdout
