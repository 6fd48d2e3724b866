r"""GRU and SimpleRNN layers as plain operators, one after the other, a copy for each step.

TFLite has a fused operator for the LSTM alone. For conversion, and for it alone, the other two are laid out in steps,
their state at the start, which is zero, left out. With `x_t` the input, `h_t` the state, `σ` and `φ` the layer's two
activations and `*` the product element by element:

    SimpleRNN   h_t = φ(W x_t + U h_{t-1} + b)
    GRU         z, r = σ(W_zr x_t + U_zr h_{t-1} + b_zr)
                c    = φ(W_c x_t + b_c + r * (U_c h_{t-1} + d_c))      reset_after, as Keras' GRU has it
                c    = φ(W_c x_t + b_c + U_c (r * h_{t-1}))            else
                h_t  = z * h_{t-1} + (1 - z) * c

`W x` is one product for all steps, and so one scale in int8. Keras' own unrolled GRU has three operators a step more,
and in int8 some on floats: the converter leaves a split on floats if one of its parts is not read.

Reference:
    Cho et al. 2014, Learning phrase representations using RNN encoder-decoder, eqs. (5) to (8); Elman 1990, Finding
    structure in time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.legacy_keras import keras, tf


def unrolled_twin(model: Any) -> Any:
    """Copies a model so that its GRU and SimpleRNN layers are laid out step by step.

    Args:
        model: a functional Keras model of one input of known shape.

    Returns:
        A model of the same answers for one row; `model` itself where it has no such layer.
    """
    if not any(can_be_unrolled(layer) for layer in model.layers):
        return model
    inputs = keras.Input(batch_shape=(1, *model.input_shape[1:]), name=model.inputs[0].node.layer.name)

    def twin_of(layer: Any) -> Any:
        return UnrolledCells(layer) if can_be_unrolled(layer) else type(layer).from_config(layer.get_config())

    twin = keras.models.clone_model(model, input_tensors=[inputs], clone_function=twin_of)
    for layer in model.layers:
        if layer.weights and not can_be_unrolled(layer):
            twin.get_layer(layer.name).set_weights(layer.get_weights())
    return twin


def can_be_unrolled(layer: Any) -> bool:
    """Whether a layer is a GRU or SimpleRNN that starts from zeros and hands out no state."""
    return (
        type(layer) in (keras.layers.GRU, keras.layers.SimpleRNN)
        and not (
            layer.stateful or layer.return_state or layer.time_major or layer.go_backwards or layer.zero_output_for_mask
        )
        and all(len(node.keras_inputs) == 1 for node in layer.inbound_nodes)
    )


class UnrolledCells(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """What a recurrent layer answers to a batch of one row, without a loop; its weights are constants.

    Args:
        layer: a built GRU or SimpleRNN.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__(name=layer.name)
        self._layer = layer
        self._is_gru = isinstance(layer, keras.layers.GRU)
        kernel, recurrent, *bias = layer.get_weights()
        units = layer.units
        self._kernel: NDArray[np.float32] = kernel
        self._recurrent: NDArray[np.float32] = recurrent
        # Keras' GRU with reset_after has a bias for each of its two products; of gates z and r their sum counts.
        both = bias[0] if bias else np.zeros(kernel.shape[1], np.float32)
        self._bias, self._candidate_bias = both, None
        if both.ndim == 2:
            self._bias = both[0] + np.concatenate([both[1, : 2 * units], np.zeros(units, np.float32)])
            self._candidate_bias = both[1, 2 * units :]

    def call(self, inputs: Any) -> Any:
        """Returns (1, units), the last state, or (1, steps, units) where the layer returns sequences."""
        steps = int(inputs.shape[1])
        rows = tf.reshape(inputs, (steps, int(inputs.shape[2])))
        states = self._gru(rows, steps) if self._is_gru else self._simple(rows, steps)
        if not self._layer.return_sequences:
            return states[-1]
        return tf.reshape(tf.concat(states, axis=0), (1, steps, self._layer.units))

    def _simple(self, rows: Any, steps: int) -> list[Any]:
        fed = self._fed(rows, steps, slice(None), "h")
        states = [self._layer.activation(fed[0])]
        for each in fed[1:]:
            states.append(self._layer.activation(each + self._product(states[-1], slice(None), "h")))
        return states

    def _gru(self, rows: Any, steps: int) -> list[Any]:
        layer, units = self._layer, self._layer.units
        gates, candidate = slice(0, 2 * units), slice(2 * units, None)
        fed_gates, fed_candidate = self._fed(rows, steps, gates, "zr"), self._fed(rows, steps, candidate, "h")
        states: list[Any] = []
        for of_gates, of_candidate in zip(fed_gates, fed_candidate, strict=True):
            if not states:
                states.append(self._first(of_gates, of_candidate))
                continue
            state = states[-1]
            fed_back = self._product(state, gates, "zr")
            update, reset = tf.split(layer.recurrent_activation(of_gates + fed_back), 2, axis=1)
            if layer.reset_after:
                recalled = reset * self._product(state, candidate, "h", self._candidate_bias)
            else:
                recalled = self._product(reset * state, candidate, "h")
            states.append(update * state + (1.0 - update) * layer.activation(of_candidate + recalled))
        return states

    def _first(self, of_gates: Any, of_candidate: Any) -> Any:
        """The state after the first step of a GRU."""
        layer, bias = self._layer, self._candidate_bias
        if bias is None or not bias.any():
            # The converter leaves a split on floats if one of its halves is not read.
            update = layer.recurrent_activation(of_gates[:, : layer.units])
        else:
            update, reset = tf.split(layer.recurrent_activation(of_gates), 2, axis=1)
            of_candidate = of_candidate + reset * bias
        return (1.0 - update) * layer.activation(of_candidate)

    def _fed(self, rows: Any, steps: int, columns: slice, gates: str) -> list[Any]:
        """(1, gates) of each step: what the inputs add to the gates, bias included."""
        product = tf.matmul(rows, self._kernel[:, columns], name=f"MatMul_kernel_{gates}")
        return list(tf.split(tf.nn.bias_add(product, self._bias[columns]), steps, axis=0))

    def _product(self, state: Any, columns: slice, gates: str, bias: Any = None) -> Any:
        product = tf.matmul(state, self._recurrent[:, columns], name=f"MatMul_recurrent_kernel_{gates}")
        return product if bias is None else tf.nn.bias_add(product, bias)
