"""A step of a trial whose key is known: what an executor hands to whoever makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PlannedStep:
    """One artifact that a trial needs.

    Attributes:
        stage: name of the stage that makes it.
        key: its key.
        parts: what the key was computed from.
        config: the sections the stage reads, by name.
        inputs: role -> (stage, key) of what it takes.
    """

    stage: str
    key: str
    parts: dict[str, Any]
    config: Mapping[str, Any]
    inputs: dict[str, tuple[str, str]]

    @property
    def artifact(self) -> tuple[str, str]:
        """(stage, key) of what it makes."""
        return self.stage, self.key
