"""Says in the house's form what pydantic found wrong in a config: `expected <rule>, got <value>. <what to do>`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pipeline.config_reading.disagreement import DisagreementError
from pipeline.config_reading.likeness import nearest, similarity
from pipeline.config_reading.schema import (
    ROOT,
    Section,
    Slot,
    all_sections,
    dotted,
    is_implied,
    rule_of,
    section_at,
    slot_at,
    tag_of,
)
from pipeline.config_reading.unavailable import unavailable

Location = tuple[str | int, ...]

LONGEST_VALUE = 60
"""Characters of a wrong value that a message repeats."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong at one place.

    Attributes:
        location: keys and list positions.
        message: `expected <rule>, got <value>. <what to do>`.
        involves: other places it rests on; where one of them is at fault itself, this one is not said.
        mended_by: a word that would have been right (the nearest), for finding what else is wrong.
        superfluous: the key is not the config's; without it, all else stands as written.
    """

    location: Location
    message: str
    involves: tuple[Location, ...] = ()
    mended_by: str | None = None
    superfluous: bool = False


def unavailable_faults(document: Any) -> Iterator[Fault]:
    """Yields what `document` asks for that this version does not have."""
    for location, sentence in unavailable(document):
        message = f"expected a key of {_place(location[:-1])}, got '{location[-1]}'. {sentence}"
        yield Fault(location, message, superfluous=True)


def faults_of(errors: Sequence[ErrorDetails], document: Any) -> list[Fault]:
    """Translates pydantic's errors about `document`, one fault a place.

    Args:
        errors: `ValidationError.errors()`.
        document: the plain values that were validated.

    Returns:
        Faults in pydantic's order. Where a place may hold several types, pydantic reports one error
        for each; the deepest say what is wrong with the type that was meant.
    """
    faults: dict[Location, Fault] = {}
    for error in errors:
        for fault in _faults_of_one(error, document):
            faults.setdefault(fault.location, fault)
    places = set(faults)
    return [fault for place, fault in faults.items() if not _is_shadowed(place, places, document)]


def value_at(location: Location, document: Any) -> Any:
    """Returns the value at a location of a document; None where there is none."""
    value = document
    for part in location:
        inside = isinstance(value, dict) and part in value
        if isinstance(value, list) and isinstance(part, int) and part < len(value):
            inside = True
        if not inside:
            return None
        value = value[part]
    return value


def shown(value: Any) -> str:
    """Returns a value as a message repeats it: text in quotes, long values cut, null as nothing."""
    if value is None:
        return "null"
    if isinstance(value, str):
        text = f"'{value}'" if value.isprintable() else repr(value)
    else:
        text = json.dumps(value, ensure_ascii=False).replace("Infinity", "infinity")
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def unknown_key(location: Location, document: Any) -> str:
    """Says that a section has no such key, and which one was probably meant."""
    key = str(location[-1])
    parent = slot_at(location[:-1], document)
    section = None if parent is None else section_at(parent, value_at(location[:-1], document))
    names = [] if section is None else list(section.model_fields)
    head = f"expected a key of {_place(location[:-1])}, got '{key}'."
    if parent is not None and key in (*parent.implying_keys, parent.discriminator):
        return f"{head} {_either(location, parent, section)}"
    own, home = nearest(key, names), _home_of(key, location[:-1])
    if home is not None and (own is None or similarity(key, own) < 1.0 - 1.0 / (len(key) + 1)):
        return f"{head} '{key}' belongs to {home}."
    if own is not None:
        return f"{head} Did you mean '{own}'?"
    return f"{head} Its keys are {', '.join(names)}." if names else head


def _either(location: Location, parent: Slot, section: type[BaseModel] | None) -> str:
    """Says that one of the keys which choose a class excludes another."""
    key = str(parent.discriminator)
    other = tag_of(section, key) if section is not None and is_implied(section, key) else key
    return f"'{location[-1]}' and '{other}' exclude each other: take one of them out."


def _faults_of_one(error: ErrorDetails, document: Any) -> list[Fault]:
    location, kind = _plain_location(error["loc"], document), error["type"]
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, DisagreementError):
        return [Fault(each.location, each.message, each.involves) for each in cause.found]
    if cause is not None:
        return [Fault(location, str(cause), (location,))]
    if kind == "default_factory_not_called":
        # The default follows from another section, which is at fault itself.
        return []
    if kind == "extra_forbidden":
        return [Fault(location, unknown_key(location, document), superfluous=True)]
    slot = slot_at(location, document)
    if slot is None:
        return [Fault(location, f"{error['msg'][0].lower()}{error['msg'][1:]}, got {shown(error['input'])}.")]
    if kind == "missing":
        return [Fault(location, _missing(location, slot))]
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return [_wrong_tag(location, slot, document)]
    return [_wrong_value(location, slot, document)]


def _wrong_value(location: Location, slot: Slot, document: Any) -> Fault:
    value = value_at(location, document)
    word = nearest(value, slot.words) if isinstance(value, str) else None
    hint = ""
    if word is not None:
        hint = f" Did you mean '{word}'?"
    elif slot.discriminator is not None:
        words = slot.tags
        hint = f" Write for example {{{slot.discriminator}: {words[0]}}}; there are {', '.join(words)}."
    elif value is None and slot.sections and not any(each.is_required() for each in _fields_of(slot)):
        hint = f" Write `{location[-1]}: {{}}` for its defaults, or take it out."
    elif slot.sections and not isinstance(value, dict):
        hint = f" Its keys are {', '.join(slot.sections[0].model_fields)}."
    elif isinstance(value, str) and _is_number(value):
        hint = " Write it without quotes, spaces, units or underscores."
    elif isinstance(value, bool | int | float) and str in {each.annotation for each in slot.choices}:
        hint = " Put it in quotes."
    rule = _slot_rule(location, slot, document)
    return Fault(location, f"expected {rule}, got {shown(value)}.{hint}", mended_by=word)


def nothing_given(location: Location, document: Any) -> str:
    """Says what may stand after a key that nothing follows; null is offered only where it may stand."""
    slot = slot_at(location, document)
    ways = ["null to leave it unset"] if slot is None or slot.nullable else []
    if slot is None or (slot.sections and not any(each.is_required() for each in _fields_of(slot))):
        ways.append("{} for a section with its defaults")
    needed = slot is not None and slot.field is not None and slot.field.is_required()
    how = f"Write {', '.join(ways)}" if ways else f"Write {rule_of(slot)}" if slot is not None else "Write one"
    return f"expected a value, got nothing. {how}{'' if needed else ', or take the key out'}."


def _fields_of(slot: Slot) -> list[FieldInfo]:
    return [field for section in slot.sections for field in section.model_fields.values()]


def _wrong_tag(location: Location, slot: Slot, document: Any) -> Fault:
    key = str(slot.discriminator)
    place, value = (*location, key), value_at(location, document)
    rule = f"one of {', '.join(repr(word) for word in slot.tags)}"
    if key not in value:
        return Fault(place, f"expected {rule}, got nothing.{_untold_kind(location, slot, value)}")
    word = nearest(str(value[key]), slot.tags)
    hint = "" if word is None else f" Did you mean '{word}'?"
    return Fault(place, f"expected {rule}, got {shown(value[key])}.{hint}", mended_by=word)


def _untold_kind(location: Location, slot: Slot, value: dict[str, Any]) -> str:
    """What to do where a section does not say which of several it is: a misspelt key, or none."""
    for written in value:
        meant = nearest(written, (str(slot.discriminator), *slot.implying_keys))
        if meant is not None:
            return f" Did you mean '{meant}' by '{written}'?"
    others = "".join(f", or a '{name}'" for name in slot.implying_keys)
    return f" Add it{others}: the other keys of {_place(location)} depend on it."


def _missing(location: Location, slot: Slot) -> str:
    meaning = " ".join((slot.field.description or "").split()) if slot.field is not None else ""
    explained = f": {_lower_first(meaning)}" if meaning else "."
    return f"expected {rule_of(slot)}, got nothing. Add it to {_place(location[:-1])}{explained}"


def _lower_first(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _slot_rule(location: Location, slot: Slot, document: Any) -> str:
    """The rule of a place; at a key that tells classes apart, the words of all of them."""
    parent = slot_at(location[:-1], document) if location else None
    if parent is not None and parent.discriminator == location[-1]:
        return f"one of {', '.join(repr(tag) for tag in parent.tags)}"
    return rule_of(slot)


def _plain_location(loc: tuple[str | int, ...], document: Any) -> Location:
    """Takes out of pydantic's location the words it adds to tell the members of a union apart."""
    location: Location = ()
    slot: Slot | None = ROOT
    parts = list(loc)
    while parts and slot is not None:
        if slot.discriminator is not None or len(slot.choices) > 1:
            parts.pop(0)
            if not parts:
                break
        location = (*location, parts.pop(0))
        # "[key]" marks an error in a mapping's key; the location of the entry says it.
        parts = [part for part in parts if part != "[key]"]
        slot = slot_at(location, document)
    return (*location, *parts)


