"""What a run shows the world: its report, and the bundle, swapped in as one."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.contract import GateError, PenjingError, TargetMissedError
from pipeline.bundle_layout import SUMS
from pipeline.code_memory import CodeMemory
from pipeline.files import (
    clear_away,
    refuse_link,
    sha256_of_file,
    sha256_of_json,
    sync_folder,
    sync_tree,
    write_atomically,
)
from pipeline.planner import versions_of
from pipeline.refusals import explained
from pipeline.report.record import RunRecord, StageRecord
from pipeline.runs import RunFile, Workdir
from pipeline.store import Artifact
from pipeline.targets import missed_limit

_EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""
_AT_FDCWD = -100
_LIBRARIES = ("tensorflow", "tf_keras", "numpy", "ai-edge-litert", "tflite-micro")
_CLASSICAL_LIBRARIES = ("numpy", "scikit-learn", "joblib")


@dataclass(frozen=True)
class Published:
    """What a run left to be looked at.

    Attributes:
        report: the HTML report.
        bundle: the bundle's folder (`export`, or `rejected`); None where the run made none.
        summary: the bundle's `summary.json`; empty where there is none.
        verdict: the error that says why the bundle is not what was asked for; None where it is.
        has_earlier_bundle: whether `export` still holds the bundle of an earlier config.
        guess_caution: says that the bundle's model is no better than a guess; None where it is.
    """

    report: Path
    bundle: Path | None
    summary: dict[str, Any]
    verdict: PenjingError | None
    has_earlier_bundle: bool = False
    guess_caution: str | None = None


def publish(
    workdir: Workdir, run: RunFile, stages: Sequence[tuple[Artifact, bool]], *, anew: bool = False
) -> Published:
    """Writes the report of a run and, where it has one, its bundle; nothing where they are already there.

    Args:
        workdir: where the run lies.
        run: the run, its keys as planned.
        stages: its artifacts in order, and whether each was there already.
        anew: draw the report again in any case.

    Raises:
        StoreError: no permission, or no space; what was published before stays.
    """
    folder = workdir.run_folder(run.name)
    export = next((artifact for artifact, _ in stages if artifact.manifest.stage == "export"), None)
    no_better = _guess_caution(run, stages, export)
    summary = _summary(run.name, stages, export, better_than_guess=no_better is None)
    failed = export is not None and not export.manifest.details["passed"]
    bundle = None if export is None else folder / ("rejected" if failed else "export")
    report = folder / "report.html"
    handed_over = export.manifest.key if export is not None and not failed else None
    if handed_over is not None and run.bundle != handed_over:
        run = replace(run, bundle=handed_over, published=None)
    # The same artifacts, asked for in the same words, drawn by the same code, look the same.
    memory = CodeMemory(workdir.store().root)
    code = [memory.parts(module) for module in ("pipeline.report.html", "pipeline.model_card", "pipeline.summary")]
    origin = sha256_of_json(
        [run.name, run.config_text, [artifact.manifest.key for artifact, _ in stages], code, run.has_earlier_bundle]
    )
    if anew or run.published is None or run.published != _seal(origin, report, bundle):
        with explained(folder):
            record = _record(run, stages, summary)
            _write_report(report, record)
            if export is not None and bundle is not None:
                _swap_in(_assemble(folder, export, record, report), bundle)
                if not failed:  # what was rejected earlier is mended now
                    clear_away(folder / "rejected")
        workdir.write(replace(run, published=_seal(origin, report, bundle)))
    return Published(report, bundle, summary, _verdict(export, bundle), run.has_earlier_bundle, no_better)


def _guess_caution(run: RunFile, stages: Sequence[tuple[Artifact, bool]], export: Artifact | None) -> str | None:
    from pipeline.report.findings import guess_caution

    return None if export is None else guess_caution(_record(run, stages, export.manifest.details["summary"]))


def _summary(
    name: str, stages: Sequence[tuple[Artifact, bool]], export: Artifact | None, *, better_than_guess: bool
) -> dict[str, Any]:
    from pipeline.summary import summary_of

    if export is None:
        return {}
    ledger = [row for artifact, _ in stages for row in artifact.manifest.ledger]
    seconds = round(sum(artifact.manifest.seconds for artifact, _ in stages), 3)
    versions = versions_of(_libraries(stages))
    told = summary_of(name, export.manifest.details, ledger, seconds, versions, better_than_guess=better_than_guess)
    return told.model_dump(mode="json")


def _libraries(stages: Sequence[tuple[Artifact, bool]]) -> tuple[str, ...]:
    """Names the libraries that made and judged the models of a run."""
    names = [artifact.manifest.stage for artifact, _ in stages]
    if "fit" in names:
        return _CLASSICAL_LIBRARIES
    return (*_LIBRARIES, *_CLASSICAL_LIBRARIES[1:]) if "baselines" in names else _LIBRARIES


def _record(run: RunFile, stages: Sequence[tuple[Artifact, bool]], summary: dict[str, Any]) -> RunRecord:
    ingest = next((artifact for artifact, _ in stages if artifact.manifest.stage == "ingest"), None)
    profile = {} if ingest is None else json.loads((ingest.folder / "profile.json").read_text(encoding="utf-8"))
    return RunRecord(
        name=run.name,
        task=run.task,
        config_text=run.config_text,
        seed=run.seed,
        stages=tuple(_stage_records(stages)),
        profile=profile,
        summary=summary,
        versions=versions_of(_libraries(stages)),
        command=run.command,
        has_earlier_bundle=run.has_earlier_bundle,
    )


def _stage_records(stages: Sequence[tuple[Artifact, bool]]) -> Iterator[StageRecord]:
    """Yields the stages of a run; behind a search those of the candidate that it chose."""
    for artifact, _ in stages:
        manifest = artifact.manifest
        yield StageRecord(manifest.stage, manifest.key, manifest.seconds, manifest.ledger, manifest.details)
        if manifest.stage == "search":
            for made in manifest.details["chain"]:
                yield StageRecord(made["stage"], made["key"], made["seconds"], (), made["details"])


def _write_report(path: Path, record: RunRecord) -> None:
    from pipeline.report.html import render_report

    write_atomically(path, render_report(record))


def _assemble(folder: Path, export: Artifact, record: RunRecord, report: Path) -> Path:
    """Puts the bundle together beside its place and returns its folder."""
    from pipeline.model_card import render_model_card

    refuse_link(folder)
    staging = folder / ".bundle"
    clear_away(staging)
    for name in export.manifest.files:  # one by one: copytree would collect the system's refusals, and lose their kind
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(export.folder / name, staging / name)
    text = json.dumps(record.summary, indent=2, ensure_ascii=False, allow_nan=False)
    (staging / "summary.json").write_text(text + "\n", encoding="utf-8")
    (staging / "MODEL_CARD.md").write_text(render_model_card(record), encoding="utf-8")
    shutil.copyfile(report, staging / "report.html")
    sums = [f"{sha256_of_file(path)}  {path.relative_to(staging)}\n" for path in _files(staging)]
    (staging / SUMS).write_text("".join(sums), encoding="utf-8")
    sync_tree(staging)
    return staging


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _seal(origin: str, report: Path, bundle: Path | None) -> str | None:
    """Digests what was published, and what from: any change to a published file breaks it; None if one is gone."""
    try:
        files = (
            {} if bundle is None else {str(path.relative_to(bundle)): sha256_of_file(path) for path in _files(bundle)}
        )
        return sha256_of_json([origin, sha256_of_file(report), files])
    except OSError:
        return None


def _swap_in(staging: Path, target: Path) -> None:
    """Puts a folder in another's place in one step: a reader sees the old bundle or the new one, whole."""
    if target.is_symlink() or not target.exists():
        target.unlink(missing_ok=True)
        staging.rename(target)
        sync_folder(target.parent)
        return
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    swapped = renameat2 is not None and (
        renameat2(_AT_FDCWD, os.fsencode(staging), _AT_FDCWD, os.fsencode(target), _EXCHANGE) == 0
    )
    if not swapped:  # a filesystem or system without the exchange: two renames, a moment apart
        old = target.with_name(f".{target.name}.old")
        clear_away(old)
        target.rename(old)
        staging.rename(target)
        staging = old
    sync_folder(target.parent)
    clear_away(staging)


def _verdict(export: Artifact | None, bundle: Path | None) -> PenjingError | None:
    if export is None:
        return None
    details = export.manifest.details
    if not details["passed"]:
        failed = [gate for gate in details["gates"] if not gate["passed"]]
        lines = [f"gate.{gate['name']} (caused by {gate['stage']}): {gate['message']}" for gate in failed]
        return GateError("\n".join([*lines, f"The bundle was not handed over; it lies in {bundle} with its report."]))
    missed = [target for target in details["targets"] if not target["met"]]
    if missed:
        lines = [f"target.{each['name']}: {missed_limit(each)}" for each in missed]
        return TargetMissedError("\n".join([*lines, f"The best attempt lies in {bundle} all the same."]))
    return None
