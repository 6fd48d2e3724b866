"""From a source to arrays a model can eat: loads, checks, splits, fits, stores, profiles."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.config import ArraysData, BuiltinData, DataConfig, IdxData, ImagesData, SeriesData, TableData
from data.contract import SPLIT_NAMES, Progress, Schema
from data.dataset import TEST_NAMES
from data.normal import check_test_rows, mark_normal
from data.pictures import GREY_WEIGHTS, PictureSteps
from data.preprocessing import Preprocessing
from data.profile import (
    PROFILE_VERSION,
    duplicate_rows,
    duplicate_warnings,
    number,
    target_profile,
    target_warnings,
)
from data.scratch import Scratch
from data.sources.loaded import Loaded, LoadedImages, LoadedSeries, LoadedTable
from data.splits import LEFT_OUT, TRAIN, UNLABELED, keep_labels, split_rows
from data.storage import digest_arrays, write_array, write_text
from data.storing import Stored, store_images, store_table
from data.storing_series import store_series
from data.targets import check_targets
from data.unlabeled import (
    UnlabeledRows,
    load_unlabeled,
    store_unlabeled,
    unlabeled_profile,
    unlabeled_warnings,
)


def ingest(
    config: DataConfig, task: str, folder: Path, seed: int, progress: Progress, scratch: Scratch | None = None
) -> dict[str, Any]:
    """Makes a dataset folder from a source; the same source, config and seed make the same bytes.

    Args:
        config: the `data` section.
        task: `classification`, `regression`, or `reconstruction` and `clustering`, which need no labels.
        folder: where schema.json, profile.json, preprocessing.json, labels.txt, the arrays of the splits and of the
            rows without labels, test_names.json (where rows have names) and preprocessing.c and .h (for vectors and
            series) are written.
        seed: the run's seed.
        progress: told how far it is.
        scratch: for what does not fit into memory; with its checkpoints a killed process goes on where it was. A
            folder within `folder`, gone at the end, when left out.

    Returns:
        The profile, as written.

    Raises:
        ConfigError: the task does not fit the source.
        DataError: the data cannot be used as the config asks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if scratch is None:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            return ingest(config, task, folder, seed, progress, Scratch(Path(place)))
    loaded, assignment = _divided(load(config, task, scratch, progress), config, task, seed)
    common = _common(config, loaded, *_store_targets(loaded, assignment, folder))
    stored = _store(loaded, assignment, common, folder, progress)
    if loaded.names is not None:
        names = [loaded.names[row] for row in np.flatnonzero(assignment == SPLIT_NAMES.index("test")).tolist()]
        write_text(folder / TEST_NAMES, json.dumps(names, indent=0, ensure_ascii=False) + "\n")
    schema = _schema(stored.preprocessing)
    _write_contracts(schema, stored.preprocessing, folder)
    unlabeled = _unlabeled(config, loaded, assignment, stored, scratch, progress)
    profile = _profile(loaded, task, assignment, stored, schema, folder)
    if unlabeled:
        _tell_unlabeled(profile, unlabeled, schema, store_unlabeled(unlabeled, stored.preprocessing, folder))
    text = json.dumps(profile, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(folder / "profile.json", text + "\n")
    result: dict[str, Any] = json.loads(text)
    return result


def _store(
    loaded: Loaded, assignment: NDArray[np.int8], common: dict[str, Any], folder: Path, progress: Progress
) -> Stored:
    """Fits what the inputs need and writes those of each split."""
    if isinstance(loaded, LoadedImages):
        return store_images(loaded, assignment, common, folder, progress)
    if isinstance(loaded, LoadedTable):
        return store_table(loaded, assignment, common, folder, progress)
    if isinstance(loaded, LoadedSeries):
        return store_series(loaded, assignment, common, folder, progress)
    raise TypeError(f"ingest: expected images, a table or series from a source, got {type(loaded).__name__}.")


def _divided(loaded: Loaded, config: DataConfig, task: str, seed: int) -> tuple[Loaded, NDArray[np.int8]]:
    """Checks the targets and assigns every row to a split; rows that fit none are left out, with a warning."""
    check_targets(loaded, task)
    if config.normal is not None:
        loaded = mark_normal(loaded, config.normal)
    assignment = split_rows(loaded, config, seed)
    stray = assignment == LEFT_OUT
    if stray.any():
        reason = "other rows of their groups are in training or validation"
        loaded = loaded.without_rows(~stray, f"{int(stray.sum())} abnormal rows are left out: {reason}.")
        assignment = assignment[~stray]
    if config.normal is not None:
        check_test_rows(loaded, assignment)
    if config.num_labels is not None:
        assignment = keep_labels(loaded, assignment, config.num_labels, seed)
    return loaded, assignment


def load(config: DataConfig, task: str, scratch: Scratch, progress: Progress) -> Loaded:
    """Loads the rows of a source; each source imports its own libraries, and only when it is asked for."""
    if isinstance(config, BuiltinData):
        from data.sources.builtin import load_builtin

        return load_builtin(config, task)
    if isinstance(config, TableData):
        from data.sources.table import load_table

        return load_table(config, task, scratch, progress)
    if isinstance(config, ImagesData):
        from data.sources.images import load_images

        return load_images(config, task, scratch, progress)
    if isinstance(config, IdxData):
        from data.sources.idx import load_idx

        return load_idx(config, task, scratch)
    if isinstance(config, SeriesData):
        from data.sources.series import load_series

        return load_series(config, task, scratch, progress)
    from data.sources.arrays import load_arrays

    return load_arrays(config, task, scratch)


def _common(config: DataConfig, loaded: Loaded, target_mean: float, target_scale: float) -> dict[str, Any]:
    """Returns the fields of `Preprocessing` that do not depend on what the inputs are."""
    pictures = None
    if isinstance(config, ImagesData):
        weights = GREY_WEIGHTS if config.color == "grey" else None
        pictures = PictureSteps(color=config.color, grey_weights=weights, size=config.size)
    return {
        "source": config.source,
        "class_names": loaded.targets.class_names,
        "target_name": loaded.targets.name,
        "target_mean": target_mean,
        "target_scale": target_scale,
        "array_name": config.x if isinstance(config, ArraysData) else "x",
        "pictures": pictures,
    }


def _write_contracts(schema: Schema, preprocessing: Preprocessing, folder: Path) -> None:
    """Writes schema.json, preprocessing.json and labels.txt."""
    write_text(folder / "schema.json", schema.model_dump_json(indent=2) + "\n")
    write_text(folder / "preprocessing.json", preprocessing.to_json())
    # A class name may hold a line break; a label is one line.
    write_text(folder / "labels.txt", "".join(" ".join(name.split()) + "\n" for name in schema.class_names))


def _schema(preprocessing: Preprocessing) -> Schema:
    return Schema(
        kind=preprocessing.kind,
        input_shape=preprocessing.input_shape,
        input_range=(0.0, 1.0) if preprocessing.kind == "image" else None,
        storage_divisor=preprocessing.divisor,
        class_names=preprocessing.class_names,
        target_name=preprocessing.target_name,
        target_mean=preprocessing.target_mean,
        target_scale=preprocessing.target_scale,
        feature_names=preprocessing.feature_names,
        channel_names=preprocessing.channel_names,
    )


def _store_targets(loaded: Loaded, assignment: NDArray[np.int8], folder: Path) -> tuple[float, float]:
    """Writes the targets and row numbers of each split; returns mean and scale of the training targets."""
    values, mean, scale = loaded.targets.values, 0.0, 1.0
    if loaded.targets.are_numbers:
        training = values[assignment == TRAIN]
        mean, deviation = float(training.mean()), float(training.std())
        scale = 1.0 if deviation == 0.0 else deviation
        values = ((values - mean) / scale).astype(np.float32)
    for code, name in enumerate(SPLIT_NAMES):
        chosen = np.flatnonzero(assignment == code)
        for part, array in (("y", values[chosen]), ("rows", loaded.positions[chosen])):
            write_array(folder / f"{name}_{part}.npy", array.shape, array.dtype, array.__getitem__)
    return mean, scale


def _unlabeled(
    config: DataConfig,
    loaded: Loaded,
    assignment: NDArray[np.int8],
    stored: Stored,
    scratch: Scratch,
    progress: Progress,
) -> list[UnlabeledRows]:
    """Returns the rows without labels: training rows whose labels are put aside, then those of their own source."""
    parts = []
    aside = np.flatnonzero(assignment == UNLABELED)
    if aside.size:
        parts.append(UnlabeledRows(len(aside), lambda rows: stored.read(aside[rows]), loaded.positions[aside]))
    if config.unlabeled is not None:
        parts.append(load_unlabeled(config, stored.preprocessing, scratch, progress))
    return parts


def _tell_unlabeled(profile: dict[str, Any], parts: list[UnlabeledRows], schema: Schema, paths: list[Path]) -> None:
    """Adds to the profile what was stored without labels."""
    folder = paths[0].parent
    figures = unlabeled_profile(parts, folder)
    profile["rows"]["total"] += figures["rows"] - figures["set_aside"]
    profile["rows"]["unlabeled"] = figures["rows"]
    profile["unlabeled"] = figures
    profile["warnings"] += unlabeled_warnings(parts, figures)
    profile["stored_bytes"] += sum(path.stat().st_size for path in paths)
    profile["dataset_sha256"] = digest_arrays([*_split_arrays(folder), *paths], schema.model_dump_json())


def _split_arrays(folder: Path) -> list[Path]:
    return [folder / f"{split}_{part}.npy" for split in SPLIT_NAMES for part in ("x", "y", "rows")]


def _profile(
    loaded: Loaded,
    task: str,
    assignment: NDArray[np.int8],
    stored: Stored,
    schema: Schema,
    folder: Path,
) -> dict[str, Any]:
    has_labels = loaded.targets.name is not None
    duplicates = duplicate_rows(stored.digests, loaded.targets.values, assignment, has_labels)
    target = target_profile(loaded.targets, assignment)
    left_out = [{"name": c["name"], "reason": c["why_left_out"]} for c in stored.columns if not c["used"]]
    arrays = _split_arrays(folder)
    rows = {name: int((assignment == code).sum()) for code, name in enumerate(SPLIT_NAMES)}
    return {
        "version": PROFILE_VERSION,
        "source": dict(loaded.description),
        "task": task,
        "rows": {"total": len(assignment), **rows},
        "input_kind": schema.kind,
        "input_shape": list(schema.input_shape),
        "input_range": None if schema.input_range is None else list(schema.input_range),
        "stored_range": [number(value) for value in stored.value_range],
        "target": {key: value for key, value in target.items() if key != "class_balance"},
        "class_balance": target.get("class_balance"),
        "columns": stored.columns,
        "left_out": left_out,
        "series": stored.series,
        "constant_columns": [item["name"] for item in left_out if item["reason"].startswith("constant")],
        "duplicate_columns": stored.same_columns,
        "duplicates": duplicates,
        "warnings": [
            *loaded.warnings,
            *stored.warnings,
            *target_warnings(loaded.targets, assignment, task),
            *duplicate_warnings(duplicates, stored.same_columns, has_labels),
        ],
        "stored_bytes": sum(path.stat().st_size for path in arrays),
        "dataset_sha256": digest_arrays(arrays, schema.model_dump_json()),
    }
