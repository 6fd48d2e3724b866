"""Predictions by an exported model: raw input in, decisions out. TensorFlow is not imported."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from data.column_transforms import CategoricalColumn
from data.contract import ConfigError, ConversionError, DataError, PenjingError
from data.preprocessing import Preprocessing
from data.reading import RawInput, read_input
from data.retelling import about_input
from models.anomaly import row_errors
from models.classical.forms import evaluate
from models.compression_config import ENCODED
from models.tasks import task_for
from models.tflite.interpreter import LiteRT
from pipeline.bundle_layout import (
    CLASSICAL_ARRAYS,
    CLASSICAL_FORM,
    MODEL,
    PREPROCESSING,
    SUMMARY,
    SUMS,
    VARIANTS,
    cluster_name,
)
from pipeline.classical_artifacts import read_form
from pipeline.runs import Workdir
from pipeline.summary import SCHEMA_VERSION, Summary
from pipeline.targets import missed_limit


@dataclass(frozen=True)
class Prediction:
    """What the model says of one row.

    Attributes:
        name: what the row is called: a file's path inside its folder, or `row 1`.
        label: classification: name of the most probable class; clustering: `cluster 3`; reconstruction: `normal` or
            `abnormal`; else None.
        probability: classification: its probability, in [0, 1], None of a support vector machine; clustering: its
            share, in [0, 1]; else None.
        value: regression: the number, in the target's own unit; else None.
        probabilities: name of each class or cluster -> probability or share, in the order of the outputs; None as
            `probability`.
        error: reconstruction: mean squared difference between the row and what the model gives back; else None.
        threshold: reconstruction: error above which a row is abnormal; else None.
    """

    name: str
    label: str | None
    probability: float | None
    value: float | None
    probabilities: dict[str, float] | None
    error: float | None = None
    threshold: float | None = None


def predict(export_folder: Path, input_path: Path, note: Callable[[str], None] | None = None) -> list[Prediction]:
    """Predicts raw input with a bundle's `model.tflite`, in LiteRT without default delegates, or with the numbers of
    its `model.c` in NumPy, which the gate has held against each other.

    Args:
        export_folder: a bundle, `runs/<name>/export` or a copy of it elsewhere.
        input_path: a file or folder in the format of the data the model learned from.
        note: told what a reader of the predictions should know: limits of `target` that the model missed, categories
            that training did not have.

    Returns:
        One prediction a row, in the input's order.

    Raises:
        ConfigError: there is no bundle; of a run that does not exist the nearest is named.
        DataError: the input is missing, malformed, or lacks what the model needs.
        PenjingError: the bundle is damaged, or of another version.
    """
    _require_bundle(export_folder)
    files = _whole(export_folder, (PREPROCESSING, SUMMARY))
    with _reading(export_folder, PREPROCESSING):
        preprocessing = Preprocessing.from_json(files[PREPROCESSING].decode())
    with _reading(export_folder, SUMMARY):
        summary = Summary.model_validate_json(files[SUMMARY])
    model = (_network if summary.model_file == MODEL else _classical)(export_folder, summary)
    _require_match(export_folder, preprocessing, summary, model)
    try:
        rows = read_input(preprocessing, input_path)
    except DataError as error:
        raise about_input(error, input_path) from error
    if note is not None:
        for text in (*_missed(summary), *_unseen(preprocessing, rows)):
            note(text)
    outputs = model.answer(rows.x)
    if summary.task == "regression":
        return _numbers(preprocessing, rows, outputs)
    if summary.clustering is not None:
        return _shares([cluster_name(cluster) for cluster in range(summary.clustering.num_clusters)], rows, outputs)
    if summary.reconstruction is not None:
        return _errors(rows, outputs, summary.reconstruction.threshold)
    return _shares(list(preprocessing.class_names), rows, outputs, probable=model.probable)


@dataclass(frozen=True)
class _Model:
    """A bundle's model, ready to answer.

    Attributes:
        takes: shape of one input; None: any of as many numbers as `num_inputs`.
        num_inputs: numbers it takes.
        gives: shape of one answer.
        answer: (rows, *takes) float32 -> (rows, outputs).
        probable: whether outputs of classes are probabilities.
    """

    takes: tuple[int, ...] | None
    num_inputs: int
    gives: tuple[int, ...]
    answer: Callable[[NDArray[np.float32]], NDArray[Any]]
    probable: bool = True


def _network(folder: Path, summary: Summary) -> _Model:
    # LiteRT runs the same numbers unpacked where they are encoded.
    name = f"{VARIANTS}/int8.tflite" if summary.precision in ENCODED.values() else MODEL
    files = _whole(folder, (MODEL, name))
    with _reading(folder, name):
        runtime = LiteRT(files[name])
    takes = runtime.input.shape[1:]
    return _Model(takes, math.prod(takes), runtime.output.shape[1:], runtime.predict)


def _classical(folder: Path, summary: Summary) -> _Model:
    files = _whole(folder, (CLASSICAL_FORM, CLASSICAL_ARRAYS))
    with _reading(folder, CLASSICAL_ARRAYS):
        form = read_form(files[CLASSICAL_FORM].decode(), io.BytesIO(files[CLASSICAL_ARRAYS]))
    return _Model(
        takes=None,
        num_inputs=form.num_features,
        gives=(form.num_outputs,),
        answer=lambda x: evaluate(form, x.reshape(len(x), -1)),
        probable=summary.classical_family != "svm",
    )


def prediction_table(predictions: Sequence[Prediction]) -> Table:
    """Returns predictions as a table for a terminal: row, label and how sure, or the number, or the error."""
    table = Table("input", box=None, pad_edge=False, header_style="bold")
    titles = ["label"]
    if any(prediction.value is not None for prediction in predictions):
        titles = ["value"]
    elif any(prediction.error is not None for prediction in predictions):
        titles += ["error", "threshold"]
    elif any(prediction.probability is not None for prediction in predictions):
        titles += ["probability"]
    for title in titles:
        table.add_column(title, justify="left" if title == "label" else "right")
    for each in predictions:
        if each.value is not None:
            figures = [f"{each.value:.6g}"]
        elif each.error is not None:
            figures = [str(each.label), f"{each.error:.6g}", f"{each.threshold:.6g}"]
        else:
            figures = [str(each.label), *([] if each.probability is None else [f"{each.probability:.4f}"])]
        # Names come from files: `Text` reads no markup in them.
        table.add_row(*(Text(text) for text in (each.name, *figures)))
    return table


def _require_bundle(folder: Path) -> None:
    if folder.is_dir():
        return
    run = folder.parent
    Workdir(run.parent).require(run.name)
    refused = (run / "rejected").is_dir()
    found = "none; the gate rejected its last one" if refused else "none; it has not come as far as export"
    raise ConfigError(f"RUN: expected a run with a bundle in {folder}, got {found}. Run it again, to its end.")


def _whole(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Reads files of a bundle: as they were written, or not at all.

    Raises:
        PenjingError: one is missing, or is not what the bundle's sums say.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        files = {name: (folder / name).read_bytes() for name in names}
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(folder, str(error)) from error
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name, content in files.items():
        if name not in sums:
            raise _damaged(folder, f"a {SUMS} that does not list {name}")
        if hashlib.sha256(content).hexdigest() != sums[name]:
            raise _damaged(folder, f"a {name} that is not the one {SUMS} tells of: edited, or cut short")
    return files


@contextmanager
def _reading(folder: Path, name: str) -> Iterator[None]:
    """Names the file of a bundle that cannot be read."""
    try:
        yield
    except ValidationError as error:
        raise _damaged(folder, f"another {name} ({error.errors()[0]['msg']})") from error
    except (DataError, ConversionError, UnicodeDecodeError) as error:
        rule = str(error).rpartition(". ")[0]  # the advice is of those who make a bundle
        raise _damaged(folder, f"a broken {name} ({rule or error})") from error


def _require_match(folder: Path, preprocessing: Preprocessing, summary: Summary, model: _Model) -> None:
    """Refuses files of a bundle that are each whole, but not of one model."""
    name, gives = summary.model_file, model.gives
    takes = (model.num_inputs,) if model.takes is None else model.takes
    makes = preprocessing.model_shape if model.takes is not None else (math.prod(preprocessing.model_shape),)
    if takes != makes:
        told = f"a {name} that takes rows of {takes} and a {PREPROCESSING} that makes rows of"
        raise _damaged(folder, f"{told} {preprocessing.model_shape}")
    names = len(preprocessing.class_names)
    if summary.clustering is not None:
        if gives != (summary.clustering.num_clusters,):
            raise _damaged(
                folder, f"a {MODEL} that answers {gives} and a {SUMMARY} of {summary.clustering.num_clusters} clusters"
            )
        return
    if summary.reconstruction is not None:
        if gives != (math.prod(takes),):
            raise _damaged(folder, f"a {MODEL} that answers {gives} to rows of {takes}, which it should give back")
        return
    if (summary.task == "regression") != (names == 0):
        raise _damaged(folder, f"a {SUMMARY} of {summary.task} and a {PREPROCESSING} of {names} classes")
    if gives != (names or 1,):
        raise _damaged(folder, f"a {name} that answers {gives} and a {PREPROCESSING} of {names} classes")


def _damaged(folder: Path, told: str) -> PenjingError:
    return PenjingError(
        f"bundle: expected a whole bundle of schema version {SCHEMA_VERSION} in {folder}, got: {told}. "
        f"Run its config again: what was finished is taken from the store, and the bundle written anew."
    )


def _missed(summary: Summary) -> Iterator[str]:
    for name, result in summary.target.items():
        if not result.met:
            limit = missed_limit({"name": name, **result.model_dump()})
            yield f"the model missed a limit of its config: target.{name}: {limit}"


def _unseen(preprocessing: Preprocessing, rows: RawInput) -> Iterator[str]:
    """Columns of which some rows hold a category that training did not have."""
    for position, column in enumerate(preprocessing.columns):
        if not isinstance(column, CategoricalColumn):
            continue
        unseen = np.flatnonzero(rows.raw[:, position] < 0)
        if unseen.size:
            first = rows.names[int(unseen[0])]
            yield (
                f"column {column.name!r} holds a category that training did not have in {unseen.size} of "
                f"{len(rows.names)} rows, the first being {first}: such a row says little"
            )


def _shares(
    names: Sequence[str], rows: RawInput, outputs: NDArray[np.float32], *, probable: bool = True
) -> list[Prediction]:
    decided = task_for("classification").decide(outputs)
    return [
        Prediction(
            name=name,
            label=names[code],
            probability=float(answer[code]) if probable else None,
            value=None,
            probabilities=dict(zip(names, map(float, answer), strict=True)) if probable else None,
        )
        for name, code, answer in zip(rows.names, decided, outputs, strict=True)
    ]


def _errors(rows: RawInput, outputs: NDArray[np.float32], threshold: float) -> list[Prediction]:
    return [
        Prediction(
            name=name,
            label="abnormal" if error > threshold else "normal",
            probability=None,
            value=None,
            probabilities=None,
            error=float(error),
            threshold=threshold,
        )
        for name, error in zip(rows.names, row_errors(rows.x, outputs), strict=True)
    ]


def _numbers(preprocessing: Preprocessing, rows: RawInput, outputs: NDArray[np.float32]) -> list[Prediction]:
    values = preprocessing.inverse_target(task_for("regression").decide(outputs))
    return [
        Prediction(name=name, label=None, probability=None, value=float(value), probabilities=None)
        for name, value in zip(rows.names, values, strict=True)
    ]
