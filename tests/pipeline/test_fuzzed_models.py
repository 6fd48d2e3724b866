"""Networks that ask for more than their file holds, or for what never ends: refused before anything is made."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzzed_readers import try_read
from benchmarks.fuzzed_texts import ARCHITECTURE, WITH_TENSORFLOW
from data.contract import ConfigError
from models.legacy_keras import keras
from models.own_model_config import FileModelConfig
from pipeline.own_model.loading import load_own_model
from pipeline.own_model.wiring import MAX_ROUNDS, check_wiring

KIND = WITH_TENSORFLOW["network"]()[0]
layers = keras.layers


def changed(**changes: Any) -> dict[str, Any]:
    """The small network with fields of its layers replaced; `hidden__units=9` is units of the layer hidden."""
    config = copy.deepcopy(ARCHITECTURE)
    listed = {layer["name"]: layer for layer in config["config"]["layers"]}
    for place, value in changes.items():
        layer, _, field = place.partition("__")
        if field == "inbound_nodes":
            listed[layer][field] = value
        else:
            listed[layer]["config"][field] = value
    return config


def refusal(config: Any, folder: Path) -> str:
    found = try_read(KIND, json.dumps(config).encode(), folder)
    assert found is not None
    return found


def test_the_network_itself_is_taken(tmp_path: Path) -> None:
    assert try_read(KIND, json.dumps(ARCHITECTURE).encode(), tmp_path) is None


def operation(name: str, **arguments: Any) -> dict[str, Any]:
    config = copy.deepcopy(ARCHITECTURE)
    layer = config["config"]["layers"][2]
    layer |= {"class_name": "TFOpLambda", "config": {"name": "drop", "function": name}}
    layer["inbound_nodes"] = [["hidden", 0, 0, arguments]]
    return config


def twice(levels: int) -> dict[str, Any]:
    """Models inside of models, each called twice: as many layers as 2 to the power of levels."""
    config = copy.deepcopy(ARCHITECTURE)
    for _ in range(levels):
        outer = copy.deepcopy(ARCHITECTURE)
        nodes = [[["input", 0, 0, {}]], [["inner", 1, 0, {}]]]
        outer["config"]["layers"][1:] = [{**config, "name": "inner", "inbound_nodes": nodes}]
        config = outer
    return config


def unrolled(steps: int) -> dict[str, Any]:
    config = changed(input__batch_input_shape=[None, steps, 4])
    config["config"]["layers"][1] |= {"class_name": "LSTM", "config": {"name": "hidden", "units": 3, "unroll": True}}
    return config


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed(hidden__units=100_000_000), "sizes of at most 1,048,576, got units 100000000 of layer 'hidden'."),
        (changed(hidden__units=1e300), "got units 1e+300 of layer 'hidden'."),
        (changed(hidden__units=float("nan")), "got units nan of layer 'hidden'."),
        (changed(hidden__units=-(2**40)), "got units -1099511627776 of layer 'hidden'."),
        (
            changed(hidden__units=1_000_000),
            "weights that the file holds (92 bytes of them), got more, with (4, 1000000) for",
        ),
        (
            changed(hidden__units="100000000"),
            "weights that the file holds (92 bytes of them), got more, with (4, 100000000)",
        ),
        (changed(input__batch_input_shape=[None, 2**30]), "got batch_input_shape [None, 1073741824] of layer 'input'."),
        (
            operation("tile", multiples=[1, 100_000_000]),
            "operations that make at most 67,108,864 numbers, got more by layer 'd",
        ),
        (operation("broadcast_to", shape=[100_000, 100_000]), "got more by layer 'drop'."),
        (twice(14), "at most 5,000 layers, those of inner models as often as they are called, got more."),
        (twice(20), "at most 16 models inside of each other, got more."),
        (
            unrolled(5_000),
            "4,096 steps in layers with unroll=True, got 1 such layers in a model of lengths up to 5,000.",
        ),
        (changed(hidden__inbound_nodes=[[["answer", 0, 0, {}]]]), "got layer 'hidden', whose input never comes to be."),
        (changed(hidden__inbound_nodes=[[["hidden", 0, 0, {}]]]), "got layer 'hidden', whose input never comes to be."),
        (changed(hidden__inbound_nodes=""), "got layer 'drop', whose input never comes to be."),
        (changed(hidden__inbound_nodes={}), "got layer 'drop', whose input never comes to be."),
        (changed(answer__inbound_nodes=[[["drop", 7, 0, {}]]]), "got layer 'answer', whose input never comes to be."),
        (changed(answer__inbound_nodes=[[["drop", -1, 0, {}]]]), "got layer 'answer', whose input never comes to be."),
        (
            changed(answer__inbound_nodes=[[["drop", 1e300, 0, {}]]]),
            "got layer 'answer', whose input never comes to be.",
        ),
        (
            changed(answer__inbound_nodes=[[["drop", 0, 0, {"x": ["answer", 0, 0]}]]]),
            "got layer 'answer', whose input never comes to be.",
        ),
    ],
)
def test_what_a_network_asks_for_has_limits(tmp_path: Path, config: Any, message: str) -> None:
    told = refusal(config, tmp_path)
    assert told.startswith("model.file: expected ")
    assert message in told
    assert "\n" not in told


def test_sizes_are_looked_at_before_a_row_is_computed(tmp_path: Path) -> None:
    """A layer without weights needs none in the file: what it answers is counted once it is laid."""
    from data.contract import Schema
    from models.adoption import adopt

    inputs = keras.Input((4, 4, 1))
    large = layers.UpSampling2D((4096, 4096))(inputs)
    answer = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(large))
    shape = {"kind": "image", "input_shape": (4, 4, 1), "input_range": (0.0, 1.0), "storage_divisor": 255.0}
    schema = Schema(**shape, class_names=("a", "b"), target_name="y")
    with pytest.raises(ConfigError, match=r"at most 67,108,864 numbers a row, got 268,435,456 of 'up_sampling2d"):
        adopt(keras.Model(inputs, answer), schema, "classification", "model.file", 1)


def test_networks_as_they_are_saved_stay_within_the_limits(tmp_path: Path) -> None:
    inputs = keras.Input((6, 4))
    shared = layers.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((6, 4)), layers.Dense(4)], name="inner")
    once = inner(shared(shared(inputs)))
    both = layers.Add()([inner(once), once * 2.0 + 1.0])
    hidden = layers.LSTM(3, unroll=True)(layers.Bidirectional(layers.GRU(2, return_sequences=True, unroll=True))(both))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.BatchNormalization()(hidden)))
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    for name in ("model.keras", "model.h5", "saved"):
        model.save(tmp_path / name)
        loaded = load_own_model(FileModelConfig(file=str(tmp_path / name)), tmp_path / "scratch").model
        assert np.array_equal(loaded(x), model(x)), name


def test_layers_in_any_order_are_laid() -> None:
    config = copy.deepcopy(ARCHITECTURE)
    config["config"]["layers"].reverse()
    check_wiring([config])
    chain = [copy.deepcopy(ARCHITECTURE["config"]["layers"][0])]
    for number in range(MAX_ROUNDS + 1):
        layer = copy.deepcopy(ARCHITECTURE["config"]["layers"][2])
        layer |= {"name": f"drop{number}", "inbound_nodes": [[[chain[-1]["name"], 0, 0, {}]]]}
        chain.append(layer)
    check_wiring([{"config": {"layers": chain}}])
    with pytest.raises(ConfigError, match="got layer 'drop64', whose input never comes to be"):
        check_wiring([{"config": {"layers": chain[::-1]}}])


@given(data=st.data())
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_networks_with_odd_fields_get_one_message(data: Any, tmp_path: Path) -> None:
    config = copy.deepcopy(ARCHITECTURE)
    odd = st.sampled_from([None, True, -1, 0, 3, 10**9, 1e300, float("nan"), "", "x", "relu", [], {}, ["x"], [None, 4]])
    for _ in range(data.draw(st.integers(1, 3))):
        part: Any = config
        while True:
            keys = sorted(part) if isinstance(part, dict) else list(range(len(part)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(part[key], dict | list) or not part[key] or data.draw(st.booleans()):
                break
            part = part[key]
        part[key] = data.draw(odd)
    told = try_read(KIND, json.dumps(config).encode(), tmp_path)  # whatever else is raised, fails
    assert told is None or "\n" not in told
