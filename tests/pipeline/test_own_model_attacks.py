"""Files that try to run code, to read other files, or to break off with a traceback."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.contract import ConfigError
from models.legacy_keras import keras, tf
from models.own_model_config import FileModelConfig
from models.prediction import predict
from pipeline.own_model import files, formats
from pipeline.own_model.files import model_files
from pipeline.own_model.foreign_code import foreign_code
from pipeline.own_model.loading import load_own_model

layers = keras.layers
GENERATOR = np.random.Generator(np.random.PCG64(5))


def load(file: Path, scratch: Path) -> Any:
    return load_own_model(FileModelConfig(file=str(file)), scratch).model


def refusal(file: Path, scratch: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, scratch)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small model as an archive, HDF5 and SavedModel."""
    folder = tmp_path_factory.mktemp("saved")
    inputs = keras.Input((4,))
    hidden = layers.Dense(3, activation="relu", kernel_regularizer="l2", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", name="answer")(hidden))
    for name in ("model.keras", "model.h5", "saved"):
        model.save(folder / name)
    return folder


def architecture(saved: Path) -> dict[str, Any]:
    with zipfile.ZipFile(saved / "model.keras") as archive:
        found: dict[str, Any] = json.loads(archive.read("config.json"))
    return found


def archive_with(saved: Path, config: Any, target: Path) -> Path:
    with zipfile.ZipFile(saved / "model.keras") as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(config).encode() if name == "config.json" else old.read(name))
    return target


