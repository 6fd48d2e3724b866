"""What a run gives reason to look at, one sentence each: how it trained, what it lost, what it could do without."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

from models.compression_config import Precision
from pipeline.report import wording
from pipeline.report.findings import chosen_variant, dense_row, keras_rows, section_of, targets_asked
from pipeline.report.record import RunRecord
from pipeline.report.subject import weights_field

NOTABLE_DROP = 0.05
"""What compression may take off a score before the report says so where no target does."""

FEW_STEPS = 400
"""Steps of gradient descent below which a training has seldom converged."""

UNROLLED = ("GRU", "SimpleRNN")
"""Layers that a .tflite file holds step after step, operator by operator."""


def smaller_variants(record: RunRecord) -> str | None:
    """Names the variants that are smaller than `model.tflite` and score no less on validation; None without one."""
    variants, chosen = record.details("convert").get("variants") or [], chosen_variant(record)
    own = next((each for each in variants if each["precision"] == chosen), None)
    if own is None:
        return None
    better = [each for each in variants if each["bytes"] < own["bytes"] and each["score"] >= own["score"]]
    if not better:
        return None
    named = [f"{each['precision']} ({each['bytes']:,d} bytes{_unlike(own, each)})" for each in better]
    told = f"{chosen} is not the smallest: {wording.listed(named)} scored no less on validation."
    return f"{told} {_why_smaller(record, str(chosen), better)}"


def _unlike(own: dict[str, Any], smaller: dict[str, Any]) -> str:
    """Says of a smaller variant that a microcontroller, which runs the chosen one, does not run it."""
    refused = smaller.get("arena_reason") is not None and own.get("arena_reason") is None
    return "; TFLite Micro refuses it" if refused else ""


def _why_smaller(record: RunRecord, chosen: str, better: list[dict[str, Any]]) -> str:
    """Says how to take a variant of fewer bits; of one that has as many or more, why it is smaller all the same."""
    askable = [each for each in better if each["precision"] in get_args(Precision)]
    fewest = min(askable, key=lambda each: each["bytes"], default=None)
    floats = {"float32": 2, "float16": 1}
    if fewest is not None and floats.get(str(fewest["precision"]), 0) < floats.get(chosen, 0):
        if record.details("search"):
            return f"Add {fewest['precision']} to search.precision to let the search hand it over."
        return f"quantize.precision: {fewest['precision']} hands it over."
    if _is_unrolled(record):
        return (
            "A recurrent network is written out step after step: each step has operators and tensors of its own, and "
            "each quantized one costs bytes for its scale that the small shared weights do not earn back."
        )
    return "Each quantized tensor costs bytes of its own, which so small a network does not earn back."


def _is_unrolled(record: RunRecord) -> bool:
    kinds = {layer["type"] for layer in record.details("build").get("layers") or []}
    return bool(kinds & set(UNROLLED)) or section_of(record, "model").get("cell") in ("gru", "simple")


def threshold_caution(record: RunRecord) -> str | None:
    """Says that the threshold finds no more of the abnormal rows than it may call abnormal of the normal ones."""
    figures = record.summary.get("reconstruction") or {}
    if figures.get("detected") is None:
        return None
    alarms = max(figures["false_alarms"], figures["false_alarm_fraction"])
    if figures["detected"] > alarms:
        return None
    return (
        f"The threshold finds almost no abnormal row: {wording.fraction(figures['detected'])} of those of the test "
        f"split, no more than the false alarms it allows or gives ({wording.fraction(alarms)} of normal rows). A model "
        "that gives normal rows back better tells more; a higher reconstruction.false_alarm_fraction finds more, at "
        "the price of false alarms."
    )


def control_caution(record: RunRecord) -> str | None:
    """Says that training end to end beat layer-wise training on validation; None where it did not, or was not made."""
    control = record.details("control")
    if not control.get("history") or control["score"] <= control["layer_wise_score"]:
        return None
    return (
        f"On the same budget, training end to end is better on validation than the layer-wise training that is handed "
        f"on: {wording.metric(record.metric)} {wording.score(control['score'])} against "
        f"{wording.score(control['layer_wise_score'])} (train.control). Try train.mode: end_to_end."
    )


def training_cautions(record: RunRecord) -> list[str]:
    """Says what the training and its answers give reason to look at, one sentence each."""
    found = []
    train = record.details("train")
    history, best = train.get("history") or [], train.get("best_epoch")
    # A schedule that ends at a rate of zero makes the last epoch the best one by design.
    refined = "clustering" in train
    constant = (section_of(record, "train").get("optimizer") or {}).get("schedule") == "constant"
    if constant and not refined and train.get("stopped_by") == "epochs" and best == len(history) > 1:
        found.append(
            f"The last of {len(history)} epochs of training was the best: more epochs (train.epochs) may do better."
        )
    rows, size = record.profile.get("rows", {}).get("train"), section_of(record, "train").get("batch_size")
    size = rows if size == "full" else size
    if history and not refined and rows and size and len(history) * -(-rows // size) < FEW_STEPS:
        found.append(
            f"Training took {len(history) * -(-rows // size)} steps in all ({len(history)} epochs of {rows:,d} rows): "
            "few for so little data. Try more epochs (train.epochs), or a smaller train.batch_size."
        )
    export = record.details("export")
    matrix, names = export.get("confusion") or [], export.get("classes") or []
    never = [name for j, name in enumerate(names) if matrix and not any(row[j] for row in matrix)]
    if never:
        found.append(
            f"{wording.listed([str(name) for name in never])} {'was' if len(never) == 1 else 'were'} predicted for no "
            "row of the test split. "
            f"Rows may be too few, or classes too uneven: see {weights_field(record)}."
        )
    return found


def compression_caution(record: RunRecord) -> str | None:
    """Says that compression cost much of the score, and where; None where it did not, or a target judges it."""
    dense, chosen = dense_row(record), chosen_variant(record)
    last = next((row for row in record.ledger if row.stage == "convert" and row.variant == chosen), None)
    if dense is None or last is None or {"max_score_drop", "min_score"} & targets_asked(record).keys():
        return None
    if dense.score - last.score <= NOTABLE_DROP:
        return None
    way = [dense, *(row for row in keras_rows(record) if row.stage in ("prune", "cluster", "quantize")), last]
    before, after = max(pairwise(way), key=lambda pair: pair[0].score - pair[1].score)
    metric = wording.metric(record.metric)
    return (
        f"Compression took the validation {metric} from {wording.score(dense.score)} to {wording.score(last.score)}, "
        f"most of it in {after.stage} ({wording.score(before.score)} to {wording.score(after.score)}). Less sparsity "
        "or more epochs keep more of it; target.max_score_drop sets a limit."
    )