def _is_shadowed(place: Location, places: set[Location], document: Any) -> bool:
    slot = slot_at(place, document)
    several = slot is not None and len(slot.choices) > 1 and slot.discriminator is None
    # A list whose items are all wrong is reported as too short besides.
    is_list = isinstance(value_at(place, document), list)
    return (several or is_list) and any(len(other) > len(place) and other[: len(place)] == place for other in places)


_MOST_HOMES = 6


def _home_of(key: str, here: Location) -> str | None:
    """Names the sections that do have a key: those below `here` if there are any, else all."""
    keys = tuple("[]" if isinstance(part, int) else part for part in here)
    homes = [each for each in all_sections() if key in each.declared.model_fields]
    homes = [each for each in homes if each.path[: len(keys)] == keys] or homes
    by_path: dict[tuple[str, ...], list[Section]] = {}
    for each in homes:
        by_path.setdefault(each.path, []).append(each)
    # A name found nearly everywhere (`name`) says nothing about what was meant.
    return _one_of([_section_name(each) for each in by_path.values()]) if 0 < len(by_path) <= _MOST_HOMES else None


def _section_name(variants: Sequence[Section]) -> str:
    if not variants[0].path:
        return "the top level"
    name = f"'{'.'.join(variants[0].path).replace('.[]', '')}'"
    kinds: dict[str, list[str]] = {}
    for each in variants:
        if each.variant is not None:
            kinds.setdefault(each.variant[0], []).append(each.variant[1])
    told = [f"{key}: {_one_of(words)}" for key, words in kinds.items()]
    return f"{name} with {_one_of(told)}" if told else name


def _one_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _place(location: Location) -> str:
    return f"'{dotted(location)}'" if location else "the config"


def _is_number(text: str) -> bool:
    try:
        float(text.strip().replace("_", "").replace(",", ""))
    except ValueError:
        return False
    return True
