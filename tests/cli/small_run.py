"""The small config whose runs are repeated, killed and compared."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fault_runs import NETWORK as SMALL
from benchmarks.fault_runs import digest

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["ingest", "build", "train", "tune", "prune", "convert", "export"]
__all__ = ["ROOT", "SMALL", "STAGES", "Finished", "Run", "digest", "states"]
Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Finished:
    """A finished run of the small config."""

    config: Path
    workdir: Path
    printed: str

    @property
    def export(self) -> Path:
        return self.workdir / "small" / "export"


def states(penjing: Run, config: Path, workdir: Path, *arguments: str) -> dict[str, tuple[str, str]]:
    told = penjing("plan", config, "--json", "--workdir", workdir, *arguments)
    assert told.returncode == 0, told.stderr
    return {row["stage"]: (row["state"], row["because"]) for row in json.loads(told.stdout)}
