"""Copies a user's model, so that what is looked at is what is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

from data.contract import ConfigError
from pipeline.own_model.files import model_files
from pipeline.own_model.formats import MAX_BYTES
from pipeline.refusals import FULL


def copy_model(file: str, target: Path) -> None:
    """Copies exactly the files that a model is made of, once their size is known to be small enough.

    Args:
        file: as for `model_files`.
        target: path of the copy, a file or a folder; it must not exist.

    Raises:
        ConfigError: as `model_files`; it is larger than a model may be, or cannot be read.
        OSError: there is no room for the copy.
    """
    source, files = Path(file), model_files(file)
    try:
        size = sum(path.stat().st_size for path in files)
        if size > MAX_BYTES:
            raise ConfigError(
                f"model.file: expected a model of at most {MAX_BYTES:,} bytes, got {size:,}. "
                "Save it without its optimizer."
            )
        for path in files:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    except OSError as error:
        if error.errno in FULL:  # the copy's disk: nothing is wrong with the model
            raise
        raise ConfigError(
            f"model.file: expected files that can be read, got {error.filename or file}: {error.strerror}. "
            "Check its permissions."
        ) from error
