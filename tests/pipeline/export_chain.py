"""Real artifacts of every stage up to export, made in this process, for tests of what export does with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.dataset import Dataset
from models.compression_config import ConvertConfig, PruneConfig, QuantizeConfig
from models.config import MlpConfig, OptimizerConfig, TrainConfig
from pipeline.artifacts import SavedModel, Variants
from pipeline.config import ExportConfig, TargetConfig
from pipeline.files import canonical_json
from pipeline.ledger import LedgerRow
from pipeline.stages import build, convert, export, ingest, prune, train
from pipeline.store import Artifact
from pipeline.workspace import Outcome, Workspace

EXPORT = ExportConfig(golden_rows=10, c_golden_rows=3, latency_repeats=20)


class _Silence:
    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class _NoTrials:
    def run(self, stage: str, roles: Mapping[str, str | tuple[str, str]], config: Mapping[str, Any]) -> Artifact:
        raise AssertionError(stage)


def workspace_in(folder: Path) -> Workspace:
    output, scratch = folder / "output", folder / "scratch"
    output.mkdir(parents=True)
    scratch.mkdir()
    return Workspace(output, scratch, 1, _Silence(), _NoTrials())


@dataclass(frozen=True)
class Chain:
    """Real artifacts of every stage before export, and the rows of their ledger."""

    inputs: export.Inputs
    ledger: tuple[LedgerRow, ...]


@dataclass(frozen=True)
class Exported:
    folder: Path
    details: dict[str, Any]


def make_chain(folder: Path, data: Any, task: Any, precision: Any, pruning: PruneConfig | None) -> Chain:
    def stage(name: str, call: Callable[[Workspace], Outcome]) -> tuple[Path, Outcome]:
        workspace = workspace_in(folder / name)
        return workspace.output, call(workspace)

    folder_of, _ = stage("ingest", lambda w: ingest.ingest(ingest.Inputs(), ingest.Config(task, data), w))
    rows = Dataset.open(folder_of)
    model = MlpConfig(family="mlp", units=(16,))
    built, _ = stage("build", lambda w: build.build(build.Inputs(rows), build.Config(task, None, model), w))
    start = SavedModel.open(built, "build")
    fast = OptimizerConfig(learning_rate=0.01)
    trained = train.Config(TrainConfig(epochs=8, batch_size=32, optimizer=fast))
    dense_folder, outcome = stage("train", lambda w: train.train(train.Inputs(rows, start), trained, w))
    dense = last = SavedModel.open(dense_folder, "train")
    ledger = list(outcome.ledger)
    if pruning is not None:
        pruned, outcome = stage("prune", lambda w: prune.prune(prune.Inputs(rows, dense), prune.Config(pruning), w))
        last = SavedModel.open(pruned, "prune")
        ledger += outcome.ledger
    settings = convert.Config(QuantizeConfig(precision=precision), ConvertConfig(variants=("float32", precision)), None)
    files, outcome = stage("convert", lambda w: convert.convert(convert.Inputs(rows, last), settings, w))
    return Chain(export.Inputs(rows, dense, last, Variants(files, precision)), (*ledger, *outcome.ledger))


def make_export(inputs: export.Inputs, folder: Path, target: TargetConfig | None = None) -> Exported:
    workspace = workspace_in(folder)
    config = export.Config(EXPORT, TargetConfig() if target is None else target)
    outcome = export.export(inputs, config, workspace)
    assert outcome.ledger == ()
    # As the store keeps it: JSON, in which there is no NaN.
    return Exported(workspace.output, json.loads(canonical_json(outcome.details)))
