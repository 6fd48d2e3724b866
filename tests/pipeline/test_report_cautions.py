"""What the report calls worth knowing: smaller variants, guesses, thresholds that find nothing, a control that won."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.report import task_words
from pipeline.report.cautions import control_caution, smaller_variants, threshold_caution
from pipeline.report.findings import guess_caution, verdict
from pipeline.report.html import render_report
from pipeline.report.record import RunRecord, StageRecord
from tests.pipeline.report_records import full_record
from tests.pipeline.test_report import Page

SIZES = {"float32": 15_584, "float16": 10_016, "dynamic_range": 7_808, "int8": 9_520}


def with_details(record: RunRecord, stage: str, **changed: Any) -> RunRecord:
    stages = tuple(
        replace(each, details=each.details | changed) if each.name == stage else each for each in record.stages
    )
    return replace(record, stages=stages)


def converted(chosen: str, sizes: dict[str, int]) -> RunRecord:
    """A run whose variants all score alike."""
    variants = [{"precision": name, "bytes": size, "gzip_bytes": size, "score": 0.9} for name, size in sizes.items()]
    return with_details(full_record(), "convert", chosen=chosen, variants=variants)


def reconstructed(score: float, area: float | None, detected: float | None = 0.9) -> RunRecord:
    """A reconstruction of this R² on normal rows, ROC AUC and fraction of abnormal rows found."""
    figures = {
        "threshold": 0.3,
        "false_alarm_fraction": 0.05,
        "validation_false_alarm_fraction": 0.02,
        "false_alarms": None if area is None else 0.04,
        "detected": None if area is None else detected,
        "roc_auc": area,
        "float_roc_auc": area,
        "baseline_roc_auc": area,
    }
    whole = full_record()
    told = whole.summary | {"task": "reconstruction", "metric": "r2", "model_score": score, "reconstruction": figures}
    balance = {"train": {"normal": 90, "abnormal": 0}, "test": {"normal": 20, "abnormal": 30}}
    profile = whole.profile | {"class_balance": balance if area is not None else None}
    return with_details(replace(whole, task="reconstruction", summary=told, profile=profile), "export", targets=[])


def test_a_float_model_is_told_how_to_take_the_smallest_variant() -> None:
    told = smaller_variants(converted("float32", SIZES))
    assert told == (
        "float32 is not the smallest: float16 (10,016 bytes), dynamic_range (7,808 bytes) and int8 (9,520 bytes) "
        "scored no less on validation. quantize.precision: dynamic_range hands it over."
    )
    searched = converted("float32", SIZES)
    searched = replace(searched, stages=(*searched.stages, StageRecord("search", "aa", 1.0, (), {"trials": []})))
    told = smaller_variants(searched)
    assert told is not None
    assert told.endswith("Add dynamic_range to search.precision to let the search hand it over.")


def test_a_smaller_variant_that_no_microcontroller_runs_is_said_to_be_one() -> None:
    record = converted("int8", {"dynamic_range": 2_000, "float32": 2_100, "int8": 2_560})
    variants = [dict(each) for each in record.details("convert")["variants"]]
    variants[0]["arena_reason"] = "no hybrid kernel"
    told = smaller_variants(with_details(record, "convert", variants=variants))
    assert told is not None
    assert "dynamic_range (2,000 bytes; TFLite Micro refuses it) and float32 (2,100 bytes) scored no less" in told


def test_why_fewer_bits_are_more_bytes() -> None:
    small = {"float32": 2_208, "float16": 2_400, "dynamic_range": 2_208, "int8": 2_560}
    told = smaller_variants(converted("int8", small))
    assert told is not None
    assert told.endswith("Each quantized tensor costs bytes of its own, which so small a network does not earn back.")
    told = smaller_variants(converted("float16", small))
    assert told is not None
    assert told.endswith("which so small a network does not earn back.")
    unrolled = replace(converted("int8", small), config_text="model: {family: rnn, cell: gru}\n")
    told = smaller_variants(unrolled)
    assert told is not None
    assert "A recurrent network is written out step after step: each step has operators and tensors of its own" in told
    assert "so small a network" not in told
    own = with_details(converted("int8", small), "build", layers=[{"type": "SimpleRNN"}])
    assert smaller_variants(own) == told
    fused = replace(converted("int8", small), config_text="model: {family: rnn, cell: lstm}\n")
    assert "step after step" not in str(smaller_variants(fused))


@pytest.mark.parametrize(
    ("score", "area", "ending"),
    [
        (0.5, 0.9, None),
        (-2.5, None, "has an R² of 0; the model has an R² of −2.5000."),
        (
            -2.4613,
            0.6151,
            "and calling rows abnormal at random a ROC AUC of 0.5; the model has an R² of −2.4613.",
        ),
        (0.4, 0.37, "a ROC AUC of 0.5; the model has a ROC AUC of 0.3700."),
        (0.0, 0.5, "the model has an R² of 0.0000 and a ROC AUC of 0.5000."),
    ],
)
def test_a_reconstruction_is_held_against_both_guesses(score: float, area: float | None, ending: str | None) -> None:
    record = reconstructed(score, area)
    told, beaten = task_words.guess(record) or ("", False)
    assert beaten == (ending is None)
    judged, caution = verdict(record), guess_caution(record)
    if ending is None:
        assert (judged.kind, caution) == ("good", None)
        assert told.endswith("a ROC AUC of 0.5.")
    else:
        assert (judged.kind, judged.headline) == ("warn", "Verified, but no better than a guess")
        assert caution is not None
        assert caution.startswith("The model is no better than a guess that looks at nothing. Giving back the mean")
        assert caution.endswith(ending)
        assert caution in Page(render_report(record)).text
        tiles = next(attributes["class"] for name, attributes in Page(render_report(record)).elements if name == "dl")
        assert tiles == ("tiles" if area is None else "tiles six")


def test_a_threshold_that_finds_no_more_than_false_alarms_is_told() -> None:
    assert threshold_caution(full_record()) is None
    assert threshold_caution(reconstructed(0.5, None)) is None
    assert threshold_caution(reconstructed(0.5, 0.9, detected=0.051)) is None
    record = reconstructed(0.5, 0.6, detected=0.0133)
    told = threshold_caution(record)
    assert told is not None
    assert told.startswith(
        "The threshold finds almost no abnormal row: 1.3 % of those of the test split, no more than the false alarms "
        "it allows or gives (5.0 % of normal rows)."
    )
    assert told in Page(render_report(record)).text


@pytest.mark.parametrize(("control", "won"), [(0.9702, True), (0.9701, False), (0.5, False)])
def test_a_control_that_won_is_told(control: float, won: bool) -> None:
    whole = full_record()
    assert control_caution(whole) is None
    details = {"history": [{"epoch": 1}], "score": control, "layer_wise_score": 0.9701}
    told = control_caution(replace(whole, stages=(*whole.stages, StageRecord("control", "f" * 64, 2.0, (), details))))
    assert (told is not None) == won
    if told is not None:
        assert "than the layer-wise training that is handed on: accuracy 0.9702 against 0.9701 (train.control)." in told
