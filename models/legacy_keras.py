"""The one door to tf_keras (Keras 2) and to TFMOT, which works with no other Keras.

Every module that touches a network takes `tf` and `keras` from here, so that the variable that
chooses Keras 2 is always set before TensorFlow is imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from data.contract import PenjingError

if "tensorflow" in sys.modules and os.environ.get("TF_USE_LEGACY_KERAS") != "1":
    raise PenjingError(
        "environment.TF_USE_LEGACY_KERAS: expected '1' before TensorFlow is imported, got "
        f"{os.environ.get('TF_USE_LEGACY_KERAS')!r} with TensorFlow already imported. "
        "Import models.legacy_keras before tensorflow, or set the variable."
    )
os.environ["TF_USE_LEGACY_KERAS"] = "1"
# Results depend on oneDNN to the last bits, and are kept under keys that do not know the environment: it is always on.
# A small convolutional network trained two to three times as fast with it.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

tf: Any = importlib.import_module("tensorflow")
keras: Any = tf.keras

if not keras.__name__.startswith("tf_keras"):
    raise PenjingError(
        f"environment.tf_keras: expected tensorflow.keras to be tf_keras, got {keras.__name__}. "
        "Install the versions of requirements.txt: `make test` sets them up."
    )

# Trials and workers that share a GPU take the memory they need; the first would else take all of it.
for _gpu in tf.config.list_physical_devices("GPU"):
    tf.config.experimental.set_memory_growth(_gpu, True)

# TensorFlow's remapper fuses batch normalization with any activation that follows, and its CPU kernel then refuses
# tanh ("Fusion is not implemented: [FusedBatchNorm,Tanh]"). Inference without it gives the same answers.
tf.config.optimizer.set_experimental_options({"remapping": False})

__all__ = ["clone", "keras", "model_of_saved_config", "saved_metadata", "tf", "tfmot", "use_determinism"]


def use_determinism(seed: int) -> None:
    """Makes every later operation give the same bits again, and seeds Python, NumPy and TensorFlow.

    Args:
        seed: seed of whatever draws without a seed of its own, in [0, 2**31 - 1].
    """
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(seed)


def tfmot() -> Any:
    """Imports TFMOT (a second and a half) where it is needed.

    Returns:
        The module `tensorflow_model_optimization`.
    """
    return importlib.import_module("tensorflow_model_optimization")


def saved_metadata() -> Any:
    """Makes an empty message to parse a SavedModel's keras_metadata.pb into.

    Returns:
        tf_keras's SavedMetadata.
    """
    return importlib.import_module("tf_keras.protobuf.saved_metadata_pb2").SavedMetadata()


def model_of_saved_config(config: dict[str, Any]) -> Any:
    """Makes a model, with fresh weights, of what keras_metadata.pb says of it.

    Args:
        config: class_name and config, as Keras wrote them before the archive `.keras`: without modules.

    Returns:
        What it describes; byte code in it is run.
    """
    utils = importlib.import_module("tf_keras.src.saving.legacy.saved_model.utils")
    with utils.keras_option_scope(save_traces=False, in_tf_saved_model_scope=True):
        return keras.layers.deserialize(config, use_legacy_format=True)


def clone(model: Any) -> Any:
    """Copies a model: same architecture and weights, no variable in common.

    Args:
        model: a functional or sequential Keras model.

    Returns:
        A new, uncompiled keras.Model.
    """
    twin = keras.models.clone_model(model)
    twin.set_weights(model.get_weights())
    return twin
