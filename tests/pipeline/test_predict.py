from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from data.config import ImagesData, SeriesData, TableData
from data.contract import ConfigError, DataError, PenjingError
from data.dataset import Dataset
from data.ingest import ingest
from data.pictures import unreadable_error
from data.retelling import about_input
from models.legacy_keras import keras
from models.tflite.convert import convert
from pipeline.predict import Prediction, predict, prediction_table
from tests.pipeline.report_records import summary

ROOT = Path(__file__).resolve().parents[2]
SUMMARY = summary()


class _Silence:
    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        pass

    def note(self, text: str) -> None:
        pass


def _network(shape: tuple[int, ...], kernel: np.ndarray, activation: str) -> bytes:
    """One dense layer with a given kernel and no bias, as a float32 .tflite."""
    inputs = keras.Input(shape)
    outputs = keras.layers.Dense(kernel.shape[1], activation, name="output")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, outputs)
    model.get_layer("output").set_weights([kernel.astype(np.float32), np.zeros(kernel.shape[1], np.float32)])
    return convert(model, "float32")


def _bundle(run: Path, dataset: Dataset, model: bytes, task: str) -> Path:
    folder = run / "export"
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(model)
    for name in ("preprocessing.json", "labels.txt"):
        shutil.copyfile(dataset.folder / name, folder / name)
    (folder / "summary.json").write_text(json.dumps(SUMMARY | {"task": task}))
    _sum(folder)
    return folder


def _sum(folder: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums))


def _ingested(data: Any, task: str, folder: Path) -> Dataset:
    ingest(data, task, folder, 1, _Silence())
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose network answers the standardized column `width`, as price in real units."""
    folder = tmp_path_factory.mktemp("numbers")
    lines = [f"{width},{10 * width + (width % 3)}" for width in range(40)]
    (folder / "t.csv").write_text("width,price\n" + "\n".join(lines) + "\n")
    data = TableData(source="table", path=str(folder / "t.csv"), target="price", types={"width": "numeric"})
    dataset = _ingested(data, "regression", folder / "dataset")
    return _bundle(folder / "tiny", dataset, _network((1,), np.array([[1.0]]), "linear"), "regression")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose network answers softmax(width, 0) for the classes `broad` and `slim [1]`."""
    folder = tmp_path_factory.mktemp("labels")
    lines = [f"{width},{'broad' if width > 19 else 'slim [1]'}" for width in range(40)]
    (folder / "t.csv").write_text("width,shape\n" + "\n".join(lines) + "\n")
    data = TableData(source="table", path=str(folder / "t.csv"), target="shape", types={"width": "numeric"})
    dataset = _ingested(data, "classification", folder / "dataset")
    return _bundle(folder / "tiny", dataset, _network((1,), np.array([[1.0, 0.0]]), "softmax"), "classification")


def _standardized(bundle: Path, width: float) -> float:
    column = json.loads((bundle / "preprocessing.json").read_text())["columns"][0]
    return (width - column["mean"]) / column["scale"]


