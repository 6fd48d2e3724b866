"""Stage export: everything before it -> the bundle, and the proof that it works.

The test split is read here, and nowhere before. What fails is told in the details, `passed` false;
the run then does not hand the bundle over.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.contract import GateError
from data.dataset import Dataset
from models.anomaly import Thresholds, row_errors
from models.deep_clustering import embedding_of
from models.legacy_keras import use_determinism
from models.measurements import count_macs, count_nonzero, count_parameters, gzip_bytes, zstd_bytes
from models.recurrent import kernel_named
from models.task_config import ReconstructionConfig
from models.tasks import Task
from models.tflite.audit import operators
from models.tflite.interpreter import LiteRT, TensorInfo, latency_us
from models.training import predict
from pipeline import anomalies
from pipeline.artifacts import SavedModel, Variants
from pipeline.bundle import copy_files, write_c_model, write_cluster_names, write_golden
from pipeline.bundle_layout import MODEL
from pipeline.classical_artifacts import Baselines
from pipeline.clusters import cluster_summary, told_clusters
from pipeline.comparison import compared
from pipeline.config import ExportConfig, TargetConfig
from pipeline.decisions import decided
from pipeline.gate.checks import GateInputs, GateReport, Golden, run_gate
from pipeline.gate.structure import arithmetic
from pipeline.lessons import reference, validation
from pipeline.targets import judge
from pipeline.workspace import Outcome, Workspace


@dataclass(frozen=True)
class Inputs:
    """What the stage takes: rows, the model before compression, the one that was converted, its TFLite files, and
    baselines where the config asks for some.
    """

    dataset: Dataset
    dense: SavedModel
    model: SavedModel
    variants: Variants
    baselines: Baselines | None = None


@dataclass(frozen=True)
class Config:
    """Sections of the config that are read."""

    export: ExportConfig
    target: TargetConfig
    reconstruction: ReconstructionConfig | None = None


@dataclass(frozen=True)
class _Tested:
    """What was learned on the test split.

    Attributes:
        report: the gate's.
        golden: the golden vectors, as they were written.
        answers: variant -> (rows, outputs) float32, by LiteRT without default delegates.
        baseline_score: of the dense float model.
        float_score: of the model that was converted.
        scores: variant -> score.
        errors: reconstruction: of each row, by who answered; else empty.
        baseline_outputs: (rows, outputs) of the dense float model.
        embedded: clustering: (rows, dimensions) embeddings by the Keras model; else empty.
    """

    report: GateReport
    golden: Golden
    answers: dict[str, NDArray[np.float32]]
    baseline_score: float
    float_score: float
    scores: dict[str, float]
    errors: dict[str, NDArray[np.float64]]
    baseline_outputs: NDArray[np.float32]
    embedded: NDArray[np.float32]


def export(inputs: Inputs, config: Config, workspace: Workspace) -> Outcome:
    """Writes the bundle, puts it through the gate and judges the config's targets.

    Raises:
        ConversionError: LiteRT cannot run a variant at all.
        GateError: a score on the test split is not a number.
    """
    use_determinism(workspace.seed_for("export"))
    whole, inputs = inputs.dataset, replace(inputs, dataset=inputs.model.rows(inputs.dataset))
    task = inputs.model.record.as_task()
    model = inputs.model.load()
    dense = model if inputs.dense.folder == inputs.model.folder else inputs.dense.load()
    chosen = inputs.variants.chosen
    file, runnable = inputs.variants.path(chosen).read_bytes(), inputs.variants.runnable(chosen).read_bytes()
    copy_files(workspace.output, inputs.dataset, inputs.variants)
    raw = _golden_rows(inputs.dataset, config.export.golden_rows, workspace.seed_for("export", "golden"))
    golden = write_golden(workspace.output, file, runnable, raw, config.export.c_golden_rows)
    thresholds, figures = anomalies.exported_thresholds(
        inputs.dataset, runnable, model, config.reconstruction, workspace.output
    )
    tested = _test(inputs, task, model, dense, golden, thresholds, workspace)
    report = tested.report
    if thresholds is not None:
        figures |= anomalies.test_figures(inputs.dataset, tested.errors, thresholds.file)
    clusters = None
    if task.name == "clustering":
        write_cluster_names(workspace.output, int(model.output_shape[-1]))
        clusters = cluster_summary(inputs.dataset, tested.answers[chosen], tested.baseline_outputs, tested.embedded)
    write_c_model(workspace.output, file, runnable, report.arena_bytes, report.micro_reason)
    measured = _measure(inputs, task, dense, file, runnable, config.export.latency_repeats)
    measured["max_arena_bytes"] = report.arena_bytes
    targets = judge(config.target, measured)
    details = {
        "passed": report.passed,
        "gates": [{key: _jsonable(value) for key, value in asdict(check).items()} for check in report.checks],
        "targets": targets,
        "met": all(target["met"] for target in targets),
        **_decisions(inputs, task, tested, thresholds),
        "test": tested.scores,
        "xnnpack_difference": _jsonable(report.xnnpack_steps),
        "golden": {"rows": len(golden.quantized), "runtime": golden.runtime},
        "summary": {
            **_summary(inputs, task, model, file, runnable, tested, measured, targets),
            "reconstruction": figures or None,
            "clustering": clusters,
            "baselines": compared(inputs.baselines, whole, task, measured["min_score"] or 0.0, len(file)),
        },
    }
    return Outcome((), details)


def _golden_rows(dataset: Dataset, wanted: int, seed: int) -> NDArray[Any]:
    """Draws raw test rows: a source may be sorted by class, and its first rows all alike."""
    raw = dataset.raw("test")
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(raw))
    return np.ascontiguousarray(raw[order[:wanted]])


def _test(
    inputs: Inputs,
    task: Task,
    model: Any,
    dense: Any,
    golden: Golden,
    thresholds: Thresholds | None,
    workspace: Workspace,
) -> _Tested:
    """Reads the test split, once, for the gate and for every score on it."""
    x, y = inputs.dataset.inputs("test"), reference(inputs.dataset, "test", task)
    judged = slice(None) if thresholds is None else anomalies.normal_rows(inputs.dataset)
    variants = inputs.variants
    keras_outputs = predict(model, x)
    masks = inputs.model.masks()
    file, runnable = variants.path(variants.chosen).read_bytes(), variants.runnable(variants.chosen).read_bytes()
    report = run_gate(
        GateInputs(
            model=file,
            precision=arithmetic(runnable, variants.chosen),
            schema=inputs.dataset.schema,
            task=task,
            x=x,
            keras_outputs=keras_outputs,
            masks=masks,
            kernels={name: kernel_named(model, name).numpy() for name in masks},
            golden=golden,
            unpacked=None if runnable == file else runnable,
            clusters=inputs.model.clusters(),
            thresholds=thresholds,
            source_stage=inputs.model.stage,
        )
    )
    answers: dict[str, NDArray[np.float32]] = {}
    scores: dict[str, float] = {}
    for done, name in enumerate(variants.names, start=1):
        answers[name] = LiteRT(variants.runnable(name).read_bytes()).predict(x)
        scores[name] = _score(task, y[judged], answers[name][judged], name)
        workspace.progress.step("test", done, len(variants.names), {"variant": name, task.metric: scores[name]})
    float_score = _score(task, y[judged], keras_outputs[judged], "Keras")
    baseline_outputs = keras_outputs if dense is model else _dense_answers(inputs, dense, "test")
    baseline = _score(task, y[judged], baseline_outputs[judged], "Keras, dense")
    errors = {}
    if thresholds is not None:
        answered = {"file": answers[variants.chosen], "keras": keras_outputs, "baseline": baseline_outputs}
        errors = {who: row_errors(x, outputs) for who, outputs in answered.items()}
    embedded = predict(embedding_of(model), x) if task.name == "clustering" else np.zeros((len(x), 0), np.float32)
    return _Tested(report, golden, answers, baseline, float_score, scores, errors, baseline_outputs, embedded)


def _dense_answers(inputs: Inputs, dense: Any, split: str) -> NDArray[np.float32]:
    return predict(dense, inputs.dense.rows(inputs.dataset).inputs(split))


def _score(task: Task, y: NDArray[Any], outputs: NDArray[np.float32], who: str) -> float:
    score = task.score(y, outputs)
    if not math.isfinite(score):
        raise GateError(
            f"gate.finite outputs: expected a number as {task.metric} on the test split, got {score} from {who}. "
            f"Lower the learning rate, or look at the preprocessing."
        )
    return score


def _measure(
    inputs: Inputs, task: Task, dense: Any, file: bytes, runnable: bytes, repeats: int
) -> dict[str, float | None]:
    """Measures what targets are about, on the validation split: limit's name -> figure."""
    x, y = validation(inputs.dataset, task)
    score = task.score(y, LiteRT(runnable).predict(x))
    return {
        "max_score_drop": task.score(y, _dense_answers(inputs, dense, "validation")) - score,
        "min_score": score,
        "max_model_bytes": len(file),
        "max_gzip_bytes": gzip_bytes(file),
        # LiteRT does not run encoded weights.
        "max_latency_us": round(latency_us(file, x, repeats), 3) if runnable == file else None,
    }


