"""From a config to the artifacts it needs: their keys, what is there already, and why the rest runs.

A key is a SHA-256 over all that shapes an artifact: the stage, the sections of the config it reads,
the keys of its inputs, the digest of its source data, its code, the seed and the versions of the
libraries it uses. Planning opens no data but to digest it, and imports nothing heavy.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from data.contract import ConfigError
from pipeline.checkpoints import resumption
from pipeline.code_memory import CodeMemory
from pipeline.config import RunConfig
from pipeline.config_reading.likeness import nearest
from pipeline.files import sha256_of_json
from pipeline.source_digest import raw_digest
from pipeline.stages.catalog import STAGE_NAMES, Stage, producer, stages_of
from pipeline.store import Store

if TYPE_CHECKING:
    from pipeline.remote.mirror import Pending

State = Literal["cached", "runs", "resumes"]


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a plan.

    Attributes:
        stage: the stage.
        key: key of its artifact.
        parts: what the key was computed from.
        config: the sections it reads, by name.
        inputs: role -> (stage, key) of what it takes.
        state: whether it is there already, runs, or resumes.
        reason: why; empty where cached.
    """

    stage: Stage
    key: str
    parts: dict[str, Any]
    config: dict[str, Any]
    inputs: dict[str, tuple[str, str]]
    state: State
    reason: str


@dataclass(frozen=True)
class Plan:
    """The stages of one run, in order, and the config they come from; keys below `awaited` URLs are no keys yet."""

    config: RunConfig
    stages: tuple[PlannedStage, ...]
    awaited: tuple[Pending, ...] = ()

    @property
    def keys(self) -> dict[str, str]:
        """Stage name -> key."""
        return {planned.stage.name: planned.key for planned in self.stages}


@dataclass(frozen=True)
class Scope:
    """Which part of a run is asked for; every field may be left out.

    Attributes:
        first: stages before it are taken from the store and never run.
        last: no stage after it runs.
        force: it and all that depends on it are made again.
    """

    first: str | None = None
    last: str | None = None
    force: str | None = None

    def check(self, config: RunConfig) -> None:
        """Checks the names against the stages that a config has.

        Raises:
            ConfigError: a name is no stage, or no stage of this run; the first comes after the last, or
                the forced one is not between them.
        """
        present = [stage.name for stage in stages_of(config)]
        for option, name in (("--from", self.first), ("--to", self.last), ("--force", self.force)):
            if name is not None and name not in present:
                near = nearest(name, present)
                known = (
                    f"{name} is a stage, but this config does not ask for it"
                    if name in STAGE_NAMES
                    else "no stage"
                    if near is None
                    else f"no stage; the nearest is '{near}'"
                )
                raise ConfigError(f"{option}: expected one of {', '.join(present)}, got {name!r} ({known}).")
        last = len(present) - 1 if self.last is None else present.index(self.last)
        first = 0 if self.first is None else present.index(self.first)
        if first > last:
            raise ConfigError(f"--from: expected a stage up to {self.last} (--to), got {self.first}.")
        if self.force is not None and not first <= present.index(self.force) <= last:
            raise ConfigError(
                f"--force: expected a stage from {present[first]} (--from) to {present[last]} (--to), got {self.force}."
            )


def stage_key(
    stage: Stage,
    config: Mapping[str, Any],
    inputs: Mapping[str, tuple[str, str]],
    seed: int,
    source: str | None,
    code: Mapping[str, str],
) -> tuple[str, dict[str, Any]]:
    """Computes the key of one artifact.

    Args:
        stage: the stage that makes it.
        config: the sections it reads, as config objects or plain values.
        inputs: role -> (stage, key).
        seed: the run's seed.
        source: digest of the raw data, or of a user's model or code, for a stage that reads it.
        code: digests of the stage's code, module by module.

    Returns:
        (key, parts): 64 hexadecimal digits, and what they were computed from.
    """
    parts = {
        "stage": stage.name,
        "config": {name: _plain(section) for name, section in config.items()},
        "inputs": {role: key for role, (_, key) in sorted(inputs.items())},
        "source": source,
        "code": dict(code),
        "seed": seed,
        "versions": versions_of(stage.libraries),
    }
    return sha256_of_json(parts), parts


