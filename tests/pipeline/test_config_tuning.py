"""What `validate` says of the section `tune`, without training anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.compression_config import PruneConfig
from models.config import OptimizerConfig
from pipeline.config_reading.file import load_config
from tests.pipeline.test_config_file import IRIS, problems

MLP = IRIS + "tune: "
CNN = "name: d\ntask: classification\ndata: {source: builtin, name: digits}\nmodel: {family: cnn}\ntune: "
RANGE = "expected a number above 0 and at most 10, got"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MLP + "{space: {learning_rate: {min: 0.0, max: 1}}}", f"tune.space.learning_rate.min: {RANGE} 0.0."),
        (MLP + "{space: {learning_rate: [0.1, 11.0]}}", f"tune.space.learning_rate.1: {RANGE} 11.0."),
        (
            MLP + "{space: {units: [[5000], [3]]}}",
            "tune.space.units.0.0: expected a whole number from 1 to 4096, got 5000.",
        ),
        (
            MLP + "{space: {units: [{min: 3, max: 9000}]}}",
            "tune.space.units.0.max: expected a whole number from 1 to 4096, got 9000.",
        ),
        (
            CNN + "{space: {filters: [[8, 1025]]}}",
            "tune.space.filters.0.1: expected a whole number from 1 to 1024, got 1025.",
        ),
        (
            MLP + "{space: {dropout_fraction: {min: 0.0, max: 1.0}}}",
            "tune.space.dropout_fraction.max: expected a number of at least 0 and below 1, got 1.0.",
        ),
        (MLP + "{space: {activation: [relu, softmax]}}", "tune.space.activation.1: expected one of 'relu', 'relu6',"),
        (
            MLP + "{space: {units: [{min: 9, max: 3}]}}",
            "tune.space.units.0: expected min below max, got 9 and 3. Swap them, or give a list.",
        ),
        (
            MLP + "{space: {units: [[3], {min: 3, max: 9}]}}",
            "tune.space.units: expected lists of numbers or ranges, got both.",
        ),
        (MLP + "{space: {units: [[]]}}", "tune.space.units.0: expected one layer or more, got []."),
        (MLP + "{space: {}}", "tune.space: expected one key or more, got none. Its keys are learning_rate,"),
        (
            MLP + "{space: {filters: [[3]]}}",
            "tune.space.filters: expected no such key with model.family: mlp, which has no filters,",
        ),
        (
            CNN + "{space: {units: [[3]]}}",
            "tune.space.units: expected no such key with model.family: cnn, which has no units, got one. Take it out.",
        ),
        (
            MLP.replace("mlp", "linear") + "{space: {activation: [elu]}}",
            "tune.space.activation: expected no such key with model.family: linear, which has no activation,",
        ),
        (CNN + "{space: {filters: [[3]]}}", "tune.space.filters.0: expected a number for each of the 2 blocks, got 1."),
        (
            CNN + "{space: {filters: [{min: 4, max: 8}]}}",
            "tune.space.filters: expected a number for each of the 2 blocks, got 1.",
        ),
        (
            MLP + "{space: {units: [{min: 4, max: 8}]}}",
            "tune.space.units: expected 3 ranges, one for each hidden layer of model.units, got 1. Give as many, "
            "or whole networks, such as [[64, 32], [128]], which may have other depths.",
        ),
        (
            MLP.replace("family: mlp", "family: mlp, units: [8]")
            + "{space: {units: [{min: 4, max: 8}, {min: 4, max: 8}]}}",
            "tune.space.units: expected 1 range, one for each hidden layer of model.units, got 2.",
        ),
        (
            CNN + "{space: {filters: [{min: 4, max: 8}, {min: 4, max: 8}, {min: 4, max: 8}]}}",
            "tune.space.filters: expected a number for each of the 2 blocks, got 3.",
        ),
        (
            MLP + "{space: {units: [[4096, 4096, 4096, 4096, 4096, 4096, 4096, 4096]]}}",
            "tune.space.units.0: expected at most 100,000,000 weights below the output, got 117,440,512.",
        ),
        (
            MLP + f"{{space: {{units: [{[3] * 17}]}}}}",
            "tune.space.units.0: expected a list of 1 to 16 (each a whole number from 1 to 4096), got [3, 3, 3",
        ),
        (
            MLP + "{max_strength: 1.0e+30}",
            "tune.max_strength: expected a number above 0 and at most 1e+06, got 1e+30.",
        ),
        (MLP + "{space: {units: [[3], [3]]}}", "tune.space.units.1: expected each once, got '[3]' again. Take it out."),
        (MLP + "{penalties: []}", "tune: expected penalties or a space to search, got neither."),
        (
            MLP + "{penalties: [], space: {batch_size: [8]}, max_strength: 0.1}",
            "tune.max_strength: expected it with tune",
        ),
        (MLP + "{factor: 2}", "tune.factor: expected it with tune.oracle: hyperband alone, got it without."),
        (MLP + "{grid_points: 9}", "tune.grid_points: expected it with tune.oracle: grid alone, got it without."),
        (
            MLP + "{oracle: hyperband, trials: 3}",
            "tune.trials: expected at least 4 with oracle hyperband over 20 epochs, its smallest bracket, got 3.",
        ),
        (
            MLP + "{oracle: hyperband, epochs: 2}",
            "tune.epochs: expected at least tune.factor (3) with oracle hyperband, got 2: no training could be shorter",
        ),
        (
            MLP + "{oracle: hyperband, penalties: [], space: {activation: [relu, elu]}}",
            "tune.oracle: expected random, bayesian or grid where all there is to try are 2 combinations, got",
        ),
        (
            MLP + "{objective: pruned_score}",
            "tune.objective: expected score without a section prune, got pruned_score. Add the section prune,",
        ),
        (
            MLP + "{objective: pruned_score}\nprune: {}\nsearch: {}",
            "tune.objective: expected score with a section search, got pruned_score.",
        ),
    ],
)
def test_bad_searches(tmp_path: Path, text: str, message: str) -> None:
    (problem,) = problems(tmp_path, text + "\n")
    assert problem.startswith(f"run.yaml:5: {message}"), problem


def test_the_section_prune_at_once_holds_what_training_does_not_change(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    prune = (
        "prune: {unit: node, scope: local, sparsity: 0.4, epochs: 8, steps: 2, criterion: l2, "
        "optimizer: {learning_rate: 0.1}, distillation: {}}\n"
    )
    file.write_text(f"{MLP}{{objective: pruned_score}}\n{prune}")
    assert load_config(file).config.at_once == PruneConfig(
        unit="node",
        scope="local",
        sparsity=0.4,
        criterion="l2",
        epochs=0,
        recovery_epochs=0,
        optimizer=OptimizerConfig(),
    )
    file.write_text(f"{MLP}{{}}\n{prune}")
    assert load_config(file).config.at_once is None
