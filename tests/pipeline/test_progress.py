"""Progress: lines where no bar can be drawn, all of it in the log, and no text taken for markup."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from data.contract import StoreError
from pipeline.native_messages import native_messages_to
from pipeline.progress import RunProgress


def plain() -> tuple[io.StringIO, Console]:
    stream = io.StringIO()
    return stream, Console(file=stream, width=200)


@pytest.mark.parametrize("total", [1, 2, 9, 10, 11, 19, 20, 95, 100, 101, 999, 5000])
def test_prints_few_lines_the_first_and_the_last_among_them(total: int) -> None:
    stream, console = plain()
    progress = RunProgress(console)
    for done in range(1, total + 1):
        progress.step("train", done, total, {})
    lines = [line.strip() for line in stream.getvalue().splitlines()]
    assert lines[0] == f"train 1/{total}"
    assert lines[-1] == f"train {total}/{total}"
    assert min(total, 6) <= len(lines) <= 11
    assert len(set(lines)) == len(lines)


def test_log_keeps_every_step_and_note_and_is_appended_to(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    for run in range(2):
        _, console = plain()
        progress = RunProgress(console, log)
        progress.note(f"run {run}")
        for done in range(1, 31):
            progress.step("train", done, 30, {"loss": 0.5})
        progress.close()
        progress.close()
    lines = log.read_text().splitlines()
    assert lines[0] == "run 0"
    assert lines[31] == "run 1"
    assert len(lines) == 62
    assert lines[1] == "    train 1/30  loss 0.5"


def test_log_is_there_while_the_run_is_on(tmp_path: Path) -> None:
    _, console = plain()
    progress = RunProgress(console, tmp_path / "run.log")
    progress.note("early")
    assert (tmp_path / "run.log").read_text() == "early\n"
    progress.close()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.123456, "0.1235"),
        (1e-7, "1e-07"),
        (1234.5678, "1,235"),
        (-1234567.0, "-1,234,567"),
        (12345, "12,345"),
        (7, "7"),
        (0.0, "0"),
        (float("nan"), "nan"),
        ("failed", "failed"),
    ],
)
def test_figures_are_short(value: float | str, shown: str) -> None:
    stream, console = plain()
    RunProgress(console).step("tune", 1, 1, {"score": value})
    assert stream.getvalue() == f"    tune 1/1  score {shown}\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_square_brackets_are_no_markup(tmp_path: Path, terminal: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=200, force_terminal=terminal, color_system=None)
    progress = RunProgress(console, tmp_path / "run.log")
    progress.note("read [/data] [bold]x")
    progress.step("class [/a]", 1, 2, {"label": "[/b]"})
    progress.step("class [/a]", 2, 2, {"label": "[red]"})
    progress.close()
    shown = stream.getvalue()
    assert "read [/data] [bold]x" in shown
    assert "class [/a] 2/2" in shown
    assert "[red]" in shown
    assert (tmp_path / "run.log").read_text().count("[/a]") == 2


def test_names_that_are_no_unicode_do_not_end_a_run(tmp_path: Path) -> None:
    progress = RunProgress(Console(file=io.StringIO(), width=200), tmp_path / "run.log")
    progress.step("read", 1, 1, {"file": "caf\udce9.png"})
    progress.close()
    assert "caf\\udce9.png" in (tmp_path / "run.log").read_text()


def test_a_bar_on_a_terminal_follows_labels_and_goes_away() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True, color_system=None)
    progress = RunProgress(console)
    for label in ("dense_1", "dense_2"):
        for done in range(1, 4):
            progress.step(label, done, 3, {"loss": 1.0 / done})
    progress.note("between")
    progress.rest()
    progress.rest()
    progress.step("train", 1, 1, {})
    progress.close()
    shown = stream.getvalue()
    for text in ("dense_1", "dense_2", "between", "train 1/1"):
        assert text in shown


def test_native_messages_go_to_the_log_and_nothing_else_does(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "run.log"
    log.write_text("before\n")
    with native_messages_to(log) as stream:
        os.write(2, b"from C++\n")
        os.system("echo from a child >&2")
        print("for the user", file=stream)
    os.write(2, b"after\n")
    assert log.read_text() == "before\nfrom C++\nfrom a child\n"
    sys.stderr.flush()
    assert capfd.readouterr().err == "for the user\nafter\n"


def test_standard_error_comes_back_after_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), native_messages_to(tmp_path / "run.log"):
        raise RuntimeError
    os.write(2, b"here again\n")
    assert capfd.readouterr().err == "here again\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_log_on_a_full_disk_is_an_error_that_says_so() -> None:
    _, console = plain()
    progress = RunProgress(console, Path("/dev/full"))
    with pytest.raises(StoreError, match="got no space left on the device"):
        progress.note("lost")
    with pytest.raises(StoreError, match="got no space left on the device"):
        progress.close()
    progress.close()


@pytest.mark.parametrize("terminal", [False, True])
def test_what_is_said_of_the_same_unit_again_is_for_a_bar_alone(tmp_path: Path, terminal: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=terminal, color_system=None)
    progress = RunProgress(console, tmp_path / "run.log")
    for batch in ("32 of 96", "64 of 96"):
        progress.step("train", 0, 2, {"batch": batch})
    for epoch in (1, 2):
        progress.step("train", epoch, 2, {"loss": 0.5})
    progress.close()
    lines = ["train 0/2  batch 32 of 96", "train 1/2  loss 0.5", "train 2/2  loss 0.5"]
    assert [line.strip() for line in (tmp_path / "run.log").read_text().splitlines()] == lines
    if not terminal:
        assert [line.strip() for line in stream.getvalue().splitlines()] == lines


def test_trials_that_run_side_by_side_are_told_apart(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True, color_system=None)
    progress = RunProgress(console, tmp_path / "run.log")
    for batch in ("32 of 96", "64 of 96"):
        for trial in (1, 2):
            progress.step(f"trial {trial}: train", 0, 2, {"batch": batch})
    progress.step("trial 1: train", 1, 2, {"loss": 0.5})
    assert bars(progress) == ["trial 1: train 1/2", "trial 2: train 0/2"]
    progress.step("trial 1: prune", 1, 1, {})
    assert bars(progress) == ["trial 2: train 0/2", "trial 1: prune 1/1"]
    progress.step("tune", 1, 2, {})
    assert bars(progress) == ["tune 1/2"]
    progress.step("trial 2: train", 1, 2, {})
    assert bars(progress) == ["tune 1/2", "trial 2: train 1/2"]
    progress.close()
    lines = ["trial 1: train 0/2  batch 32 of 96", "trial 2: train 0/2  batch 32 of 96"]
    assert [line.strip() for line in (tmp_path / "run.log").read_text().splitlines()][:3] == [
        *lines,
        "trial 1: train 1/2  loss 0.5",
    ]


def bars(progress: RunProgress) -> list[str]:
    """What is drawn at the moment, from above."""
    drawn = progress._bar
    assert drawn is not None
    return [task.description for task in drawn.tasks]
