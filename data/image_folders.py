"""Which images a folder of class folders holds: found, named and fenced in, without opening any of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.config import LabelUse
from data.contract import DataError
from data.paths import entries_of, existing

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

SplitName = Literal["train", "validation", "test"]

SPLIT_FOLDERS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of folders, in small letters, that hold a split when class folders lie in them."""


@dataclass(frozen=True)
class ImageFile:
    """An image file and what its place in the folders says of it.

    Attributes:
        path: the file.
        class_name: name of its class folder; empty where folders are no classes.
        split: split folder above the class folder; None where there is none.
    """

    path: Path
    class_name: str
    split: SplitName | None


def image_files(root: Path, labels: LabelUse) -> list[ImageFile]:
    """Lists the images of a folder, perhaps under split folders, sorted.

    Where labels are optional, folders are classes if there are two or more and every image lies in one of them.

    Raises:
        DataError: as `sorted_images` and `unsorted_images`.
    """
    existing(root, "folder")
    if labels == "needed" or (labels == "optional" and _folders_are_classes(root)):
        return sorted_images(root)
    return unsorted_images(root)


def _folders_are_classes(root: Path) -> bool:
    folders = class_folders(root)
    splits_alone = all(split is None and folder.name.lower() in SPLIT_FOLDERS for folder, split in folders)
    return not splits_alone and len({folder.name for folder, _ in folders}) >= 2 and not loose_images(root)


def unsorted_images(root: Path) -> list[ImageFile]:
    """Lists the images of a folder at any depth, sorted; what lies below train/, validation/ and test/ is of a split.

    Raises:
        DataError: there are no images, none below one of the split folders, a link leads out, or a name is not UTF-8.
    """
    existing(root, "folder")
    places: list[tuple[Path, SplitName | None]] = [(root, None)]
    folders = folders_of(root, root)
    splits = [SPLIT_FOLDERS.get(folder.name.lower()) for folder in folders]
    if "train" in splits and None not in splits:
        places = list(zip(folders, splits, strict=True))
    images: list[ImageFile] = []
    for place, split in places:
        found = [path for path in files_below(place, root) if is_image_name(path)]
        if not found:
            where = str(root) if split is None else str(place.relative_to(root))
            raise DataError(
                f"data.path: expected PNG, JPEG or BMP files in {where!r}, got none. Add images, or correct the path."
            )
        images += [ImageFile(path, "", split) for path in found]
    return images


def sorted_images(root: Path) -> list[ImageFile]:
    """Lists the images of a folder of class folders, perhaps under split folders, sorted.

    Hidden files and files that are no images by their suffix are passed over.

    Raises:
        DataError: there are no class folders, a class is empty, a link leads out of its class folder, or a name is
            not UTF-8.
    """
    existing(root, "folder")
    images: list[ImageFile] = []
    for class_folder, split in class_folders(root):
        found = [path for path in files_below(class_folder, root) if is_image_name(path)]
        if not found:
            raise DataError(
                f"data.path: expected PNG, JPEG or BMP files in every class folder, got none in "
                f"{str(class_folder.relative_to(root))!r}. Add images, or remove the folder."
            )
        images += [ImageFile(path, class_folder.name, split) for path in found]
    if not images:
        raise DataError(
            f"data.path: expected one folder a class with PNG, JPEG or BMP files, got {str(root)!r} without folders. "
            "Sort the images into folders named after their classes."
        )
    return images


def loose_images(root: Path) -> list[Path]:
    """Lists the images that lie beside class folders, in none of them, sorted."""
    places = {root} | {folder.parent for folder, _ in class_folders(root)}
    return sorted(
        entry for place in places for entry in entries_of(place) if is_image_name(entry) and not entry.is_dir()
    )


def class_folders(root: Path) -> list[tuple[Path, SplitName | None]]:
    """Returns the class folders, each with the split of the folder above it where all of these are splits.

    Raises:
        DataError: a folder is a link.
    """
    folders = folders_of(root, root)
    splits = [SPLIT_FOLDERS.get(folder.name.lower()) for folder in folders]
    below = {folder: folders_of(folder, root) for folder in folders} if "train" in splits and None not in splits else {}
    if not below or not all(below.values()):
        return [(folder, None) for folder in folders]
    return [(inner, split) for folder, split in zip(folders, splits, strict=True) for inner in below[folder]]


def is_image_name(path: Path) -> bool:
    """Says whether a file is an image by its suffix and not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def files_below(folder: Path, root: Path) -> Iterator[Path]:
    """Yields the files below a folder, sorted, hidden ones left out.

    Args:
        folder: where to look; links that lead out of it are refused, for they would mix what folders keep apart.
        root: from where errors name what they found.

    Raises:
        DataError: a link leads out of the folder or nowhere, a name is not UTF-8, a folder cannot be read, or what
            lies there is no file.
    """
    fence = folder.resolve()
    visited: set[Path] = set()

    def walk(place: Path) -> Iterator[Path]:
        resolved = place.resolve()
        if resolved in visited:  # a link to a folder above would go round in circles
            return
        visited.add(resolved)
        for entry in entries_of(place):
            if entry.is_symlink():
                _check_inside(entry, fence, folder, root)
            if entry.is_dir():
                yield from walk(entry)
            elif entry.is_file():
                yield entry
            elif entry.exists():
                raise DataError(
                    f"data.path: expected files, got {str(entry.relative_to(root))!r}, which is a pipe, a socket or a "
                    "device. Remove it."
                )

    yield from walk(folder)


def _check_inside(link: Path, fence: Path, folder: Path, root: Path) -> None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"data.path: expected links that lead somewhere, got {str(link.relative_to(root))!r}. Remove it."
        ) from error
    if not target.is_relative_to(fence):
        raise DataError(
            f"data.path: expected files inside of {str(folder)!r}, got the link {str(link.relative_to(root))!r}, "
            "which leads out of it. Copy the file, or remove the link."
        )


def folders_of(folder: Path, root: Path) -> list[Path]:
    """Returns the folders in a folder, sorted.

    Raises:
        DataError: one of them is a link, whose files would be counted under two names, or lie out of the root.
    """
    folders = [entry for entry in entries_of(folder) if entry.is_dir()]
    for entry in folders:
        if entry.is_symlink():
            raise DataError(
                f"data.path: expected folders of files, got the link {str(entry.relative_to(root))!r}. "
                "Copy the folder that it leads to, or remove the link."
            )
    return folders
