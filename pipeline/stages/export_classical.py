"""Stage export of a run without a network: a classical model -> its bundle of plain C, and the proof that it works.

The test split is read here, and nowhere before. scikit-learn's model is fitted once more, because no pickle of it is
kept, and the C source is held against it row by row. TensorFlow is never imported.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.dataset import Dataset
from models.classical.c_program import CProgram, compile_model, require_compiler
from models.classical.c_source import constants
from models.classical.fitting import answers, decisions
from models.classical.forms import Form, TreesForm, numbers_of
from models.classical_config import ClassicalConfig
from models.measurements import gzip_bytes, zstd_bytes
from models.tasks import Task
from pipeline.bundle_layout import C_MODEL, CLASSICAL_ARRAYS, CLASSICAL_FORM
from pipeline.classical_artifacts import Baselines, SavedClassical, read_form
from pipeline.classical_bundle import write_golden, write_model
from pipeline.classical_fit import fit_model
from pipeline.comparison import compared
from pipeline.config import ExportConfig, TargetConfig
from pipeline.decisions import decided
from pipeline.gate.plain_c import PlainC, PlainCReport, run_plain_c_gate
from pipeline.targets import judge
from pipeline.workspace import Outcome, Workspace

NO_ARENA = "plain C needs no arena: it works on the stack alone"
"""Why no working memory is measured."""


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: rows, the fitted model, and baselines where the config asks for some."""

    dataset: Dataset
    fitted: SavedClassical
    baselines: Baselines | None = None


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read."""

    export: ExportConfig
    target: TargetConfig
    model: ClassicalConfig


@dataclass(frozen=True)
class _Reference:
    """scikit-learn's own model, fitted again, and what it answers.

    Attributes:
        form: its plain arrays.
        outputs: (rows, outputs) on the test split.
        decided: (rows,) class codes there; None for numbers.
        validation_score: its score on the validation split.
    """

    form: Form
    outputs: NDArray[np.float64]
    decided: NDArray[Any] | None
    validation_score: float


def export(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Writes the bundle, puts it through the gate and judges the config's targets.

    Raises:
        ConversionError: the model is too large for plain C.
        GateError: there is no C compiler, or the compiled source crashed.
    """
    require_compiler()
    dataset, task = inputs.dataset, inputs.fitted.record.as_task()
    form, folder = inputs.fitted.load(), workspace.output
    write_model(folder, dataset, form, config.model.family)
    reference = _fit_again(config.model, dataset, task, workspace.seed)
    with tempfile.TemporaryDirectory() as build:
        program = compile_model(folder, Path(build), form.num_outputs)
        golden = write_golden(folder, program, _golden_rows(dataset, config, workspace), config.export.c_golden_rows)
        kept = read_form((folder / CLASSICAL_FORM).read_text(encoding="utf-8"), folder / CLASSICAL_ARRAYS)
        x = dataset.inputs("test")
        given = PlainC(program, form, reference.form, kept, x, reference.outputs, reference.decided, golden)
        report = run_plain_c_gate(given)
        measured = _measure(dataset, task, program, form, reference, config.export.latency_repeats)
    targets = judge(config.target, measured)
    summary = _summary(inputs, task, form, reference, report, measured)
    details = {
        "passed": report.passed,
        "gates": [{key: _jsonable(value) for key, value in asdict(check).items()} for check in report.checks],
        "targets": targets,
        "met": all(target["met"] for target in targets),
        "metric": task.metric,
        **decided(dataset, task, report.outputs, probable=_is_probable(form)),
        "test": {C_MODEL: summary["model_score"], "scikit-learn": summary["float_score"]},
        "golden": {"rows": len(golden[1]), "runtime": C_MODEL},
        "summary": {
            **summary,
            "baselines": compared(inputs.baselines, dataset, task, measured["min_score"] or 0.0, len(constants(form))),
            "target": {each["name"]: {key: each[key] for key in ("asked", "got", "met")} for each in targets},
        },
    }
    return Outcome((), details)


def _golden_rows(dataset: Dataset, config: Config, workspace: Workspace) -> NDArray[Any]:
    """Draws raw test rows: a source may be sorted by class, and its first rows all alike."""
    raw = dataset.raw("test")
    order = np.random.Generator(np.random.PCG64(workspace.seed_for("export", "golden"))).permutation(len(raw))
    return np.ascontiguousarray(raw[order[: config.export.golden_rows]])


def _fit_again(config: ClassicalConfig, dataset: Dataset, task: Task, seed: int) -> _Reference:
    fitted, _ = fit_model(config, dataset, seed)
    classes = dataset.schema.num_classes
    x = dataset.inputs("test")
    validation = answers(fitted.estimator, dataset.inputs("validation"), classes)
    return _Reference(
        form=fitted.form,
        outputs=answers(fitted.estimator, x, classes),
        decided=decisions(fitted.estimator, x) if classes else None,
        validation_score=task.score(dataset.split("validation").y, validation),
    )


def _measure(
    dataset: Dataset, task: Task, program: CProgram, form: Form, reference: _Reference, repeats: int
) -> dict[str, float | None]:
    """Measures what targets are about, on the validation split: limit's name -> figure."""
    outputs, latency = program.run(dataset.inputs("validation"), repeats)
    score = task.score(dataset.split("validation").y, outputs)
    held = constants(form)
    return {
        "max_score_drop": reference.validation_score - score,
        "min_score": score,
        "max_model_bytes": len(held),
        "max_gzip_bytes": gzip_bytes(held),
        "max_arena_bytes": None,
        "max_latency_us": None if latency is None else round(latency, 3),
    }


def _is_probable(form: Form) -> bool:
    """Whether outputs of classes are probabilities."""
    return isinstance(form, TreesForm) or form.answer in ("softmax", "sigmoid")


def _summary(
    inputs: Inputs,
    task: Task,
    form: Form,
    reference: _Reference,
    report: PlainCReport,
    measured: dict[str, float | None],
) -> dict[str, Any]:
    """Returns the fields of summary.json that do not depend on the run."""
    y, numbers = inputs.dataset.split("test").y, numbers_of(form)
    score = task.score(y, reference.outputs)
    float32 = {"dtype": "float32", "scale": None, "zero_point": None}
    return {
        "classical_family": inputs.fitted.record.name,
        "model_file": C_MODEL,
        "task": task.name,
        "metric": task.metric,
        "precision": "float32",
        "input": {**float32, "shape": [1, form.num_features]},
        "output": {**float32, "shape": [1, form.num_outputs]},
        "dataset_sha256": inputs.dataset.profile["dataset_sha256"],
        "baseline_score": score,
        "float_score": score,
        "model_score": task.score(y, report.outputs),
        "agreement": report.agreement,
        "max_abs_error": _jsonable(report.max_abs_error),
        "model_bytes": measured["max_model_bytes"],
        "model_gzip_bytes": measured["max_gzip_bytes"],
        "model_zstd_bytes": zstd_bytes(constants(form)),
        "arena_bytes": None,
        "arena_reason": NO_ARENA,
        "micro_max_steps": None,
        "parameters": int(numbers.size),
        "nonzero_parameters": int(np.count_nonzero(numbers)),
        "macs": form.macs,
        "latency_us": measured["max_latency_us"],
        "operators": [],
    }


def _jsonable(value: Any) -> Any:
    """JSON has neither NaN nor infinities: None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
