"""What the command line asks of a run, and what comes of it."""

from __future__ import annotations

import os
import shlex
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.cluster import Cluster
from pipeline.ledger import AnyRow
from pipeline.planner import Scope
from pipeline.publish import Published
from pipeline.runs import Workdir
from pipeline.store import Artifact

DEFAULT_WORKDIR = Path("runs")
"""Where runs and their store are kept unless `--workdir` says otherwise."""
_PLAIN = f"{string.ascii_letters}{string.digits}/._-".encode()


@dataclass(frozen=True)
class Request:
    """What the command line asks of a run.

    Attributes:
        config: path of the config.
        overrides: `a.b=value` each.
        workdir: where runs and store are.
        scope: which stages.
        rehash: read the raw data again even where it looks unchanged.
        cluster: the workers that train together, and which of them is here; None where the run starts them itself.
    """

    config: Path
    overrides: tuple[str, ...]
    workdir: Workdir
    scope: Scope = field(default_factory=Scope)
    rehash: bool = False
    cluster: Cluster | None = None

    @property
    def command(self) -> str:
        """The command line that makes the whole run again."""
        place = [] if self.workdir.root == DEFAULT_WORKDIR else ["--workdir", str(self.workdir.root)]
        words = ["python", "run_pipeline.py", "run", str(self.config), *self.overrides, *place]
        return " ".join(_quoted(word) for word in words)


@dataclass(frozen=True)
class RunResult:
    """What came of a run: its artifacts in order, each with whether it was cached, and what was published."""

    name: str
    task: str
    metric: str
    stages: tuple[tuple[Artifact, bool], ...]
    published: Published

    @property
    def rows(self) -> list[AnyRow]:
        """The ledger: one row a model."""
        return [row for artifact, _ in self.stages for row in artifact.manifest.ledger]

    @property
    def so_far(self) -> dict[str, Any]:
        """What is known of `summary.json` before `export`, under the same names."""
        manifests = [artifact.manifest for artifact, _ in self.stages]
        return {
            "name": self.name,
            "task": self.task,
            "metric": self.metric,
            "ledger": [row.model_dump(mode="json") for row in self.rows],
            "seconds": round(sum(manifest.seconds for manifest in manifests), 3),
        }


def _quoted(word: str) -> str:
    """Quotes a word for a shell; bytes that are no text are spelled out, as bash and zsh read them."""
    if is_text(word):
        return shlex.quote(word)
    spelled = (chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in os.fsencode(word))
    return f"$'{''.join(spelled)}'"


def is_text(word: str) -> bool:
    """Whether a word of the command line is text: Python keeps what cannot be decoded as halves of surrogate pairs."""
    return not any("\ud800" <= letter <= "\udfff" for letter in word)
