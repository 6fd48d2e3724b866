"""The sections of a config that one task alone has."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from data.contract import FrozenConfig


class ReconstructionConfig(FrozenConfig):
    """Telling abnormal rows by how badly they are reconstructed; with `task: reconstruction` alone."""

    false_alarm_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    """Most validation rows, all normal, that may be called abnormal: their errors set the threshold; 0: none of
    them."""
