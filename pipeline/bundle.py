"""Writes the files of a bundle that depend on the model alone, not on the run it was made in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.c_source import write_c_source
from data.dataset import Dataset
from data.preprocessing import Preprocessing
from models.golden_source import golden_header
from models.tflite.c_source import model_data_source
from models.tflite.error_source import error_header
from models.tflite.interpreter import LiteRT
from models.tflite.micro import MicroResult, run_micro
from pipeline.artifacts import Variants
from pipeline.bundle_layout import C_NAME, GOLDEN, LABELS, MODEL, PREPROCESSING, RECONSTRUCTION, VARIANTS, cluster_name
from pipeline.gate.checks import LITERT, TFLITE_MICRO, Golden

_INPUTS_RAW = "inputs_raw.npy"
_INPUTS_QUANTIZED = "inputs_quantized.npy"
_OUTPUTS_EXPECTED = "outputs_expected.npy"


def copy_files(folder: Path, dataset: Dataset, variants: Variants) -> None:
    """Copies what earlier stages made: the model, its variants, preprocessing and labels.

    Args:
        folder: the bundle, empty.
        dataset: the rows as the model eats them; their preprocessing goes along, in C too where it is more than
            `pixel - 128`.
        variants: of the model.
    """
    shutil.copyfile(variants.path(variants.chosen), folder / MODEL)
    (folder / VARIANTS).mkdir()
    for name in variants.names:
        shutil.copyfile(variants.path(name), folder / VARIANTS / f"{name}.tflite")
    shutil.copyfile(dataset.folder / LABELS, folder / LABELS)
    preprocessing = dataset.preprocessing
    (folder / PREPROCESSING).write_text(preprocessing.to_json(), encoding="utf-8")
    write_c_source(preprocessing, folder)


def write_cluster_names(folder: Path, num_clusters: int) -> None:
    """Writes labels.txt of a model whose outputs are clusters.

    Args:
        folder: the bundle.
        num_clusters: number of the outputs.
    """
    names = "".join(f"{cluster_name(cluster)}\n" for cluster in range(num_clusters))
    (folder / LABELS).write_text(names, encoding="utf-8")


def write_c_model(
    folder: Path, model: bytes, runnable: bytes, arena_bytes: int | None, arena_reason: str | None
) -> None:
    """Writes model_data.cc and model_data.h.

    Args:
        folder: the bundle.
        model: bytes of model.tflite.
        runnable: bytes that LiteRT runs for it; the same but where weights are encoded.
        arena_bytes: measured by TFLite Micro; None where it does not run the model.
        arena_reason: then: why.

    Raises:
        ConversionError: the model has custom operators.
    """
    source = model_data_source(model, C_NAME, arena_bytes, "" if arena_reason is None else arena_reason, runnable)
    (folder / "model_data.cc").write_text(source.cc, encoding="utf-8")
    (folder / "model_data.h").write_text(source.h, encoding="utf-8")


def write_error_header(folder: Path, runnable: bytes, threshold: float, *, images: bool) -> None:
    """Writes reconstruction.h.

    Args:
        folder: the bundle.
        runnable: bytes that LiteRT runs for the model.
        threshold: error above which a row is abnormal.
        images: whether the model eats images, whose pixels its integer input holds exactly.
    """
    runtime = LiteRT(runnable)
    text = error_header(C_NAME, runtime.input, runtime.output, threshold, exact_input=images)
    (folder / RECONSTRUCTION).write_text(text, encoding="utf-8")


def write_golden(folder: Path, model: bytes, runnable: bytes, raw: NDArray[Any], num_c_rows: int) -> Golden:
    """Writes golden vectors: raw rows, what the model is fed for them, and what must come out.

    The whole way from a raw row on is gone by the bundle's own `preprocessing.json`. Outputs are TFLite
    Micro's where it runs the model, else those of LiteRT without default delegates; `golden.h` names which.

    Args:
        folder: the bundle, with `preprocessing.json`.
        model: bytes of model.tflite.
        runnable: bytes that LiteRT runs for it; the same but where weights are encoded.
        raw: (rows, ...) as `Preprocessing.transform` takes them.
        num_c_rows: how many of the first rows also go into golden.h.

    Returns:
        The vectors, read back from what was written.

    Raises:
        ConversionError: LiteRT cannot run the model.
    """
    runtime = LiteRT(runnable)
    quantized = runtime.quantize(_preprocessing(folder).transform(raw))
    micro = run_micro(model, quantized)
    ran = isinstance(micro, MicroResult)
    outputs = micro.outputs if isinstance(micro, MicroResult) else runtime.invoke(quantized)
    produced_by = TFLITE_MICRO if ran else LITERT
    (folder / GOLDEN).mkdir()
    arrays = {_INPUTS_RAW: raw, _INPUTS_QUANTIZED: quantized, _OUTPUTS_EXPECTED: outputs}
    for name, array in arrays.items():
        np.save(folder / GOLDEN / name, array, allow_pickle=False)
    first = slice(num_c_rows)
    header = golden_header(C_NAME, raw[first], quantized[first], outputs[first], produced_by)
    (folder / GOLDEN / "golden.h").write_text(header, encoding="utf-8")
    return read_golden(folder, produced_by)


def read_golden(folder: Path, produced_by: str) -> Golden:
    """Reads the golden vectors of a bundle; their float inputs come from the raw rows anew.

    Args:
        folder: the bundle.
        produced_by: the runtime that gave the outputs.
    """
    raw, quantized, outputs = (
        np.load(folder / GOLDEN / name, allow_pickle=False)
        for name in (_INPUTS_RAW, _INPUTS_QUANTIZED, _OUTPUTS_EXPECTED)
    )
    return Golden(_preprocessing(folder).transform(raw), quantized, outputs, produced_by)


def _preprocessing(folder: Path) -> Preprocessing:
    return Preprocessing.from_json((folder / PREPROCESSING).read_text(encoding="utf-8"))
