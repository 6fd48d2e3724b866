"""What a network answers, computed in batches by one compiled function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.legacy_keras import tf

BATCH_SIZE = 512

Predict = Callable[[Any], NDArray[np.float32]]


def compile_predict(model: Any, batch_size: int = BATCH_SIZE) -> Predict:
    """Makes a function that answers any number of rows and is traced once.

    Args:
        model: a Keras model with one input and one output.
        batch_size: most rows that pass the network at a time.

    Returns:
        A function from rows, as the model eats them and sliceable like an array (memory-mapped
        rows are read batch by batch), to float32 answers, one row each. It follows later changes
        of the weights.
    """
    signature = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)

    @tf.function(input_signature=[signature], autograph=False)  # type: ignore[untyped-decorator]
    def answer(rows: Any) -> Any:
        return model(rows, training=False)

    def predict_rows(x: Any) -> NDArray[np.float32]:
        outputs = np.empty((len(x), *model.output_shape[1:]), np.float32)
        for start in range(0, len(x), batch_size):
            rows = np.asarray(x[start : start + batch_size], np.float32)
            outputs[start : start + batch_size] = answer(tf.constant(rows)).numpy()
        return outputs

    return predict_rows


def predict(model: Any, x: Any, batch_size: int = BATCH_SIZE) -> NDArray[np.float32]:
    """Computes a network's answers in inference mode.

    Args:
        model: a Keras model with one input and one output.
        x: (rows, *input_shape), float32 or convertible, as the model eats them.
        batch_size: most rows that pass the network at a time.

    Returns:
        (rows, *output_shape) float32.
    """
    return compile_predict(model, batch_size)(x)
