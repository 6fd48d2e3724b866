"""What is wrong with a config, each with the place it was read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from data.contract import ConfigError


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a config.

    Attributes:
        line: line of the file, counted from 1; None for an override, or the file as a whole.
        location: dotted key, e.g. `model.blocks.0.filters`; empty for the config as a whole.
        message: `expected <rule>, got <value>. <what to do>`.
        origin: `FILE:LINE`, `FILE`, or `override a.b=value`.
    """

    line: int | None
    location: str
    message: str
    origin: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.origin, self.location, self.message) if part)


class ConfigErrors(ConfigError):  # noqa: N818 - it carries several, and says so
    """All that is wrong with a config, one line a problem, in the file's order.

    Attributes:
        problems: the problems; those of overrides come last.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)
