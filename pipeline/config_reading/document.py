"""Reads one YAML 1.2 document into plain values, and remembers the line of every key and list item.

ruamel.yaml scans and parses; the values are made here from its events by the core schema of YAML 1.2
(section 10.3.2): there are no dates, `yes` is text, and no tag can name a Python object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

Location = tuple[str | int, ...]

MAX_DEPTH = 24
"""Deepest nesting that is read; a config needs five."""

MAX_VALUES = 20_000
"""Most values of a document, counted while reading and again with aliases written out: a billion laughs stops here."""

MAX_DIGITS = 300
"""Longest number that is read; every double fits."""

_NULL = re.compile(r"null|Null|NULL|~")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class YamlError(ValueError):
    """The text is no document that can be read.

    Attributes:
        line: counted from 1.
        column: counted from 1; None where the line says it all.
        message: `expected <rule>, got <value>. <what to do>`.
    """

    def __init__(self, line: int, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.message = message


@dataclass(frozen=True)
class Finding:
    """Something wrong in a document that can be read: a duplicate key, a key without a value (`empty`)."""

    line: int
    location: Location
    message: str
    empty: bool = False


@dataclass
class Document:
    """A document as plain values.

    Attributes:
        value: dict, list, str, int, float, bool or None, nested.
        lines: line of each key and list item by its location, counted from 1.
        findings: what is wrong though it could be read.
    """

    value: Any = None
    lines: dict[Location, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class _Node:
    """A value and its line; `content` is a plain scalar, a list of nodes, or (key, line, node) entries."""

    line: int
    content: Any
    empty: bool = False


def read_document(text: str) -> Document:
    """Reads one YAML document.

    Args:
        text: the document; an empty one has the value None.

    Returns:
        The document with the first value of each duplicate key.

    Raises:
        YamlError: where the text is not YAML 1.2, holds a tag or a second document, nests deeper
            than MAX_DEPTH or holds more than MAX_VALUES values.
    """
    try:
        root = _Builder(YAML(typ="safe", pure=True).parse(text)).build()
    except MarkedYAMLError as error:
        raise _syntax_error(error) from error
    except AssertionError as error:  # ruamel.yaml's way to refuse a version that it does not know
        raise YamlError(
            _directive_line(text), f"expected YAML 1.2, got another: {error}. Take the line out."
        ) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"expected text, got the control character {chr(error.character)!r}. Take it out."
        raise YamlError(line, message) from error
    document = Document()
    if root is not None:
        document.value = _Writer(document).plain(root, ())
    return document


def _syntax_error(error: MarkedYAMLError) -> YamlError:
    mark = error.problem_mark or error.context_mark
    line, column = (1, None) if mark is None else (mark.line + 1, mark.column + 1)
    problem = error.problem or error.context or "something else"
    if "\\t" in problem:
        return YamlError(line, "expected spaces, got a tab. Indent with spaces.", column)
    message = f"expected YAML, got what is none: {problem}. Look at the indentation, colons, brackets and quotes here."
    return YamlError(line, message, column)


def _directive_line(text: str) -> int:
    """Returns the line of the first directive, counted from 1."""
    return 1 + next((number for number, line in enumerate(text.splitlines()) if line.startswith("%YAML")), 0)


class _Builder:
    """Makes nodes from parser events, one pass, bounded in depth."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = iter(events)
        self._anchors: dict[str, _Node] = {}
        self._num_values = 0

    def build(self) -> _Node | None:
        root: _Node | None = None
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise YamlError(_line(event), "expected one document, got a second after `---`. Take it out.")
                if event.version is not None and tuple(event.version) != (1, 2):
                    version = ".".join(str(part) for part in event.version)
                    raise YamlError(_line(event), f"expected YAML 1.2, got %YAML {version}. Take the line out.")
            elif isinstance(event, NodeEvent):
                root = self._node(event, 0)
        return root

    def _node(self, event: Any, depth: int) -> _Node:
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            raise _too_many_values(_line(event))
        if depth > MAX_DEPTH:
            raise YamlError(_line(event), f"expected at most {MAX_DEPTH} levels of nesting, got more. Flatten it.")
        if isinstance(event, ScalarEvent):
            node = _scalar(event)
        elif isinstance(event, SequenceStartEvent):
            _refuse_tag(event)
            node = _Node(_line(event), self._items(depth))
        elif isinstance(event, MappingStartEvent):
            _refuse_tag(event)
            node = _Node(_line(event), _Entries(self._entries(depth)))
        elif event.anchor in self._anchors:
            return self._anchors[event.anchor]
        else:
            raise YamlError(_line(event), f"expected an anchor that ended above, got *{event.anchor}.")
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _items(self, depth: int) -> list[_Node]:
        items = []
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self._node(event, depth + 1))
        return items

    def _entries(self, depth: int) -> list[tuple[str, int, _Node]]:
        entries = []
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent):
                raise YamlError(_line(event), "expected a word as the key, got a list or a mapping.")
            _refuse_tag(event)
            # A key is a name as written: in `{0: 1.5}` it is the class "0".
            entries.append((_encodable(event), _line(event), self._node(next(self._events), depth + 1)))
        return entries


