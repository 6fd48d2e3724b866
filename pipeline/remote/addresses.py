"""Which URLs a config names, and where in the work directory their copies lie. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from data.contract import DataError, PenjingError
from data.paths import is_url
from pipeline.files import sha256_of_json

COPIES = ".remote"
"""Folder of the store that holds the copies."""

WEB = ("http", "https")
"""Schemes that know files, and no folders."""

_PLACES: tuple[tuple[str, ...], ...] = (("data", "path"), ("data", "unlabeled", "path"), ("model", "file"))


@dataclass(frozen=True)
class Address:
    """One URL of a config.

    Attributes:
        place: its keys.
        url: the URL, without a slash at its end.
        kind: source that reads it (`table`, `images`, …), or `model`: which of a folder's files are wanted.
    """

    place: tuple[str, ...]
    url: str
    kind: str

    @property
    def field(self) -> str:
        """Its place, as messages name it."""
        return ".".join(self.place)

    @property
    def scheme(self) -> str:
        """What stands before `://`, in small letters."""
        return self.url.partition("://")[0].lower()

    @property
    def path(self) -> str:
        """Bucket and key, or host and path: a URL of the web has its query and its percent signs taken out."""
        if self.scheme in WEB:
            parts = urlsplit(self.url)
            return f"{parts.netloc}{unquote(parts.path)}"
        return self.url.partition("://")[2]

    @property
    def leaf(self) -> str:
        """Name of the file or folder."""
        return self.path.rpartition("/")[2]

    @property
    def key(self) -> str:
        """Name of its copy, 16 hexadecimal digits."""
        return sha256_of_json([self.kind, self.url])[:16]

    def folder(self, store: Path) -> Path:
        """Returns the folder of its copy, with what is known of it, in a store."""
        return store / COPIES / self.key

    def local(self, store: Path) -> Path:
        """Returns the path that is read in place of the URL."""
        return self.folder(store) / "tree" / self.leaf


def addresses(sections: Mapping[str, Any]) -> list[Address]:
    """Returns the URLs in some sections of a config.

    Args:
        sections: `data` and `model`, as config objects or plain values; others are not looked at.
    """
    found = []
    for place in _PLACES:
        owner = sections.get(place[0])
        for part in place[1:-1]:
            owner = _value(owner, part)
        written = _value(owner, place[-1])
        if isinstance(written, str) and is_url(written):
            kind = _value(owner, "source") if place[0] == "data" else "model"
            found.append(Address(place, written.rstrip("/"), str(kind)))
    return found


def local_path(given: str) -> Path:
    """Returns the path that a command is given.

    Raises:
        DataError: it is a URL: only sources of a config are copied.
    """
    if is_url(given):
        raise DataError(f"INPUT: expected a file or folder of this machine, got {given!r}. Download it first.")
    return Path(given)


def _value(owner: Any, name: str) -> Any:
    return owner.get(name) if isinstance(owner, dict) else getattr(owner, name, None)


def localized(sections: Mapping[str, Any], reads: str | None, store: Path) -> dict[str, Any]:
    """Returns sections that name the copies in place of the URLs, for a stage that reads `data` or `model`."""
    changed = dict(sections)
    if reads is None:
        return changed
    for address in addresses({reads: sections.get(reads)}):
        changed[reads] = _replaced(changed[reads], address.place[1:], str(address.local(store)))
    return changed


def _replaced(section: Any, place: tuple[str, ...], value: str) -> Any:
    inner = value if len(place) == 1 else _replaced(getattr(section, place[0]), place[1:], value)
    return section.model_copy(update={place[0]: inner})


def told_by_url(text: str, sections: Mapping[str, Any], store: Path) -> str:
    """Returns a text in which URLs stand in place of the paths of their copies."""
    for address in addresses(sections):
        text = text.replace(str(address.local(store)), address.url)
    return text


@contextmanager
def telling_urls(sections: Mapping[str, Any], store: Path) -> Iterator[None]:
    """Lets errors name URLs in place of the paths of their copies."""
    try:
        yield
    except PenjingError as error:
        error.args = tuple(told_by_url(str(each), sections, store) for each in error.args)
        raise
