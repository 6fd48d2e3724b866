"""What training costs, in multiply-accumulates: how two ways of training are given the same budget."""

from __future__ import annotations

LEARNING_PASSES = 3
"""A step on a row costs as many multiply-accumulates as so many inferences: one forward, two backward (the gradient of
the answers below, and that of the kernel)."""


def step_macs(learning: int, frozen: int = 0) -> int:
    """Counts the multiply-accumulates that one training step spends on one row: `3 * learning + frozen`.

    Args:
        learning: multiply-accumulates of an inference of the layers that learn.
        frozen: of the layers below them, which are passed forward only.

    Returns:
        Multiply-accumulates.

    Reference:
        Goodfellow et al. 2016, Deep learning, section 6.5.2 (the backward pass costs a fixed multiple of the forward).
    """
    return LEARNING_PASSES * learning + frozen


def control_epochs(epochs: int, spent: int, macs: int, num_rows: int) -> int:
    """Counts the epochs that a training end to end may take for the budget of pretraining and fine-tuning together.

    `epochs + ceil(spent / (3 * macs * num_rows))`: rounded up, so that the control never has less.

    Args:
        epochs: of fine-tuning, at most.
        spent: multiply-accumulates that pretraining spent.
        macs: multiply-accumulates of an inference of the whole network.
        num_rows: training rows of an epoch end to end.

    Returns:
        Epochs.
    """
    return epochs + -(-spent // (step_macs(macs) * num_rows))
