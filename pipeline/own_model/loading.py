"""Loads a user's model from a file, once its architecture is known to run no code that the config does not allow."""

from __future__ import annotations

import lzma
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from data.contract import ConfigError
from models.legacy_keras import keras, tf
from models.own_model_config import FileModelConfig
from pipeline.own_model.copying import copy_model
from pipeline.own_model.foreign_code import foreign_code, refuse_foreign_code
from pipeline.own_model.formats import Architecture, read_architecture
from pipeline.own_model.limits import check_architecture, within_weights
from pipeline.own_model.rebuilding import rebuild
from pipeline.own_model.wiring import check_wiring

_NAMES = {"keras": "model.keras", "h5": "model.h5", "saved_model": "model"}

_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What Keras raises of a file that it cannot make a model of."""


@dataclass(frozen=True)
class LoadedModel:
    """A model as the file has it.

    Attributes:
        model: a tf_keras model, uncompiled.
        architecture: what the file says of it.
        foreign_layers: layers that run code which the file brought, by leave of the config.
    """

    model: Any
    architecture: Architecture
    foreign_layers: tuple[str, ...]


def load_own_model(config: FileModelConfig, folder: Path) -> LoadedModel:
    """Loads a model that a config names.

    Args:
        config: the section `model`.
        folder: scratch; what is looked at is a copy in it, so that it is what is loaded.

    Raises:
        ConfigError: it is damaged, holds code that is not allowed, its layers cannot be connected, it asks for more
            than it holds weights for, or tf_keras cannot make it.
    """
    copy = folder / "own_model"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    try:
        looked_at = copy / "looked_at"
        copy_model(config.file, looked_at)
        architecture = read_architecture(looked_at)
        allowed = refuse_foreign_code(foreign_code(architecture.configs), config.allow)
        check_wiring(architecture.configs)
        for described in architecture.configs:
            check_architecture(described)
        # Keras tells formats apart by name; a name that lies would send it the wrong way.
        path = looked_at.rename(copy / _NAMES[architecture.format])
        return LoadedModel(_loaded(path, architecture, safe=not allowed), architecture, allowed)
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _loaded(path: Path, architecture: Architecture, *, safe: bool) -> Any:
    options = {"safe_mode": safe} if architecture.format == "keras" else {}
    try:
        with within_weights(architecture.weight_bytes):
            if architecture.format == "saved_model":
                return rebuild(path, architecture.configs[0])
            return keras.models.load_model(path, compile=False, **options)
    except (*_FAILURES, tf.errors.OpError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        by = f"by Keras {architecture.keras_version}" if architecture.keras_version else "by another version"
        raise ConfigError(
            f"model.file: expected a model that tf_keras {metadata.version('tf_keras')} can load, got "
            f"{type(error).__name__}: {reason[:200].rstrip('.')}. It was saved {by}; save it anew by this one."
        ) from error