def hidden(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["config"]["layers"][1]
    return found


# ------------------------------------------------------------------------------------ functions by name


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("kind", ["TFOpLambda", "SlicingOpLambda"])
@pytest.mark.parametrize(
    "function",
    [
        "load_library",
        "io.gfile.copy",
        "io.gfile.remove",
        "io.write_file",
        "debugging.experimental.enable_dump_debug_info",
        "nn.fixed_unigram_candidate_sampler",
        "math.__class__",
        "numpy_function",
    ],
)
def test_a_layer_of_one_operation_calls_listed_functions_alone(
    saved: Path, tmp_path: Path, kind: str, function: str, ending: str
) -> None:
    config = architecture(saved)
    target = tmp_path / "target"
    layer: dict[str, Any] = {"class_name": kind, "config": {"name": "hidden", "function": function}, "name": "hidden"}
    layer["inbound_nodes"] = [["_CONSTANT_VALUE", -1, str(target), {}]]
    if ending == "keras":
        config["config"]["layers"][1] = {**layer, "module": "tf_keras.src.layers.core.tf_op_layer"}
        file = archive_with(saved, config, tmp_path / "m.keras")
    else:
        file = tmp_path / "m.h5"
        file.write_bytes((saved / "model.h5").read_bytes())
        with h5py.File(file, "a") as opened:
            config = json.loads(opened.attrs["model_config"])
            config["config"]["layers"][1] = layer
            opened.attrs["model_config"] = json.dumps(config)
    assert refusal(file, tmp_path / "scratch").startswith(
        f"model.file: expected Keras's own layers, got TensorFlow's function tf.{function} in layer 'hidden'."
    )


def test_a_layer_of_a_slice_calls_no_function_of_numbers(saved: Path, tmp_path: Path) -> None:
    config = architecture(saved)
    hidden(config).update(
        class_name="SlicingOpLambda",
        module=None,
        registered_name=None,
        config={"name": "hidden", "function": "nn.relu"},
    )
    assert "TensorFlow's function tf.nn.relu" in refusal(
        archive_with(saved, config, tmp_path / "m.keras"), tmp_path / "scratch"
    )


def test_every_listed_function_is_one_of_tensorflow() -> None:
    from tensorflow.python.util.tf_export import get_symbol_from_name

    from pipeline.own_model.keras_names import OPERATIONS, SLICINGS

    assert [name for name in sorted(OPERATIONS | SLICINGS) if get_symbol_from_name(name) is None] == []


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m"])
def test_operations_and_slices_of_a_network_are_taken(tmp_path: Path, name: str) -> None:
    inputs = keras.Input((6, 4))
    x = layers.Dense(3, activation=tf.nn.gelu, kernel_constraint="non_neg", bias_initializer="he_normal")(inputs)
    x = tf.nn.relu(x[:, 1:4] * 2.0 + 1.0) - tf.reduce_mean(x[:, :, :1], axis=1, keepdims=True)
    model = keras.Model(inputs, layers.Dense(2)(tf.reshape(x, (-1, 9))))
    model.save(tmp_path / name)
    rows = GENERATOR.normal(size=(3, 6, 4)).astype(np.float32)
    np.testing.assert_array_equal(predict(load(tmp_path / name, tmp_path / "s"), rows), predict(model, rows))


OTHER_NAMES: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (lambda c: hidden(c)["config"].update(activation="deserialize"), "the function deserialize in layer 'hidden'"),
    (
        lambda c: hidden(c)["config"].update(kernel_regularizer="deserialize_keras_object"),
        "the regularizer deserialize_keras_object in layer 'hidden'",
    ),
    (lambda c: hidden(c)["config"].update(kernel_constraint="doc_controls"), "the constraint doc_controls in"),
    (lambda c: hidden(c)["config"].update(bias_initializer="os"), "the initializer os in layer 'hidden'"),
    (
        lambda c: hidden(c)["config"].update(kernel_regularizer={"class_name": "math", "module": "os"}),
        "the class os.math in layer 'hidden'",
    ),
    (
        lambda c: hidden(c)["config"].update(kernel_regularizer={"class_name": "serialize_keras_object"}),
        "the class serialize_keras_object in layer 'hidden'",
    ),
    (lambda c: hidden(c).update(module="tf_keras.src.utils.data_utils"), "the class tf_keras.src.utils.data_utils.Den"),
    (lambda c: hidden(c).update(registered_name="get_file"), "the class keras.layers.Dense (get_file) in"),
    (
        lambda c: hidden(c)["config"].update(
            activation={
                "module": "keras.utils",
                "class_name": "function",
                "config": "relu",
                "registered_name": "get_file",
            }
        ),
        "the function keras.utils.relu in layer 'hidden'",
    ),
    (
        lambda c: hidden(c).update(class_name="penjing>StatelessDropout", module="evil", registered_name=None),
        "the class evil.penjing>StatelessDropout in layer 'hidden'",
    ),
    (
        lambda c: hidden(c).update(class_name="TimeDistributed", config={"name": "steps", "layer": "StringLookup"}),
        "the class StringLookup in layer 'steps'",
    ),
    (
        lambda c: hidden(c).update(
            class_name="Bidirectional",
            config={"name": "both", "layer": {"class_name": "RNN", "config": {"name": "in", "cell": "Hashing"}}},
        ),
        "the class Hashing in layer 'in'",
    ),
    (
        lambda c: hidden(c)["config"].update(dtype={"class_name": "Policy", "module": "os", "config": {"name": "x"}}),
        "the class os.Policy in layer 'hidden'",
    ),
    (
        lambda c: hidden(c)["config"].update(units={"class_name": "TypeSpec", "type_spec": "x", "serialized": []}),
        "the class TypeSpec in layer 'hidden'",
    ),
    (
        lambda c: hidden(c)["config"].update(
            units={"class_name": "__numpy__", "config": {"value": 0, "dtype": "(99999,99999)f8"}}
        ),
        "numbers of the type (99999,99999)f8 in layer 'hidden'",
    ),
    (lambda c: hidden(c).update(class_name=["x"]), "a class whose name is no text (keras.layers.['x']) in"),
    (lambda c: hidden(c).update(class_name={"x": 1}), "a class whose name is no text ("),
    (lambda c: hidden(c).update(module=["x"]), "a class whose name is no text (Dense) in layer 'hidden'"),
    (lambda c: hidden(c).update(registered_name={}), "a class whose name is no text (keras.layers.Dense) in"),
    (
        lambda c: hidden(c)["config"].update(activation={"class_name": "function", "config": ["x"]}),
        "a function whose name is no text (['x']) in layer 'hidden'",
    ),
    (
        lambda c: hidden(c)["config"].update(activation={"class_name": "function", "config": "relu", "module": {}}),
        "a function whose name is no text (relu) in layer 'hidden'",
    ),
    (lambda c: hidden(c).update(class_name="a\nb"), "the class 'keras.layers.a\\nb' in layer 'hidden'"),
]


@pytest.mark.parametrize(("change", "what"), OTHER_NAMES)
def test_whatever_names_something_else_is_refused(saved: Path, tmp_path: Path, change: Any, what: str) -> None:
    config = architecture(saved)
    change(config)
    told = refusal(archive_with(saved, config, tmp_path / "m.keras"), tmp_path / "scratch")
    assert told.startswith(f"model.file: expected Keras's own layers, got {what}"), told


# ------------------------------------------------------------------------------------ no traceback

ODD: tuple[Any, ...] = (None, True, -1, 1e300, "", "x", "\ud800", [], ["x"], {}, {"class_name": ["x"], "config": {}})


