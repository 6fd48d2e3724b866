"""Whether a builder's model consists of Keras's own layers, so that later stages can load it without the builder."""

from __future__ import annotations

from typing import Any

from data.contract import ConfigError
from models.legacy_keras import keras
from pipeline.own_model.foreign_code import foreign_code


def refuse_foreign_layers(model: Any) -> None:
    """Refuses classes and functions that are not Keras's: every stage loads the model from a file, without its code.

    Args:
        model: what a builder returned; anything but a functional or sequential model passes, for others to judge.

    Raises:
        ConfigError: a layer is of a class of the user's own, has a function of its own, or is a Lambda.
    """
    if not isinstance(model, keras.Model) or not getattr(model, "_is_graph_network", False):
        return
    try:
        config = keras.saving.serialize_keras_object(model)
    except (NotImplementedError, TypeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"model.builder: expected layers that can be saved, got the refusal {reason!r}.") from error
    found = foreign_code([{**config, "compile_config": None}])
    if found:
        told = "; ".join(f"{each.what} in layer '{each.layer}'" for each in found[:3])
        raise ConfigError(
            f"model.builder: expected Keras's own layers and activations, got {told}. Later stages cut, quantize and "
            "convert layers that they know: write it by Keras's layers."
        )
