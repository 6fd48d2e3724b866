"""Applies `a.b=value` from the command line to a config that was read from a file."""

from __future__ import annotations

from typing import Any

from pipeline.config_reading.document import Document, YamlError, read_document
from pipeline.config_reading.messages import shown
from pipeline.config_reading.schema import default_at, dotted, rule_of, slot_at

Location = tuple[str | int, ...]


class OverrideError(ValueError):
    """An override that cannot be applied; the message reads `<place>: expected <rule>, got <value>. <what to do>`."""


def apply_override(document: Document, override: str) -> Location:
    """Sets one value of a document in place.

    Sections on the way are made where they are missing; an item of a list that the document leaves
    out (`model.blocks.0.filters=8`) starts from the list's default.

    Args:
        document: the config as read; its value must be a mapping.
        override: `<dotted key>=<YAML value>`; list positions count from 0, null unsets.

    Returns:
        The place that was set, or the topmost one that had to be made for it.

    Raises:
        OverrideError: where there is no `=`, no value, a value that is no YAML, a position outside
            its list, or a single value where a section would have to be.
    """
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        lacking = "`=`" if not separator else "field before the `=`"
        raise OverrideError(f"expected `section.field=value`, got no {lacking}. Write for example train.epochs=5.")
    parts = [part.strip() for part in key.split(".")]
    if not all(parts):
        raise OverrideError(f"expected names between the dots, got '{key}'.")
    value = _parsed(key.strip(), text, document)
    location: Location = ()
    made: Location | None = None
    container: Any = document.value
    for part in parts[:-1]:
        location = (*location, _part_of(container, part, location))
        if _enter(container, location, document) and made is None:
            made = location
        container = container[location[-1]]
    location = (*location, _part_of(container, parts[-1], location))
    container[location[-1]] = value
    # The lines of what stood there in the file are no longer true.
    for other in [each for each in document.lines if each[: len(location)] == location]:
        del document.lines[other]
    return location if made is None else made


def _enter(container: Any, location: Location, document: Document) -> bool:
    """Makes sure that a section or list is at a location; returns whether it had to be made."""
    part = location[-1]
    made = isinstance(container, dict) and container.get(part) is None
    if made:
        default = default_at(location, document.value)
        container[part] = {} if default is None else default
    if not isinstance(container[part], dict | list):
        raise OverrideError(f"{dotted(location)}: expected a section or a list, got {shown(container[part])}.")
    return made


def _parsed(key: str, text: str, document: Document) -> Any:
    try:
        parsed = read_document(text)
    except YamlError as error:
        raise OverrideError(f"{key}: {error.message}") from error
    if parsed.findings:
        raise OverrideError(f"{key}.{dotted(parsed.findings[0].location)}: {parsed.findings[0].message}")
    if parsed.value is None and not text.strip():
        slot = slot_at(tuple(int(part) if part.isdigit() else part for part in key.split(".")), document.value)
        rule = "a value" if slot is None else rule_of(slot)
        unset = (
            f"Write {key}=null to unset it." if slot is not None and slot.nullable else "Write one, or leave it out."
        )
        raise OverrideError(f"{key}: expected {rule} after `=`, got nothing. {unset}")
    return parsed.value


def _part_of(container: dict[str, Any] | list[Any], part: str, location: Location) -> str | int:
    if isinstance(container, dict):
        return part
    if part.isascii() and part.isdigit() and int(part) < len(container):
        return int(part)
    raise OverrideError(
        f"{dotted(location)}: expected a position from 0 to {len(container) - 1}, got '{part}'. "
        "Set the whole list to change its length."
    )
