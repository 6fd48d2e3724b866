r"""What kernels keep to while they are trained: few distinct values, and zeros where there were zeros.

A clustered kernel `q` holds centroids `c`; which one, latent weights `w` decide, in each step anew:

    q_i = m_i c_{a_i},    a_i = argmin_k |w_i - c_k|,    m_i = 0 where the weight is held at zero, else 1
    dL/dc_k := mean_{i: a_i = k, m_i = 1} dL/dq_i,       dL/dw_i := m_i dL/dq_i

Centroids and latent weights are both trained variables. The latent weights get the gradient straight through the
assignment (Bengio 2013), as in TFMOT: a weight that is pulled the same way again and again changes its cluster. With
the assignment fixed for good, as in Han 2016, four epochs on digits (64-32-10, half of it pruned, 16 values, three
seeds) ended at losses of 0.31 to 0.38, and so at 0.26 to 0.29.

The mean or the sum (Han's eq. (3))? The sum is the derivative. The mean is the same direction for each centroid alone,
and for plain gradient descent it is the orthogonal projection of the step of the unclustered kernel onto those that are
constant on each cluster, so it is stable at every rate at which the unclustered training is; the sum takes a step as
many times as long as a cluster has members. Adam does not notice a constant factor: for it both are one. That is also
why centroids are variables of their own, and not, more simply, the means of weights that Adam has moved: Adam divides
each member's gradient by that member's own root mean square, so the mean of such steps vanishes where
`sum(g_i / rms_i)` does, not where the loss is stationary, `sum(g_i) = 0`.

Reference:
    Han, Mao & Dally 2016, Deep Compression, section 3; Bengio, Léonard & Courville 2013, Estimating or propagating
    gradients through stochastic neurons, section 4 (the straight-through estimator).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.legacy_keras import keras, tf


@dataclass(frozen=True)
class KernelClusters:
    """The clusters of one kernel.

    Attributes:
        centroids: (clusters,) float32, distinct, that of zeros not among them.
        keep: booleans in the kernel's shape, False where a weight is held at zero.
    """

    centroids: NDArray[np.float32]
    keep: NDArray[np.bool_]


def existing_clusters(kernel: NDArray[np.float32]) -> KernelClusters:
    """Reads the clusters off a kernel that has them: its distinct values other than zero.

    Args:
        kernel: float32, of any shape.
    """
    return KernelClusters(np.unique(kernel[kernel != 0.0]), kernel != 0.0)


class HeldZeros:
    """Holds weights at zero: the map `w -> m w`.

    Args:
        keep: booleans in the kernel's shape, False where a weight is held at zero.
    """

    def __init__(self, keep: NDArray[np.bool_]) -> None:
        self._mask = tf.constant(keep, tf.float32)

    def build(self, layer: Any) -> None:
        """Adds nothing."""

    def used(self, kernel: Any, training: bool) -> Any:  # noqa: ARG002 - the same in training and after
        """Returns the kernel with its zeros."""
        return kernel * self._mask

    def plain(self, kernel: Any) -> Any:
        """Returns the kernel with its zeros."""
        return kernel * self._mask


class HeldClusters:
    """Gives a kernel as many distinct values as it has centroids, and zero; see the module for the formulas.

    Args:
        clusters: centroids at the start, and which weights are held at zero.
    """

    def __init__(self, clusters: KernelClusters) -> None:
        self._initial = clusters.centroids
        self._mask = tf.constant(clusters.keep.ravel(), tf.float32)
        self.centroids: Any = None

    def build(self, layer: Any) -> None:
        """Adds the centroids, a trained variable."""
        self.centroids = layer.add_weight(
            "centroids",
            shape=self._initial.shape,
            initializer=keras.initializers.Constant(self._initial),
            trainable=True,
        )

    def used(self, kernel: Any, training: bool) -> Any:  # noqa: ARG002 - the same in training and after
        """Returns the clustered kernel, from the latent weights."""

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def clustered(latent: Any, centroids: Any) -> tuple[Any, Any]:
            order = tf.argsort(centroids, stable=True)
            ascending = tf.gather(centroids, order)
            middles = (ascending[:-1] + ascending[1:]) / 2.0
            rank = tf.searchsorted(middles, tf.reshape(latent, [-1]), side="left")
            values = tf.gather(ascending, rank) * self._mask

            def gradient(upstream: Any) -> tuple[Any, Any]:
                through = tf.reshape(upstream, [-1]) * self._mask
                members = tf.gather(order, rank)
                count = len(self._initial)
                sums = tf.math.unsorted_segment_sum(through, members, count)
                sizes = tf.math.unsorted_segment_sum(self._mask, members, count)
                return tf.reshape(through, latent.shape), tf.math.divide_no_nan(sums, sizes)

            return tf.reshape(values, latent.shape), gradient

        return clustered(kernel, tf.convert_to_tensor(self.centroids))

    def plain(self, kernel: Any) -> Any:
        """Returns the clustered kernel."""
        return self.used(kernel, training=False)
