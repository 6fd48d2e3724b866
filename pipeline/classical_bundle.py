"""Writes the files of a classical model's bundle."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.c_source import write_c_source
from data.dataset import Dataset
from data.preprocessing import Preprocessing
from models.classical.c_program import CProgram
from models.classical.c_source import HEADER_FILE, c_model
from models.classical.forms import Form, rounded
from models.golden_source import golden_header
from pipeline.bundle_layout import C_MODEL, C_NAME, GOLDEN, LABELS, PREPROCESSING
from pipeline.classical_artifacts import write_form

_INPUTS_RAW = "inputs_raw.npy"
_INPUTS = "inputs.npy"
_OUTPUTS_EXPECTED = "outputs_expected.npy"


def write_model(folder: Path, dataset: Dataset, form: Form, family: str) -> None:
    """Writes the model as C and as plain arrays, the preprocessing and the labels.

    Args:
        folder: the bundle, empty.
        dataset: the rows; their preprocessing goes along, in C too for tables and vectors.
        form: the model; its numbers are rounded to float32.
        family: what it is called in a config.

    Raises:
        ConversionError: the model is too large for plain C.
    """
    header, source = c_model(form, family)
    (folder / HEADER_FILE).write_text(header, encoding="utf-8")
    (folder / C_MODEL).write_text(source, encoding="utf-8")
    write_form(folder, rounded(form))
    shutil.copyfile(dataset.folder / LABELS, folder / LABELS)
    (folder / PREPROCESSING).write_text(dataset.preprocessing.to_json(), encoding="utf-8")
    write_c_source(dataset.preprocessing, folder)


def write_golden(
    folder: Path, program: CProgram, raw: NDArray[Any], num_c_rows: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Writes golden vectors: raw rows, the model's input for them, and what its C source answers.

    Args:
        folder: the bundle, with `preprocessing.json`.
        program: the compiled source.
        raw: (rows, ...) as `Preprocessing.transform` takes them.
        num_c_rows: how many of the first rows also go into golden.h.

    Returns:
        Inputs, from the raw rows that were written, and the outputs that were.

    Raises:
        GateError: the program crashed.
    """
    inputs = _preprocessing(folder).transform(raw)
    outputs, _ = program.run(inputs)
    (folder / GOLDEN).mkdir()
    for name, array in {_INPUTS_RAW: raw, _INPUTS: inputs, _OUTPUTS_EXPECTED: outputs}.items():
        np.save(folder / GOLDEN / name, array, allow_pickle=False)
    first = slice(num_c_rows)
    made_by = f"{C_MODEL}, compiled on the host,"
    header = golden_header(C_NAME, raw[first], inputs[first], outputs[first], made_by, "but for the last digits")
    (folder / GOLDEN / "golden.h").write_text(header, encoding="utf-8")
    written = (np.load(folder / GOLDEN / name, allow_pickle=False) for name in (_INPUTS_RAW, _OUTPUTS_EXPECTED))
    raw_again, expected = written
    return _preprocessing(folder).transform(raw_again), expected


def _preprocessing(folder: Path) -> Preprocessing:
    return Preprocessing.from_json((folder / PREPROCESSING).read_text(encoding="utf-8"))
