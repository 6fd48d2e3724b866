"""The recurrent network: layers of LSTM, GRU or simple cells, then dense ones."""

from __future__ import annotations

from typing import Any

from data.contract import derive_seed
from models.architectures.mlp import dense_stack, dropped
from models.architectures.turning import TimeReversed
from models.legacy_keras import keras
from models.rnn_config import RnnConfig
from models.shapes import series_shape

_LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple": keras.layers.SimpleRNN}


def features(config: RnnConfig, inputs: Any, seed: int) -> Any:
    """Lays recurrent layers `lstm_1`, `lstm_2`, … (`gru_`, `simple_`) on series, or on images read row by row.

    A bidirectional layer is two, `lstm_1_forward` and `lstm_1_backward`, the latter between two turns of the series,
    `lstm_1_turned` and `lstm_1_turned_back`; `lstm_1` joins their answers (Schuster & Paliwal 1997). With `mean`, the
    answers of all steps are averaged, in `mean_over_time`.

    Args:
        config: cells and head; the input's shape is checked.
        inputs: symbolic tensor (rows, steps, channels) or (rows, height, width, channels).
        seed: seed of the initial weights.

    Returns:
        Symbolic tensor (rows, features).
    """
    series = inputs
    if len(inputs.shape) > 3:
        series = keras.layers.Reshape(series_shape(config, inputs.shape[1:]), name="rows")(inputs)
    for number, units in enumerate(config.units, start=1):
        whole = number < len(config.units) or config.pooling == "mean"
        series = _layer(config, series, units, f"{config.cell}_{number}", whole, seed)
        if whole:
            series = dropped(series, config.dropout_fraction, f"{config.cell}_{number}", seed)
    if config.pooling == "mean":
        vector = keras.layers.GlobalAveragePooling1D(name="mean_over_time")(series)
    else:
        vector = dropped(series, config.dropout_fraction, f"{config.cell}_{len(config.units)}", seed)
    return dense_stack(vector, config.head_units, config.activation, seed, config.dropout_fraction)


def _layer(config: RnnConfig, series: Any, units: int, name: str, whole: bool, seed: int) -> Any:
    """One layer's answers: to every step where the `whole` series is wanted, else the last."""
    if not config.bidirectional:
        return _cells(config.cell, units, name, whole, seed)(series)
    forward = _cells(config.cell, units, f"{name}_forward", whole, seed)(series)
    turned = TimeReversed(name=f"{name}_turned")(series)
    backward = _cells(config.cell, units, f"{name}_backward", whole, seed)(turned)
    if whole:
        backward = TimeReversed(name=f"{name}_turned_back")(backward)
    return keras.layers.Concatenate(name=name)([forward, backward])


def _cells(cell: str, units: int, name: str, whole: bool, seed: int) -> Any:
    # Keras' own defaults but for the seeds: Glorot's kernels, orthogonal recurrent ones (Saxe 2014), and for the LSTM a
    # bias of 1 at the forget gate (Jozefowicz 2015).
    return _LAYERS[cell](
        units,
        return_sequences=whole,
        kernel_initializer=keras.initializers.GlorotUniform(seed=derive_seed(seed, name)),
        recurrent_initializer=keras.initializers.Orthogonal(seed=derive_seed(seed, name, "recurrent")),
        name=name,
    )
