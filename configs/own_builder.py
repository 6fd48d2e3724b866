"""A network of one's own for configs/own_builder.yaml: two branches of convolutions that are added."""

from __future__ import annotations

from typing import Any

from tensorflow import keras

layers = keras.layers


def two_branches(schema: Any, filters: int = 12) -> Any:
    """Builds the untrained network that fits the data.

    Args:
        schema: what the data is: `input_shape` of one row, `num_classes`, and more (data/contract.py, Schema).
        filters: filters of each convolution.

    Returns:
        An uncompiled keras.Model that ends with a softmax over the classes.
    """
    image = keras.Input(schema.input_shape)
    wide = layers.Conv2D(filters, 5, padding="same", name="wide")(image)
    narrow = layers.Conv2D(filters, 3, padding="same", name="narrow")(image)
    maps = layers.ReLU(name="joined")(layers.Add(name="sum")([wide, narrow]))
    maps = layers.MaxPooling2D(2, name="pool")(maps)
    maps = layers.Conv2D(2 * filters, 3, padding="same", activation="relu", name="upper")(maps)
    vector = layers.Dropout(0.1, name="dropout")(layers.GlobalAveragePooling2D(name="average")(maps))
    return keras.Model(image, layers.Dense(schema.num_classes, activation="softmax", name="answer")(vector))
