"""The code of a builder, known without running it: its module, and those beside it that it imports."""

from __future__ import annotations

import ast
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from data.contract import ConfigError
from data.paths import nearest
from models.own_model_config import BuilderModelConfig
from pipeline.code_digest import Code


def builder_code(config: BuilderModelConfig) -> dict[str, str]:
    """Digests the code that a builder consists of.

    Args:
        config: the section `model`, its folder absolute.

    Returns:
        Module name -> digest of its syntax, comments and docstrings left out: the builder's module and every module in
        its folder that it imports by a statement, directly or by others.

    Raises:
        ConfigError: the folder, the module or the function is not there, a module is no Python, or has a name that
            Python knows for another.
    """
    module, _, function = config.builder.partition(":")
    folder = Path(str(config.folder))
    if not folder.is_dir():
        raise ConfigError(f"model.folder: expected a folder, got {str(folder)!r}, which is none. Correct the path.")
    code = Code(folder, rooms=None)
    path = code.path(module)
    if path is None:
        stem = folder.joinpath(*module.split("."))
        near = nearest(stem.name, [each.stem for each in stem.parent.glob("*.py")]) if stem.parent.is_dir() else ""
        raise ConfigError(
            f"model.builder: expected {module.replace('.', '/')}.py in {str(folder)!r}, got none{near}. "
            "Correct the name, or say by model.folder where it lies."
        )
    try:
        parts = code.parts([(module, None)])
        names = _names(path)
    except (SyntaxError, ValueError, RecursionError) as error:
        place = f"{Path(error.filename or path).name}:{error.lineno}" if isinstance(error, SyntaxError) else path.name
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(f"model.builder: expected Python {_version()}, got none in {place} ({reason}).") from error
    except OSError as error:
        raise ConfigError(f"model.builder: expected modules that can be read, got {error}.") from error
    if function not in names:
        near = nearest(function, sorted(names))
        raise ConfigError(
            f"model.builder: expected a function '{function}' in {path.name}, got none{near}. "
            "Correct the name, or write it."
        )
    for name in sorted({each.split(".")[0] for each in parts}):
        _refuse_other_meaning(name, folder)
    return parts


def _names(path: Path) -> set[str]:
    """Names that a module may bind at its top, functions first."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes(), filename=str(path))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
    return found


def _refuse_other_meaning(name: str, folder: Path) -> None:
    """Refuses a module whose name means another one to Python: `import` would give that."""
    if name in sys.stdlib_module_names:
        raise _taken(name, "Python's own")
    elsewhere = [entry for entry in sys.path if Path(os.path.realpath(entry or ".")) != Path(os.path.realpath(folder))]
    spec = PathFinder.find_spec(name, elsewhere)
    if spec is not None and spec.origin is not None:
        raise _taken(name, f"{spec.origin}'s")


def _taken(name: str, owner: str) -> ConfigError:
    return ConfigError(
        f"model.builder: expected modules of names of their own, got '{name}', which is {owner} too. Rename the file."
    )


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
