"""Weight clustering: every kernel holds a few distinct values, its zeros among them, and training keeps to them.

`plan_clusters` chooses the values by k-means, `cluster` trains them; `models.held_kernels` says how. Biases and batch
normalization are never clustered: they are few, and an int8 file stores them in 32 bits anyway.

Reference:
    Han, Mao & Dally 2016, Deep Compression, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import Batches, Checkpoints, ConfigError, Progress
from models.held_kernels import HeldClusters, HeldZeros, KernelClusters
from models.kernel_maps import KernelMap, plain_model, with_kernel_maps
from models.kmeans import Initialization, kmeans
from models.pruning.kernels import prunable_kernels
from models.recurrent import is_recurrent
from models.training import Objective, TrainingResult, TrainingSettings, train

_RECURRENT = "recurrent layers are not clustered"


@dataclass(frozen=True)
class ClusterPlan:
    """What is clustered and what is not.

    Attributes:
        layers: clusters of each clustered kernel by layer name, in the order of the layers.
        zeros: of kernels that are left out but have zeros to keep: booleans, True where a weight is not zero, by name.
        left_out: why each other layer that holds weights is left as it is, by name.
    """

    layers: dict[str, KernelClusters]
    zeros: dict[str, NDArray[np.bool_]]
    left_out: dict[str, str]


@dataclass
class Clustering:
    """What came of clustering a model.

    Attributes:
        model: a plain Keras model with clustered kernels.
        training: how the training of the centroids went; None where there was none.
    """

    model: Any
    training: TrainingResult | None


def plan_clusters(
    model: Any, clusters: int, initialization: Initialization, min_layer_weights: int, seed: int
) -> ClusterPlan:
    """Chooses centroids for each Dense and Conv2D kernel by k-means of its non-zero weights.

    Args:
        model: a built Keras model, pruned or not; it is not changed.
        clusters: most distinct values of a kernel, zero counted as one where the kernel has zeros; at least 2.
        initialization: how k-means starts.
        min_layer_weights: kernels of fewer weights, zeros counted, are left out: they have little to gain.
        seed: of `k_means++`.

    Returns:
        The clusters, and the layers with weights that are left out, each with its reason.

    Raises:
        ConfigError: no layer can be clustered, or zeros of a recurrent layer would be lost.
    """
    found = prunable_kernels(model)
    recurrent = _recurrent_layers(model)
    layers: dict[str, KernelClusters] = {}
    zeros: dict[str, NDArray[np.bool_]] = {}
    left_out = dict.fromkeys(found.left_out, "") | dict.fromkeys(recurrent, _RECURRENT)
    for name, variable in found.kernels.items():
        if name.partition("/")[0] in recurrent:
            continue
        kernel = variable.numpy()
        wanted = clusters - int(not kernel.all())
        reason = _too_small(kernel, wanted, min_layer_weights)
        if reason is None:
            layers[name] = _clusters(kernel, wanted, initialization, seed)
        else:
            left_out[name] = reason
            if not kernel.all():
                zeros[name] = kernel != 0.0
    left_out |= {name: _unclustered(reason) for name, reason in found.left_out.items()}
    if not layers:
        why = "; ".join(f"{name}: {left_out[name]}" for name in (*found.kernels, *recurrent) if name in left_out)
        raise ConfigError(
            f"cluster.clusters: expected a layer with enough weights for {clusters} clusters, got none ({why}). "
            "Lower it, or cluster.min_layer_weights, or leave the section out."
        )
    ordered = [layer.name for layer in model.layers if layer.name in left_out]
    return ClusterPlan(layers, zeros, {name: left_out[name] for name in ordered})


def cluster(
    model: Any,
    plan: ClusterPlan,
    batches: Batches,
    validation: tuple[Any, NDArray[Any]],
    objective: Objective,
    settings: TrainingSettings,
    *,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Clustering:
    """Clusters a model's kernels and trains the centroids, and every weight that is not clustered, for some epochs.

    Given the same arguments the same bits come out, also where a killed training was resumed from its checkpoints.

    Args:
        model: the model that `plan` was made for; it is not changed.
        plan: made by `plan_clusters`.
        batches: training rows.
        validation: (x, y) as `train` takes them.
        objective: loss and score.
        settings: how to train; with 0 epochs nothing is trained.
        checkpoints: where the training keeps its state.
        progress: told of each epoch.

    Returns:
        A new model; each clustered kernel has no more distinct values than its plan's centroids, and zeros are zeros.

    Raises:
        TrainingError: as `train`.
    """
    twin = with_kernel_maps(model, kernel_maps(plan))
    result = None
    if settings.epochs > 0:
        result = train(twin, batches, validation, objective, settings, checkpoints=checkpoints, progress=progress)
    return Clustering(plain_model(model, twin), result)


def kernel_maps(plan: ClusterPlan) -> dict[str, KernelMap]:
    """Makes what a training twin's kernels pass through, new for each twin.

    Args:
        plan: made by `plan_clusters`.

    Returns:
        Maps by layer name.
    """
    held: dict[str, KernelMap] = {name: HeldClusters(clusters) for name, clusters in plan.layers.items()}
    return held | {name: HeldZeros(keep) for name, keep in plan.zeros.items()}


def distinct_values(model: Any, layers: Sequence[str]) -> dict[str, int]:
    """Counts the distinct values of kernels, zero counted as one.

    Args:
        model: a Keras model.
        layers: names of its Dense and Conv2D layers.

    Returns:
        Counts by layer name.
    """
    return {name: int(np.unique(model.get_layer(name).kernel.numpy()).size) for name in layers}


def _recurrent_layers(model: Any) -> list[str]:
    """Names of the layers that training under clusters cannot hold.

    Raises:
        ConfigError: one of them is pruned, and would be whole again.
    """
    layers = [layer for layer in model.layers if is_recurrent(layer)]
    for layer in layers:
        if any(not kernel.all() for kernel in (layer.cell.kernel.numpy(), layer.cell.recurrent_kernel.numpy())):
            raise ConfigError(
                f"cluster: expected zeros in dense and convolutional layers alone, which keep them while values are "
                f"trained, got some in {layer.name!r}, a recurrent layer. Take the section out, or prune nodes."
            )
    return [layer.name for layer in layers]


def _clusters(kernel: NDArray[np.float32], wanted: int, initialization: Initialization, seed: int) -> KernelClusters:
    keep = kernel != 0.0
    return KernelClusters(kmeans(kernel[keep], wanted, initialization, seed).astype(np.float32), keep)


def _too_small(kernel: NDArray[np.float32], wanted: int, min_layer_weights: int) -> str | None:
    if kernel.size < min_layer_weights:
        return f"{kernel.size} weights, fewer than min_layer_weights, {min_layer_weights}"
    distinct = int(np.unique(kernel[kernel != 0.0]).size)
    if distinct < wanted:
        return f"{distinct} distinct non-zero weights, fewer than the {wanted} clusters for them"
    return None


def _unclustered(reason: str) -> str:
    """Says of a layer that pruning leaves dense why clustering leaves it, too."""
    return reason.replace("cannot be pruned", "cannot be clustered").replace("is pruned", "is clustered")
