"""What pruning did to the model and its file: inputs and nodes that went, and what zeros save."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipeline.ledger import LedgerRow
from pipeline.report import wording
from pipeline.report.findings import keras_rows
from pipeline.report.record import RunRecord


@dataclass(frozen=True)
class ZerosReport:
    """What a stage's zeros did, in words.

    Attributes:
        saved: whether the .tflite file became smaller.
        finding: the figures, one or two sentences.
        reason: why, and what it means on a device.
    """

    saved: bool
    finding: str
    reason: str


def zeros_report(record: RunRecord) -> ZerosReport | None:
    """Says whether pruning's zeros made the .tflite file smaller, from the ledger alone.

    Args:
        record: the run.

    Returns:
        The finding; None where no pruning is recorded beside a model before it, or no weight became zero.
    """
    pair = _around_pruning(record, "weight")
    if pair is None:
        return None
    before, after = pair
    if after.nonzero_parameters >= before.nonzero_parameters:
        return None
    saved = after.tflite_bytes < before.tflite_bytes
    compressed = _change("gzipped", before.tflite_gzip_bytes, after.tflite_gzip_bytes)
    finding = f"{_what_became_zero(record, before, after)} {_file_change(before, after)} ({compressed})."
    return ZerosReport(saved, finding, _reason(before, after, saved))


def pruned_part(record: RunRecord, unit: str) -> dict[str, Any]:
    """Returns the details of pruning one unit, `node` or `weight`; empty where it was not pruned."""
    parts: list[dict[str, Any]] = record.details("prune").get("parts", [])
    return next((part for part in parts if part["unit"] == unit), {})


def _around_pruning(record: RunRecord, unit: str) -> tuple[LedgerRow, LedgerRow] | None:
    """Returns the rows of the models before and after a unit was pruned; None where one of them is not there."""
    rows = keras_rows(record)
    units = [part["unit"] for part in record.details("prune").get("parts", [])]
    places = [place for place, row in enumerate(rows) if row.stage == "prune"]
    if unit not in units or len(places) != len(units) or places[0] == 0:
        return None
    place = places[units.index(unit)]
    return rows[place - 1], rows[place]


def inputs_report(record: RunRecord) -> str | None:
    """Says which inputs the model does not take; None where it was not asked."""
    told = record.details("prune").get("inputs")
    if not told:
        return None
    gone = told["before"] - told["after"]
    if gone == 0:
        return f"All {told['before']:,d} inputs vary in the training rows: none was removed."
    return (
        f"{gone:,d} of {wording.plural(told['before'], 'input')} {'is' if gone == 1 else 'are'} the same in every "
        f"training row: the model takes the other {told['after']:,d}, which preprocessing.json lists."
    )


def nodes_report(record: RunRecord) -> str | None:
    """Says what removing nodes did to the model; None where none were removed."""
    pair = _around_pruning(record, "node")
    if pair is None:
        return None
    before, after = pair
    layers = pruned_part(record, "node")["layers"]
    total, left = (sum(layer[key] for layer in layers) for key in ("before", "after"))
    return (
        f"Pruning removed {total - left:,d} of {wording.plural(total, 'node')} "
        f"({wording.fraction((total - left) / total)}). {_file_change(before, after)} "
        f"({_change('gzipped', before.tflite_gzip_bytes, after.tflite_gzip_bytes)}), and multiply-accumulates went "
        f"from {before.macs:,d} to {after.macs:,d}."
    )


def _what_became_zero(record: RunRecord, before: LedgerRow, after: LedgerRow) -> str:
    layers = pruned_part(record, "weight").get("layers", [])
    weights = sum(layer["weights"] for layer in layers)
    if weights:
        zeros = weights - sum(layer["nonzero"] for layer in layers)
        share = f"{wording.fraction(zeros / weights)} of the prunable weights ({zeros:,d} of {weights:,d})"
        return f"Pruning set {share} to zero."
    return f"Pruning cut the nonzero parameters from {before.nonzero_parameters:,d} to {after.nonzero_parameters:,d}."


def _file_change(before: LedgerRow, after: LedgerRow) -> str:
    old, new = before.tflite_bytes, after.tflite_bytes
    if new == old:
        return f"The float32 .tflite file stayed at {new:,d} bytes"
    verb = "shrank" if new < old else "did not shrink: it went"
    return f"The float32 .tflite file {verb} from {old:,d} to {new:,d} bytes"


def _change(what: str, old: int, new: int) -> str:
    return f"{what}: still {new:,d}" if old == new else f"{what}: {old:,d} → {new:,d}"


def _reason(before: LedgerRow, after: LedgerRow, saved: bool) -> str:
    if saved:
        return "Both sizes are of the float32 conversion, so the difference is the pruning's own."
    multiplied = (
        f"the {after.macs:,d} multiply-accumulates of an inference are all still done"
        if after.macs == before.macs
        else f"multiply-accumulates went from {before.macs:,d} to {after.macs:,d}"
    )
    return (
        "A .tflite file spends as many bytes on a zero as on any other weight. Zeros pay off where the file is "
        f"compressed, as in an update sent to a device; in the device's flash they save nothing, but "
        f"in TFLite Micro's encoding of them (`quantize.encoding: sparse`), and {multiplied}."
    )
