"""Rows without labels beside the labeled ones: read, brought to the same inputs, stored, compared with the splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.config import (
    DataConfig,
    TableData,
    UnlabeledArrays,
    UnlabeledData,
    UnlabeledImages,
    UnlabeledTable,
)
from data.contract import DataError, Progress
from data.dataset import UNLABELED_NAME
from data.image_folders import unsorted_images
from data.pictures import NUM_LISTED, unreadable_error
from data.preprocessing import Preprocessing
from data.raw_rows import open_pixels, read_table, read_vectors
from data.retelling import about_unlabeled
from data.scratch import Scratch
from data.source_files import unlabeled_files
from data.storage import digest_rows, write_array

COMPARED = ("validation", "test")
"""Splits whose rows pretraining had better not see."""


@dataclass(frozen=True)
class UnlabeledRows:
    """Rows without labels, as they will be stored.

    Attributes:
        count: how many.
        read: takes row numbers (n,) and returns their inputs as they are stored.
        positions: (count,) int64 position of each row in its source.
        description: JSON-able account of their source; None where it is that of the labeled rows.
        warnings: what the user should know.
    """

    count: int
    read: Callable[[NDArray[np.int64]], NDArray[Any]]
    positions: NDArray[np.int64]
    description: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = field(default=())


def load_unlabeled(
    config: DataConfig, preprocessing: Preprocessing, scratch: Scratch, progress: Progress
) -> UnlabeledRows:
    """Loads the rows of `data.unlabeled` with the preprocessing that was fitted on the labeled training rows.

    Args:
        config: the `data` section, with `unlabeled`.
        preprocessing: of the labeled rows.
        scratch: on a disk with room for decoded images.
        progress: told how many images are read.

    Raises:
        DataError: the source is missing or malformed, its rows have another shape, or a column is missing.
    """
    unlabeled = config.unlabeled
    if unlabeled is None:
        raise ValueError("load_unlabeled: expected a section data.unlabeled, got none.")
    if isinstance(unlabeled, UnlabeledImages):
        with about_unlabeled(Path(unlabeled.path)):
            return _images(unlabeled, preprocessing, scratch, progress)
    file = unlabeled_files(unlabeled)[0]
    with about_unlabeled(file):
        description = {"source": unlabeled.source, "file": file.name}
        name = unlabeled.x if isinstance(unlabeled, UnlabeledArrays) else None
        if preprocessing.kind == "image":
            read, count = open_pixels(preprocessing, file, name, scratch)
            return UnlabeledRows(count, read, np.arange(count, dtype=np.int64), description)
        return _vectors(config, unlabeled, preprocessing, file, description)


def _vectors(
    config: DataConfig, unlabeled: UnlabeledData, preprocessing: Preprocessing, file: Path, description: dict[str, Any]
) -> UnlabeledRows:
    if isinstance(unlabeled, UnlabeledTable):
        raw = read_table(preprocessing, file)
    elif isinstance(unlabeled, UnlabeledArrays):
        raw = read_vectors(preprocessing, file, unlabeled.x)
    else:
        raise DataError(
            f"data.unlabeled.source: expected rows of {len(preprocessing.columns)} numbers, as those of data, got "
            f"images ({unlabeled.source}). Name a source of vectors."
        )
    positions = np.arange(len(raw), dtype=np.int64)
    lacking = np.isnan(raw).any(axis=1)
    missing = config.missing if isinstance(config, TableData) else "impute"
    warnings: tuple[str, ...] = ()
    if lacking.any() and missing == "error":
        raise DataError(
            f"data.unlabeled.path: expected a value in every feature, got {int(lacking.sum())} rows in {file.name!r} "
            f"that lack one (first in row {int(lacking.argmax()) + 1}). Fill them in, or set data.missing to impute "
            "or drop_rows."
        )
    if lacking.any() and missing == "drop_rows":
        raw, positions = raw[~lacking], positions[~lacking]
        warnings = (f"{int(lacking.sum())} rows without labels that lack a feature are left out (data.missing).",)
    if len(raw) == 0:
        raise DataError(
            f"data.unlabeled.path: expected one or more rows, got none that can be used in {file.name!r}. Check it."
        )
    return UnlabeledRows(len(raw), lambda rows: preprocessing.transform(raw[rows]), positions, description, warnings)


def _images(
    config: UnlabeledImages, preprocessing: Preprocessing, scratch: Scratch, progress: Progress
) -> UnlabeledRows:
    from data.sources.images import decode_images

    shape = preprocessing.input_shape
    if preprocessing.kind != "image" or shape[2] not in (1, 3):
        raise DataError(
            f"data.unlabeled.source: expected rows of shape {shape}, as those of data, got image files, which have 1 "
            "or 3 channels. Name another source."
        )
    root = Path(config.path)
    files = [image for image in unsorted_images(root) if image.split in (None, "train")]
    decoded = decode_images(files, root, (shape[0], shape[1], shape[2]), scratch, progress, "unlabeled")
    if decoded.unreadable and (not config.skip_unreadable or not decoded.readable):
        raise unreadable_error(decoded.unreadable, "Remove or replace them, or set data.skip_unreadable: true.")
    warnings: tuple[str, ...] = ()
    if decoded.unreadable:
        shown = ", ".join(f"{name} ({reason})" for name, reason in decoded.unreadable[:NUM_LISTED])
        warnings = (f"Unreadable images without labels are left out, {len(decoded.unreadable)}: {shown}.",)
    return UnlabeledRows(
        len(decoded.readable),
        lambda rows: decoded.pixels[rows],
        np.array(decoded.readable, np.int64),
        {"source": "images", "folder": root.name, "files": len(files)},
        warnings,
    )


def store_unlabeled(parts: Sequence[UnlabeledRows], preprocessing: Preprocessing, folder: Path) -> list[Path]:
    """Writes the rows of all parts, one after the other: `unlabeled_x.npy` and `unlabeled_rows.npy`.

    Args:
        parts: what is written; the positions of each count in its own source.
        preprocessing: of the labeled rows.
        folder: the dataset's folder.

    Returns:
        The files.

    Raises:
        DataError: values that are no pixels in the units of the labeled rows.
    """
    total = sum(part.count for part in parts)
    positions = np.concatenate([part.positions for part in parts])
    paths = [folder / f"{UNLABELED_NAME}_{part}.npy" for part in ("x", "rows")]
    dtype = np.uint8 if preprocessing.kind == "image" else np.float32
    with about_unlabeled():
        write_array(paths[0], (total, *preprocessing.input_shape), dtype, partial(_block, parts))
    write_array(paths[1], positions.shape, positions.dtype, positions.__getitem__)
    return paths


def _block(parts: Sequence[UnlabeledRows], rows: slice) -> NDArray[Any]:
    pieces, start = [], 0
    for part in parts:
        inside = np.arange(max(rows.start, start), min(rows.stop, start + part.count)) - start
        if len(inside):
            pieces.append(part.read(inside))
        start += part.count
    return np.concatenate(pieces)


def unlabeled_profile(parts: Sequence[UnlabeledRows], folder: Path) -> dict[str, Any]:
    """Describes the stored rows without labels.

    Returns:
        `rows`; `set_aside`: those of them whose labels `data.num_labels` puts aside; `source` of the others, if any;
        `also_in`: for validation and test, rows without labels whose inputs also occur there.
    """
    digests = digest_rows(np.load(folder / f"{UNLABELED_NAME}_x.npy", mmap_mode="r", allow_pickle=False))
    held_out = {
        name: digest_rows(np.load(folder / f"{name}_x.npy", mmap_mode="r", allow_pickle=False)) for name in COMPARED
    }
    descriptions = [dict(part.description) for part in parts if part.description is not None]
    return {
        "rows": len(digests),
        "set_aside": sum(part.count for part in parts if part.description is None),
        "source": descriptions[0] if descriptions else None,
        "also_in": {name: int(np.isin(digests, others).sum()) for name, others in held_out.items()},
    }


def unlabeled_warnings(parts: Sequence[UnlabeledRows], profile: Mapping[str, Any]) -> list[str]:
    """Returns what a user should know of the rows without labels."""
    warnings = [warning for part in parts for warning in part.warnings]
    for name, rows in profile["also_in"].items():
        if rows:
            warnings.append(
                f"{rows} rows without labels also occur in the {name} split, input for input: pretraining sees them."
            )
    return warnings
