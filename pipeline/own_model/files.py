"""Which files a user's model is made of, found without opening any of them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from data.contract import ConfigError, DataError
from data.paths import existing

SUFFIXES = (".keras", ".h5", ".hdf5")
"""Ends of the names of files that hold a whole model; a folder is a SavedModel."""

SAVED_MODEL = "saved_model.pb"
"""What makes a folder a SavedModel."""

MOST_FILES = 1_000
"""Files and folders in a SavedModel; one of a thousand layers has a handful."""


def model_files(file: str) -> list[Path]:
    """Lists the files that a model is made of, sorted.

    Args:
        file: the absolute path of a `.keras` or `.h5` file, or of the folder of a SavedModel.

    Returns:
        The file, or all files of the folder.

    Raises:
        ConfigError: it is missing (the nearest sibling is offered) or cannot be read, its name ends otherwise, or the
            folder is no SavedModel, or holds too many files or what is no file, as a link.
    """
    try:
        path = existing(Path(file), "file or folder", "model.file")
    except DataError as error:  # what is wrong is the config: the rows have nothing to do with it
        raise ConfigError(str(error)) from error
    if path.is_file():
        if path.name == SAVED_MODEL:
            raise ConfigError(
                f"model.file: expected the folder of a SavedModel, got its {SAVED_MODEL}. Name the folder."
            )
        if path.suffix.lower() not in SUFFIXES:
            raise ConfigError(
                f"model.file: expected a .keras or .h5 file, or the folder of a SavedModel, got {path.name!r}. "
                "Save the model by tf_keras: model.save('model.keras')."
            )
        return [path]
    if not (path / SAVED_MODEL).is_file():
        raise ConfigError(
            f"model.file: expected a folder with {SAVED_MODEL} (a SavedModel), got {str(path)!r} without it. "
            "Name the model's own folder, or its .keras or .h5 file."
        )
    try:
        return _files_in(path)
    except OSError as error:
        raise ConfigError(
            f"model.file: expected a folder that can be read, got {error.filename}: {error.strerror}. "
            "Check its permissions."
        ) from error


def _files_in(folder: Path) -> list[Path]:
    """Lists the files of a SavedModel; a link, a pipe and a device lead to what is not of the model."""
    found: list[Path] = []
    waiting, seen = [folder], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                seen += 1
                if seen > MOST_FILES:
                    raise ConfigError(
                        f"model.file: expected at most {MOST_FILES} files in a SavedModel, got more in "
                        f"{str(folder)!r}. Name the model's own folder."
                    )
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    waiting.append(Path(entry.path))
                elif stat.S_ISREG(mode):
                    found.append(Path(entry.path))
                else:
                    kind = "a link" if stat.S_ISLNK(mode) else "no file"
                    raise ConfigError(
                        f"model.file: expected files in a SavedModel, got {entry.path!r}, which is {kind}. "
                        "Put the file itself there, or take it out."
                    )
    return sorted(found)
