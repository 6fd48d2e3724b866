"""One part of a network as it learns by itself: frozen layers below it, a temporary layer on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import derive_seed
from models.activations import activation_name
from models.architectures.dropout import StatelessDropout
from models.layer_parts import Part, below
from models.legacy_keras import keras, tf
from models.measurements import count_macs
from models.prediction import BATCH_SIZE, compile_predict
from models.training_cost import step_macs

VECTOR_RANK = 2
IMAGE_RANK = 4


class MaskingNoise(StatelessDropout):
    """Sets a fraction of its inputs to zero while training, and leaves the others as they are.

    Reference:
        Vincent et al. 2010, Stacked denoising autoencoders, section 3.3 (there a fixed number of elements is drawn).
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns the inputs, corrupted where a network is trained; a function of (seed, step) alone."""
        if not training:
            return inputs
        draw = tf.random.stateless_uniform(tf.shape(inputs), tf.stack([self.seed, self.steps.read_value()]))
        self.steps.assign_add(1)
        return tf.where(draw >= self.fraction, inputs, 0.0)


class RowErrors(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """The mean squared error of each row, `e_i = mean_j (x_ij - f_ij)^2` over all elements j of what is restored."""

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns (rows, 1) from [answers, truth], both (rows, ...)."""
        errors = tf.square(inputs[0] - inputs[1])
        return tf.reduce_mean(tf.reshape(errors, [tf.shape(errors)[0], -1]), axis=1, keepdims=True)


class Reconstruction:
    """What an autoencoder minimizes: the mean of its rows' errors; judged by R².

    Args:
        variance: of the truth on the validation rows, as `mean_variance` gives it.
    """

    metric = "reconstruction r2"

    def __init__(self, variance: float) -> None:
        self._variance = variance

    def loss(self, y_true: Any, outputs: Any, weights: Any | None) -> Any:  # noqa: ARG002 - the rows are the truth
        """Mean squared error over rows and elements, `mean(w_i * e_i)`.

        Args:
            y_true: not looked at: what is to be restored lies inside the network.
            outputs: (rows, 1) float32, the rows' errors.
            weights: (rows,) float32 or None for 1.

        Returns:
            Scalar float32 tensor, >= 0.
        """
        errors = outputs[:, 0]
        return tf.reduce_mean(errors if weights is None else errors * weights)

    def score(self, y: NDArray[Any], outputs: NDArray[Any]) -> float:  # noqa: ARG002 - the rows are the truth
        """R² of the reconstruction, `1 - mean(e_i) / variance`, over all elements together.

        Args:
            y: not looked at.
            outputs: (rows, 1), the errors of all validation rows.

        Returns:
            At most 1. Where the truth does not vary: 1 without an error, else 0.
        """
        error = float(np.mean(outputs, dtype=np.float64))
        if self._variance == 0.0:
            return 1.0 if error == 0.0 else 0.0
        return 1.0 - error / self._variance


def mean_variance(model: Any, rows: Any) -> float:
    """Variance of a network's answers about the mean of each element, averaged over the elements.

    Args:
        model: a Keras model.
        rows: (rows, *input_shape), sliceable; answers are looked at some rows at a time, so that they need not fit
            into memory.

    Returns:
        `mean_ij (x_ij - mean_i x_ij)^2`, in float64.
    """
    answer = compile_predict(model)
    sums, squares = np.zeros(model.output_shape[1:]), np.zeros(model.output_shape[1:])
    for start in range(0, len(rows), BATCH_SIZE):
        answers = answer(rows[start : start + BATCH_SIZE]).astype(np.float64)
        sums += answers.sum(axis=0)
        squares += np.square(answers).sum(axis=0)
    variances = squares / len(rows) - np.square(sums / len(rows))
    return float(np.maximum(variances, 0.0).mean())


