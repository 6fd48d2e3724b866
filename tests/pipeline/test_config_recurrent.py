"""What a config on a recurrent network is refused for, before any training."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.test_config import message_of, run_config

DIGITS = {"source": "builtin", "name": "digits"}
LSTM, GRU = {"family": "rnn"}, {"family": "rnn", "cell": "gru"}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"model": LSTM, "data": {"source": "builtin", "name": "iris"}},
            "model.family: expected mlp for a vector, got rnn: the data's rows are vectors of numbers, not images or "
            "series. Set model.family to mlp, or give the data as images or series.",
        ),
        ({"train": {"mode": "layer_wise"}}, "train.mode: expected 'end_to_end' with rnn, got 'layer_wise'."),
        ({"cluster": {}}, "cluster: expected no such section with an rnn, got one. Recurrent layers are not clustered"),
        ({"quantize": {"aware": {}}}, "quantize.aware: expected no such section with an rnn, got one."),
        ({"search": {"clusters": [0, 16]}}, "search.clusters: expected 0 alone with an rnn, got more."),
        ({"search": {"aware": [False, True]}}, "search.aware: expected false alone with an rnn, got true."),
        (
            {"prune": {"inputs": "varying"}},
            "prune.inputs: expected all with an rnn, got varying. A recurrent layer reads",
        ),
        (
            {"prune": {"unit": "node", "criterion": "batch_normalization_scale"}},
            "prune.criterion: expected another where some nodes have no batch normalization, got "
            "batch_normalization_scale with an rnn.",
        ),
        (
            {"quantize": {"precision": "int16x8"}},
            "quantize.precision: expected one of float32, float16, dynamic_range, int8 with an LSTM, got int16x8: its "
            "operator has no such kernel. Choose int8.",
        ),
        (
            {"quantize": {"precision": "int4"}},
            "quantize.precision: expected one of float32, float16, dynamic_range, int8",
        ),
        (
            {"quantize": {"layers": {"output": "int4"}}},
            "quantize.layers: expected it left out with an LSTM, whose gates",
        ),
        ({"quantize": {"dense_scales": "tensor"}}, "quantize.dense_scales: expected it left out with an LSTM"),
        (
            {"prune": {}, "quantize": {"encoding": "sparse"}},
            "quantize.encoding: expected dense with an LSTM, got sparse: TFLite Micro unpacks no weights for",
        ),
        (
            {"search": {"precision": ["int8", "int4"]}},
            "search.precision.1: expected one of float32, float16, dynamic_range, int8 with an LSTM, got int4.",
        ),
        (
            {"search": {"encoding": ["dense", "sparse"]}},
            "search.encoding.1: expected one of dense with an LSTM, got sparse.",
        ),
        (
            {"model": GRU, "quantize": {"encoding": "tables"}},
            "quantize.encoding: expected dense or sparse with an rnn, got tables. Tables are of clusters, and "
            "recurrent layers are not clustered: choose sparse, or take it out.",
        ),
        (
            {"model": {"family": "rnn", "cell": "simple"}, "search": {"encoding": ["dense", "tables"]}},
            "search.encoding.1: expected dense or sparse with an rnn, got tables. Tables are of clusters, and "
            "recurrent layers are not clustered: take it out.",
        ),
        (
            {"model": {**LSTM, "activation": "tanh"}},
            "model.rnn: Value error, expected activation with head_units alone, got it without.",
        ),
    ],
)
def test_what_recurrent_layers_cannot_have_is_refused(sections: dict[str, Any], message: str) -> None:
    found = message_of(**{"model": LSTM, "data": DIGITS, **sections})
    assert message in found.replace("\n  ", ": ", 1) or message in found


def test_unrolled_cells_may_have_other_bits_and_encodings() -> None:
    for quantize in ({"precision": "int16x8"}, {"precision": "int8", "encoding": "sparse"}, {"dense_scales": "tensor"}):
        assert run_config(model=GRU, data=DIGITS, prune={}, quantize=quantize).quantize is not None
    assert run_config(model=LSTM, data=DIGITS, prune={"unit": "node"}, quantize={}).model.family == "rnn"
