"""From a config and a schema to an untrained network."""

from __future__ import annotations

from typing import Any

from data.contract import ConfigError, Schema, derive_seed
from models.architectures import autoencoder, cnn, mlp, rnn
from models.autoencoder_config import AutoencoderConfig
from models.config import CnnConfig, LinearConfig, NetworkConfig
from models.legacy_keras import keras
from models.own_model_config import BuilderModelConfig, FileModelConfig
from models.rnn_config import RnnConfig
from models.shapes import check_shapes
from models.tasks import Clustering, Task, task_for

NUM_CLASSES_MINIMUM = 2


def build(config: NetworkConfig, schema: Schema, task_name: str, seed: int, num_clusters: int | None = None) -> Any:
    """Builds an untrained functional model with stable layer names, the last one `output`.

    Each kernel is drawn from a seed derived from `seed` and its layer's name, so a layer starts from
    the same numbers whatever is built around it.

    Args:
        config: the section `model`; a family of networks.
        schema: shape of one input and the classes.
        task_name: one of `models.tasks.TASKS`.
        seed: seed of the initial weights.
        num_clusters: outputs of a clustering; not looked at by other tasks.

    Returns:
        A keras.Model from float32 (rows, *schema.input_shape) to (rows, num_classes or num_clusters) probabilities,
        (rows, 1) standardized values, or (rows, entries of an input) of a reconstruction.

    Raises:
        ConfigError: the shapes are impossible, or the task does not fit the schema.
        TypeError: the model is not of a family, but the user's own.
    """
    if isinstance(config, FileModelConfig | BuilderModelConfig):
        raise TypeError(f"model: expected a family of networks, got {config.family}. The stage build takes others in.")
    check_shapes(config, schema.input_shape)
    task: Task = Clustering(num_clusters=num_clusters) if task_name == "clustering" else task_for(task_name)
    if task.name == "classification" and schema.num_classes < NUM_CLASSES_MINIMUM:
        raise ConfigError(
            f"task: expected regression for data without classes, got {task.name} with {schema.num_classes} classes. "
            "Set task to regression, or name a target column of classes."
        )
    inputs = keras.Input(shape=schema.input_shape, name="input")
    if isinstance(config, CnnConfig):
        features = cnn.features(config, inputs, seed)
    elif isinstance(config, RnnConfig):
        features = rnn.features(config, inputs, seed)
    elif isinstance(config, LinearConfig):
        features = mlp.flat(inputs)
    elif isinstance(config, AutoencoderConfig):
        features = autoencoder.encode(config, inputs, seed)
        if task.name == "reconstruction":
            outputs = autoencoder.decode(config, features, schema.input_shape, seed)
            return keras.Model(inputs, outputs, name=config.family)
    else:
        features = mlp.features(config, inputs, seed)
    outputs = task.output_layer(schema, derive_seed(seed, "output"))(features)
    return keras.Model(inputs, outputs, name=config.family)
