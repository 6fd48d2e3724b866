"""The small config whose runs are repeated, killed and compared."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["ingest", "build", "train", "tune", "prune", "convert", "export"]
SMALL = """\
name: small
seed: 3
task: classification
data: {source: builtin, name: iris}
model: {family: mlp, units: [8]}
train: {epochs: 12, batch_size: 16, optimizer: {learning_rate: 0.02}}
tune: {trials: 2, epochs: 6, oracle: random}
prune: {sparsity: 0.3, epochs: 3, recovery_epochs: 2, batch_size: 16}
quantize: {precision: int8}
"""
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


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def states(penjing: Run, config: Path, workdir: Path, *arguments: str) -> dict[str, tuple[str, str]]:
    told = penjing("plan", config, "--json", "--workdir", workdir, *arguments)
    assert told.returncode == 0, told.stderr
    return {row["stage"]: (row["state"], row["because"]) for row in json.loads(told.stdout)}
