from __future__ import annotations

from models.training_cost import control_epochs, step_macs


def test_a_step_costs_three_passes_of_what_learns_and_one_of_what_is_frozen():
    assert step_macs(100) == 300
    assert step_macs(100, frozen=40) == 340


def test_the_budget_of_the_control_by_hand():
    # 1,000 rows of 200 multiply-accumulates: an epoch end to end costs 600,000.
    assert control_epochs(30, 0, 200, 1000) == 30
    assert control_epochs(30, 600_000, 200, 1000) == 31
    assert control_epochs(30, 600_001, 200, 1000) == 32  # rounded up: the control never has less
    # Ten epochs of 59,000 rows under a decoder as large as the layer, 784 -> 128, of a network 784-128-10.
    macs = 784 * 128 + 128 * 10
    assert control_epochs(100, 10 * 59_000 * step_macs(2 * 784 * 128), macs, 1000) == 100 + 1166
