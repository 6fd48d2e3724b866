"""Runs a user's builder: imports its module by path, calls the function, and leaves Python's imports as they were."""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from data.contract import ConfigError, PenjingError, Schema
from models.own_model_config import BuilderModelConfig
from pipeline.own_model.builder_code import builder_code


def call_builder(config: BuilderModelConfig, schema: Schema) -> Any:
    """Calls the function that a config names.

    Args:
        config: the section `model`, its folder absolute.
        schema: what the function is told of the data.

    Returns:
        Whatever it returns.

    Raises:
        ConfigError: the module or the function is not there, does not take these arguments or raises an error, or a
            module was imported that `builder_code` did not see.
    """
    known = builder_code(config)
    module, _, function = config.builder.partition(":")
    folder = Path(str(config.folder))
    with _importable(folder) as imported:
        try:
            made = _called(getattr(import_module(module), function, None), config, schema)
        except PenjingError:
            raise
        except (Exception, SystemExit) as error:  # whatever a user's code raises is told as that, with its line
            raise _failed(error, folder) from error
    unseen = sorted(imported - known.keys())
    if unseen:
        raise ConfigError(
            f"model.builder: expected imports by statements, so that a change of the code is seen, got "
            f"{', '.join(unseen)} imported in another way. Write `import` at the top."
        )
    return made


class _Beside:
    """Finds modules in one folder, after everything else has been asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns where a top-level module of the folder lies; None for all others."""
        return PathFinder.find_spec(name, [self._folder], target) if path is None else None


@contextmanager
def _importable(folder: Path) -> Iterator[set[str]]:
    """Lets modules of a folder be imported, and forgets them after; yields the names that were, filled at the end."""
    before = set(sys.modules)
    imported: set[str] = set()
    finder, writes = _Beside(folder), sys.dont_write_bytecode
    sys.meta_path.append(finder)
    sys.dont_write_bytecode = True
    try:
        yield imported
    finally:
        sys.dont_write_bytecode = writes
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            spec = getattr(sys.modules[name], "__spec__", None)
            if spec is not None and _lies_in(spec, folder):
                imported.update({name} if spec.origin is not None else ())
                del sys.modules[name]


def _lies_in(spec: ModuleSpec, folder: Path) -> bool:
    places = [spec.origin] if spec.origin is not None else list(spec.submodule_search_locations or ())
    return any(Path(place).is_relative_to(folder) for place in places)


def _called(function: Any, config: BuilderModelConfig, schema: Schema) -> Any:
    """Calls a builder; what does not fit its parameters is told apart from what it raises itself."""
    if not callable(function):
        raise ConfigError(f"model.builder: expected a function, got {config.builder}, which is none.")
    try:
        signature = inspect.signature(function)
        signature.bind(schema, **config.arguments)
    except TypeError as error:
        raise ConfigError(
            f"model.arguments: expected what {config.builder}{signature} takes besides the schema, got "
            f"{', '.join(config.arguments) or 'nothing'} ({error}). Correct the names."
        ) from error
    return function(schema, **config.arguments)


def _failed(error: BaseException, folder: Path) -> ConfigError:
    """Says what a user's code raised, and at which line of it."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)
    ]
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    told = f"{type(error).__name__}{f': {reason}' if reason else ''}"
    return ConfigError(f"model.builder: expected a function that returns a model, got {told}{where}. Mend it there.")
