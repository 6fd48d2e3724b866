"""Which files a source is made of, found without opening any of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.config import (
    ArraysData,
    BuiltinData,
    DataConfig,
    IdxData,
    ImagesData,
    LabelUse,
    SeriesData,
    TableData,
    UnlabeledArrays,
    UnlabeledData,
    UnlabeledIdx,
    UnlabeledImages,
    label_use,
)
from data.contract import DataError
from data.image_folders import files_below, image_files, unsorted_images
from data.paths import TABLE_SUFFIXES, entries_of, existing, is_file, nearest, table_format
from data.retelling import about_unlabeled
from data.series_folders import series_files

IDX_NAMES = {
    "train_images": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "train_labels": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
    "test_images": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
    "test_labels": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
}
"""Names under which MNIST's files go about; each may end in .gz."""

DELTA_LOG = "_delta_log"
"""Folder in which Delta Lake keeps which files of a table count."""


def source_files(config: DataConfig, task: str = "classification") -> list[Path]:
    """Lists the files a source is made of, sorted; then those of its rows without labels.

    Args:
        config: the `data` section.
        task: says whether files of labels count.

    Returns:
        Every file whose bytes the dataset depends on; none for a builtin source.

    Raises:
        DataError: the source is missing or empty, or a link leads out of its folder.
    """
    unlabeled = [] if config.unlabeled is None else unlabeled_files(config.unlabeled)
    if isinstance(config, BuiltinData):
        return unlabeled
    path, labels = Path(config.path), label_use(config, task)
    if isinstance(config, TableData):
        files = table_files(path)
    elif isinstance(config, ImagesData):
        files = sorted(image.path for image in image_files(path, labels))
    elif isinstance(config, SeriesData):
        by_folder = config.target is None and labels != "unread"
        files = [file.path for file in series_files(path, by_folder)]
    elif isinstance(config, IdxData):
        files = sorted(idx_files(path, labels).values())
    else:
        files = sorted(set(array_files(config, labels).values()))
    return [*files, *unlabeled]


def unlabeled_files(config: UnlabeledData) -> list[Path]:
    """Lists the files of a source of rows without labels, sorted.

    Raises:
        DataError: the source is missing or empty, or a link leads out of its folder; told of `data.unlabeled`.
    """
    path = Path(config.path)
    with about_unlabeled(path):
        if isinstance(config, UnlabeledImages):
            return [image.path for image in unsorted_images(path) if image.split in (None, "train")]
        if isinstance(config, UnlabeledIdx):
            existing(path, "folder")
            return [_idx_file(path, "train_images")]
        return [_unlabeled_array(config)] if isinstance(config, UnlabeledArrays) else table_files(path)


def _unlabeled_array(config: UnlabeledArrays) -> Path:
    path = existing(Path(config.path), "file or folder")
    if path.is_file():
        return _npz_file(path)
    names = [entry.stem for entry in entries_of(path) if entry.suffix == ".npy"]
    if config.x not in names:
        raise absent_array("data.x", config.x, path, names)
    return existing(path / f"{config.x}.npy", "file")


def table_files(path: Path) -> list[Path]:
    """Returns the files of a table, in the order of their rows: one, or those of a folder by name.

    Folders within it are looked into. Files and folders whose names begin with a dot or an underscore (`_SUCCESS`,
    `_temporary`) are passed over.

    Raises:
        DataError: it is missing, a folder holds none or files of several kinds, a suffix is none of `TABLE_SUFFIXES`,
            or a log beside the files says which of them count.
    """
    existing(path, "file or folder")
    if not path.is_dir():
        return [_table_file(path)]
    if (path / DELTA_LOG).exists():
        raise DataError(
            f"data.path: expected a folder whose files are all of the table, got {str(path)!r} with a {DELTA_LOG}, by "
            "which some no longer count. Write the table's rows to a folder of their own."
        )
    found = (file for file in files_below(path, path) if not is_aside(str(file.relative_to(path))))
    files = [_table_file(file) for file in found]
    if not files:
        raise DataError(
            f"data.path: expected a table, or a folder of files of one, got {str(path)!r} without files. Add some, or "
            "correct the path."
        )
    for file in files:
        if table_format(file) != table_format(files[0]):
            raise DataError(
                f"data.path: expected files of one kind in the folder of a table, got {files[0].name!r} and "
                f"{file.name!r}. Take the others out."
            )
    return files


