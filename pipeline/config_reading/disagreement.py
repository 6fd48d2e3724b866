"""What two fields of a config that are right alone and wrong together are told as."""

from __future__ import annotations

from dataclasses import dataclass

from data.contract import FrozenConfig

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Disagreement:
    """Two fields that are right alone and wrong together.

    Attributes:
        location: where a user would mend it, as keys and list positions.
        message: `expected <rule>, got <value>. <what to do>`.
        involves: the other fields the rule looked at; where one of them is wrong itself, this is not said.
    """

    location: Location
    message: str
    involves: tuple[Location, ...] = ()


class DisagreementError(ValueError):
    """All disagreements of a config at once; pydantic carries it inside its ValidationError."""

    def __init__(self, found: list[Disagreement]) -> None:
        super().__init__("\n".join(f"{'.'.join(map(str, each.location))}: {each.message}" for each in found))
        self.found = found


def is_chosen(section: FrozenConfig, name: str) -> bool:
    """Returns whether a field was given, and as something else than its default."""
    return name in section.model_fields_set and getattr(section, name) != type(section).model_fields[name].default


def split_location(text: str) -> tuple[Location, str]:
    """Takes the location off a message `model.blocks[2].kernel: expected …`."""
    head, separator, rest = text.partition(": ")
    if not separator or " " in head:
        return ("model",), text
    parts = head.replace("[", ".").replace("]", "").split(".")
    return tuple(int(part) if part.isdigit() else part for part in parts), rest
