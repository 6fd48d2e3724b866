"""The part of the model card that tells scores."""

from __future__ import annotations

from models.compression_config import ENCODED
from pipeline.report import task_words, wording
from pipeline.report.findings import chosen_variant, yardstick
from pipeline.report.markdown import plain, table
from pipeline.report.record import RunRecord
from pipeline.report.subject import classical_family, model_file


def scores_part(record: RunRecord) -> str:
    """Tells what each model scored on the test split: before compression, as delivered, its variants, baselines."""
    s = record.summary
    name = wording.capital(wording.metric(record.metric))
    before = [
        ("dense float model, before any compression (Keras)", wording.score(s["baseline_score"])),
        ("the float model that was converted (Keras)", wording.score(s["float_score"])),
    ]
    if classical_family(record):
        before = [("the model as scikit-learn fits it, float64", wording.score(s["float_score"]))]
    rows = [
        *before,
        (
            f"**{model_file(record)}, {chosen_variant(record)} ({_scored_by(record)})**",
            f"**{wording.score(s['model_score'])}**",
        ),
    ]
    lines = ["## Scores", table(["model", f"{name}, {task_words.judged_rows(record)}"], rows, 1)]
    beside_it = yardstick(record)
    if beside_it is not None:
        lines.append(plain(beside_it.sentence))
    lines += [*_variants(record, name), *_baselines(record, name)]
    return "\n\n".join(lines)


def _variants(record: RunRecord, name: str) -> list[str]:
    variants = record.details("convert").get("variants") or []
    on_test = record.details("export").get("test") or {}
    beside = [
        (
            str(each["precision"]),
            wording.count(each["bytes"]),
            wording.count(each["gzip_bytes"]),
            wording.score(each["score"]),
            wording.score(on_test.get(each["precision"])),
        )
        for each in variants
    ]
    if beside:
        heads = ["variant", "bytes", "gzipped bytes", f"{name}, validation", f"{name}, test"]
        return ["Every variant that was converted:", table(heads, beside, 4)]
    return []


def _baselines(record: RunRecord, name: str) -> list[str]:
    baselines = [
        (
            wording.baseline(each["name"]),
            wording.count(each["joblib_bytes"]),
            wording.count(each["constant_bytes"]),
            wording.score(each["validation_score"]),
            wording.score(each["test_score"]),
        )
        for each in record.summary.get("baselines") or []
    ]
    if baselines:
        heads = ["baseline", "bytes as joblib", "bytes in C", f"{name}, validation", f"{name}, test"]
        return ["Classical models by scikit-learn, on the same splits:", table(heads, baselines, 4)]
    return []


def _scored_by(record: RunRecord) -> str:
    if classical_family(record):
        return "compiled and run on the host"
    return "LiteRT, the same numbers in `variants/int8.tflite`" if is_encoded(record) else "LiteRT"


def is_encoded(record: RunRecord) -> bool:
    """Whether the weights of `model.tflite` are encoded for TFLite Micro alone."""
    return chosen_variant(record) in ENCODED.values()
