"""A model from a file: what is read of it before it is loaded, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data.contract import ConfigError
from models.activations import hard_swish
from models.architectures.dropout import StatelessDropout
from models.legacy_keras import keras, tf
from models.own_model_config import FileModelConfig
from models.prediction import predict
from pipeline.own_model import formats
from pipeline.own_model.copying import copy_model
from pipeline.own_model.files import model_files
from pipeline.own_model.loading import load_own_model

layers = keras.layers
ROWS = np.random.Generator(np.random.PCG64(3)).normal(size=(5, 4)).astype(np.float32)
FORMATS = ("model.keras", "model.h5", "saved")


def network(*between: Any) -> Any:
    inputs = keras.Input((4,))
    hidden = layers.Dense(3, activation="relu", name="hidden")(inputs)
    for layer in between:
        hidden = layer(hidden)
    return keras.Model(inputs, layers.Dense(2, activation="softmax", name="answer")(hidden))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A folder with one trained model in all three formats, and the model."""
    folder = tmp_path_factory.mktemp("saved")
    model = network(layers.Dropout(0.2), layers.BatchNormalization())
    # A loss that no file can name: how it was compiled must not matter.
    model.compile("adam", lambda true, answered: tf.reduce_mean(tf.square(true - answered)), metrics=["accuracy"])
    model.fit(ROWS, np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0]], verbose=0)
    for name in FORMATS:
        model.save(folder / name)
    return folder, model


def load(file: Path, scratch: Path, *allow: str) -> Any:
    loaded = load_own_model(FileModelConfig(file=str(file), allow=allow), scratch)
    assert list(scratch.iterdir()) == []
    return loaded


def refusal(file: Path, scratch: Path, *allow: str) -> str:
    with pytest.raises(ConfigError) as caught:
        model_files(str(file))
        load_own_model(FileModelConfig(file=str(file), allow=allow), scratch)
    assert not scratch.exists() or list(scratch.iterdir()) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_gives_the_model_that_was_saved(saved: tuple[Path, Any], tmp_path: Path, name: str) -> None:
    loaded = load(saved[0] / name, tmp_path)
    assert loaded.foreign_layers == ()
    np.testing.assert_array_equal(predict(loaded.model, ROWS), predict(saved[1], ROWS))


def test_a_network_of_penjing_itself_is_taken(tmp_path: Path) -> None:
    model = network(layers.Activation(hard_swish), StatelessDropout(0.3, 7, name="drop"))
    model.save(tmp_path / "model.keras")
    loaded = load(tmp_path / "model.keras", tmp_path / "scratch")
    np.testing.assert_array_equal(predict(loaded.model, ROWS), predict(model, ROWS))


def test_what_keras_cannot_load_is_told_with_its_reason(tmp_path: Path) -> None:
    network(layers.Activation(hard_swish)).save(tmp_path / "model.h5")  # a function that HDF5 cannot name
    told = refusal(tmp_path / "model.h5", tmp_path / "scratch")
    assert told.startswith("model.file: expected a model that tf_keras 2.21.0 can load, got TypeError: Error when ")
    assert told.endswith("It was saved by Keras 2.21.0; save it anew by this one.")


# ------------------------------------------------------------------------------------ foreign code


@pytest.mark.parametrize("name", FORMATS)
def test_a_lambda_runs_by_name_alone(tmp_path: Path, name: str) -> None:
    model = network(layers.Lambda(lambda x: x * 3.0, name="thrice"))
    model.save(tmp_path / name)
    assert refusal(tmp_path / name, tmp_path / "scratch") == (
        "model.file: expected a model that runs no code of its own, got Python byte code (a Lambda layer) in layer "
        "'thrice'. Such code can do whatever you can. If you trust the file, allow it by name: `allow: "
        "[thrice]`; or use "
        "Keras's layers."
    )
    assert refusal(tmp_path / name, tmp_path / "scratch", "thrce") == (
        "model.allow[0]: expected a layer that brings code along, got 'thrce'. Did you mean 'thrice'?"
    )
    loaded = load(tmp_path / name, tmp_path / "scratch", "thrice")
    assert loaded.foreign_layers == ("thrice",)
    np.testing.assert_array_equal(predict(loaded.model, ROWS), predict(model, ROWS))


