"""Folders of images, one folder a class, perhaps under folders of splits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.config import ImagesData, label_use
from data.contract import SPLIT_NAMES, ConfigError, Progress
from data.image_folders import ImageFile, image_files, is_image_name, loose_images
from data.parallel import anywhere, num_cores
from data.paths import entries_of
from data.pictures import NUM_LISTED, UnreadablePicture, read_picture, unreadable_error
from data.scratch import Scratch, cut_to
from data.sources.loaded import LoadedImages, Targets, no_targets

DECODED_AT_ONCE = 128
"""Most images that a thread decodes before it tells of them."""

DECODED_BYTES = 16 * 2**20
"""Most pixels of them, beside the one that is decoded."""

REMEMBERED_EVERY = 2048
"""Images between two checkpoints, at least."""


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


def load_images(config: ImagesData, task: str, scratch: Scratch, progress: Progress) -> LoadedImages:
    """Decodes a folder of images, each once.

    Args:
        config: folder, size, color.
        task: not `regression`: folders are classes.
        scratch: on a disk with room for the decoded pixels, kept there while splits are written.
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
    decoded = decode_images(files, root, shape, scratch, progress)
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
        read=partial(_gathered, decoded.pixels, scratch),
    )


def _gathered(pixels: NDArray[np.uint8], scratch: Scratch, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    block = pixels[rows]
    scratch.release(pixels)
    return block


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
    files: Sequence[ImageFile],
    root: Path,
    shape: tuple[int, int, int],
    scratch: Scratch,
    progress: Progress,
    name: str = "images",
) -> Decoded:
    """Decodes every file once, on all cores, into a file of the scratch folder, which is then mapped.

    With checkpoints, a killed process goes on behind the last images that it remembers.

    Args:
        files: the images.
        root: from where those that cannot be read are named.
        shape: (height, width, channels) that every image gets.
        scratch: a folder on a disk with room for the pixels.
        progress: told how many images are read.
        name: of the file and the checkpoint.
    """
    path = scratch.folder / f"{name}.pixels"
    done, unreadable = _so_far(scratch.load(name), len(files))
    if done == 0 or not cut_to(path, (done - len(unreadable)) * math.prod(shape)):
        done, unreadable = 0, []
        path.write_bytes(b"")
    size = max(1, min(DECODED_AT_ONCE, DECODED_BYTES // math.prod(shape)))
    groups = [range(start, min(start + size, len(files))) for start in range(done, len(files), size)]
    made = anywhere(partial(_decoded, files, shape), groups, num_cores(), scratch.spread)
    remembered = done
    # Written, not mapped: on a full disk a write raises OSError, while a hole in a memory map kills the process.
    with path.open("ab") as stream:
        for group, (pixels, wrong) in made:
            stream.write(pixels)
            unreadable += wrong
            done = group.stop
            progress.step("read", done, len(files), {"unreadable": float(len(unreadable))})
            if done - remembered >= REMEMBERED_EVERY:
                remembered = done
                stream.flush()
                scratch.save(name, {"resumes_at": f"image {done + 1:,}", "done": done, "unreadable": unreadable})
    missing = {place for place, _ in unreadable}
    readable = [place for place in range(len(files)) if place not in missing]
    named = [(str(files[place].path.relative_to(root)), reason) for place, reason in unreadable]
    return Decoded(scratch.map(path, np.uint8).reshape(-1, *shape), readable, named)


def _so_far(state: Any, count: int) -> tuple[int, list[tuple[int, str]]]:
    """Returns how many images a checkpoint says are decoded, and which of them could not be; none where it is none."""
    try:
        done, unreadable = int(state["done"]), [(int(place), str(reason)) for place, reason in state["unreadable"]]
    except (KeyError, TypeError, ValueError):
        return 0, []
    return (done, unreadable) if len(unreadable) <= done <= count else (0, [])


def _decoded(
    files: Sequence[ImageFile], shape: tuple[int, int, int], group: range
) -> tuple[range, tuple[bytes, list[tuple[int, str]]]]:
    """Returns the group, the pixels of its readable images, and position and reason of the others."""
    pixels, unreadable = [], []
    for place in group:
        try:
            pixels.append(read_picture(files[place].path, shape).tobytes())
        except UnreadablePicture as error:
            unreadable.append((place, str(error)))
    return group, (b"".join(pixels), unreadable)


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
