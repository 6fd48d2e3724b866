"""Says that a classical model beats the one that is handed over; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report import wording


def beaten_sentence(summary: Mapping[str, Any]) -> str | None:
    """Says which baselines have a higher validation score than the delivered model, with both scores and sizes.

    Args:
        summary: `summary.json`; empty before `export`.

    Returns:
        One or two sentences, the best baseline first; None where no baseline is better, or none was fitted.
    """
    better = [each for each in summary.get("baselines") or [] if each["beats"]]
    if not better:
        return None
    best, *others = sorted(better, key=lambda each: (-each["validation_score"], each["constant_bytes"]))
    whose = "network" if summary.get("classical_family") is None else "model"
    metric, delivered = wording.metric(summary["metric"]), str(summary.get("model_file", "model.tflite"))
    sentence = (
        f"A baseline beats the {whose}: {wording.baseline(best['name'])} has a validation {metric} of "
        f"{wording.score(best['validation_score'])} in {wording.bytes_of(best['joblib_bytes'])} of joblib, "
        f"{wording.count(best['constant_bytes'])} as constants in C; {delivered} has "
        f"{wording.score(best['delivered_score'])} in {wording.bytes_of(best['delivered_bytes'])}."
    )
    if not others:
        return sentence
    named = [f"{wording.baseline(each['name'])} ({wording.score(each['validation_score'])})" for each in others]
    return f"{sentence} So {'does' if len(named) == 1 else 'do'} {wording.listed(named)}."
