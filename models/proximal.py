r"""The L1 penalty as a proximal step: weights that it outweighs become exactly zero, not merely small.

A gradient step with step size `s` is followed by soft-thresholding,

    prox_{s λ}(w) = sign(w) max(|w| - s λ, 0)

whose fixed points are the minima of `loss(w) + λ sum |w|` if `s` is, element by element, the step that a constant
gradient would be answered with. Each descent has its own (`models.optimizers`).

Reference:
    Parikh & Boyd 2014, Proximal Algorithms, sections 4.2 and 6.5.2.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from models.legacy_keras import tf


def soft_threshold(weights: Any, threshold: Any) -> Any:
    """Moves weights towards zero by a threshold, and no further.

    Args:
        weights: float32 tensor.
        threshold: scalar, or a tensor of the same shape, >= 0.

    Returns:
        `sign(w) max(|w| - threshold, 0)`.
    """
    return tf.sign(weights) * tf.nn.relu(tf.abs(weights) - threshold)


def squared_gradient_norm(
    variables: Sequence[Any], gradients: Sequence[Any], l1: float, penalized: Collection[Any]
) -> Any:
    """Squared Euclidean norm of the gradient of the whole objective, an L1 penalty included.

    Where the penalty has no derivative, at zero, its subgradient of least norm counts, so that the norm is 0 exactly
    where nothing can be gained: `g + λ sign(w)` for w != 0, `soft_threshold(g, λ)` for w = 0.

    Args:
        variables: what is trained.
        gradients: of the loss without the L1 penalty, one for each variable.
        l1: strength λ of the penalty.
        penalized: references (`variable.ref()`) of the variables it acts on.

    Returns:
        Scalar float32 tensor.
    """
    terms = []
    for variable, gradient in zip(variables, gradients, strict=True):
        whole = tf.convert_to_tensor(gradient)
        if l1 > 0.0 and variable.ref() in penalized:
            weights = tf.convert_to_tensor(variable)
            whole = tf.where(tf.equal(weights, 0.0), soft_threshold(whole, l1), whole + l1 * tf.sign(weights))
        terms.append(2.0 * tf.nn.l2_loss(whole))
    return tf.add_n(terms) if terms else tf.constant(0.0)
