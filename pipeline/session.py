"""One run from its config to what it publishes: what the command line calls."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.contract import ConfigError, PenjingError, Progress, StoreError
from pipeline.cluster import Cluster
from pipeline.config import RunConfig
from pipeline.config_reading.file import LoadedConfig, load_config
from pipeline.executors.engine import lent_engine
from pipeline.executors.placement import ClusterPlacement, Placement
from pipeline.lineage import config_allows_code
from pipeline.participation import Participation
from pipeline.planner import Plan, check_start, make_plan
from pipeline.publish import Published, publish
from pipeline.refusals import explained
from pipeline.remote.awaiting import awaited, fetch
from pipeline.requests import Request, RunResult, is_text
from pipeline.runner import Listener, Runner
from pipeline.runs import RunFile, Workdir
from pipeline.store import Artifact

if TYPE_CHECKING:
    from pipeline.remote.mirror import Pending


def asks_for_search(config: Path, overrides: Sequence[str]) -> bool:
    """Returns whether a config has a section `search`, or an override of it.

    Raises:
        ConfigError: the config is wrong, whatever is searched.
    """
    return load_config(config, overrides).config.search is not None


def plan_request(request: Request, *, lasting: bool = False) -> tuple[LoadedConfig, Plan]:
    """Reads a config and plans its run.

    Args:
        request: what is asked.
        lasting: to run it: the store is made where there is none, so that digests are remembered, and `--from` must
            find what it builds on; else nothing is left behind.

    Raises:
        ConfigError: the config, the scope or the work directory's name is wrong.
        DataError: the raw data is missing, or a server cannot be reached.
        StoreError: the work directory cannot be read.
    """
    place = str(request.workdir.root)
    if not is_text(place):
        raise ConfigError(
            f"--workdir: expected a name that is text in {sys.getfilesystemencoding()}, got {place!r}. "
            "TensorFlow opens no other: choose another name, or a UTF-8 locale."
        )
    loaded = load_config(request.config, request.overrides)
    if request.cluster is not None:
        request.cluster.require_workers(loaded.config.train.workers)
    root = request.workdir.store().root
    request.scope.check(loaded.config)
    with explained(root), loaded.placed():
        if lasting:
            root.mkdir(parents=True, exist_ok=True)
        plan = _plan(request, loaded, awaited(loaded.config, request.workdir.store(), anew=request.rehash))
    if lasting:
        check_start(plan, request.scope)
    return loaded, plan


def _plan(request: Request, loaded: LoadedConfig, late: tuple[Pending, ...]) -> Plan:
    """Plans a run; `late`: what is to be downloaded first."""
    before = request.workdir.read(loaded.config.name)
    keys = {} if before is None else before.keys
    store = request.workdir.store()
    return make_plan(loaded.config, store, request.scope, keys, rehash=request.rehash, awaited=late)


def run_request(request: Request, listener: Listener, loaded: LoadedConfig, plan: Plan) -> RunResult:
    """Executes a plan and publishes what came of it; downloads what the plan awaits first.

    Raises:
        PenjingError: a stage failed; what was finished is kept, and the same command goes on from there.
    """
    workdir = request.workdir
    if plan.awaited:
        plan = _with_copies(request, listener, loaded, plan)
    run = _run_file(request, loaded, plan)
    look_who_writes(workdir, loaded.config, listener)
    workdir.write(run)
    try:
        result = _made(request, listener, loaded, plan, run)
    except BaseException as error:
        # What ended the run is told, and not that a full disk keeps this from being noted too.
        with suppress(StoreError):
            workdir.mark(run.name, "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    workdir.mark(run.name, "done" if result.published.verdict is None else "failed")
    return result


def look_who_writes(workdir: Workdir, config: RunConfig, progress: Progress) -> None:
    """Tells of a work directory that other users can write to; refuses it where a model in it may run code.

    Raises:
        StoreError: the config allows layers to bring code along, and that code could be anybody's.
    """
    folder = workdir.open_to_others()
    if folder is None:
        return
    if config_allows_code(config):
        raise StoreError(
            f"model.allow: expected a work directory that only you can write to, got {folder}: the code of the layers "
            "would be whatever others put there. Choose another --workdir, or take their permission (chmod o-w)."
        )
    progress.note(f"note: other users can write to {folder}, and so to what this run goes on with (docs/faults.md)")


def _made(request: Request, listener: Listener, loaded: LoadedConfig, plan: Plan, run: RunFile) -> RunResult:
    """Makes what is not there yet, and publishes it."""
    workdir, config = request.workdir, loaded.config
    store = workdir.store(listener.note)
    with (
        explained(store.root),
        loaded.placed(),
        lent_engine(config, store, listener) as engine,
    ):
        runner = Runner(store, listener, config.seed, engine, _placement(request.cluster))
        stages = tuple(runner.execute(plan, request.scope).values())
    # Two runs of one name publish one after the other.
    with workdir.store(listener.note).lock("publish", run.name):
        published = publish(workdir, run, stages)
    return RunResult(run.name, run.task, config.score_name, stages, published)


def _with_copies(request: Request, listener: Listener, loaded: LoadedConfig, plan: Plan) -> Plan:
    """Downloads what a plan awaits, and plans anew."""
    workdir, config = request.workdir, loaded.config
    before = workdir.read(config.name)
    if before is None or before.config_text != resolved_yaml(loaded):  # lets `gc` know who wants the copies
        workdir.write(replace(_run_file(request, loaded, plan), keys={}, state="failed"))
    with explained(workdir.store().root), loaded.placed():
        fetch(plan.awaited, config, workdir.store(listener.note), listener)
        return _plan(replace(request, rehash=False), loaded, ())


def _placement(cluster: Cluster | None) -> Placement | None:
    """Where the training's workers are, if something outside this run has placed them: it comes before any engine."""
    return None if cluster is None else ClusterPlacement(cluster.addresses, cluster.index)


