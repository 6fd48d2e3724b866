"""Folders of images, one folder a class, perhaps under folders of splits."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from data.config import ImagesData
from data.contract import SPLIT_NAMES, ConfigError, Progress
from data.pictures import NUM_LISTED, UnreadablePicture, read_picture, unreadable_error
from data.source_files import image_files
from data.sources.loaded import LoadedImages, Targets

PROGRESS_EVERY = 256
"""Images between two words of progress."""


def load_images(config: ImagesData, task: str, folder: Path, progress: Progress) -> LoadedImages:
    """Decodes a folder of images, each once.

    Args:
        config: folder, size, color.
        task: must be `classification`: folders are classes.
        folder: a folder on a disk with room for the decoded pixels, kept there while splits are written.
        progress: told how many images are read.

    Returns:
        The images; `given` holds splits where there are folders of them.

    Raises:
        ConfigError: the task is another.
        DataError: no images, or unreadable ones that the config does not skip.
    """
    if task != "classification":
        raise ConfigError(
            f"task: expected classification for data.source images, got {task}. Use data.source: arrays for numbers."
        )
    root = Path(config.path)
    files = image_files(root)
    shape = (*config.size, 1 if config.color == "grey" else 3)
    scratch = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the memory map that outlives this call
    pixels = np.memmap(scratch, np.uint8, "w+", shape=(len(files), *shape))
    unreadable: list[tuple[str, str]] = []
    readable: list[int] = []
    for position, file in enumerate(files):
        try:
            pixels[len(readable)] = read_picture(file.path, shape)
            readable.append(position)
        except UnreadablePicture as error:
            unreadable.append((str(file.path.relative_to(root)), str(error)))
        if (position + 1) % PROGRESS_EVERY == 0 or position + 1 == len(files):
            progress.step("read", position + 1, len(files), {"unreadable": float(len(unreadable))})
    if unreadable and not config.skip_unreadable:
        raise unreadable_error(unreadable, "Remove or replace them, or set data.skip_unreadable: true.")
    kept = [files[position] for position in readable]
    names = tuple(sorted({file.class_name for file in files}))
    codes = np.array([names.index(file.class_name) for file in kept], np.int32)
    shipped = any(file.split is not None for file in kept)
    given = np.array([SPLIT_NAMES.index(file.split or "train") for file in kept], np.int8) if shipped else None
    shown = ", ".join(f"{name} ({reason})" for name, reason in unreadable[:NUM_LISTED])
    return LoadedImages(
        Targets(codes, names),
        {
            "source": "images",
            "folder": root.name,
            "files": len(files),
            "unreadable": [{"file": name, "reason": reason} for name, reason in unreadable],
            "ships_splits": shipped,
        },
        np.array(readable, np.int64),
        (f"{len(unreadable)} unreadable images are left out: {shown}.",) if unreadable else (),
        given,
        shape=shape,
        read=lambda rows: pixels[rows],
    )
