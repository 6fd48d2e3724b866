"""The stage `build`: what it tells of the network's layers agrees with the ledger."""

from __future__ import annotations

from pathlib import Path

from pipeline.config_reading.file import load_config
from pipeline.planner import Scope, make_plan
from pipeline.report.section_training import layers_table
from pipeline.runner import Runner
from pipeline.store import Store
from tests.pipeline.test_stage_tune import Listener

TEXT = """\
name: thinned
task: classification
data: {source: builtin, name: iris}
model: {family: mlp, units: [6, 5], dropout_fraction: 0.2}
train: {epochs: 1}
"""


def test_a_counter_of_steps_is_no_parameter(tmp_path: Path) -> None:
    (tmp_path / "thinned.yaml").write_text(TEXT)
    config, store, scope = load_config(tmp_path / "thinned.yaml").config, Store(tmp_path / "store"), Scope(last="build")
    made = Runner(store, Listener(), config.seed).execute(make_plan(config, store, scope, {}, rehash=False), scope)
    manifest = made["build"][0].manifest
    layers = [(layer["type"], layer["parameters"]) for layer in manifest.details["layers"]]
    # 4 inputs, 6 and 5 neurons, 3 classes, and a bias each.
    assert [figure for kind, figure in layers if kind == "Dense"] == [4 * 6 + 6, 6 * 5 + 5, 5 * 3 + 3]
    assert [figure for kind, figure in layers if kind == "StatelessDropout"] == [0, 0]
    [row] = manifest.ledger
    assert row.parameters == sum(figure for _, figure in layers) == 83  # type: ignore[union-attr]
    assert "83 parameters" in layers_table(manifest.details).html
