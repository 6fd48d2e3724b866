"""Types of fields that several sections on networks share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Units = Annotated[int, Field(ge=1, le=4096)]
Activation = Literal["relu", "relu6", "leaky_relu", "elu", "sigmoid", "tanh", "hard_swish"]
DropoutFraction = Annotated[float, Field(ge=0.0, lt=1.0)]
