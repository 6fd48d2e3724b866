"""Keys that are known, and that this version cannot serve: refused by name instead of as a typing error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Location = tuple[str | int, ...]

UNAVAILABLE_KEYS: dict[str, str] = {
    "data.augmentation": "Augmenting images is",
}
"""Dotted key (`*`: any one key; list positions left out) -> what is not there, up to its verb."""


def unavailable(document: Any) -> Iterator[tuple[Location, str]]:
    """Finds what a document asks for that this version does not have.

    Args:
        document: a config as plain values.

    Returns:
        (location, one sentence) each.
    """
    yield from _search(document, ())


def _search(value: Any, location: Location) -> Iterator[tuple[Location, str]]:
    key = tuple(part for part in location if isinstance(part, str))
    for pattern, what in UNAVAILABLE_KEYS.items():
        if location and location[-1] == key[-1] and _matches(key, pattern):
            yield location, _sentence(what)
            return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, item in items:
        yield from _search(item, (*location, part))


def _matches(key: tuple[str, ...], pattern: str) -> bool:
    parts = pattern.split(".")
    return len(parts) == len(key) and all(each in ("*", name) for each, name in zip(parts, key, strict=True))


def _sentence(what: str) -> str:
    return f"{what} not available in this version."
