"""Folders of images, one folder a class, perhaps under folders of splits."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.config import ImagesData, label_use
from data.contract import SPLIT_NAMES, ConfigError, Progress
from data.image_folders import ImageFile, image_files, is_image_name, loose_images
from data.paths import entries_of
from data.pictures import NUM_LISTED, UnreadablePicture, read_picture, unreadable_error
from data.sources.loaded import LoadedImages, Targets, no_targets

PROGRESS_EVERY = 256
"""Images between two words of progress."""


@dataclass(frozen=True)
class Decoded:
    """What decoding a list of files gives.

    Attributes:
        pixels: (readable images, height, width, channels) uint8, memory-mapped.
        readable: positions of the readable images in the list.
        unreadable: name and reason of each of the others.
    """

    pixels: NDArray[np.uint8]
    readable: list[int]
    unreadable: list[tuple[str, str]]


def load_images(config: ImagesData, task: str, folder: Path, progress: Progress) -> LoadedImages:
    """Decodes a folder of images, each once.

    Args:
        config: folder, size, color.
        task: not `regression`: folders are classes.
        folder: a folder on a disk with room for the decoded pixels, kept there while splits are written.
        progress: told how many images are read.

    Returns:
        The images; `given` holds splits where there are folders of them.

    Raises:
        ConfigError: the task is `regression`.
        DataError: no images, or unreadable ones that the config does not skip.
        OSError: the disk has no room for the pixels.
    """
    _check_task(task)
    root = Path(config.path)
    files = image_files(root, label_use(config, task))
    shape = (*config.size, 1 if config.color == "grey" else 3)
    decoded = decode_images(files, root, shape, folder, progress)
    if decoded.unreadable and not config.skip_unreadable:
        raise unreadable_error(decoded.unreadable, "Remove or replace them, or set data.skip_unreadable: true.")
    kept = [files[position] for position in decoded.readable]
    given = _given(kept)
    return LoadedImages(
        _targets(files, kept),
        {
            "source": "images",
            "folder": root.name,
            "files": len(files),
            "unreadable": [{"file": name, "reason": reason} for name, reason in decoded.unreadable],
            "ships_splits": given is not None,
        },
        np.array(decoded.readable, np.int64),
        _warnings(decoded.unreadable, files, root),
        given,
        names=tuple(str(file.path.relative_to(root)) for file in kept),
        shape=shape,
        read=lambda rows: decoded.pixels[rows],
    )


def _check_task(task: str) -> None:
    if task == "regression":
        raise ConfigError(
            f"task: expected classification for data.source images, got {task}. Use data.source: arrays for numbers."
        )


def _targets(files: Sequence[ImageFile], kept: Sequence[ImageFile]) -> Targets:
    """Returns the classes of the readable images, if any; a class of unreadable ones alone keeps its name."""
    if not all(file.class_name for file in files):
        return no_targets(len(kept))
    names = tuple(sorted({file.class_name for file in files}))
    return Targets(np.array([names.index(file.class_name) for file in kept], np.int32), names)


def _given(kept: Sequence[ImageFile]) -> NDArray[np.int8] | None:
    """Returns (images,) codes of the splits that the folders make; None where they make none."""
    if all(file.split is None for file in kept):
        return None
    return np.array([SPLIT_NAMES.index(file.split or "train") for file in kept], np.int8)


def _left_out(files: Sequence[ImageFile], root: Path) -> list[Path]:
    """Returns the images that lie in no folder of a class, where folders are classes, or beside those of splits."""
    if all(file.class_name for file in files):
        return loose_images(root)
    beside = any(file.split is not None for file in files)
    return [entry for entry in entries_of(root) if beside and is_image_name(entry) and not entry.is_dir()]


def decode_images(
    files: Sequence[ImageFile], root: Path, shape: tuple[int, int, int], folder: Path, progress: Progress
) -> Decoded:
    """Decodes every file once, into a nameless file of the folder, which is then mapped.

    Args:
        files: the images.
        root: from where those that cannot be read are named.
        shape: (height, width, channels) that every image gets.
        folder: a folder on a disk with room for the pixels.
        progress: told how many images are read.
    """
    unreadable: list[tuple[str, str]] = []
    readable: list[int] = []
    # Written, not mapped: on a full disk a write raises OSError, while a hole in a memory map kills the process.
    with tempfile.TemporaryFile(dir=folder) as scratch:
        for position, file in enumerate(files):
            try:
                scratch.write(read_picture(file.path, shape).tobytes())
                readable.append(position)
            except UnreadablePicture as error:
                unreadable.append((str(file.path.relative_to(root)), str(error)))
            if (position + 1) % PROGRESS_EVERY == 0 or position + 1 == len(files):
                progress.step("read", position + 1, len(files), {"unreadable": float(len(unreadable))})
        scratch.flush()
        if not readable:
            return Decoded(np.empty((0, *shape), np.uint8), readable, unreadable)
        pixels = np.memmap(scratch, np.uint8, "r", shape=(len(readable), *shape))  # outlives the closed file
    return Decoded(pixels, readable, unreadable)


def _warnings(unreadable: Sequence[tuple[str, str]], files: Sequence[ImageFile], root: Path) -> tuple[str, ...]:
    warnings, loose = [], _left_out(files, root)
    if unreadable:
        shown = ", ".join(f"{name} ({reason})" for name, reason in unreadable[:NUM_LISTED])
        warnings.append(
            f"{len(unreadable)} unreadable image{' is' if len(unreadable) == 1 else 's are'} left out: {shown}."
        )
    if loose:
        kind = "class" if all(file.class_name for file in files) else "split"
        warnings.append(
            f"{len(loose)} images lie outside of the {kind} folders and are left out (the first: "
            f"{str(loose[0].relative_to(root))!r}): put them into the folder of their {kind}."
        )
    return tuple(warnings)
