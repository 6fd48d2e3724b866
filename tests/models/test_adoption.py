"""Networks that were made elsewhere: they answer as before, in Penjing's form, or are refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from data.contract import ConfigError, Schema
from models.adoption import Output, adopt
from models.legacy_keras import keras
from models.prediction import predict
from models.pruning.graph import node_graph
from models.rebuilding import rebuild

layers = keras.layers
CLASSES = Schema(
    kind="vector",
    input_shape=(4,),
    input_range=None,
    storage_divisor=1.0,
    class_names=("a", "b", "c"),
    target_name="class",
)
TWO = CLASSES.model_copy(update={"class_names": ("no", "yes")})
NUMBERS = CLASSES.model_copy(
    update={"class_names": (), "target_name": "price", "target_mean": 40.0, "target_scale": 8.0}
)
IMAGES = CLASSES.model_copy(update={"kind": "image", "input_shape": (6, 6, 1), "input_range": (0.0, 1.0)})
ROWS = np.random.Generator(np.random.PCG64(3)).normal(size=(7, 4)).astype(np.float32)


def network(units: int = 3, activation: str | None = "softmax", shape: tuple[int | None, ...] = (4,)) -> Any:
    inputs = keras.Input(shape)
    hidden = layers.Dense(5, activation="relu")(inputs)
    return keras.Model(inputs, layers.Dense(units, activation=activation)(hidden))


def answers(model: Any, schema: Schema, task: str = "classification", output: Output = "standard") -> Any:
    return predict(adopt(model, schema, task, "model.file", 1, output).model, ROWS)


def test_a_network_is_laid_out_flat_and_answers_as_before() -> None:
    keras.utils.set_random_seed(5)
    inner_inputs = keras.Input((4,))
    inner = keras.Model(inner_inputs, layers.BatchNormalization()(layers.Dense(4, name="dense")(inner_inputs)))
    inputs = keras.Input((4,), name="rows")
    shared = layers.Dense(4, name="file", activation="tanh")
    hidden = layers.Add(name="sum/of>all")([shared(inputs), shared(inner(inputs, training=False))])
    hidden = layers.Dropout(0.5, name="drop")(keras.activations.relu(hidden) * 2.0 + 1.0)
    hidden = layers.Dropout(0.0, name="none")(layers.Dense(3, name="dense")(hidden))
    model = keras.Model(inputs, layers.Softmax(name="input")(hidden))
    inner.layers[-1].set_weights([np.full(4, value, np.float32) for value in (2.0, 0.5, 0.1, 3.0)])
    adopted = adopt(model, CLASSES, "classification", "model.file", 1)
    np.testing.assert_allclose(predict(adopted.model, ROWS), predict(model, ROWS), rtol=1e-6)
    kinds = {layer.name: type(layer).__name__ for layer in adopted.model.layers}
    assert not {"Functional", "Dropout"} & set(kinds.values())
    assert kinds["drop"] == "StatelessDropout"
    assert kinds["input"] == "InputLayer"
    assert adopted.renamed == {
        "dense": f"{inner.name}_dense",
        inner.layers[-1].name: f"{inner.name}_{inner.layers[-1].name}",
        "file": "file_1",
        "sum/of>all": "sum_of_all",
        "input": "input_1",
    }
    # A normalization that was called as at inference stays so while the others train.
    before = [weight.numpy() for weight in adopted.model.get_layer(f"{inner.name}_{inner.layers[-1].name}").weights[2:]]
    adopted.model(ROWS, training=True)
    after = [weight.numpy() for weight in adopted.model.get_layer(f"{inner.name}_{inner.layers[-1].name}").weights[2:]]
    assert all((old == new).all() for old, new in zip(before, after, strict=True))


def test_the_copy_shares_nothing_and_its_nodes_can_be_removed() -> None:
    model = network()
    adopted = adopt(model, CLASSES, "classification", "model.file", 1).model
    adopted.layers[1].kernel.assign(adopted.layers[1].kernel * 0.0)
    assert np.abs(model.layers[1].kernel.numpy()).max() > 0.0
    assert [group.layers for group in node_graph(adopted).groups] == [(adopted.layers[1].name,)]
    # What was called more than once stays whole: the flat copy calls each layer once.
    assert not node_graph(adopted).left_out


def test_an_open_shape_gets_that_of_the_data() -> None:
    inputs = keras.Input((None, None, 1))
    maps = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(maps))
    assert adopt(model, IMAGES, "classification", "model.file", 1).model.input_shape == (None, 6, 6, 1)


@pytest.mark.parametrize("ending", ["dense", "activation"])
def test_logits_get_a_softmax(ending: str) -> None:
    model = network(activation=None)
    if ending == "activation":
        model = keras.Model(model.inputs, layers.Activation("linear")(model.outputs[0]))
    logits = predict(model, ROWS).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers(model, CLASSES, output="logits"), expected, rtol=1e-5)


def test_one_probability_becomes_those_of_two_classes() -> None:
    model = network(1, "sigmoid")
    p = predict(model, ROWS)
    found = answers(model, TWO, output="sigmoid")
    np.testing.assert_allclose(found, np.concatenate([1.0 - p, p], axis=1), atol=1e-6)


@pytest.mark.parametrize("use_bias", [True, False])
def test_original_units_are_standardized(use_bias: bool) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1, use_bias=use_bias)(layers.Dense(5, activation="relu")(inputs)))
    expected = (predict(model, ROWS) - 40.0) / 8.0
    np.testing.assert_allclose(answers(model, NUMBERS, "regression", "original_units"), expected, rtol=1e-5)


def test_frozen_layers_stay_frozen() -> None:
    model = network()
    model.layers[1].trainable = False
    adopted = adopt(model, CLASSES, "classification", "model.file", 1).model
    assert [layer.trainable for layer in adopted.layers] == [True, False, True]


def test_rebuilding_twice_changes_nothing() -> None:
    model = adopt(network(), CLASSES, "classification", "model.file", 1).model
    again, renamed = rebuild(model, (4,), 1)
    assert renamed == {}
    np.testing.assert_array_equal(predict(again, ROWS), predict(model, ROWS))


class Subclass(keras.Model):  # type: ignore[misc]
    def call(self, x: Any) -> Any:
        return x


def two_inputs() -> Any:
    one, other = keras.Input((4,)), keras.Input((4,))
    return keras.Model([one, other], layers.Dense(3, activation="softmax")(layers.Add()([one, other])))


def with_layer(make: Callable[[], Any]) -> Callable[[], Any]:
    def made() -> Any:
        inputs = keras.Input((4,))
        hidden = layers.Dense(4, name="before")(inputs)
        return keras.Model(inputs, layers.Dense(3, activation="softmax")(make()(hidden)))

    return made


def compiled() -> Any:
    model = network()
    model.compile("adam", "mse")
    return model


def infinite() -> Any:
    model = network()
    model.layers[1].kernel.assign(model.layers[1].kernel / 0.0)
    return model


def frozen() -> Any:
    model = network()
    model.trainable = False
    return model


def half() -> Any:
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(3, activation="softmax", dtype="mixed_float16", name="half")(inputs))


def keras_3() -> Any:
    import keras as newer

    return newer.Sequential([newer.Input((4,)), newer.layers.Dense(3, activation="softmax")])


UNCOMPILED = "model.builder: expected an uncompiled functional or sequential tf_keras model, got"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, f"{UNCOMPILED} nothing (None). Return the keras.Model."),
        (lambda: 3, f"{UNCOMPILED} int. Return a keras.Model."),
        (keras_3, f"{UNCOMPILED} one of Keras 3. Import Keras as `from tensorflow import keras`"),
        (Subclass, f"{UNCOMPILED} a subclass (Subclass). Connect layers from keras.Input to an output"),
        (compiled, f"{UNCOMPILED} a compiled one. Take compile() out: section `train` says how it is trained"),
        (
            lambda: keras.Sequential([layers.Dense(3)]),
            "model.builder: expected a built model, got a sequential one without an input. Begin it with keras.Input(",
        ),
        (two_inputs, "model.builder: expected one input and one output, got 2 and 1. Cut it to the part that answers"),
        (
            lambda: network(shape=(5,)),
            "model.builder: expected an input of shape (4,), got (5,). The data's rows are vectors of standardized",
        ),
        (lambda: network(shape=(2, 2)), "model.builder: expected an input of shape (4,), got (2, 2)."),
        (
            lambda: keras.Model(i := keras.Input((4,), dtype="int32"), layers.Dense(3)(layers.Rescaling(0.5)(i))),
            "model.builder: expected a float32 input, got int32. Rows come as floats, whatever they were stored as.",
        ),
        (
            lambda: network(2),
            "model.builder: expected an output of shape (3,), the probabilities of 3 classes (a, b, c), got "
            "(2,) of layer "
            "'dense_",
        ),
        (
            lambda: network(activation=None),
            "model.builder: expected softmax at the end (the probabilities of 3 classes (a, b, c)), got linear "
            "of layer",
        ),
        (lambda: network(activation="sigmoid"), "model.builder: expected softmax at the end"),
        (half, "model.builder: expected float32 layers, got float16 in 'half' (Dense). Make the model without mixed"),
        (infinite, "model.builder: expected finite weights, got NaN or infinity."),
        (frozen, "model.builder: expected weights to train, got none. Set trainable to True where it may learn"),
        (
            with_layer(lambda: layers.GaussianNoise(0.1, name="noise")),
            "model.builder: expected layers that draw no numbers but Dropout, got 'noise' (GaussianNoise). A killed",
        ),
        (
            with_layer(lambda: layers.Dropout(0.1, noise_shape=(None, 1), name="thin")),
            "model.builder: expected layers that draw no numbers but Dropout, got 'thin' (Dropout).",
        ),
        (
            with_layer(lambda: layers.Dense(3, kernel_constraint="non_neg", name="bound")),
            "model.builder: expected weights without constraints, got 'bound' (Dense). Training would not keep them",
        ),
        (
            with_layer(lambda: layers.Embedding(3, 4, name="table")),
            "model.builder: expected ",
        ),
    ],
)
def test_refusals(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        adopt(make(), CLASSES, "classification", "model.builder", 1)
    assert str(caught.value).startswith(message), str(caught.value)


def over_rows(make: Callable[[], Any]) -> Any:
    inputs = keras.Input((6, 6, 1))
    return keras.Model(inputs, layers.Dense(3, "softmax")(make()(layers.Reshape((6, 6))(inputs))))


@pytest.mark.parametrize(
    ("make", "named", "advice"),
    [
        (lambda: layers.GRU(4, go_backwards=True, name="memory"), "'memory' (GRU)", "Use an LSTM, or a GRU or"),
        (lambda: layers.Bidirectional(layers.GRU(4), name="both"), "'both' (Bidirectional)", "Use an LSTM, or a GRU"),
        (lambda: layers.Bidirectional(layers.SimpleRNN(4), name="both"), "'both' (Bidirectional)", "Use an LSTM"),
        (lambda: layers.RNN(layers.LSTMCell(4), name="memory"), "'memory' (RNN)", "Use an LSTM, or a GRU"),
        (lambda: layers.LSTM(4, use_bias=False, name="memory"), "'memory' (LSTM)", "Give it tanh and sigmoid, a bias"),
        (lambda: layers.Bidirectional(layers.LSTM(4, activation="relu"), name="both"), "'both' (Bid", "Give it tanh"),
    ],
)
def test_layers_that_become_a_loop_are_refused(make: Callable[[], Any], named: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        adopt(over_rows(make), IMAGES, "classification", "model.builder", 1)
    message = f"model.builder: expected recurrent layers that TFLite runs without a loop, got {named}"
    assert str(caught.value).startswith(message), str(caught.value)
    assert f". {advice}" in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(4, go_backwards=True),
        lambda: layers.Bidirectional(layers.LSTM(4)),
        lambda: layers.GRU(4),
        lambda: layers.SimpleRNN(4),
    ],
)
def test_other_recurrent_layers_are_taken_in(make: Callable[[], Any]) -> None:
    model, x = over_rows(make), np.random.default_rng(2).random((3, 6, 6, 1), np.float32)
    adopted = adopt(model, IMAGES, "classification", "model.builder", 1).model
    np.testing.assert_allclose(predict(adopted, x), predict(model, x), rtol=1e-6)


def test_dropout_inside_a_wrapper_is_refused() -> None:
    model = over_rows(lambda: layers.Bidirectional(layers.LSTM(4, dropout=0.2), name="both"))
    message = r"expected recurrent layers without dropout of their own, got 'both' \(Bidirectional\)\. A killed"
    with pytest.raises(ConfigError, match=message):
        adopt(model, IMAGES, "classification", "model.builder", 1)


@pytest.mark.parametrize(
    ("model", "schema", "task", "output", "message"),
    [
        (
            network(activation=None),
            CLASSES,
            "classification",
            "standard",
            "model.file: expected softmax at the end (the probabilities of 3 classes (a, b, c)), got linear of layer",
        ),
        (network(), CLASSES, "classification", "logits", "model.file: expected linear at the end"),
        (
            network(1, "sigmoid"),
            TWO,
            "classification",
            "standard",
            "model.file: expected an output of shape (2,), the probabilities of 2 classes (no, yes), got (1,) of layer",
        ),
        (
            network(1, "relu"),
            NUMBERS,
            "regression",
            "standard",
            "model.file: expected linear at the end (one value, standardized), got relu of layer",
        ),
        (
            network(2, None),
            NUMBERS,
            "regression",
            "standard",
            "model.file: expected an output of shape (1,), one value",
        ),
        (
            network(),
            CLASSES,
            "clustering",
            "standard",
            "task: expected classification or regression with a model of your own, got clustering.",
        ),
    ],
)
def test_refused_outputs(model: Any, schema: Schema, task: str, output: Output, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        adopt(model, schema, task, "model.file", 1, output)
    assert str(caught.value).startswith(message), str(caught.value)
