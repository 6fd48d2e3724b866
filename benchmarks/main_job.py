"""The figures of the main job, the digits run, measured on this machine and printed as Markdown.

Run from the root of the repository:

    .venv/bin/python -m benchmarks.main_job [--kills 5] [--config configs/digits.yaml]

Every run is the real command line in a process of its own, in a work directory of its own. A *killed* run is
sent SIGKILL, the whole process group, after a random wait, again and again until one survives its wait;
its `run.log` then tells how often each stage was finished.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
IMPORTS = """
import sys
import run_pipeline
try:
    run_pipeline.main()
except SystemExit as end:
    if end.code:
        raise
heavy = {"tensorflow", "tf_keras", "keras_tuner", "sklearn", "pandas"} & set(sys.modules)
print("heavy:", ", ".join(sorted(heavy)) or "none")
"""


@dataclass(frozen=True)
class Killed:
    """One run that was killed until it was done.

    Attributes:
        kills: how often it was killed.
        sha256: digest of the `model.tflite` it ended with.
        repeated: stages that were finished more than once.
    """

    kills: int
    sha256: str
    repeated: tuple[str, ...]


def command(*arguments: str | Path) -> list[str]:
    """Returns the command line of `python run_pipeline.py` with arguments."""
    return [sys.executable, "run_pipeline.py", *map(str, arguments)]


def timed(arguments: list[str]) -> float:
    """Runs a command in the root folder; returns wall-clock seconds.

    Raises:
        RuntimeError: its exit code is not 0.
    """
    started = time.monotonic()
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode != 0:
        raise RuntimeError(f"benchmark: expected exit code 0, got {done.returncode}.\n{done.stdout}{done.stderr}")
    return seconds


def imported(*arguments: str | Path) -> str:
    """Returns which heavy libraries a command has imported by its end."""
    call = [sys.executable, "-c", IMPORTS, *map(str, arguments)]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.rsplit("heavy: ", 1)[1].strip()


def killed_until_done(config: Path, workdir: Path, name: str, longest: float, dice: random.Random) -> Killed:
    """Runs a config, kills it after a random wait, and again, until a run survives its wait.

    Args:
        config: what is run.
        workdir: its work directory, empty at first.
        name: the run's name.
        longest: seconds; waits are drawn from 0 to this.
        dice: draws them.
    """
    kills = 0
    while True:
        call = command("run", config, "--workdir", workdir)
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(call, cwd=ROOT, stdout=told, stderr=told, start_new_session=True)
            try:
                code = process.wait(dice.uniform(0.0, longest))
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
    if code != 0:
        raise RuntimeError(f"benchmark: expected a killed run to end well when resumed, got exit code {code}.")
    words = [line.split()[:2] for line in (workdir / name / "run.log").read_text().splitlines()]
    finished = Counter(stage for stage, state in (pair for pair in words if len(pair) == 2) if state == "done")
    repeated = tuple(stage for stage, times in finished.items() if times > 1)
    return Killed(kills, sha256_of_model(workdir, name), repeated)


def sha256_of_model(workdir: Path, name: str) -> str:
    """Returns the digest of a run's exported model."""
    return hashlib.sha256((workdir / name / "export" / "model.tflite").read_bytes()).hexdigest()


def gates_of(workdir: Path, name: str) -> list[dict[str, Any]]:
    """Returns the gates of a run's bundle, from the manifest of its artifact."""
    key = json.loads((workdir / name / "run.json").read_text())["keys"]["export"]
    manifest = json.loads((workdir / "store" / "export" / key / "manifest.json").read_text())
    gates: list[dict[str, Any]] = manifest["details"]["gates"]
    return gates


def row(what: str, figure: str) -> None:
    """Prints one row of the table at once: the whole takes minutes."""
    print(f"| {what} | {figure} |", flush=True)


def measure_commands(config: Path, workdir: Path) -> float:
    """Prints what a cold run, a cached one, `plan` and `validate` take; returns the cold run's seconds."""
    arguments: list[str | Path] = ["run", config, "--workdir", workdir]
    calls: tuple[tuple[str, list[str | Path]], ...] = (
        ("the same again, all cached", arguments),
        ("`plan`", ["plan", config, "--workdir", workdir]),
        ("`validate`", ["validate", config]),
    )
    cold = timed(command(*arguments))
    row(f"`run {config}`, nothing cached", f"{cold:.1f} s")
    for label, call in calls:
        seconds = [timed(command(*call)) for _ in range(5)]
        figure = f"{statistics.median(seconds):.2f} s (five: {min(seconds):.2f} to {max(seconds):.2f})"
        row(f"{label}; heavy libraries imported", f"{figure}; {imported(*call)}")
    return cold


def measure_bundle(workdir: Path, name: str) -> None:
    """Prints what was handed over."""
    summary = json.loads((workdir / name / "export" / "summary.json").read_text())
    gates = gates_of(workdir, name)
    passed = sum(gate["passed"] for gate in gates)
    row("`model.tflite` on the test split", f"{summary['metric']} {summary['model_score']:.4f}")
    row("`model.tflite`", f"{summary['model_bytes']:,} bytes")
    row("gates passed", f"{passed} of {len(gates)}")


def main() -> int:
    """Measures and prints everything; 1 if a model's bytes differ or a finished stage was repeated."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("configs/digits.yaml"), help="what is run")
    parser.add_argument("--kills", type=int, default=5, metavar="N", help="runs that are killed until they are done")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    options = parser.parse_args()
    print(f"| {options.config} | measured |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cold = measure_commands(options.config, place / "cold")
        name = next((place / "cold").glob("*/run.json")).parent.name
        measure_bundle(place / "cold", name)
        timed(command("run", options.config, "--workdir", place / "again"))
        first, second = (sha256_of_model(place / each, name) for each in ("cold", "again"))
        row(
            "SHA-256 of two cold runs' `model.tflite`", f"{'equal' if first == second else 'DIFFERENT'} ({first[:16]}…)"
        )
        dice, failures = random.Random(options.seed), int(first != second)
        for number in range(1, options.kills + 1):
            found = killed_until_done(options.config, place / f"killed-{number}", name, cold, dice)
            same = "the same file" if found.sha256 == first else "ANOTHER FILE"
            row(
                f"killed run {number}",
                f"{found.kills} kills; {same}; stages repeated: {', '.join(found.repeated) or 'none'}",
            )
            failures += (found.sha256 != first) + bool(found.repeated)
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