def make_plan(
    config: RunConfig,
    store: Store,
    scope: Scope,
    before: Mapping[str, str],
    *,
    rehash: bool,
    awaited: tuple[Pending, ...] = (),
) -> Plan:
    """Plans a run.

    Args:
        config: the run's config.
        store: where artifacts are.
        scope: which part of the run is asked for.
        before: stage -> key of the run's last plan, to say what changed since.
        rehash: read the raw data again even where it looks unchanged.
        awaited: URLs of the config whose copies are not current.

    Raises:
        ConfigError: the scope names a stage that is not there.
        ConfigError: a user's model or its code is missing.
        DataError: the raw data is missing.
    """
    scope.check(config)
    memory = store.root / ".memory" / "sources.json"
    code = CodeMemory(store.root)
    keys: dict[str, str] = {}
    planned: list[PlannedStage] = []
    forced: set[str] = set()
    # A default that is written out is the same metric: it makes nothing again.
    resolved = config.model_copy(update={"metric": config.score_name})
    for stage in stages_of(config):
        seen = resolved if stage.seen is None else stage.seen(resolved)
        sections = {name: _read(_section(seen, name), name, stage.unread) for name in stage.sections}
        inputs = {}
        for role in stage.takes:
            name = producer(role, config)
            if name is not None:
                inputs[role] = (name, keys[name])
        late = [each.reason for each in awaited if each.address.place[0] == stage.reads]
        # Bytes that are not here have no digest: a word that is none gives a key that no artifact has.
        raw = "awaited" if late else raw_digest(stage.reads, sections, memory, rehash=rehash)
        key, parts = stage_key(stage, sections, inputs, config.seed, raw, code.parts(stage.module))
        keys[stage.name] = key
        if stage.name == scope.force or any(name in forced for name, _ in inputs.values()):
            forced.add(stage.name)
        state, reason = _state(store, stage, key, parts, before.get(stage.name), stage.name in forced)
        state, reason = ("runs", "; ".join(late)) if late else (state, reason)
        planned.append(PlannedStage(stage, key, parts, sections, inputs, state, reason))
        if stage.name == scope.last:
            break
    return Plan(config, tuple(planned), awaited)


def check_start(plan: Plan, scope: Scope) -> None:
    """Checks that a run can begin where `--from` says.

    Raises:
        ConfigError: a stage before it is not in the store.
    """
    for planned in plan.stages:
        if scope.first is None or planned.stage.name == scope.first:
            return
        if planned.state != "cached":
            raise ConfigError(
                f"--from: expected {planned.stage.name} to be in the store already, got none ({planned.reason}). "
                "Leave --from out: cached stages are not repeated anyway."
            )


def _state(
    store: Store, stage: Stage, key: str, parts: dict[str, Any], before: str | None, forced: bool
) -> tuple[State, str]:
    """Returns whether a stage has to run, and why."""
    if forced:
        return "runs", "forced"
    if store.folder(stage.name, key).exists():
        damage = store.damage(stage.name, key)
        if damage is not None:
            return "runs", f"its artifact is damaged: {damage}"
        manifest = store.manifest(stage.name, key)
        if manifest is not None and manifest.details.get("passed") is False:
            return "runs", "its gate failed last time"
        return "cached", ""
    place = resumption(store.scratch(stage.name, key))
    if place is not None:
        return "resumes", f"at {place}"
    old = None if before is None else store.manifest(stage.name, before)
    return "runs", "nothing like it was made yet" if old is None else difference(old.parts, parts)


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Says in a few words what changed between the parts of two keys."""
    found = []
    old_fields, new_fields = dict(_leaves(old["config"])), dict(_leaves(new["config"]))
    for name in sorted(old_fields.keys() | new_fields.keys()):
        was, is_now = old_fields.get(name), new_fields.get(name)
        if was != is_now:
            found.append(f"{name} changed from {was} to {is_now}")
    for label, part in (("code of", "code"), ("version of", "versions"), ("input", "inputs")):
        names = sorted(
            name for name in old[part].keys() | new[part].keys() if old[part].get(name) != new[part].get(name)
        )
        if names:
            found.append(f"{label} {', '.join(names)} changed")
    found.extend(f"{part} changed" for part in ("source", "seed") if old[part] != new[part])
    return "; ".join(found[:4]) + (f"; and {len(found) - 4} more" if len(found) > 4 else "")


def _section(config: RunConfig, name: str) -> Any:
    """Returns `section` or `section.field` of a config; None where the section is left out."""
    found: Any = config
    for part in name.split("."):
        found = None if found is None else getattr(found, part)
    return found


def _read(section: Any, name: str, unread: tuple[str, ...]) -> Any:
    """Returns a section with the fields that a stage does not look at as their class declares them."""
    fields = [field for owner, _, field in (each.rpartition(".") for each in unread) if owner == name]
    defaults = {field: type(section).model_fields[field].default for field in fields}
    return section.model_copy(update=defaults) if defaults else section


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for name, inner in value.items() for leaf in _leaves(inner, f"{path}.{name}" if path else name)]
    return [(path, value)]


def _plain(section: Any) -> Any:
    return section.model_dump(mode="json") if hasattr(section, "model_dump") else section


@cache
def versions_of(libraries: tuple[str, ...]) -> dict[str, str]:
    """Returns the installed versions of some packages, and Python's own.

    Raises:
        ConfigError: one is not installed.
    """
    versions = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in libraries:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise ConfigError(
                f"requirements.{name}: expected it to be installed, got nothing. "
                "Install what requirements.txt names (`make run` does)."
            ) from None
    return versions