def _decisions(inputs: Inputs, task: Task, tested: _Tested, thresholds: Thresholds | None) -> dict[str, Any]:
    """Tells what model.tflite decided on the test split."""
    outputs = tested.answers[inputs.variants.chosen]
    if thresholds is not None:
        return {"errors": anomalies.told_errors(inputs.dataset, outputs, tested.errors["file"], thresholds.file)}
    if task.name == "clustering":
        return {"clusters": told_clusters(inputs.dataset, outputs, tested.embedded)}
    return decided(inputs.dataset, task, outputs)


def _summary(
    inputs: Inputs,
    task: Task,
    model: Any,
    file: bytes,
    runnable: bytes,
    tested: _Tested,
    measured: dict[str, float | None],
    targets: list[dict[str, Any]],
) -> dict[str, Any]:
    """Returns the fields of summary.json that do not depend on the run."""
    report, runtime = tested.report, LiteRT(runnable)
    return {
        "classical_family": None,
        "model_file": MODEL,
        "task": task.name,
        "metric": task.metric,
        "precision": inputs.variants.chosen,
        "input": _tensor(runtime.input),
        "output": _tensor(runtime.output),
        "dataset_sha256": inputs.dataset.profile["dataset_sha256"],
        "baseline_score": tested.baseline_score,
        "float_score": tested.float_score,
        "model_score": tested.scores[inputs.variants.chosen],
        "agreement": report.agreement,
        "max_abs_error": _jsonable(report.max_abs_error),
        "model_bytes": len(file),
        "model_gzip_bytes": measured["max_gzip_bytes"],
        "model_zstd_bytes": zstd_bytes(file),
        "arena_bytes": report.arena_bytes,
        "arena_reason": report.micro_reason,
        "micro_max_steps": report.micro_max_steps,
        "parameters": count_parameters(model),
        "nonzero_parameters": count_nonzero(model),
        "macs": count_macs(model),
        "latency_us": measured["max_latency_us"],
        "operators": list(dict.fromkeys(operators(file))),
        "target": {each["name"]: {key: each[key] for key in ("asked", "got", "met")} for each in targets},
    }


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    return {
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "scale": tensor.scale if tensor.quantized else None,
        "zero_point": tensor.zero_point if tensor.quantized else None,
    }


def _jsonable(value: Any) -> Any:
    """JSON has neither NaN nor infinities: None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