def test_regression_answers_in_the_targets_unit(numbers: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("width\n3\n30\n")
    found = predict(numbers, tmp_path / "new.csv")
    kept = json.loads((numbers / "preprocessing.json").read_text())
    wanted = [kept["target_mean"] + kept["target_scale"] * _standardized(numbers, width) for width in (3, 30)]
    assert [each.value for each in found] == pytest.approx(wanted, rel=1e-6)
    assert [each.name for each in found] == ["row 1", "row 2"]
    assert {(each.label, each.probability, each.probabilities) for each in found} == {(None, None, None)}


def test_a_folder_of_tables_is_one_table(numbers: Path, tmp_path: Path) -> None:
    (tmp_path / "new" / "deep").mkdir(parents=True)
    (tmp_path / "new" / "b.csv").write_text("width\n3\n30\n")
    (tmp_path / "new" / "deep" / "c.csv").write_text("other,width\nx,7\n")
    found = predict(numbers, tmp_path / "new")
    assert [each.name for each in found] == ["b.csv row 1", "b.csv row 2", "deep/c.csv row 1"]
    (tmp_path / "one.csv").write_text("width\n3\n30\n7\n")
    assert [each.value for each in found] == [each.value for each in predict(numbers, tmp_path / "one.csv")]


def test_tables_of_a_folder_may_have_no_rows_and_errors_name_the_file(numbers: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "a.csv").write_text("width\n")
    with pytest.raises(DataError, match=r"^input: expected one or more rows, got none in 'new'\. Check the file\."):
        predict(numbers, folder)
    (folder / "b.csv").write_text("width\n3\n")
    assert [each.name for each in predict(numbers, folder)] == ["b.csv row 1"]
    (folder / "c.csv").write_text("width\n3\nwide\n")
    message = r"^input: expected numbers in column 'width', got 'wide' in row 2 .*, in '.*new/c\.csv'\. Correct"
    with pytest.raises(DataError, match=message):
        predict(numbers, folder)


def test_classification_answers_label_and_probabilities(labels: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("width\n2\n35\n")
    slim, broad = predict(labels, tmp_path / "new.csv")
    sure = 1 / (1 + math.exp(-_standardized(labels, 35)))
    assert (broad.label, broad.value) == ("broad", None)
    assert broad.probability == pytest.approx(sure, rel=1e-6)
    assert broad.probabilities == pytest.approx({"broad": sure, "slim [1]": 1 - sure}, rel=1e-5)
    assert slim.label == "slim [1]"
    assert slim.probability == pytest.approx(1 / (1 + math.exp(_standardized(labels, 2))), rel=1e-6)


def test_a_category_that_training_did_not_have_is_told(tmp_path: Path) -> None:
    lines = [f"{'red' if row % 2 else 'blue'},{row % 5},{'warm' if row % 2 else 'cold'}" for row in range(40)]
    (tmp_path / "t.csv").write_text("color,width,kind\n" + "\n".join(lines) + "\n")
    data = TableData(source="table", path=str(tmp_path / "t.csv"), target="kind", types={"width": "numeric"})
    dataset = _ingested(data, "classification", tmp_path / "dataset")
    kernel = np.ones((dataset.schema.input_shape[0], 2))
    bundle = _bundle(tmp_path / "tiny", dataset, _network(kernel.shape[:1], kernel, "softmax"), "classification")
    (tmp_path / "new.csv").write_text("color,width\nred,2\ngreen,3\n,4\nmauve,5\n")
    told: list[str] = []
    assert len(predict(bundle, tmp_path / "new.csv", told.append)) == 4
    assert told == [
        "column 'color' holds a category that training did not have in 2 of 4 rows, the first being row 2: "
        "such a row says little"
    ]


def test_a_missed_limit_is_told(labels: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "missed"
    shutil.copytree(labels, bundle)
    limit = {"max_model_bytes": {"asked": 100, "got": 5896, "met": False}}
    (bundle / "summary.json").write_text(json.dumps(SUMMARY | {"target": limit}))
    _sum(bundle)
    (tmp_path / "new.csv").write_text("width\n2\n")
    told: list[str] = []
    predict(bundle, tmp_path / "new.csv", told.append)
    assert told == [
        "the model missed a limit of its config: target.max_model_bytes: expected at most 100 bytes, got 5,896."
    ]


def test_a_folder_of_images_is_named_by_its_files(tmp_path: Path) -> None:
    for kind, grey in (("dark", 20), ("light", 230)):
        for number in range(8):
            path = tmp_path / "photos" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((4, 4), grey + number, np.uint8)).save(path)
    data = ImagesData(source="images", path=str(tmp_path / "photos"), size=(4, 4), color="grey")
    dataset = _ingested(data, "classification", tmp_path / "dataset")
    # The two logits are minus and plus the sum of the pixels: 16 for white, a tie for black.
    kernel = np.stack([np.full(16, -1.0), np.full(16, 1.0)], axis=1)
    bundle = _bundle(
        tmp_path / "tiny", dataset, _network(dataset.schema.input_shape, kernel, "softmax"), "classification"
    )
    new = tmp_path / "new" / "deep"
    new.mkdir(parents=True)
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(new / "white.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "new" / "black.png")
    black, white = predict(bundle, tmp_path / "new")
    assert (black.name, black.label, black.probability) == ("black.png", "dark", 0.5)
    assert (white.name, white.label) == ("deep/white.png", "light")
    assert white.probability == pytest.approx(1 / (1 + math.exp(-32)), rel=1e-6)


def test_a_copy_of_the_bundle_predicts_alike(numbers: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("width\n3\n")
    shutil.copytree(numbers, tmp_path / "elsewhere")
    assert predict(tmp_path / "elsewhere", tmp_path / "new.csv") == predict(numbers, tmp_path / "new.csv")


# -------------------------------------------------------------------------------------------- errors


def _workdir(folder: Path) -> Path:
    run = folder / "digits"
    run.mkdir(parents=True)
    fields = {"name": "digits", "task": "classification", "seed": 1, "config_text": "", "command": "", "keys": {}}
    (run / "run.json").write_text(json.dumps(fields | {"state": "done"}))
    return folder


def test_a_run_that_does_not_exist_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"got 'digit'.*Did you mean 'digits'\?"):
        predict(_workdir(tmp_path) / "digit" / "export", tmp_path)


def test_a_run_that_does_not_exist_names_those_that_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"got 'wholly-other'\. Runs here: digits\."):
        predict(_workdir(tmp_path) / "wholly-other" / "export", tmp_path)


def test_a_run_without_a_bundle_says_so(tmp_path: Path) -> None:
    folder = _workdir(tmp_path) / "digits"
    with pytest.raises(ConfigError, match=r"got none; it has not come as far as export\. Run it again, to its end\."):
        predict(folder / "export", tmp_path)
    (folder / "rejected").mkdir()
    with pytest.raises(ConfigError, match="got none; the gate rejected its last one"):
        predict(folder / "export", tmp_path)


def test_a_missing_input_names_its_neighbour(numbers: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("width\n3\n")
    with pytest.raises(DataError, match=r"input: expected a file or folder, got .*which does not exist.*new\.csv"):
        predict(numbers, tmp_path / "now.csv")


def test_an_input_without_a_column_is_refused(numbers: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("height\n3\n")
    with pytest.raises(DataError, match="got no 'width'"):
        predict(numbers, tmp_path / "new.csv")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("summary.json", None, "No such file"),
        ("summary.json", "{}", "another summary.json"),
        ("summary.json", json.dumps(SUMMARY | {"schema_version": 99}), "another summary.json"),
        ("preprocessing.json", None, "No such file"),
        ("preprocessing.json", "{}", "preprocessing"),
        ("model.tflite", "", "0 bytes"),
        ("model.tflite", "no model", "expected a TFLite file"),
    ],
)
def test_a_damaged_bundle_says_what_is_wrong(
    numbers: Path, tmp_path: Path, file: str, text: str | None, message: str
) -> None:
    bundle = tmp_path / "export"
    shutil.copytree(numbers, bundle)
    if text is None:
        (bundle / file).unlink()
    else:
        (bundle / file).write_text(text)
        with pytest.raises(PenjingError, match=f"a {file} that is not the one SHA256SUMS tells of"):
            predict(bundle, tmp_path)
        _sum(bundle)
    with pytest.raises(PenjingError, match=message) as caught:
        predict(bundle, tmp_path)
    told = str(caught.value)
    assert (caught.value.exit_code, file in told, told.count(". ")) == (1, True, 1)
    assert told.endswith(
        "Run its config again: what was finished is taken from the store, and the bundle written anew."
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "image"}, r"broken preprocessing\.json .*got: kind is image, but there are columns"),
        ({"columns": []}, r"broken preprocessing\.json .*input_shape is \(1,\), but the columns make 0 features"),
        ({"input_shape": [2]}, r"broken preprocessing\.json .*input_shape is \(2,\), but the columns make 1 features"),
        ({"source_columns": ["height"]}, r"broken preprocessing\.json .*source_columns lack 'width'"),
        ({"class_names": ["broad"]}, r"model\.tflite that answers \(2,\) and a preprocessing\.json of 1 classes"),
        ({"class_names": []}, r"summary\.json of classification and a preprocessing\.json of 0 classes"),
        (
            {"kind": "image", "columns": [], "input_shape": [4, 4, 1]},
            r"model\.tflite that takes rows of \(1,\) and a preprocessing\.json that makes rows of \(4, 4, 1\)",
        ),
    ],
)
def test_files_of_a_bundle_that_do_not_fit_together_are_named(
    labels: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    bundle = tmp_path / "export"
    shutil.copytree(labels, bundle)
    kept = json.loads((bundle / "preprocessing.json").read_text())
    (bundle / "preprocessing.json").write_text(json.dumps(kept | changed))
    _sum(bundle)
    (tmp_path / "new.csv").write_text("width\n3\n")
    with pytest.raises(PenjingError, match=message) as caught:
        predict(bundle, tmp_path / "new.csv")
    assert caught.value.exit_code == 1


def test_a_preprocessing_of_other_bytes_than_utf8_is_named(numbers: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "export"
    shutil.copytree(numbers, bundle)
    (bundle / "preprocessing.json").write_bytes(b"\xff\xfe")
    _sum(bundle)
    with pytest.raises(PenjingError, match=r"got: a broken preprocessing\.json \('utf-8' codec"):
        predict(bundle, tmp_path)


def test_a_cut_model_is_named(numbers: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "export"
    shutil.copytree(numbers, bundle)
    model = (bundle / "model.tflite").read_bytes()
    (bundle / "model.tflite").write_bytes(model[: len(model) // 2])
    _sum(bundle)
    with pytest.raises(PenjingError, match=r"got: a broken model\.tflite \(.*not a valid Flatbuffer"):
        predict(bundle, tmp_path)


def test_a_file_that_the_sums_do_not_list_is_named(numbers: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "export"
    shutil.copytree(numbers, bundle)
    lines = (bundle / "SHA256SUMS").read_text().splitlines(keepends=True)
    (bundle / "SHA256SUMS").write_text("".join(line for line in lines if "summary.json" not in line))
    with pytest.raises(PenjingError, match=r"a SHA256SUMS that does not list summary\.json"):
        predict(bundle, tmp_path)


def test_one_changed_byte_of_the_model_is_noticed(numbers: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "export"
    shutil.copytree(numbers, bundle)
    model = bytearray((bundle / "model.tflite").read_bytes())
    model[-1] ^= 1
    (bundle / "model.tflite").write_bytes(bytes(model))
    with pytest.raises(PenjingError, match=r"model\.tflite that is not the one SHA256SUMS tells of: edited, or cut"):
        predict(bundle, tmp_path)


def test_a_bundle_without_sums_is_not_whole(numbers: Path, tmp_path: Path) -> None:
    shutil.copytree(numbers, tmp_path / "export")
    (tmp_path / "export" / "SHA256SUMS").unlink()
    with pytest.raises(PenjingError, match="SHA256SUMS"):
        predict(tmp_path / "export", tmp_path)


# ----------------------------------------------------------------------------------- what is printed


def _printed(predictions: list[Prediction]) -> list[str]:
    console = Console(width=100, force_terminal=False)
    with console.capture() as captured:
        console.print(prediction_table(predictions))
    return [" ".join(line.split()) for line in captured.get().splitlines()]


def test_labels_are_printed_as_they_are_written() -> None:
    lines = _printed([Prediction("[red]a.png", "slim [1]", 0.98765, None, {"slim [1]": 0.98765})])
    assert lines == ["input label probability", "[red]a.png slim [1] 0.9877"]


def test_numbers_are_printed_in_a_column_of_their_own() -> None:
    assert _printed([Prediction("row 1", None, None, 1234.5678, None)]) == ["input value", "row 1 1234.57"]


def test_nothing_of_tensorflow_is_imported(numbers: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("width\n3\n")
    code = (
        "import sys\nfrom pathlib import Path\nfrom pipeline.predict import predict\n"
        "print(len(predict(Path(sys.argv[1]), Path(sys.argv[2]))))\n"
        "print([name for name in ('tensorflow', 'tf_keras', 'sklearn') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(numbers), str(tmp_path / "new.csv")]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-2:] == ["1", "[]"]


def test_bad_cell_is_told_with_file_column_and_row_and_as_input(numbers: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("width\n3\nabc\n")
    with pytest.raises(DataError) as caught:
        predict(numbers, tmp_path / "new.csv")
    told = str(caught.value)
    assert told.startswith("input: expected numbers in column 'width', got 'abc' in row 2")
    assert f"in '{tmp_path / 'new.csv'}'. Correct the input: its values" in told
    assert "set its type" not in told
    assert "data." not in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "input: expected a table with a header, got 'new.csv', which is empty. Check the file."),
        (b"width\n", "input: expected one or more rows, got none in 'new.csv'. Check the file."),
        (
            b"width\n1e999\n",
            "input: expected finite numbers, got 1 infinite in column 'width' (first in row 1), in {path!r}. "
            "Correct them, or leave them empty as missing.",
        ),
        (
            b"width\n1e300\n",
            "input: expected numbers within ±3.4e38, got larger in column 'width', in {path!r}. "
            "Correct the input: its values must be of the types the model learned from.",
        ),
        (
            b"width,height\n1\n",
            "input: expected 2 values in every row, got 1 in line 2 of 'new.csv'. "
            "Correct the line, or the end of the file if it was cut short.",
        ),
        (
            b"width\n\xe9\n",
            "input: expected UTF-8 text, got byte 0xe9 in line 2 of 'new.csv'. Save the file as UTF-8.",
        ),
    ],
)
def test_an_input_is_told_once_with_what_to_do_about_it(
    numbers: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "new.csv"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        predict(numbers, path)
    assert str(caught.value) == message.format(path=str(path))


def _log(rows: list[str], header: str = "t,a,b,who") -> str:
    return "\n".join([header, *rows]) + "\n"


def _steps(number: int) -> list[str]:
    return [f"{step},{step % 3},{step % 5},p" for step in range(number)]


@pytest.fixture(scope="module", params=["error", "interpolate"])
def series(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle on windows of 8 steps of two channels, with columns of time and group."""
    folder = tmp_path_factory.mktemp("series")
    for number, name in enumerate(("up", "down") * 3):
        (folder / "logs" / name).mkdir(parents=True, exist_ok=True)
        (folder / "logs" / name / f"{number}.csv").write_text(_log([f"{line}{number}" for line in _steps(32)]))
    fields = {"path": str(folder / "logs"), "window": 8, "time": "t", "group": "who", "missing": request.param}
    dataset = _ingested(SeriesData.model_validate({"source": "series", **fields}), "classification", folder / "dataset")
    return _bundle(folder / "tiny", dataset, _network((8, 2), np.ones((16, 2)), "softmax"), "classification")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            _log(_steps(7)),
            "input: expected windows no longer than any series, got 8 steps with 'new.csv p' of 7 rows. Take the short "
            "ones out, or record longer ones: the model takes that many steps at once.",
        ),
        (
            _log([f"{step},{'' if step in (2, 5) else 1},1,p" for step in range(8)]),
            "input: expected a value in every step, got 2 missing in channel 'a' of 'new.csv p' (first in row 3). Fill "
            "them in: the model needs a value of each channel.",
        ),
        (
            _log([f"{step},,1,p" for step in range(8)]),
            "input: expected a value in every step, got no value in channel 'a' of 'new.csv p' (first in row 1). Fill "
            "them in: the model needs a value of each channel.",
        ),
        (
            _log([*_steps(8), *_steps(8)]),
            "input: expected times that rise from row to row, got one in row 9 of 'new.csv p' that is not after the "
            "one before it, in 't'. Correct the times, put each recording into a file of its own, or leave the column "
            "out.",
        ),
        (
            _log([f"at {line}" for line in _steps(8)]),
            "input: expected numbers or dates in 't' of 'new.csv', got 'at 0'. Correct the times, put each recording "
            "into a file of its own, or leave the column out.",
        ),
        (
            _log(_steps(8), "t,a,c,who"),
            "input: expected a column of every file, got 'b', which 'new.csv' lacks. Correct the input: each channel "
            "of the model must be a column of numbers.",
        ),
        (
            _log([f"{step},{'two' if step in (2, 5) else 1},1,p" for step in range(8)]),
            "input: expected numbers in column 'a' of 'new.csv', got 'two' in row 3 (one of 2). Correct the input: "
            "each channel of the model must be a column of numbers.",
        ),
        (
            _log([*_steps(8), "8,1,1,"]),
            "input: expected a value in every row, got 1 missing in 'who' of 'new.csv' (first in row 9). Fill them in, "
            "or remove these rows.",
        ),
    ],
)
def test_advice_on_an_input_of_series_is_none_on_a_config(
    series: Path, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "new.csv").write_text(text)
    bridged = json.loads((series / "preprocessing.json").read_text())["series"]["missing"] == "interpolate"
    if bridged and "got 2 missing" in message:
        assert len(predict(series, tmp_path / "new.csv")) == 1
        return
    with pytest.raises(DataError) as caught:
        predict(series, tmp_path / "new.csv")
    assert str(caught.value) == message


def test_columns_that_the_model_does_not_know_are_passed_over(numbers: Path, tmp_path: Path) -> None:
    (tmp_path / "plain.csv").write_text("width\n3\n")
    (tmp_path / "more.csv").write_text("price,width,height\n1,3,tall\n")
    assert predict(numbers, tmp_path / "more.csv") == predict(numbers, tmp_path / "plain.csv")


@pytest.mark.parametrize("name", ["folder.csv", "pipe.csv"])
def test_what_is_no_file_is_refused_without_being_read(numbers: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")  # to open it would be to wait for its other end
    with pytest.raises(DataError, match=r"^input: expected .*, got '.*(folder\.csv' without files|pipe\.csv')"):
        predict(numbers, tmp_path / name)


def test_unreadable_images_keep_their_advice_and_name_the_input(tmp_path: Path) -> None:
    error = about_input(unreadable_error([("a.png", "no image")], "Remove or replace them."), tmp_path / "new")
    assert str(error) == (
        f"input: expected readable images, got 1 that are not (a.png: no image), in '{tmp_path / 'new'}'. "
        "Remove or replace them."
    )