def take_part(request: Request, progress: Progress) -> str:
    """Takes part in the training of a run that another machine leads.

    Args:
        request: what is asked; its cluster says which worker this is.
        progress: told of it.

    Returns:
        A sentence that says how it ended.

    Raises:
        ConfigError: the config is wrong, or asks for another number of workers.
        StoreError: no such run is at work in the work directory.
        PenjingError: the training came to nothing.
    """
    if request.cluster is None:
        raise ValueError("request.cluster: expected the workers of the training, got None.")
    loaded = load_config(request.config, request.overrides)
    request.cluster.require_workers(loaded.config.train.workers)
    look_who_writes(request.workdir, loaded.config, progress)
    anew = request.scope.force is not None
    told = (request.workdir, loaded.config, resolved_yaml(loaded), request.cluster, progress)
    return Participation(*told, anew=anew).run()


def _run_file(request: Request, loaded: LoadedConfig, plan: Plan) -> RunFile:
    name = loaded.config.name
    before = request.workdir.read(name)
    # A run of the first stages only does not forget the later ones that were planned under the same config.
    text = resolved_yaml(loaded)
    keys = plan.keys if before is None or before.config_text != text else {**before.keys, **plan.keys}
    run = RunFile(name, loaded.config.task, loaded.config.seed, text, request.command, keys, "running")
    return run if before is None else replace(run, published=before.published, bundle=before.bundle)


def resolved_yaml(loaded: LoadedConfig) -> str:
    """Returns the config with every default spelled out, as YAML."""
    from io import StringIO

    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # the order of the schema reads better
    stream = StringIO()
    yaml.dump(loaded.resolved, stream)
    return stream.getvalue()


def artifacts_of(workdir: Workdir, run: RunFile) -> list[tuple[Artifact, bool]]:
    """Returns the artifacts of a run that are in the store, in order.

    Raises:
        PenjingError: there is none at all.
    """
    store = workdir.store()
    found = [store.find(stage, key) for stage, key in run.keys.items()]
    artifacts = [(artifact, True) for artifact in found if artifact is not None]
    if not artifacts:
        raise PenjingError(f"RUN: expected {run.name} to have artifacts, got none. Run it again: {run.command}")
    return artifacts


def redraw(workdir: Workdir, name: str) -> Published:
    """Draws a run's report anew, from what the store holds of it.

    Raises:
        ConfigError: there is no such run.
        PenjingError: nothing of it is in the store.
    """
    run = workdir.require(name)
    with explained(workdir.root), workdir.store().lock("publish", name):
        return publish(workdir, run, artifacts_of(workdir, run), anew=True)


def require_keep(keep: int | None) -> int | None:
    """Checks how many runs `gc` is to keep.

    Raises:
        ConfigError: a negative number.
    """
    if keep is not None and keep < 0:
        raise ConfigError(f"--keep: expected a number of runs, 0 or more, got {keep}.")
    return keep
