"""What a careful engineer writes by hand with TFMOT: train, prune, cluster, quantization-aware training, convert.

Run by `benchmarks.compression` in a process of its own:

    .venv/bin/python -m benchmarks.tfmot_recipe ARRAYS.npz mlp|cnn SEED RESULT.json

The steps are those of TFMOT's own guide to collaborative optimization: sparsity-preserving clustering, then cluster-
and sparsity-preserving quantization-aware training (PCQAT), 20 epochs in all. Two traps are stepped around that would
make it worse: the pruning schedule ends on an update, and layers too small to cluster are left out.
"""

from __future__ import annotations

import gzip
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.legacy_keras import keras, tf, tfmot, use_determinism

BATCH_SIZE = 128
EPOCHS = {"train": 10, "prune": 6, "cluster": 2, "quantize": 2}
FINAL_SPARSITY = 0.9
NUM_CLUSTERS = 16
UPDATE_STEPS = 100
MIN_CLUSTERED_WEIGHTS = 2_000
"""Smaller kernels have fewer weights left than k-means++ can seed clusters with, or little to gain."""


def network(kind: str, shape: tuple[int, ...]) -> Any:
    """Returns 784-300-100-10, or conv16-pool-conv32-pool-dense64-10, untrained."""
    layers = keras.layers
    if kind == "mlp":
        body = [layers.Flatten(), layers.Dense(300, "relu"), layers.Dense(100, "relu")]
    else:
        body = [
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(64, "relu"),
        ]
    return keras.Sequential([keras.Input(shape), *body, layers.Dense(10, "softmax")])


def compiled(model: Any) -> Any:
    """Returns the model with Adam and the loss of every step."""
    model.compile(keras.optimizers.Adam(), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def pruned(model: Any, fit: Any, steps_per_epoch: int) -> Any:
    """Prunes to 90%, layer by layer, over the first two thirds of its epochs."""
    sparsity = tfmot().sparsity.keras
    end = EPOCHS["prune"] * steps_per_epoch * 2 // 3 // UPDATE_STEPS * UPDATE_STEPS
    schedule = sparsity.PolynomialDecay(0.0, FINAL_SPARSITY, 0, end, frequency=UPDATE_STEPS)
    wrapped = compiled(sparsity.prune_low_magnitude(model, schedule))
    fit(wrapped, "prune", [sparsity.UpdatePruningStep()])
    return sparsity.strip_pruning(wrapped)


def clustered(model: Any, fit: Any) -> Any:
    """Clusters the large kernels to 16 values, zeros kept."""
    clustering = tfmot().clustering.keras
    # The clustering that keeps zeros has no public name; TFMOT's own guide takes it from here.
    keeping_zeros = importlib.import_module(
        "tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster"
    )
    weights = {
        "number_of_clusters": NUM_CLUSTERS,
        "cluster_centroids_init": clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
        "preserve_sparsity": True,
    }

    def wrap(layer: Any) -> Any:
        large = layer.weights and layer.kernel.shape.num_elements() >= MIN_CLUSTERED_WEIGHTS
        return keeping_zeros.cluster_weights(layer, **weights) if large else layer

    # The wrappers hold the model's own layers, weights and all.
    wrapped = compiled(keras.models.clone_model(model, clone_function=wrap))
    fit(wrapped, "cluster", [])
    return clustering.strip_clustering(wrapped)


def quantized(model: Any, fit: Any) -> Any:
    """Trains with fake quantization; zeros and clusters are to survive."""
    quantize = tfmot().quantization.keras
    scheme = tfmot().experimental.combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=True)
    wrapped = compiled(quantize.quantize_apply(quantize.quantize_annotate_model(model), scheme))
    fit(wrapped, "quantize", [])
    return wrapped


def converted(model: Any, calibration: NDArray[np.float32] | None = None) -> bytes:
    """Converts to int8, inputs and outputs too; a model that was trained for it brings its own ranges."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if calibration is not None:
        converter.representative_dataset = lambda: ([row[None]] for row in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main() -> None:
    """Runs the recipe and writes what came of it."""
    arrays, kind, seed, result = sys.argv[1:]
    use_determinism(int(seed))
    with np.load(arrays, allow_pickle=False) as data:
        x, y, x_validation, y_validation = (data[name] for name in ("x", "y", "x_validation", "y_validation"))
    steps = -(-len(x) // BATCH_SIZE)

    def fit(model: Any, stage: str, callbacks: list[Any]) -> None:
        validation = (x_validation, y_validation)
        model.fit(x, y, BATCH_SIZE, EPOCHS[stage], verbose=2, callbacks=callbacks, validation_data=validation)

    dense = compiled(network(kind, x.shape[1:]))
    fit(dense, "train", [])
    dense_file = converted(dense, x[:: len(x) // 256])
    final = quantized(clustered(pruned(dense, fit, steps), fit), fit)
    final_file = converted(final)
    folder = Path(result).parent
    told = {}
    for name, file in (("dense", dense_file), ("recipe", final_file)):
        (folder / f"{kind}-{seed}-{name}.tflite").write_bytes(file)
        told[name] = {"bytes": len(file), "gzip_bytes": len(gzip.compress(file, 9, mtime=0))}
    Path(result).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
