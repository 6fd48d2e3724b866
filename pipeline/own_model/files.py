"""Which files a user's model is made of, found without opening any of them."""

from __future__ import annotations

from pathlib import Path

from data.contract import ConfigError, DataError
from data.paths import existing

SUFFIXES = (".keras", ".h5", ".hdf5")
"""Ends of the names of files that hold a whole model; a folder is a SavedModel."""

SAVED_MODEL = "saved_model.pb"
"""What makes a folder a SavedModel."""

MOST_FILES = 1_000
"""Files of a SavedModel; one of a thousand layers has a handful."""


def model_files(file: str) -> list[Path]:
    """Lists the files that a model is made of, sorted.

    Args:
        file: the absolute path of a `.keras` or `.h5` file, or of the folder of a SavedModel.

    Returns:
        The file, or all files of the folder.

    Raises:
        ConfigError: it is missing (the nearest sibling is offered) or cannot be read, its name ends otherwise, or the
            folder is no SavedModel.
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
    found = sorted(each for each in path.rglob("*") if each.is_file())
    if len(found) > MOST_FILES:
        raise ConfigError(
            f"model.file: expected at most {MOST_FILES} files in a SavedModel, got {len(found)} in {str(path)!r}. "
            "Name the model's own folder."
        )
    return found