class _Entries(list[tuple[str, int, _Node]]):
    """The entries of a mapping, duplicates included."""


class _Writer:
    """Turns nodes into plain values, aliases written out, and counts them."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._num_values = 0

    def plain(self, node: _Node, location: Location) -> Any:
        self._num_values += 1
        if self._num_values > MAX_VALUES:
            raise _too_many_values(node.line)
        if isinstance(node.content, _Entries):
            return self._mapping(node.content, location)
        if isinstance(node.content, list):
            for position, item in enumerate(node.content):
                self._document.lines[(*location, position)] = item.line
            return [self.plain(item, (*location, position)) for position, item in enumerate(node.content)]
        return node.content

    def _mapping(self, entries: _Entries, location: Location) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, line, node in entries:
            place = (*location, key)
            if key in values:
                first = self._document.lines[place]
                message = f"expected each key once, got it again (first on line {first}). Take one out."
                self._document.findings.append(Finding(line, place, message))
                continue
            self._document.lines[place] = line
            values[key] = self.plain(node, place)
            if node.empty:
                message = "expected a value, got nothing. Write one, or take the key out."
                self._document.findings.append(Finding(line, place, message, empty=True))
        return values


def _too_many_values(line: int) -> YamlError:
    return YamlError(line, f"expected at most {MAX_VALUES} values, got more. Take aliases or lists apart.")


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1


def _refuse_tag(event: ScalarEvent | SequenceStartEvent | MappingStartEvent) -> None:
    tag = None if event.ctag is None else str(event.ctag)
    if tag is not None and tag != "!" and not (tag.endswith(":str") and isinstance(event, ScalarEvent)):
        raise YamlError(_line(event), f"expected plain values, got the tag {tag}. Take it out.")


def _encodable(event: ScalarEvent) -> str:
    text = str(event.value)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise YamlError(_line(event), "expected characters, got half of a surrogate pair. Write the character itself.")
    return text


def _scalar(event: ScalarEvent) -> _Node:
    _refuse_tag(event)
    text, line = _encodable(event), _line(event)
    if event.style is not None or event.ctag is not None:
        return _Node(line, text)
    if not text:
        return _Node(line, None, empty=True)
    if _NULL.fullmatch(text):
        return _Node(line, None)
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return _Node(line, text[0] in "tT")
    is_integer = _INTEGER.fullmatch(text) is not None
    if not is_integer and not _FLOAT.fullmatch(text):
        return _Node(line, text)
    if len(text) > MAX_DIGITS:
        raise YamlError(line, f"expected a number of at most {MAX_DIGITS} characters, got {len(text)}.")
    return _Node(line, _integer(text) if is_integer else _float(text))


def _integer(text: str) -> int:
    if text.startswith(("0o", "0x")):
        return int(text, 0)
    return int(text, 10)


def _float(text: str) -> float:
    # Python spells the infinities and NaN without their dot.
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
