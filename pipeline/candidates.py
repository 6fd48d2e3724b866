"""Candidates of the search for a small model: what they are made of, what came of them, which are worth keeping."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from models.compression_config import AwareConfig, ClusterConfig, Encoding, Precision, PruneConfig, SearchUnit

if TYPE_CHECKING:
    from pipeline.store import Artifact

Look = Literal["one_shot", "short", "full"]
LOOKS: tuple[Look, ...] = ("one_shot", "short", "full")
"""How much is spent on a candidate: pruned at once; a short recovery; the whole of the section `prune`."""

SPARSITY_STEP = 0.05
"""Sparsities are tried in such steps: what a report shows is then what was tried, and near ones are one trial."""

WEIGHTS_AFTER_NODES = 0.5
"""Sparsity of the weights that are left where nodes went first."""

LATENCY_NOISE = 1.1
"""Latencies that differ by a smaller factor count as equal."""

DROP_OF_A_HALVING = 0.1
"""While candidates are ranked, a score this far below the target's weighs as much as a file of half the size: an
untrained look falls deep, and must still be told from a worse one."""


@dataclass(frozen=True)
class Candidate:
    """A chain of compression, and how much is spent on it.

    Attributes:
        unit: `none`, `node`, `weight` or `node_and_weight`.
        scope: `global` or `local`; `global` where nothing is pruned.
        sparsity: fraction, in steps of 0.05; 0 where nothing is pruned.
        precision: of the file.
        look: one of `LOOKS`.
        clusters: most distinct values of a kernel; 0: not clustered.
        encoding: of int8 weights: `dense`, `sparse` or `tables`.
        aware: quantization-aware training, where the look trains at all.
    """

    unit: SearchUnit
    scope: Literal["global", "local"]
    sparsity: float
    precision: Precision
    look: Look
    clusters: int = 0
    encoding: Encoding = "dense"
    aware: bool = False

    @property
    def changed(self) -> bool:
        """Whether anything but the precision sets it apart from the dense model."""
        return self.unit != "none" or self.clusters > 0 or self.aware

    @property
    def possible(self) -> Candidate:
        """The nearest candidate that can be: encodings and rounding are of int8, and need what they work on."""
        int8 = self.precision == "int8"
        works_on = {"dense": True, "sparse": self.unit in ("weight", "node_and_weight"), "tables": self.clusters > 0}
        return replace(
            self,
            encoding=self.encoding if int8 and works_on[self.encoding] else "dense",
            aware=self.aware and int8 and self.look != "one_shot",
        )


@dataclass(frozen=True)
class Trial:
    """A candidate and what came of it; where it failed, `cause` says why, and what was measured is empty."""

    candidate: Candidate
    measured: dict[str, float | None] = field(default_factory=dict)
    targets: tuple[dict[str, Any], ...] = ()
    chain: tuple[Artifact, ...] = ()
    state: str = "failed"
    cause: str | None = None
    losses: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether every limit of the target is kept."""
        return self.state == "done" and all(target["met"] for target in self.targets)

    @property
    def rank(self) -> tuple[float, float, float]:
        """The lower, the better: how far it misses the target; of those that meet it, bytes, then score."""
        missed = 0.0 if self.met else sum(map(excess, self.targets))
        return missed, float(self.measured["max_model_bytes"] or 0), -float(self.measured["min_score"] or 0)


def excess(target: Mapping[str, Any]) -> float:
    """How far a limit is missed, as a fraction of it (of scores: in tenths)."""
    if target["met"]:
        return 0.0
    if target["got"] is None:
        return math.inf
    distance = abs(float(target["got"]) - float(target["asked"]))
    return distance / DROP_OF_A_HALVING if "score" in target["name"] else distance / float(target["asked"])


def prune_section(candidate: Candidate, shared: PruneConfig | None, short_epochs: int) -> PruneConfig:
    """Returns the section `prune` of a candidate.

    Args:
        candidate: what is pruned, and how much is spent on it.
        shared: what all candidates have in common; defaults where None.
        short_epochs: recovery of a short look.
    """
    changes: dict[str, Any] = {
        "unit": ("node", "weight") if candidate.unit == "node_and_weight" else candidate.unit,
        "scope": candidate.scope,
        "sparsity": candidate.sparsity,
        "weight_sparsity": WEIGHTS_AFTER_NODES if candidate.unit == "node_and_weight" else None,
    }
    if candidate.look != "full":
        changes |= {"epochs": 0, "steps": None}
        changes["recovery_epochs"] = short_epochs if candidate.look == "short" else 0
    return PruneConfig.model_validate((shared or PruneConfig()).model_dump() | changes)


def cluster_section(candidate: Candidate, shared: ClusterConfig | None, short_epochs: int) -> ClusterConfig:
    """Returns the section `cluster` of a candidate; arguments as `prune_section`."""
    given = shared or ClusterConfig()
    epochs = {"one_shot": 0, "short": min(short_epochs, given.epochs), "full": given.epochs}[candidate.look]
    return given.model_copy(update={"clusters": candidate.clusters, "epochs": epochs})


def aware_section(candidate: Candidate, shared: AwareConfig | None, short_epochs: int) -> AwareConfig | None:
    """Returns the section `quantize.aware` of a candidate; arguments as `prune_section`. None where it has none."""
    if not candidate.aware:
        return None
    given = shared or AwareConfig()
    epochs = min(short_epochs, given.epochs) if candidate.look == "short" else given.epochs
    return given.model_copy(update={"epochs": epochs})


def front(trials: Sequence[Trial]) -> list[int]:
    """Numbers of the trials that no other beats in score, bytes, arena and latency at once, the smallest file first.

    Latencies less than a tenth apart count as equal: they were timed.
    """
    done = [number for number, trial in enumerate(trials) if trial.state == "done"]
    kept = [a for a in done if not any(_beats(trials[b], trials[a], earlier=b < a) for b in done if b != a)]
    return sorted(kept, key=lambda number: file_bytes(trials[number]))


def _beats(one: Trial, other: Trial, *, earlier: bool) -> bool:
    own, rival = _figures(one), _figures(other)
    if own[:-1] == rival[:-1]:
        return (own[-1], not earlier) < (rival[-1], earlier)
    return all(a <= b for a, b in zip(own[:-1], rival[:-1], strict=True)) and own[-1] <= LATENCY_NOISE * rival[-1]


def _figures(trial: Trial) -> tuple[float, ...]:
    costs = (trial.measured[name] for name in ("max_model_bytes", "max_arena_bytes", "max_latency_us"))
    return (-float(trial.measured["min_score"] or 0), *(math.inf if cost is None else float(cost) for cost in costs))


def alike(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates differ in nothing but their sparsity."""
    return replace(one, sparsity=other.sparsity) == other


def file_bytes(trial: Trial) -> int:
    """Returns the size of a candidate's .tflite file."""
    return int(trial.measured["max_model_bytes"] or 0)


def named(candidate: Candidate) -> str:
    """Names a candidate in a few words."""
    if not candidate.changed:
        return f"dense {candidate.precision}"
    pruned = "" if candidate.unit == "none" else f"{candidate.unit} {candidate.sparsity:g} {candidate.scope} "
    clustered = f"{candidate.clusters} clusters " if candidate.clusters else ""
    aware = "aware " if candidate.aware else ""
    encoded = "" if candidate.encoding == "dense" else f"{candidate.encoding} "
    return f"{pruned}{clustered}{aware}{candidate.precision} {encoded}{candidate.look}"