class Student:
    """One part of a network between frozen layers and a temporary one.

    Args:
        model: the network; its layers below the part are frozen, so give a copy.
        part: the part of this network that learns.
        lower: the part below it; None for the first.
        seed: of the temporary layer and the noise.
    """

    def __init__(self, model: Any, part: Part, lower: Part | None, seed: int) -> None:
        self._model, self._part, self._lower, self._seed = model, part, lower, seed
        self.frozen = below(model, part)
        self.frozen.trainable = False
        self._learner = part.network()

    def reconstructing(self, corruption_fraction: float) -> tuple[Any, int]:
        """Puts a decoder on top that restores the part's clean input, at its own resolution.

        Args:
            corruption_fraction: chance of each element of the part's input to be zeroed while training.

        Returns:
            A network from the model's input to the rows' errors (rows, 1), and the multiply-accumulates that a
            training step spends on a row.
        """
        inputs = keras.Input(self._model.input_shape[1:], name="input")
        clean = self.frozen(inputs, training=False)
        corrupted = clean
        if corruption_fraction > 0.0:
            corrupted = MaskingNoise(corruption_fraction, derive_seed(self._seed, "noise"), name="noise")(clean)
        decoder = self._decoder()
        errors = RowErrors(name="errors")([decoder(self._learner(corrupted)), clean])
        return keras.Model(inputs, errors, name=f"pretrain_{self._part.name}"), self._step_macs(decoder)

    def classifying(self) -> tuple[Any, int]:
        """Puts a temporary output layer on top: the model's own, on the answers as its head would take them.

        Feature maps are averaged where the model averages its own, else flattened.

        Returns:
            A network from the model's input to (rows, outputs), and the multiply-accumulates of a row.
        """
        inputs = keras.Input(self._model.input_shape[1:], name="input")
        answers = self._learner(self.frozen(inputs, training=False))
        averages = any(isinstance(layer, keras.layers.GlobalAveragePooling2D) for layer in self._model.layers)
        if len(answers.shape) > VECTOR_RANK:
            answers = (keras.layers.GlobalAveragePooling2D() if averages else keras.layers.Flatten())(answers)
        config = self._model.layers[-1].get_config()
        initializer = keras.initializers.GlorotUniform(seed=derive_seed(self._seed, "output"))
        head = keras.layers.Dense.from_config(config | {"kernel_initializer": initializer, "name": "temporary_output"})
        network = keras.Model(inputs, head(answers), name=f"pretrain_{self._part.name}")
        vector = keras.Input(answers.shape[1:])
        return network, self._step_macs(keras.Model(vector, head(vector)))

    def _step_macs(self, top: Any) -> int:
        return step_macs(count_macs(self._learner) + count_macs(top), frozen=count_macs(self.frozen))

    def _decoder(self) -> Any:
        """A dense layer for a vector; for maps a resize to their height and width, then a convolution."""
        answers = keras.Input(self._part.outputs.shape[1:])
        target = self._part.inputs.shape[1:]
        settings = {
            "activation": "sigmoid" if self._restores_fractions() else "linear",
            "kernel_initializer": keras.initializers.GlorotUniform(seed=derive_seed(self._seed, "decoder")),
            "name": "decoder",
        }
        if len(target) == 1:
            return keras.Model(answers, keras.layers.Dense(target[0], **settings)(answers), name="decoding")
        height, width, channels = target
        maps = keras.layers.Resizing(height, width, interpolation="nearest")(answers)
        restored = keras.layers.Conv2D(channels, self._kernel_sides(), padding="same", **settings)(maps)
        return keras.Model(answers, restored, name="decoding")

    def _kernel_sides(self) -> tuple[int, int]:
        """Height and width of the largest of the part's own kernels."""
        layers = [self._model.get_layer(name) for name in self._part.layers]
        sizes = [layer.kernel_size for layer in layers if hasattr(layer, "kernel_size")]
        return max(height for height, _ in sizes), max(width for _, width in sizes)

    def _restores_fractions(self) -> bool:
        """Whether the part's input is known to lie in [0, 1]: pixels, or what a sigmoid answers."""
        if self._lower is None:
            return len(self._model.input_shape) == IMAGE_RANK
        functions = [getattr(self._model.get_layer(name), "activation", None) for name in self._lower.layers]
        last = [function for function in functions if function is not None][-1]
        return activation_name(last) == "sigmoid"