def is_aside(name: str) -> bool:
    """Says whether a path within the folder of a table is one that what writes such folders keeps for itself."""
    return any(part.startswith("_") for part in name.split("/"))


def _table_file(path: Path) -> Path:
    if not path.name.lower().endswith(TABLE_SUFFIXES):
        raise DataError(
            f"data.path: expected a file that ends in {', '.join(TABLE_SUFFIXES)}, got {path.name!r}. "
            "Convert it, or name another source."
        )
    return path


def idx_files(folder: Path, labels: LabelUse) -> dict[str, Path]:
    """Returns MNIST's files by their role, plain before .gz: images, and labels where they are read.

    Raises:
        DataError: the folder or one of the files is missing.
    """
    existing(folder, "folder")
    roles = [role for role in IDX_NAMES if role.endswith("images")]
    of_labels = [role for role in IDX_NAMES if role not in roles]
    found = any(is_file(path) for role in of_labels for path in _idx_candidates(folder, role))
    if labels == "needed" or (labels == "optional" and found):
        roles = list(IDX_NAMES)
    return {role: _idx_file(folder, role) for role in roles}


def _idx_candidates(folder: Path, role: str) -> list[Path]:
    return [folder / f"{name}{suffix}" for name in IDX_NAMES[role] for suffix in ("", ".gz")]


def _idx_file(folder: Path, role: str) -> Path:
    present = [path for path in _idx_candidates(folder, role) if path.exists()]
    if not present:
        taken = {path.name for each in IDX_NAMES for path in _idx_candidates(folder, each)}
        others = [entry.name for entry in entries_of(folder) if entry.name not in taken]
        expected = IDX_NAMES[role][0]
        raise DataError(
            f"data.path: expected {expected} or {expected}.gz in {str(folder)!r}, got neither"
            f"{nearest(expected, others)}. Put MNIST's four files there."
        )
    return existing(present[0], "file")


def array_files(config: ArraysData, labels: LabelUse) -> dict[str, Path]:
    """Returns the files of arrays by array name; one .npz holds them all.

    Raises:
        DataError: a file is missing.
    """
    path = existing(Path(config.path), "file or folder")
    if path.is_file():
        return dict.fromkeys((config.x, config.y), _npz_file(path))
    names = [entry.stem for entry in entries_of(path) if entry.suffix == ".npy"]
    fields = {config.x: "data.x"}
    tests = [f"{config.x}_test"]
    if reads_targets(config, labels, names):
        fields[config.y] = "data.y"
        tests.append(f"{config.y}_test")
    files = {}
    for name, field in fields.items():
        if name not in names:
            raise absent_array(field, name, path, names)
        files[name] = existing(path / f"{name}.npy", "file")
    return files | {name: existing(path / f"{name}.npy", "file") for name in tests if name in names}


def reads_targets(config: ArraysData, labels: LabelUse, names: Sequence[str]) -> bool:
    """Says whether arrays of targets are read, of arrays that have these names."""
    there = config.y in names or f"{config.y}_test" in names
    return labels == "needed" or (labels == "optional" and there)


def _npz_file(path: Path) -> Path:
    if path.suffix.lower() != ".npz":
        raise DataError(
            f"data.path: expected an .npz file or a folder of .npy files, got {path.name!r}. "
            "Save the arrays with numpy.savez, or name their folder."
        )
    return path


def absent_array(field: str, name: str, place: Path, names: Sequence[str]) -> DataError:
    """Returns the error for an array that is not there: with the nearest name, and those to choose from."""
    shown = ", ".join(map(repr, names[:12])) + (" …" if len(names) > 12 else "")
    advice = "Save the array there"
    if names:
        named = field.startswith("data.")  # input for predictions goes by the name that training data had
        advice = f"{f'Set {field} to the name of' if named else 'Rename'} one of its arrays: {shown}"
    return DataError(
        f"{field}: expected an array {name!r} in {place.name!r}, got none{nearest(name, names)}. {advice}."
    )
