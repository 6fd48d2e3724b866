"""Looks a config's classes up by location, and says in words what each field allows.

The rules in error messages and those in docs/config.md come from here, and from nowhere else.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config import RunConfig

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Slot:
    """What may stand at one place of a config.

    Attributes:
        annotation: the type, without Annotated.
        constraints: the bounds that go with it, as annotated_types' objects.
        discriminator: key that tells the classes of a union apart; None where there is none.
        field: the declaration, where the place is a field of a section.
    """

    annotation: Any
    constraints: tuple[Any, ...] = ()
    discriminator: str | None = None
    field: FieldInfo | None = None

    @property
    def choices(self) -> tuple[Slot, ...]:
        """The types of a union, null left out; the slot itself where there is no union."""
        if get_origin(self.annotation) not in (Union, types.UnionType):
            return (self,)
        return tuple(_slot_of(each, self.constraints) for each in get_args(self.annotation) if each is not type(None))

    @property
    def nullable(self) -> bool:
        """Whether null may stand here."""
        return get_origin(self.annotation) in (Union, types.UnionType) and type(None) in get_args(self.annotation)

    @property
    def sections(self) -> tuple[type[BaseModel], ...]:
        """The classes of sections that may stand here."""
        return tuple(each.annotation for each in self.choices if _is_section(each.annotation))

    @property
    def tags(self) -> tuple[str, ...]:
        """The words that a user writes after the discriminator to choose a class."""
        key = self.discriminator
        return tuple(tag_of(each, key) for each in self.sections if key is not None and not is_implied(each, key))

    @property
    def implying_keys(self) -> tuple[str, ...]:
        """The keys that choose a class by standing there, in place of the discriminator."""
        declared = (each for each in self.sections if self.discriminator is not None)
        return tuple(tag_of(each, str(self.discriminator)) for each in declared if is_implied(each, self.discriminator))

    @property
    def words(self) -> tuple[str, ...]:
        """The words a Literal allows here; empty where there is none."""
        return tuple(word for each in self.choices if get_origin(each.annotation) is Literal for word in _words(each))


@dataclass(frozen=True)
class Section:
    """One class of keys and the place it has in a config.

    Attributes:
        path: keys that lead to it, `[]` for the items of a list; () is the top level.
        variant: (discriminating key, word) where several classes share the place; of a class that
            a key of its own implies, that key and `…`.
        declared: the class.
    """

    path: tuple[str, ...]
    variant: tuple[str, str] | None
    declared: type[BaseModel]


ROOT = Slot(RunConfig)


def field_slot(field: FieldInfo) -> Slot:
    """Returns what may stand in a field."""
    inner = _slot_of(field.annotation, tuple(field.metadata))
    discriminator = field.discriminator if isinstance(field.discriminator, str) else inner.discriminator
    return Slot(inner.annotation, inner.constraints, discriminator, field)


def item_slots(slot: Slot) -> tuple[Slot, ...]:
    """Returns what the items of a list may be, or the values of a mapping; empty for other slots."""
    for choice in slot.choices:
        if get_origin(choice.annotation) is tuple:
            return tuple(_slot_of(each) for each in get_args(choice.annotation) if each is not Ellipsis)
        if get_origin(choice.annotation) is dict:
            return (_slot_of(get_args(choice.annotation)[1]),)
    return ()


def section_at(slot: Slot, value: Any) -> type[BaseModel] | None:
    """Returns the class of the section in a slot; of several, the one that `value` names by its discriminator."""
    if len(slot.sections) <= 1 or slot.discriminator is None:
        return slot.sections[0] if slot.sections else None
    if not isinstance(value, dict):
        return None
    implied = next((key for key in slot.implying_keys if key in value), default_tag(slot))
    tag = value.get(slot.discriminator, implied)
    return next((each for each in slot.sections if tag_of(each, slot.discriminator) == tag), None)


def is_implied(declared: type[BaseModel], discriminator: str | None) -> bool:
    """Whether a class of a union is chosen by a key that it has, of the name of its word."""
    return _goes_unnamed(declared, discriminator) and tag_of(declared, str(discriminator)) in declared.model_fields


def default_tag(slot: Slot) -> str | None:
    """Returns the word of the class that a section is which names none; None where one must be named."""
    unnamed = (each for each in slot.sections if _goes_unnamed(each, slot.discriminator))
    return next(
        (tag_of(each, str(slot.discriminator)) for each in unnamed if not is_implied(each, slot.discriminator)), None
    )


def _goes_unnamed(declared: type[BaseModel], discriminator: str | None) -> bool:
    return discriminator is not None and not declared.model_fields[discriminator].is_required()


def tag_of(declared: type[BaseModel], discriminator: str) -> str:
    """Returns the word that names a class of a union, e.g. `mlp` for MlpConfig."""
    return field_slot(declared.model_fields[discriminator]).words[0]


def slot_at(location: Location, document: Any) -> Slot | None:
    """Returns what may stand at a location of a document; None where the schema has no such place."""
    slot, value = ROOT, document
    for part in location:
        inner = _inner_slot(slot, part, value)
        if inner is None:
            return None
        slot, value = inner, _inner_value(value, part)
    return slot


def default_at(location: Location, document: Any) -> Any:
    """Returns the default at a location as plain values (lists, mappings, numbers, text); None where there is none."""
    slot = slot_at(location, document)
    if slot is None or slot.field is None or slot.field.is_required() or slot.field.default_factory is not None:
        return None
    return plain(slot.field.default)


def plain(value: Any) -> Any:
    """Returns a default without its classes: sections as mappings, tuples as lists."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [plain(each) for each in value] if isinstance(value, tuple) else value


