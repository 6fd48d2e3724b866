"""Makes the model of a SavedModel anew from Keras's description of its layers; its graph is never run.

Loading a SavedModel runs operations of its graph, as those that fill tables, and an operation can write a file. So
layers are made from the description, which has been looked at, and weights are read from the checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data.contract import ConfigError
from models.legacy_keras import keras, model_of_saved_config, tf

_PLAIN = ("Functional", "Model", "Sequential")


def rebuild(folder: Path, config: dict[str, Any]) -> Any:
    """Makes the model that a SavedModel holds.

    Args:
        folder: the SavedModel.
        config: how Keras describes it; known to name no foreign code.

    Returns:
        An uncompiled keras.Model with the weights of the checkpoint, found by the attributes of layers they lie in.

    Raises:
        ConfigError: it is no functional or sequential model, has no input, or lacks a weight in the checkpoint.
    """
    inner = config.get("config")
    if config.get("class_name") not in _PLAIN or not isinstance(inner, dict) or "layers" not in inner:
        raise _refused("a functional or sequential model", "one whose layers are not described", "Save it as such.")
    model = model_of_saved_config({**config, "config": _without_marks(inner)})
    if not getattr(model, "inputs", None):
        raise _refused("a model with an input", "one that was never called", "Begin it with keras.Input.")
    checkpoint = folder / "variables" / "variables"
    try:
        tf.train.Checkpoint(model).read(str(checkpoint)).assert_existing_objects_matched()
    except AssertionError as error:
        raise _refused("weights of all layers in variables", "none for some", "Save the whole model anew.") from error
    for layer in model.submodules:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes by constants that are made of its weights
    return model


def _without_marks(value: Any) -> Any:
    """Turns what JSON cannot hold, and Keras marks, back into what it was: tuples, shapes and the ellipsis."""
    if isinstance(value, list):
        return [_without_marks(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("__tuple__", "TensorShape") and isinstance(value.get("items"), list):
        return tuple(_without_marks(each) for each in value["items"])
    if value.get("class_name") == "__ellipsis__":
        return ...
    return {key: _without_marks(each) for key, each in value.items()}


def _refused(rule: str, got: str, advice: str) -> ConfigError:
    return ConfigError(f"model.file: expected {rule}, got {got}. {advice}")
