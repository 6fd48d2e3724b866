"""The section `model` of a recurrent network."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from data.contract import FrozenConfig
from models.field_types import Activation, DropoutFraction, Units

NUM_GATES = {"lstm": 4, "gru": 3, "simple": 1}
"""Cell -> how many columns of its kernels each unit has."""


class RnnConfig(FrozenConfig):
    """A recurrent network: reads a series step by step, an image row by row, and answers from what it remembers."""

    family: Literal["rnn"]
    """Kind of network."""

    cell: Literal["lstm", "gru", "simple"] = "lstm"
    """LSTM (Hochreiter & Schmidhuber 1997), one operator in TFLite; GRU (Cho 2014) or simple cell (Elman 1990), laid
    out step by step there: each step adds operators to the file."""

    units: tuple[Units, ...] = Field(default=(32,), min_length=1, max_length=8)
    """Units of each recurrent layer; in a bidirectional one, of each direction."""

    bidirectional: bool = False
    """Each layer also reads from the last step to the first, by units of their own; a device then needs the whole
    series before it can begin."""

    pooling: Literal["last", "mean"] = "last"
    """How states become a vector: the one after the last step (of each direction), or the mean over all steps."""

    head_units: tuple[Units, ...] = ()
    """Neurons of dense layers between the recurrent layers and the output."""

    activation: Activation = "relu"
    """Activation of the dense layers of the head; cells have tanh and sigmoid. `leaky_relu` has slope 0.2 below
    zero."""

    dropout_fraction: DropoutFraction = 0.0
    """Chance of each answer of a layer, recurrent or dense, to be left out of a training step; what a cell tells itself
    is not touched (Zaremba 2014). 0: none is."""

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> RnnConfig:
        if not self.head_units and self.activation != type(self).model_fields["activation"].default:
            raise ValueError(
                "expected activation with head_units alone, got it without. Nothing would read it: take it out, or "
                "give the head layers."
            )
        return self