@cache
def all_sections() -> tuple[Section, ...]:
    """Returns every section of a config, the top level first, each with the path that leads to it."""
    return tuple(_sections_below(ROOT, ()))


def rule_of(slot: Slot) -> str:
    """Says what a slot allows, e.g. `a whole number from 1 to 4096`, or `'weight'`."""
    words = slot.words
    rules = [_words_rule(words)] if words else []
    if slot.sections:
        keys = (slot.discriminator, *slot.implying_keys) if slot.discriminator else ()
        rules.append(f"a section with {' or '.join(repr(key) for key in keys)}" if keys else "a section")
    for choice in slot.choices:
        if get_origin(choice.annotation) is not Literal and not _is_section(choice.annotation):
            rules.append(_plain_rule(choice))
    return " or ".join([*rules, *(["null"] if slot.nullable else [])])


def dotted(location: Location) -> str:
    """Writes a location as overrides do: `model.blocks.0.filters`."""
    return ".".join(str(part) for part in location)


def _slot_of(annotation: Any, constraints: tuple[Any, ...] = ()) -> Slot:
    discriminator = None
    while get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        for extra in extras:
            constraints += tuple(extra.metadata) if isinstance(extra, FieldInfo) else (extra,)
            if isinstance(extra, FieldInfo) and isinstance(extra.discriminator, str):
                discriminator = extra.discriminator
    return Slot(annotation, constraints, discriminator)


def _inner_slot(slot: Slot, part: str | int, value: Any) -> Slot | None:
    section = section_at(slot, value)
    if section is None and slot.discriminator is not None and part == slot.discriminator:
        # Whatever stands there names no class; the place itself exists in every one of them.
        section = slot.sections[0]
    if section is not None and isinstance(part, str):
        field = section.model_fields.get(part)
        return None if field is None else field_slot(field)
    items = item_slots(slot)
    if not items or isinstance(part, int) != any(get_origin(each.annotation) is tuple for each in slot.choices):
        return None
    return items[min(part, len(items) - 1)] if isinstance(part, int) else items[0]


def _inner_value(value: Any, part: str | int) -> Any:
    if isinstance(part, int):
        return value[part] if isinstance(value, list) and 0 <= part < len(value) else None
    return value.get(part) if isinstance(value, dict) else None


def _sections_below(slot: Slot, path: tuple[str, ...]) -> Iterator[Section]:
    key = slot.discriminator
    for declared in slot.sections:
        yield Section(path, None if key is None else _variant(declared, key), declared)
    # The kinds of a section come together; a section that several of them have, comes once.
    seen: set[tuple[tuple[str, ...], type[BaseModel]]] = set()
    for declared in slot.sections:
        for name, field in declared.model_fields.items():
            inner = field_slot(field)
            places = [(inner, (*path, name)), *((item, (*path, name, "[]")) for item in item_slots(inner)[:1])]
            below = [section for place, way in places for section in _sections_below(place, way)]
            yield from (section for section in below if (section.path, section.declared) not in seen)
            seen.update((section.path, section.declared) for section in below)


def _variant(declared: type[BaseModel], discriminator: str) -> tuple[str, str]:
    tag = tag_of(declared, discriminator)
    return (tag, "…") if is_implied(declared, discriminator) else (discriminator, tag)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _words(slot: Slot) -> tuple[str, ...]:
    return tuple(str(word) for word in get_args(slot.annotation))


def _words_rule(words: tuple[str, ...]) -> str:
    quoted = ", ".join(f"'{word}'" for word in words)
    return quoted if len(words) == 1 else f"one of {quoted}"


def _plain_rule(slot: Slot) -> str:
    origin = get_origin(slot.annotation)
    if origin is tuple:
        return _list_rule(slot)
    if origin is dict:
        return f"a mapping (each value {rule_of(item_slots(slot)[0])})"
    if slot.annotation is str:
        pattern = _bound(slot, "pattern")
        limit = _bound(slot, "max_length")
        text = "text" if pattern is None else f"text that matches {pattern.strip('^$')}"
        return text if limit is None else f"{text}, of at most {limit} characters"
    names = {int: "a whole number", float: "a number", bool: "true or false"}
    return f"{names[slot.annotation]}{_range(slot)}"


def _list_rule(slot: Slot) -> str:
    arguments = get_args(slot.annotation)
    least, most = _bound(slot, "min_length"), _bound(slot, "max_length")
    if Ellipsis not in arguments:
        size = f" of {len(arguments)}"
    elif least is not None and most is not None:
        size = f" of {least}" if least == most else f" of {least} to {most}"
    else:
        size = "" if least is None else f" of at least {least}"
    return f"a list{size} (each {rule_of(item_slots(slot)[0])})"


def _range(slot: Slot) -> str:
    least, above, most, below = (_bound(slot, name) for name in ("ge", "gt", "le", "lt"))
    if least is not None and most is not None:
        return f" from {_figure(least)} to {_figure(most)}"
    bounds = (("above", above), ("at least", least), ("below", below), ("at most", most))
    both = " and ".join(f"{word} {_figure(bound)}" for word, bound in bounds if bound is not None)
    if not both:
        return ""
    return f" {both}" if both.startswith(("above", "below")) else f" of {both}"


def _figure(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _bound(slot: Slot, name: str) -> Any:
    for constraint in slot.constraints:
        bound = getattr(constraint, name, None)
        if bound is not None:
            return bound
    return None
