"""Which files a source is made of: found, named and fenced in, without opening any of them."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.config import ArraysData, BuiltinData, DataConfig, IdxData, ImagesData, TableData
from data.contract import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
TABLE_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of folders, in small letters, that hold a split when class folders lie in them."""

IDX_NAMES = {
    "train_images": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "train_labels": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte"),
    "test_images": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
    "test_labels": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"),
}
"""Names under which MNIST's files go about; each may end in .gz."""


@dataclass(frozen=True)
class ImageFile:
    """An image file and what its place in the folders says of it.

    Attributes:
        path: the file.
        class_name: name of its class folder.
        split: split folder above the class folder; None where there is none.
    """

    path: Path
    class_name: str
    split: Literal["train", "validation", "test"] | None


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns ` (the nearest is 'x')`, or nothing where no name is near."""
    lowered = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.6)
    return f" (the nearest is {lowered[near[0]]!r})" if near else ""


def existing(path: Path, what: Literal["file", "folder", "file or folder"], field: str = "data.path") -> Path:
    """Returns the path if it is there and can be read.

    Raises:
        DataError: it is missing (the nearest sibling is offered), of the other kind, or not readable.
    """
    if not path.exists():
        try:
            siblings = [sibling.name for sibling in path.parent.iterdir() if not sibling.name.startswith(".")]
        except OSError:
            siblings = []
        hint = nearest(path.name, siblings)
        raise DataError(f"{field}: expected a {what}, got {str(path)!r}, which does not exist{hint}. Correct the path.")
    if (what == "file" and not path.is_file()) or (what == "folder" and not path.is_dir()):
        kind = "a folder" if path.is_dir() else "a file" if path.is_file() else "something else"
        raise DataError(f"{field}: expected a {what}, got {str(path)!r}, which is {kind}. Correct the path.")
    if not os.access(path, os.R_OK):
        raise DataError(f"{field}: expected a readable {what}, got {str(path)!r}. Correct its permissions.")
    return path


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


def image_files(root: Path) -> list[ImageFile]:
    """Lists the images of a folder of class folders, perhaps under split folders, sorted.

    Hidden files and files that are no images by their suffix are passed over.

    Raises:
        DataError: there are no class folders, a class is empty, or a link leads out of the folder.
    """
    existing(root, "folder")
    folders = _folders(root)
    splits = [SPLIT_FOLDERS.get(folder.name.lower()) for folder in folders]
    layered = "train" in splits and None not in splits and all(_folders(folder) for folder in folders)
    images: list[ImageFile] = []
    for folder, split in zip(folders, splits, strict=True):
        for class_folder in _folders(folder) if layered else [folder]:
            found = [path for path in files_below(class_folder, root) if is_image_name(path)]
            if not found:
                raise DataError(
                    f"data.path: expected PNG, JPEG or BMP files in every class folder, got none in "
                    f"{str(class_folder.relative_to(root))!r}. Add images, or remove the folder."
                )
            images += [ImageFile(path, class_folder.name, split if layered else None) for path in found]  # type: ignore[arg-type]
    if not images:
        raise DataError(
            f"data.path: expected one folder a class with PNG, JPEG or BMP files, got {str(root)!r} without folders. "
            "Sort the images into folders named after their classes."
        )
    return images


def is_image_name(path: Path) -> bool:
    """Says whether a file is an image by its suffix and not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def files_below(folder: Path, root: Path) -> Iterator[Path]:
    """Yields the files below a folder, sorted, hidden ones left out.

    Args:
        folder: where to look.
        root: links that lead out of this folder are refused.

    Raises:
        DataError: a link leads out of the root, or a folder cannot be read.
    """
    fence = root.resolve()
    visited: set[Path] = set()

    def walk(place: Path) -> Iterator[Path]:
        resolved = place.resolve()
        if resolved in visited:  # a link to a folder above would go round in circles
            return
        visited.add(resolved)
        for entry in _entries(place):
            if entry.is_symlink():
                _inside(entry, fence, root)
            if entry.is_dir():
                yield from walk(entry)
            elif entry.is_file():
                yield entry

    yield from walk(folder)


def _inside(link: Path, fence: Path, root: Path) -> None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"data.path: expected links that lead somewhere, got {str(link.relative_to(root))!r}. Remove it."
        ) from error
    if not target.is_relative_to(fence):
        raise DataError(
            f"data.path: expected files inside of {str(root)!r}, got the link {str(link.relative_to(root))!r}, "
            "which leads out of it. Copy the file, or remove the link."
        )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"data.path: expected a readable folder, got {str(folder)!r} ({error.strerror}). Correct its permissions."
        ) from error


def _folders(root: Path) -> list[Path]:
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    for folder in folders:
        if folder.is_symlink():
            _inside(folder, root.resolve(), root)
    return folders


def idx_files(folder: Path) -> dict[str, Path]:
    """Returns MNIST's four files by their role, plain before .gz.

    Raises:
        DataError: the folder or one of the files is missing.
    """
    existing(folder, "folder")
    found: dict[str, Path] = {}
    for role, names in IDX_NAMES.items():
        candidates = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
        present = [path for path in candidates if path.is_file()]
        if not present:
            siblings = [entry.name for entry in _entries(folder)]
            raise DataError(
                f"data.path: expected {names[0]} or {names[0]}.gz in {str(folder)!r}, got neither"
                f"{nearest(names[0], siblings)}. Put MNIST's four files there."
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
    files = {name: existing(path / f"{name}.npy", "file", "data.path") for name in (config.x, config.y)}
    for name in (f"{config.x}_test", f"{config.y}_test"):
        if (path / f"{name}.npy").is_file():
            files[name] = path / f"{name}.npy"
    return files
