"""RunConfig: defaults, and what its sections must agree on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from models.config import PretrainConfig
from pipeline.config import ExportConfig, RunConfig, TargetConfig


def run_config(**sections: Any) -> RunConfig:
    document: dict[str, Any] = {
        "name": "iris",
        "task": "classification",
        "data": {"source": "builtin", "name": "iris"},
        "model": {"family": "mlp"},
    }
    return RunConfig.model_validate_json(json.dumps({**document, **sections}))


def message_of(**sections: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        run_config(**sections)
    return str(caught.value)


def test_defaults_skip_the_optional_stages() -> None:
    config = run_config()
    assert config.seed == 1
    assert (config.pretrain, config.tune, config.prune, config.quantize) == (None, None, None, None)
    assert config.export == ExportConfig(golden_rows=32, c_golden_rows=4, latency_repeats=200)
    assert config.target == TargetConfig()


def test_layer_wise_implies_pretraining_with_defaults() -> None:
    assert run_config(train={"mode": "layer_wise"}).pretrain == PretrainConfig()
    given = run_config(train={"mode": "layer_wise"}, pretrain={"epochs": 3})
    assert given.pretrain == PretrainConfig(epochs=3)


def test_a_dumped_config_loads_as_itself() -> None:
    config = run_config(train={"mode": "layer_wise", "class_weights": {"setosa": 2.0}}, prune={}, tune={"trials": 2})
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_nothing_in_a_config_can_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        run_config().seed = 2


CNN = {"family": "cnn"}
TABLE = {"source": "table", "path": "t.csv", "target": "y"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"data": {"source": "builtin", "name": "diabetes"}},
            "task: expected 'regression' with the data set 'diabetes', got 'classification'.",
        ),
        ({"task": "regression"}, "task: expected 'classification' with the data set 'iris', got 'regression'."),
        (
            {"task": "regression", "data": {"source": "images", "path": "x"}},
            "task: expected 'classification' with the source 'images', got 'regression'.",
        ),
        (
            {"task": "regression", "data": {"source": "idx", "path": "x"}},
            "task: expected 'classification' with the source 'idx', got 'regression'.",
        ),
        (
            {"model": CNN},
            "model.family: expected mlp for a vector, got cnn: the data's rows are vectors of numbers, not images. Set",
        ),
        ({"model": CNN, "data": TABLE}, "model.family: expected mlp for a vector, got cnn"),
        (
            {"model": CNN, "data": {"source": "arrays", "path": "x", "kind": "vector"}},
            "model.family: expected mlp for a vector, got cnn",
        ),
        (
            {
                "model": {"family": "cnn", "blocks": [{"filters": 4, "pool": 8}, {"filters": 4, "pool": 2}]},
                "data": {"source": "builtin", "name": "digits"},
            },
            "model.blocks.1.pool: expected a feature map of at least 2x2, got 1x1",
        ),
        (
            {"model": {"family": "linear"}, "train": {"mode": "layer_wise"}},
            "train.mode: expected 'end_to_end' with a linear model, got 'layer_wise'. It has no hidden layer to "
            "pretrain.",
        ),
        (
            {"model": {"family": "file", "file": "own.keras", "fine_tune": True}, "train": {"mode": "layer_wise"}},
            "train.mode: expected 'end_to_end' with a model of your own, got 'layer_wise'. Layers are pretrained in "
            "mlp and cnn alone.",
        ),
        (
            {"train": {"control": True}},
            "train.control: expected it with train.mode: layer_wise alone, got true with end_to_end. "
            "Training end to end is its own control: take the key out.",
        ),
        ({"pretrain": {}}, "pretrain: expected no such section with train.mode: end_to_end, got one."),
        (
            {"train": {"mode": "layer_wise"}, "pretrain": None},
            "pretrain: expected a section with train.mode: layer_wise, got null.",
        ),
        (
            {"task": "regression", "train": {"class_weights": "balanced"}},
            "train.class_weights: expected no class weights with task: regression, got some.",
        ),
        ({"train": {"class_weights": {}}}, "train.class_weights: expected a weight for each class, got {}."),
        (
            {"prune": {"sparsity": 0.9, "min_layer_density": 0.2}},
            "prune.min_layer_density: expected at most 1 - prune.sparsity (0.1), got 0.2.",
        ),
        (
            {"model": {"family": "linear"}, "prune": {"unit": "node"}},
            "prune.unit: expected weight with a linear model, got node. It has no hidden layer whose nodes could be",
        ),
        (
            {"model": {"family": "linear"}, "prune": {"unit": ["node", "weight"]}},
            "prune.unit: expected weight with a linear model, got node and weight.",
        ),
        (
            {"model": {"family": "mlp", "units": [4]}, "quantize": {"layers": {"dense_2": "int4"}}},
            "quantize.layers.dense_2: expected a layer that has weights in the model, got 'dense_2' (the nearest is "
            "'dense_1'). Choose of dense_1, output.",
        ),
        (
            {"prune": {"scope": "local", "min_layer_density": 0.1}},
            "prune.min_layer_density: expected it with prune.scope: global alone, got 0.1 with local",
        ),
        (
            {"train": {"mode": "layer_wise"}, "pretrain": {"corruption_fraction": 0.2}},
            "pretrain.corruption_fraction: expected it with pretrain.kind: denoising_autoencoder alone, "
            "got 0.2 with autoencoder.",
        ),
        (
            {"export": {"golden_rows": 2, "c_golden_rows": 3}},
            "export.c_golden_rows: expected at most export.golden_rows (2), got 3.",
        ),
        ({"convert": {"variants": ["int8", "int8"]}}, "convert.variants.1: expected each once, got 'int8' again."),
        ({"tune": {"penalties": ["l1", "l2", "l1"]}}, "tune.penalties.2: expected each once, got 'l1' again."),
        ({"data": {**TABLE, "features": []}}, "data.features: expected at least one column, got []."),
        (
            {"data": {**TABLE, "features": ["a", "y"]}},
            "data.features.1: expected a column other than data.target, got 'y'.",
        ),
        (
            {"data": {**TABLE, "features": ["a"], "drop": ["a"]}},
            "data.drop.0: expected a column that is not in data.features, got 'a'.",
        ),
        ({"data": {**TABLE, "group": "y"}}, "data.group: expected a column other than data.target, got 'y'."),
        ({"data": {**TABLE, "path": ""}}, "data.path: expected a name, got ''."),
    ],
)
def test_sections_that_disagree(sections: dict[str, Any], message: str) -> None:
    assert message in message_of(**sections)


def test_all_disagreements_are_told_at_once() -> None:
    message = message_of(
        task="regression",
        model=CNN,
        train={"mode": "layer_wise", "class_weights": "balanced"},
        export={"golden_rows": 1},
    )
    for place in ("task:", "model.family:", "train.class_weights:", "export.c_golden_rows:"):
        assert place in message


@pytest.mark.parametrize(
    "sections",
    [
        {"prune": {"sparsity": 0.9, "min_layer_density": 0.1}},  # 1 - 0.9 is a little less than 0.1 in binary
        {"prune": {"scope": "local", "sparsity": 0.99}},  # the floor is for global ranking alone
        # As a resolved config has them: every default written out.
        {"prune": {"scope": "local", "min_layer_density": 0.02}},
        {"train": {"mode": "layer_wise"}, "pretrain": {"kind": "supervised", "corruption_fraction": 0.3}},
        {
            "train": {"mode": "layer_wise"},
            "pretrain": {"kind": "denoising_autoencoder", "corruption_fraction": 0.2},
        },
        {"model": CNN, "data": {"source": "arrays", "path": "x"}},  # only the data can tell the shape
        # A trial's network may have the layer, a shortcut may be there.
        {
            "model": {"family": "mlp", "units": [4]},
            "tune": {"space": {"units": [[4], [4, 4, 4]]}},
            "quantize": {"layers": {"dense_3": "int4"}},
        },
        {
            "model": {"family": "cnn", "blocks": [{"filters": 3}, {"filters": 3, "residual": True}]},
            "data": {"source": "builtin", "name": "digits"},
            "tune": {"space": {"filters": [[3, 4]]}},
            "quantize": {"layers": {"block_2_shortcut": "int4"}},
        },
        {"model": {"family": "file", "file": "m.keras"}, "quantize": {"layers": {"mine": "int4"}}},
        {"model": CNN, "data": {"source": "builtin", "name": "digits"}},
        {
            "model": CNN,
            "data": {"source": "builtin", "name": "digits"},
            "train": {"mode": "layer_wise", "control": True},
            "pretrain": {"kind": "supervised", "stop": {"patience": 3}},
        },
        {"data": {**TABLE, "features": ["a"], "drop": ["b"], "group": "g"}},
        {"task": "regression", "data": {"source": "builtin", "name": "diabetes"}},
    ],
)
def test_sections_that_agree(sections: dict[str, Any]) -> None:
    assert run_config(**sections)


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "ü", "a/b", "a\n", "..", "a" * 65])
def test_names_that_cannot_be_folders(name: str) -> None:
    assert "name" in message_of(name=name)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"search": {"encoding": ["sparse"], "unit": ["node"]}},
            "search.encoding.0: expected weight or node_and_weight",
        ),
        ({"search": {"encoding": ["dense", "tables"]}}, "search.encoding.1: expected a number of clusters"),
        ({"search": {"clusters": [0, 1]}}, "search.clusters.1: expected 0 (none) or 2 and more, got 1."),
        ({"search": {"clusters": [8, 8]}}, "search.clusters.1: expected each once, got '8' again."),
        ({"search": {}, "cluster": {}}, "cluster: expected a number in search.clusters with this section, got none."),
        (
            {"search": {"clusters": [8]}, "cluster": {"clusters": 4}},
            "cluster.clusters: expected no clusters with search, which tries them, got some.",
        ),
        (
            {"search": {}, "quantize": {"aware": {}}},
            "quantize.aware: expected true in search.aware with this section, got false alone.",
        ),
        ({"search": {}, "quantize": {"precision": "int4"}}, "quantize: expected no more than aware with search"),
        ({"quantize": {"precision": "float16", "dense_scales": "tensor"}}, "quantize.dense_scales: expected auto"),
        ({"quantize": {"aware": {}, "layers": {"output": "int4"}}}, "quantize.aware: expected it with precision int8"),
    ],
)
def test_sections_on_fewer_bits_agree(sections: dict[str, Any], message: str) -> None:
    assert message in message_of(**sections)


def test_a_search_over_everything_is_a_config() -> None:
    sections = {
        "search": {"encoding": ["dense", "sparse", "tables"], "clusters": [0, 16], "aware": [False, True]},
        "cluster": {"epochs": 3},
        "quantize": {"aware": {"epochs": 3}},
    }
    assert run_config(**sections).search is not None
