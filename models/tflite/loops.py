"""Which recurrent layers become a loop (WHILE) in a TFLite file, and how to change them so that they do not.

A loop runs on floats in LiteRT. Calibration for int8 does not survive it: TensorFlow 2's calibrator ends the process.
"""

from __future__ import annotations

from typing import Any

from models.activations import activation_name
from models.legacy_keras import keras
from models.tflite.unrolled import can_be_unrolled

OF_AN_LSTM = (
    "Give it tanh and sigmoid, a bias (use_bias=True), unroll=False, no state to begin with, none handed out, no mask "
    "and stateful=False, and call it once; it may go backwards, or stand in a Bidirectional."
)
"""What makes an LSTM one operator."""

_OF_OTHERS = (
    "Use an LSTM, or a GRU or SimpleRNN as it is: in no wrapper, without go_backwards, return_state, time_major, "
    "zero_output_for_mask, a mask, or a state to begin with."
)


def advice_on_loop(layer: Any) -> str | None:
    """Says how to change a layer that TFLite would run as a loop over time steps, or an LSTM that would not be fused.

    Args:
        layer: a layer of a functional model, a wrapper such as Bidirectional included.

    Returns:
        A sentence; None where it holds no recurrent layer, or all of them become plain operators: an LSTM fused, a GRU
        or SimpleRNN laid out step by step.
    """
    recurrent = [each for each in layer._flatten_layers() if isinstance(each, keras.layers.RNN)]
    if not recurrent:
        return None
    is_masked = any(
        getattr(tensor, "_keras_mask", None) is not None for node in layer.inbound_nodes for tensor in node.keras_inputs
    )
    if can_be_unrolled(layer):
        return _OF_OTHERS if is_masked else None
    if any(type(each) is not keras.layers.LSTM for each in recurrent):
        return _OF_OTHERS
    is_alone = not is_masked and all(len(node.keras_inputs) == 1 for node in layer.inbound_nodes)
    return None if is_alone and all(_is_fused(each) for each in recurrent) else OF_AN_LSTM


def _is_fused(layer: Any) -> bool:
    """Whether an LSTM has the settings of TFLite's operator; those of its neighbours are looked at elsewhere."""
    return (
        activation_name(layer.activation) == "tanh"
        and activation_name(layer.recurrent_activation) == "sigmoid"
        and layer.use_bias
        and not (layer.unroll or layer.stateful or layer.return_state or layer.time_major)
    )
