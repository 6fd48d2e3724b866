"""What the sections must agree on where the data are series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from data.config import SeriesData, label_use
from pipeline.config_reading.disagreement import Disagreement, Location, is_chosen

if TYPE_CHECKING:
    from pipeline.config import RunConfig


def series_add_up(config: RunConfig) -> Iterator[Disagreement]:
    """Columns have one role each, and no field is set that nothing would read."""
    data = config.data
    if isinstance(data, SeriesData):
        yield from _roles_differ(data)
        yield from _target_is_there(config, data)
        yield from _nothing_is_ignored(config, data)


def _roles_differ(data: SeriesData) -> Iterator[Disagreement]:
    if data.channels is not None and not data.channels:
        message = "expected at least one column, got []. Leave the key out to learn from all columns of numbers."
        yield Disagreement(("data", "channels"), message)
    for name, times in Counter(data.channels or ()).items():
        if times > 1:
            yield Disagreement(("data", "channels"), f"expected each column once, got '{name}' again. Take it out.")
    roles = {role: getattr(data, role) for role in ("target", "time", "group") if getattr(data, role) is not None}
    for role, column in roles.items():
        # The value to foretell may be learned from: what it was is known, what it will be is not.
        if column in (data.channels or ()) and not (role == "target" and data.horizon > 0):
            message = f"expected a column that is not in data.channels, got '{column}'. Take it out of one."
            yield Disagreement(("data", role), message, (("data", "channels"),))
        for other in list(roles)[: list(roles).index(role)]:
            if roles[other] == column:
                message = f"expected a column other than data.{other}, got '{column}'."
                yield Disagreement(("data", role), message, (("data", other),))


def _target_is_there(config: RunConfig, data: SeriesData) -> Iterator[Disagreement]:
    if config.task == "regression" and data.target is None:
        message = "expected a column of numbers with task: regression, got none. Name one: folders are classes."
        yield Disagreement(("data", "target"), message, (("task",),))
    if data.group is not None and data.split_by == "time":
        message = "expected 'group' with data.group, got 'time': blocks of time would cut through a group."
        yield Disagreement(("data", "split_by"), message, (("data", "group"),))


def _nothing_is_ignored(config: RunConfig, data: SeriesData) -> Iterator[Disagreement]:
    reads = data.target is not None and label_use(data, config.task) != "unread"
    by_step = reads and config.task != "regression"
    where: Location = ("data", "target")
    rules = (
        (reads, "with a data.target that is read alone, got it without", ("horizon", "missing_target")),
        (by_step, "with classes in data.target alone, got it without", ("window_label", "mixed_windows")),
        (
            data.normal is None,
            "without data.normal, got both: a window is judged by all its steps",
            ("horizon", "window_label"),
        ),
        (
            by_step and data.horizon == 0,
            "with data.horizon: 0 alone, got it without",
            ("window_label", "mixed_windows"),
        ),
    )
    refused: set[str] = set()
    for held, needed, names in rules:
        for name in names:
            if not held and is_chosen(data, name) and name not in refused:
                refused.add(name)
                message = f"expected it {needed}. Nothing would read it: take it out."
                yield Disagreement(("data", name), message, (where, ("data", "horizon"), ("data", "normal"), ("task",)))
