"""What a user's network cannot go through is said once it is built, before it is trained."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from data.contract import ConfigError
from models.legacy_keras import keras
from pipeline.built_checks import check_network
from pipeline.planner import Scope, make_plan
from pipeline.runner import Runner, StageError
from pipeline.store import Store
from tests.pipeline.test_config import run_config
from tests.pipeline.test_runner import Diary

layers = keras.layers
DIGITS = {"source": "builtin", "name": "digits"}
NETS = """
    from tensorflow import keras
    def network(schema):
        x = keras.Input(schema.input_shape)
        h = keras.layers.LSTM(3)(keras.layers.Reshape(schema.input_shape[:2])(x))
        return keras.Model(x, keras.layers.Dense(schema.num_classes, activation="softmax")(h))
"""


def network(memory: Any) -> Any:
    inputs = keras.Input((8, 8), name="input")
    return keras.Model(inputs, layers.Dense(10, "softmax", name="output")(memory(inputs)))


def config(folder: Path, **sections: Any) -> Any:
    (folder / "nets.py").write_text(dedent(NETS))
    return run_config(
        model={"family": "builder", "builder": "nets:network", "folder": str(folder)}, data=DIGITS, **sections
    )


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"quantize": {"precision": "int16x8"}}, "quantize.precision: expected one of float32, float16, dynamic_range"),
        ({"quantize": {"dense_scales": "tensor"}}, "quantize.dense_scales: expected it left out with an LSTM"),
        ({"search": {"precision": ["int8", "int4"]}}, "search.precision.1: expected one of float32, float16"),
        (
            {"quantize": {"aware": {}}},
            "quantize.aware: expected layers that can be rounded while they are trained, got 'memory': it is of type",
        ),
        ({"search": {"aware": [False, True]}}, "quantize.aware: expected layers that can be rounded"),
        (
            {"prune": {"unit": "node"}},
            "prune.unit: expected a model with nodes that can be removed, got none (memory: layers of type "
            "Bidirectional are not known to the graph). Set it to weight.",
        ),
        ({"search": {}}, "search.unit: expected a model with nodes that can be removed, got none (memory: layers of"),
    ],
)
def test_what_an_lstm_of_ones_own_cannot_have_is_refused(
    sections: dict[str, Any], message: str, tmp_path: Path
) -> None:
    in_both = "unit" in message
    memory = layers.Bidirectional(layers.LSTM(3), name="memory") if in_both else layers.LSTM(3, name="memory")
    with pytest.raises(ConfigError) as caught:
        check_network(network(memory), config(tmp_path, **sections))
    assert str(caught.value).startswith(message), str(caught.value)


def test_what_it_can_have_is_not(tmp_path: Path) -> None:
    asked = config(tmp_path, prune={"unit": ["node", "weight"]}, quantize={})
    check_network(network(layers.LSTM(3)), asked)
    check_network(network(layers.GRU(3)), config(tmp_path, quantize={"precision": "int16x8"}))
    check_network(network(layers.Bidirectional(layers.LSTM(3))), config(tmp_path, prune={"unit": "weight"}))


def test_a_run_ends_before_training_and_goes_on_from_what_was_built(tmp_path: Path) -> None:
    def run(**sections: Any) -> Diary:
        diary, store = Diary(), Store(tmp_path / "store")
        planned = make_plan(config(tmp_path, **sections), store, Scope(), {}, rehash=False)
        with pytest.raises(StageError) as caught:
            Runner(store, diary, planned.config.seed).execute(planned, Scope())
        assert (caught.value.stage, str(caught.value).partition(":")[0]) == ("build", told)
        return diary

    told = "quantize.precision"
    assert run(quantize={"precision": "int4"}).begun == ["ingest", "build"]
    told = "quantize.aware"
    assert run(quantize={"aware": {}}).ended == [("ingest", True), ("build", True)]