def changed(value: Any) -> Iterator[Any]:
    """Yields the document with one value after another replaced by each odd one."""

    def places(part: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        items = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, item in items:
            yield (*path, key)
            yield from places(item, (*path, key))

    for path in list(places(value, ())):
        for odd in ODD:
            document = copy.deepcopy(value)
            part = document
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = odd
            yield document


def test_no_odd_value_of_an_architecture_breaks_the_look_at_it(saved: Path) -> None:
    documents = list(changed(architecture(saved)))
    assert len(documents) > 1_000
    for document in documents:
        foreign_code([document])


def test_odd_values_of_an_architecture_get_one_message(saved: Path, tmp_path: Path) -> None:
    documents = list(changed(architecture(saved)))
    refused = 0
    for place in GENERATOR.choice(len(documents), 60, replace=False):
        try:
            load(archive_with(saved, documents[place], tmp_path / "m.keras"), tmp_path / "scratch")
        except ConfigError as error:
            refused += 1
            assert str(error).startswith("model.file: expected "), str(error)
            assert "\n" not in str(error)
    assert refused > 10


def test_layers_that_wait_for_one_another_are_refused(saved: Path, tmp_path: Path) -> None:
    first = architecture(saved)["config"]["layers"][0]["name"]
    for odd in (["hidden", 0, 0, {}], ["answer", 0, 0, {}], [first, 0, 0, {"mask": ["answer", 0, 0]}]):
        document = architecture(saved)
        document["config"]["layers"][1]["inbound_nodes"] = [[odd]]
        told = refusal(archive_with(saved, document, tmp_path / "m.keras"), tmp_path / "scratch")
        assert told == (
            "model.file: expected layers that can be connected one after another, got layer 'hidden', whose input "
            "never comes to be. Save it anew from the code that made it."
        )
    document = architecture(saved)
    document["config"]["layers"][2]["inbound_nodes"][0][0][1] = 1  # there is no second call of 'hidden'
    assert "got layer 'answer'" in refusal(archive_with(saved, document, tmp_path / "m.keras"), tmp_path / "scratch")


def test_layers_and_networks_called_several_times_are_connected(tmp_path: Path) -> None:
    inner_input = keras.Input((3,))
    inner = keras.Model(inner_input, layers.Dense(3, name="inside")(inner_input), name="inner")
    chains = [keras.Sequential([keras.Input((3,)), layers.Dense(3)]), keras.Sequential([layers.Dense(3)])]
    shared = layers.Dense(3, name="shared")
    inputs = keras.Input((3,))
    x = shared(inner(inner(shared(inputs))))
    for chain in chains:
        x = layers.Add()([chain(chain(x)), inputs])
    model = keras.Model(inputs, x)
    rows = np.eye(3, dtype=np.float32)
    for name in ("m.keras", "m.h5", "m"):
        model.save(tmp_path / name)
        loaded = load(tmp_path / name, tmp_path / "scratch")
        np.testing.assert_array_equal(predict(loaded, rows), predict(model, rows))


@pytest.mark.parametrize("packing", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("entry", ["config.json", "model.weights.h5", "assets/x"])
def test_a_damaged_entry_is_told(saved: Path, tmp_path: Path, packing: int, entry: str) -> None:
    file = tmp_path / "m.keras"
    with zipfile.ZipFile(saved / "model.keras") as old, zipfile.ZipFile(file, "w", packing) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr("assets/x", b"x" * 1000)
    with zipfile.ZipFile(file) as archive:
        place = archive.getinfo(entry)
    content = bytearray(file.read_bytes())
    start = place.header_offset + 30 + len(entry)
    content[start + 4 : start + place.compress_size] = b"\xff" * (place.compress_size - 4)
    file.write_bytes(content)
    try:
        load(file, tmp_path / "scratch")
    except ConfigError as error:
        assert str(error).startswith("model.file: expected "), str(error)
    else:
        assert entry == "assets/x"  # Keras does not read what no layer asks for


# ------------------------------------------------------------------------------------ SavedModel


class Writing(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]
    """Something in a graph that writes a file when it is loaded."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.place = tf.constant(str(place))

    def _create_resource(self) -> Any:
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)

    def _initialize(self) -> None:
        tf.io.write_file(self.place, "it ran")


def test_the_graph_of_a_saved_model_is_not_run(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(inputs))
    model.evil = Writing(tmp_path / "ran")
    model.evil.resource_handle  # noqa: B018 - makes it
    model.save(tmp_path / "saved")
    rows = GENERATOR.normal(size=(3, 4)).astype(np.float32)
    (tmp_path / "ran").unlink(missing_ok=True)
    np.testing.assert_array_equal(predict(load(tmp_path / "saved", tmp_path / "s"), rows), predict(model, rows))
    assert not (tmp_path / "ran").exists()


def functional() -> Any:
    inputs = keras.Input((6, 4))
    normal = layers.Normalization()
    normal.adapt(GENERATOR.normal(2.0, 3.0, size=(50, 6, 4)))
    x = layers.Bidirectional(layers.GRU(3, return_sequences=True))(normal(inputs))
    x = layers.BatchNormalization()(layers.TimeDistributed(layers.Dense(5, activation="relu"))(x))
    x = layers.LSTM(4)(x)
    shared = layers.Dense(4, name="shared")
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, trainable=False), layers.BatchNormalization()])
    x = inner(layers.Add()([shared(x), shared(shared(x))]))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x))


def sequential() -> Any:
    return keras.Sequential(
        [
            keras.Input((6, 4)),
            layers.SeparableConv1D(5, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(max_value=6.0),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2, activation="softmax"),
        ]
    )


def unnamed_input() -> Any:
    """Has no input of its own before it is trained."""
    return keras.Sequential([layers.Flatten(), layers.BatchNormalization(), layers.Dense(2, activation="softmax")])


@pytest.mark.parametrize("make", [functional, sequential, unnamed_input])
def test_a_saved_model_is_made_anew_exactly(tmp_path: Path, make: Callable[[], Any]) -> None:
    model = make()
    model.compile("adam", "categorical_crossentropy")
    rows = GENERATOR.normal(size=(16, 6, 4)).astype(np.float32)
    model.fit(rows, np.eye(2, dtype=np.float32)[np.arange(16) % 2], epochs=2, verbose=0)
    model.save(tmp_path / "saved")
    loaded = load(tmp_path / "saved", tmp_path / "s")
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(predict(loaded, rows), predict(model, rows))


def test_a_subclass_in_a_saved_model_is_refused(tmp_path: Path) -> None:
    class Own(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.answer = layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.answer(x)

    model = Own()
    model(np.zeros((1, 4), np.float32))
    model.save(tmp_path / "saved")
    assert refusal(tmp_path / "saved", tmp_path / "s").startswith(
        "model.file: expected Keras's own layers, got the class Own in layer "
    )


def test_a_saved_model_lacks_no_weight(saved: Path, tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    deeper = layers.Dense(2)(layers.Dense(2)(layers.Dense(3)(inputs)))
    keras.Model(inputs, deeper).save(tmp_path / "saved")
    for path in (saved / "saved" / "variables").iterdir():
        (tmp_path / "saved" / "variables" / path.name).write_bytes(path.read_bytes())
    assert refusal(tmp_path / "saved", tmp_path / "s") == (
        "model.file: expected weights of all layers in variables, got none for some. Save the whole model anew."
    )


# ------------------------------------------------------------------------------------ files


def copied(saved: Path, target: Path) -> Path:
    for path in model_files(str(saved / "saved")):
        place = target / path.relative_to(saved / "saved")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize(("link", "to"), [("loop", "."), ("assets/x", "/usr"), ("x", "/etc/hostname"), ("x", "none")])
def test_links_in_a_saved_model_are_refused(saved: Path, tmp_path: Path, link: str, to: str) -> None:
    folder = copied(saved, tmp_path / "saved")
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(to)
    expected = (
        f"model.file: expected files in a SavedModel, got {str(folder / link)!r}, which is a link. "
        "Put the file itself there, or take it out."
    )
    assert refusal(folder, tmp_path / "s") == expected
    with pytest.raises(ConfigError) as caught:
        model_files(str(folder))
    assert str(caught.value) == expected


def test_sizes_are_looked_at_before_anything_is_copied(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.own_model import copying

    monkeypatch.setattr(copying, "MAX_BYTES", 1_000)
    monkeypatch.setattr("shutil.copyfile", lambda *_: pytest.fail("it was copied"))
    for name in ("model.keras", "model.h5", "saved"):
        assert refusal(saved / name, tmp_path / "s").startswith(
            "model.file: expected a model of at most 1,000 bytes, got "
        )


def test_a_saved_model_has_few_files(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_FILES", 4)
    assert refusal(saved / "saved", tmp_path / "s").startswith(
        "model.file: expected at most 4 files in a SavedModel, got more in "
    )


def test_a_description_has_a_limit(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_ARCHITECTURE_BYTES", 100)
    assert refusal(saved / "saved", tmp_path / "s").startswith(
        "model.file: expected keras_metadata.pb of at most 100 bytes, got "
    )
