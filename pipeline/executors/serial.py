"""Trials one after the other, in the process of the run itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.store import Artifact

Make = Callable[[str, Mapping[str, Any], Mapping[str, tuple[str, str]]], Artifact]
"""(stage, sections of the config, role -> (stage, key)) -> the artifact, made or found."""


@dataclass(frozen=True)
class SerialTrials:
    """The simplest executor; see `pipeline.workspace.Trials`.

    Attributes:
        make: makes an artifact, or finds it in the store.
        inputs: role -> (stage, key) of the stage that asks.
    """

    make: Make
    inputs: Mapping[str, tuple[str, str]]

    def run(self, stage: str, roles: Mapping[str, str | tuple[str, str]], config: Mapping[str, Any]) -> Artifact:
        """Returns the artifact of `stage` under `config`; see `Trials.run`."""
        inputs = {role: self.inputs[own] if isinstance(own, str) else own for role, own in roles.items()}
        return self.make(stage, config, inputs)