def rewritten(source: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Copies a .keras archive with its architecture changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return target


def hidden(config: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = config["config"]["layers"][1]
    return found


EVIL: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (lambda c: hidden(c).update(module="evil", class_name="Dense"), "the class evil.Dense in layer 'hidden'"),
    (
        lambda c: hidden(c).update(module="evil", class_name="Own", registered_name="pack>Own"),
        "the class evil.Own in layer 'hidden'",
    ),
    (lambda c: hidden(c).update(module="keras.utils", class_name="get_file"), "the class keras.utils.get_file"),
    (
        lambda c: hidden(c)["config"].update(
            activation={"module": "evil", "class_name": "function", "config": "run", "registered_name": "run"}
        ),
        "the function evil.run in layer 'hidden'",
    ),
    (
        lambda c: hidden(c)["config"].update(
            activation={"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "exec"}
        ),
        "the function exec in layer 'hidden'",
    ),
    (
        lambda c: hidden(c)["config"].update(
            kernel_initializer={"module": "evil", "class_name": "Zeros", "config": {}, "registered_name": None}
        ),
        "the class evil.Zeros in layer 'hidden'",
    ),
    (
        lambda c: hidden(c)["config"].update(activation={"class_name": "__lambda__", "config": {"value": "4wEAAA=="}}),
        "a Python lambda in layer 'hidden'",
    ),
    (lambda c: hidden(c)["config"].update(activation={"value": ["4wEAAA==", None, None]}), "Python byte code in layer"),
    (
        lambda c: hidden(c).update(
            module="tf_keras.src.layers.core.tf_op_layer", class_name="TFOpLambda", config={"function": "io.write_file"}
        ),
        "TensorFlow's function tf.io.write_file in layer",
    ),
    (lambda c: hidden(c).update(class_name="RandomFlip"), "the class keras.layers.RandomFlip in layer 'hidden'"),
    (
        lambda c: hidden(c).update(
            class_name="TimeDistributed",
            config={"name": "steps", "layer": {"module": "evil", "class_name": "Dense", "config": {"name": "inner"}}},
        ),
        "the class evil.Dense in layer 'inner'",
    ),
    (
        lambda c: hidden(c).update(
            class_name="Lambda", config={"name": "hidden", "function": "system", "module": "os", "function_type": "raw"}
        ),
        "a Lambda layer of the function os.system in layer 'hidden'",
    ),
]


@pytest.mark.parametrize(("change", "what"), EVIL)
def test_names_of_other_code_are_refused_before_anything_is_made(
    saved: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, what: str
) -> None:
    # The module is there to be imported; nothing may import it.
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    file = rewritten(saved[0] / "model.keras", tmp_path / "evil.keras", change)
    for allow in ((), ("hidden",)):
        told = refusal(file, tmp_path / "scratch", *allow)
        assert told.startswith(f"model.file: expected Keras's own layers, got {what}"), told
        assert "name it by model.builder" in told
    assert not (tmp_path / "ran").exists()


def test_python_in_the_graph_of_a_saved_model_is_refused(tmp_path: Path) -> None:
    class Callback(layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return tf.ensure_shape(tf.numpy_function(lambda y: y, [x], tf.float32), x.shape)

    network(Callback(name="back")).save(tmp_path / "saved")
    assert refusal(tmp_path / "saved", tmp_path / "scratch").startswith(
        "model.file: expected Keras's own layers, got the class Callback in layer 'back'."
    )


# ------------------------------------------------------------------------------------ files that are no model


def test_weights_alone_are_refused(saved: tuple[Path, Any], tmp_path: Path) -> None:
    saved[1].save_weights(tmp_path / "w.h5")
    told = refusal(tmp_path / "w.h5", tmp_path / "scratch")
    assert told.startswith("model.file: expected a whole model, got weights alone (answer, batch_normalization")
    assert "Save it by model.save, not save_weights" in told


def test_a_saved_model_without_keras_is_refused(saved: tuple[Path, Any], tmp_path: Path) -> None:
    saved[1].export(tmp_path / "exported")
    told = refusal(tmp_path / "exported", tmp_path / "scratch")
    assert told.startswith(
        "model.file: expected a SavedModel that tf_keras saved (with keras_metadata.pb), got one without"
    )


@pytest.mark.parametrize("name", ["three.keras", "three.h5"])
def test_keras_3_is_told_by_its_version(tmp_path: Path, name: str) -> None:
    import keras as newer

    newer.Sequential([newer.Input((4,)), newer.layers.Dense(2, activation="softmax")]).save(tmp_path / name)
    told = refusal(tmp_path / name, tmp_path / "scratch")
    assert told.startswith(f"model.file: expected a model of tf_keras (Keras 2), got one of Keras {newer.__version__}.")


def zipped(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "model.file: expected an archive with metadata.json, got one without (empty)."),
        ({"a.txt": b""}, "model.file: expected an archive with metadata.json, got one without (a.txt)."),
        (
            {"metadata.json": b"{}"},
            "model.file: expected an archive with config.json, got one without (metadata.json).",
        ),
        (
            {"metadata.json": b"{}", "config.json": b"nope"},
            "model.file: expected JSON in config.json, got none (Expecting",
        ),
        ({"metadata.json": b"[]"}, "model.file: expected a mapping in metadata.json, got list."),
        ({"metadata.json": b"[" * 100_000}, "model.file: expected JSON in metadata.json, got none ("),
        ({"../../evil": b""}, "model.file: expected an archive of names that stay in it, got the entry '../../evil'."),
        ({"/etc/evil": b""}, "model.file: expected an archive of names that stay in it, got the entry '/etc/evil'."),
        ({"a\\..\\b": b""}, "model.file: expected an archive of names that stay in it, got the entry "),
        (
            {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b"none"},
            "model.file: expected a whole file, got a damaged one (",
        ),
    ],
)
def test_archives_that_are_no_model(tmp_path: Path, entries: dict[str, bytes], message: str) -> None:
    told = refusal(zipped(tmp_path / "m.keras", entries), tmp_path / "scratch")
    assert told.startswith(message), told


def test_archives_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_BYTES", 1_000_000)
    bomb = zipped(tmp_path / "m.keras", {"model.weights.h5": bytes(2_000_000)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 10_000
    told = refusal(bomb, tmp_path / "scratch")
    assert told.startswith("model.file: expected an archive of at most 1,000,000 bytes unpacked, got 2,000,000.")
    monkeypatch.setattr(formats, "MAX_ENTRIES", 3)
    many = zipped(tmp_path / "n.keras", {str(number): b"" for number in range(4)})
    assert refusal(many, tmp_path / "scratch").startswith(
        "model.file: expected an archive of at most 3 entries, got 4."
    )
    monkeypatch.setattr(formats, "MAX_ARCHITECTURE_BYTES", 100)
    long = zipped(tmp_path / "o.keras", {"metadata.json": b"{}", "config.json": bytes(200)})
    assert refusal(long, tmp_path / "scratch").startswith(
        "model.file: expected config.json of at most 100 bytes, got 200."
    )


def test_numbers_of_other_files_are_refused(saved: tuple[Path, Any], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(48))
    for kind in ("link", "external", "huge"):
        file = tmp_path / f"{kind}.h5"
        shutil.copyfile(saved[0] / "model.h5", file)
        with h5py.File(file, "a") as opened:
            if kind == "link":
                opened["more"] = h5py.ExternalLink(str(secret), "/x")
            elif kind == "external":
                opened.create_dataset("more", (12,), np.float32, external=[(str(secret), 0, 48)])
            else:
                opened.create_dataset("more", (1 << 40,), np.float32, chunks=(1 << 20,))
    assert refusal(tmp_path / "link.h5", tmp_path / "s").startswith(
        "model.file: expected an HDF5 file without links, got "
    )
    assert refusal(tmp_path / "external.h5", tmp_path / "s").startswith(
        "model.file: expected numbers in the file itself"
    )
    assert refusal(tmp_path / "huge.h5", tmp_path / "s").startswith(
        "model.file: expected numbers that lie in the file as they are, got 4,398,046,511,104 bytes in 0 in /more."
    )


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_get_one_message(saved: tuple[Path, Any], tmp_path: Path, name: str) -> None:
    """Cuts and flips bytes at seeded places: what can still be loaded is loaded, the rest refused; no traceback."""
    source = saved[0] / name
    whole = source if source.is_file() else source / "keras_metadata.pb"
    content = whole.read_bytes()
    generator = np.random.Generator(np.random.PCG64(11))
    refused = 0
    for trial in range(12):
        damaged = bytearray(content)
        if trial % 3 == 0:
            del damaged[int(generator.integers(1, len(damaged))) :]
        else:
            for place in generator.integers(0, len(damaged), 1 + trial * 4):
                damaged[place] ^= int(generator.integers(1, 256))
        copy = tmp_path / str(trial) / name
        copy.parent.mkdir()
        if source.is_dir():
            shutil.copytree(source, copy)
            (copy / "keras_metadata.pb").write_bytes(damaged)
        else:
            copy.write_bytes(damaged)
        try:
            load_own_model(FileModelConfig(file=str(copy)), tmp_path / "scratch")
        except ConfigError as error:
            refused += 1
            assert str(error).startswith("model.file: expected "), str(error)
            assert "\n" not in str(error)
    assert refused >= 4  # a flipped bit of a weight is no damage that can be seen


# ------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.keras", "which does not exist (the nearest is 'model.keras'). Correct the path."),
        ("model.txt", "expected a .keras or .h5 file, or the folder of a SavedModel, got 'model.txt'."),
        ("saved/saved_model.pb", "expected the folder of a SavedModel, got its saved_model.pb. Name the folder."),
        ("empty", "expected a folder with saved_model.pb (a SavedModel), got "),
    ],
)
def test_names_that_are_no_model(saved: tuple[Path, Any], name: str, message: str) -> None:
    (saved[0] / "model.txt").touch()
    (saved[0] / "empty").mkdir(exist_ok=True)
    with pytest.raises(ConfigError) as caught:
        model_files(str(saved[0] / name))
    assert message in str(caught.value)
    assert str(caught.value).startswith("model.file: expected ")


def test_all_files_of_a_saved_model_count(saved: tuple[Path, Any]) -> None:
    names = [os.path.relpath(path, saved[0] / "saved") for path in model_files(str(saved[0] / "saved"))]
    assert {"saved_model.pb", "keras_metadata.pb", "variables/variables.index"} <= set(names)
    assert names == sorted(names)


@pytest.mark.parametrize("head", [b"", b"text", b"\x80\x04pickle"])
def test_content_decides_and_not_the_name(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "m.keras").write_bytes(head)
    told = refusal(tmp_path / "m.keras", tmp_path / "scratch")
    assert told.startswith("model.file: expected a .keras archive, an HDF5 file or a SavedModel's folder, got a")


def test_full_disk_of_the_copy_is_no_fault_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "net.keras").write_bytes(b"PK" * 1000)
    with pytest.raises(OSError, match="No space left on device"):
        copy_model(str(tmp_path / "net.keras"), Path("/dev/full"))
