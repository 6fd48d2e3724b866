"""Which files a source is made of, found without opening any of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data.config import ArraysData, BuiltinData, DataConfig, IdxData, ImagesData, TableData
from data.contract import DataError
from data.image_folders import image_files
from data.paths import entries_of, existing, is_file, nearest

TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")

IDX_NAMES = {
    "train_images": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "train_labels": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
    "test_images": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
    "test_labels": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
}
"""Names under which MNIST's files go about; each may end in .gz."""


def source_files(config: DataConfig) -> list[Path]:
    """Lists the files a source is made of, sorted.

    Args:
        config: the `data` section.

    Returns:
        Every file whose bytes the dataset depends on; none for a builtin source.

    Raises:
        DataError: the source is missing or empty, or a link leads out of its folder.
    """
    if isinstance(config, BuiltinData):
        return []
    path = Path(config.path)
    if isinstance(config, TableData):
        return [table_file(path)]
    if isinstance(config, ImagesData):
        return sorted(image.path for image in image_files(path))
    if isinstance(config, IdxData):
        return sorted(idx_files(path).values())
    return sorted(set(array_files(config).values()))


def table_file(path: Path) -> Path:
    """Returns the path of a table whose name says how to read it.

    Raises:
        DataError: it is missing, or its suffix is none of `TABLE_SUFFIXES`.
    """
    existing(path, "file")
    if not path.name.lower().endswith(TABLE_SUFFIXES):
        raise DataError(
            f"data.path: expected a file that ends in {', '.join(TABLE_SUFFIXES)}, got {path.name!r}. "
            "Convert it, or name another source."
        )
    return path


def idx_files(folder: Path) -> dict[str, Path]:
    """Returns MNIST's four files by their role, plain before .gz.

    Raises:
        DataError: the folder or one of the files is missing.
    """
    existing(folder, "folder")
    candidates = {
        role: [folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
        for role, names in IDX_NAMES.items()
    }
    taken = {path.name for paths in candidates.values() for path in paths}
    found: dict[str, Path] = {}
    for role, paths in candidates.items():
        present = [path for path in paths if is_file(path)]
        if not present:
            others = [entry.name for entry in entries_of(folder) if entry.name not in taken]
            expected = IDX_NAMES[role][0]
            raise DataError(
                f"data.path: expected {expected} or {expected}.gz in {str(folder)!r}, got neither"
                f"{nearest(expected, others)}. Put MNIST's four files there."
            )
        found[role] = existing(present[0], "file")
    return found


def array_files(config: ArraysData) -> dict[str, Path]:
    """Returns the files of arrays by array name; one .npz holds them all.

    Raises:
        DataError: a file is missing.
    """
    path = existing(Path(config.path), "file or folder")
    if path.is_file():
        if path.suffix.lower() != ".npz":
            raise DataError(
                f"data.path: expected an .npz file or a folder of .npy files, got {path.name!r}. "
                "Save the arrays with numpy.savez, or name their folder."
            )
        return dict.fromkeys((config.x, config.y), path)
    names = [entry.stem for entry in entries_of(path) if entry.suffix == ".npy"]
    files = {}
    for field, name in (("data.x", config.x), ("data.y", config.y)):
        if name not in names:
            raise absent_array(field, name, path, names)
        files[name] = existing(path / f"{name}.npy", "file")
    for name in (f"{config.x}_test", f"{config.y}_test"):
        if is_file(path / f"{name}.npy"):
            files[name] = path / f"{name}.npy"
    return files


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
