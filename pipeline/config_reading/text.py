"""Reads the text of a config file, or says why there is none."""

from __future__ import annotations

from pathlib import Path

from pipeline.config_reading.likeness import nearest
from pipeline.config_reading.problems import ConfigErrors, Problem

MAX_BYTES = 1 << 20
"""Largest config file that is read: 1 MiB."""


def read_text(path: Path) -> str:
    """Reads a config file.

    Args:
        path: a regular file of at most MAX_BYTES in UTF-8, with or without a byte order mark.

    Returns:
        Its text.

    Raises:
        ConfigErrors: where it is missing, no regular file, unreadable, too large or not UTF-8.
    """
    try:
        if not path.exists():
            raise _about_file(path, f"expected a config file, got a path where nothing is.{_sibling_hint(path)}")
        if path.is_dir():
            raise _about_file(path, f"expected a config file, got a folder.{_folder_hint(path)}")
        if not path.is_file():
            raise _about_file(path, "expected a regular file, got a device or a pipe. Save the config as a file.")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _about_file(path, f"expected a file that can be read, got: {reason}.") from error
    if len(raw) > MAX_BYTES:
        raise _about_file(path, f"expected at most {MAX_BYTES} bytes, got more. Is this a config?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"expected UTF-8 text, got the byte 0x{raw[error.start]:02x}. Save the file as UTF-8."
        raise ConfigErrors([Problem(line, "", message, f"{path}:{line}")]) from error


def _about_file(path: Path, message: str) -> ConfigErrors:
    return ConfigErrors([Problem(None, "", message, str(path))])


def _sibling_hint(path: Path) -> str:
    if not path.parent.is_dir():
        return f" There is no folder '{path.parent}' either."
    name = nearest(path.name, _config_names(path.parent)) or nearest(f"{path.name}.yaml", _config_names(path.parent))
    return "" if name is None else f" Did you mean '{path.parent / name}'?"


def _folder_hint(path: Path) -> str:
    names = _config_names(path)[:5]
    return f" It holds {', '.join(names)}." if names else ""


def _config_names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir() if each.suffix in (".yaml", ".yml"))
