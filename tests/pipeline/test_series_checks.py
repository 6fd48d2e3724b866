"""What a config on series can be refused for without opening the data, in the message it gets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.test_config import message_of, run_config

SERIES = {"source": "series", "path": "x", "window": 16, "target": "y"}
FOLDERS = {"source": "series", "path": "x", "window": 16}


NORMAL = {"task": "reconstruction", "model": {"family": "autoencoder", "bottleneck": 4}}


def data(**fields: Any) -> dict[str, Any]:
    return {"data": SERIES | fields}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            data(channels=["a", "y"]),
            "data.target: expected a column that is not in data.channels, got 'y'. Take it out of one.",
        ),
        (
            data(channels=["a", "a"]),
            "data.channels: expected each column once, got 'a' again. Take it out.",
        ),
        (
            data(channels=[]),
            "data.channels: expected at least one column, got []. Leave the key out to learn from all columns of "
            "numbers.",
        ),
        (data(time="y"), "data.time: expected a column other than data.target, got 'y'."),
        (data(group="y"), "data.group: expected a column other than data.target, got 'y'."),
        (data(group=""), "data.group: expected a name, got ''."),
        (
            data(group="g", split_by="time"),
            "data.split_by: expected 'group' with data.group, got 'time': blocks of time would cut through a group.",
        ),
        (
            {"data": FOLDERS, "task": "regression"},
            "data.target: expected a column of numbers with task: regression, got none. Name one: folders are classes.",
        ),
        (
            {"data": FOLDERS | {"horizon": 3}},
            "data.horizon: expected it with a data.target that is read alone, got it without. Nothing would read it: "
            "take it out.",
        ),
        (
            data(horizon=3, window_label="majority"),
            "data.window_label: expected it with data.horizon: 0 alone, got it without. Nothing would read it: take it "
            "out.",
        ),
        (
            {**data(mixed_windows="drop"), "task": "regression"},
            "data.mixed_windows: expected it with classes in data.target alone, got it without. Nothing would read it: "
            "take it out.",
        ),
        (
            {**NORMAL, **data(normal=["ok"], window_label="majority")},
            "data.window_label: expected it without data.normal, got both: a window is judged by all its steps. "
            "Nothing would read it: take it out.",
        ),
        (
            {**NORMAL, **data(normal=["ok"], horizon=2)},
            "data.horizon: expected it without data.normal, got both: a window is judged by all its steps. "
            "Nothing would read it: take it out.",
        ),
        (
            {**data(), "model": {"family": "cnn", "blocks": [{"filters": 4, "pool": 8}, {"filters": 4, "pool": 4}]}},
            "model.blocks.1.pool: expected a feature map of at least 4x1, got 2x1 from the convolution of block 2.",
        ),
        (
            {**data(), "model": {"family": "cnn"}, "prune": {"unit": "node", "inputs": "varying"}},
            "prune.inputs: expected all with a cnn, got varying.",
        ),
        (data(window=1), "data.series.window"),
    ],
)
def test_series_that_cannot_be(sections: dict[str, Any], message: str) -> None:
    assert message in message_of(**sections)


@pytest.mark.parametrize(
    "sections",
    [
        {"data": FOLDERS, "model": {"family": "cnn"}},
        {**NORMAL, **data(normal=["ok"], mixed_windows="drop", missing_target="drop_windows")},
        {"data": FOLDERS, "prune": {"unit": "node", "inputs": "varying"}},
        {**data(horizon=2, channels=["a", "y"]), "task": "regression"},
        {**data(window_label="majority", mixed_windows="drop", time="t", group="g", split_by="group")},
    ],
)
def test_series_that_can_be(sections: dict[str, Any]) -> None:
    assert run_config(**sections)
