"""What the section `engine` must agree on with the others, and with what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pipeline.config_reading.disagreement import Disagreement, is_chosen
from pipeline.config_reading.remote_checks import NO_SECRETS, has_secret
from pipeline.engine_config import RayEngineConfig

if TYPE_CHECKING:
    from pipeline.config import RunConfig

READ_BY_RAY = ("images", "table")
"""Sources whose files Ray Data reads on the nodes: of a table, those of a folder."""


def engine_has_work(config: RunConfig) -> Iterator[Disagreement]:
    """A section `engine` has trials to run, a training, or files to read; and no more workers than are ever busy."""
    engine, most = config.engine, config.trials_at_once
    if engine is None:
        return
    if most == 0 and isinstance(engine, RayEngineConfig) and config.train.workers > 1:
        if engine.workers != "auto":
            message = (
                f"expected auto without a section tune or search, got {engine.workers}. It says how many trials run at "
                "a time, and there are none: train.workers says how many train."
            )
            yield Disagreement(("engine", "workers"), message, (("train", "workers"),))
    elif most == 0 and isinstance(engine, RayEngineConfig) and config.data.source in READ_BY_RAY:
        yield from _reads_alone(engine)
    elif most == 0:
        where = "a section tune or search"
        if isinstance(engine, RayEngineConfig):
            where = "a section tune or search, with train.workers above 1, or with images or a table to read"
        message = f"expected it together with {where}, got it without. Nothing would run there: take it out."
        yield Disagreement(("engine",), message, (("tune",), ("search",)))
    elif engine.workers != "auto" and engine.workers > most:
        searched = config.search is not None and config.target.max_latency_us is not None
        reason = "; candidates are timed one by one with target.max_latency_us" if searched else ""
        advice = "Take auto" if config.tune is None else f"Take auto, or say `tune: {{batch_trials: {engine.workers}}}`"
        message = f"expected at most {most}, the trials that are out at once{reason}, got {engine.workers}. {advice}."
        yield Disagreement(("engine", "workers"), message, (("tune",), ("search",), ("target",)))


def _reads_alone(engine: RayEngineConfig) -> Iterator[Disagreement]:
    """Refuses what is for workers, and is read by nobody who reads files."""
    for name in sorted(type(engine).model_fields.keys() - {"kind", "address", "checkpoint_seconds"}):
        if is_chosen(engine, name):
            message = (
                "expected it with a section tune or search, or with train.workers above 1, got it without. Nothing "
                "would read it: take it out."
            )
            yield Disagreement(("engine", name), message, (("tune",), ("search",), ("train", "workers")))


def engine_can_be_had(config: RunConfig) -> Iterator[Disagreement]:
    """Ray is installed where trials run on it, and is told nothing that it would not read."""
    engine = config.engine
    if not isinstance(engine, RayEngineConfig):
        return
    if not is_installed("ray"):
        message = (
            "expected ray to be installed, got 'ray' without it. Run: pip install -r requirements-ray.txt (on every "
            "node of the cluster too)."
        )
        yield Disagreement(("engine", "kind"), message)
    if engine.store_url is not None and has_secret(engine.store_url):
        yield Disagreement(("engine", "store_url"), NO_SECRETS)
    if engine.store_url is None and is_chosen(engine, "checkpoint_seconds"):
        message = "expected it with engine.store_url alone, got it without. Nothing would read it: take it out."
        yield Disagreement(("engine", "checkpoint_seconds"), message, (("engine", "store_url"),))
    if config.search is not None and config.target.max_latency_us is not None:
        message = (
            "expected 'local' with section search and target.max_latency_us, got 'ray'. The limit is this machine's, "
            "and candidates must be timed on it."
        )
        yield Disagreement(("engine", "kind"), message, (("search",), ("target", "max_latency_us")))


def is_installed(package: str) -> bool:
    """Whether a package can be imported; it is not."""
    found = find_spec(package)
    return found is not None and found.origin is not None  # a folder of that name has no origin
