"""The section on fewer bits: clustered kernels, and quantization-aware training."""

from __future__ import annotations

from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.markup import NOTHING, Markup, TableColumn, disclosure, paragraph, section, subsection, table
from pipeline.report.record import RunRecord
from pipeline.report.section_pruning import left_out_table
from pipeline.report.section_training import learning_curves


def bits_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns what clustering and training with rounding did; nothing where neither was asked for."""
    parts = [part for part in (_clusters(record, plots), _aware(record, plots)) if part.html]
    return section("bits", "Fewer bits", *parts) if parts else NOTHING


def _clusters(record: RunRecord, plots: Plots) -> Markup:
    details = record.details("cluster")
    if not details:
        return NOTHING
    text = (
        f"Each kernel below holds {details['clusters']} distinct values at most, its zeros among them. A .tflite file "
        "spends as many bits on them as on any others: they pay off gzipped, and as look-up tables "
        "(quantize.encoding: tables)."
    )
    columns = [TableColumn("Layer"), *(TableColumn(head, True) for head in ("Weights", "Distinct values"))]
    rows = [
        (str(layer["name"]), wording.count(layer["weights"]), wording.count(layer["values"]))
        for layer in details["layers"]
    ]
    return subsection(
        "Clusters",
        paragraph(text, class_="quiet"),
        table("Kernels that are clustered", columns, rows),
        left_out_table(details["left_out"], "clustered"),
        learning_curves("cluster", "Learning curves of clustering", details, record.metric, plots),
    )


def _aware(record: RunRecord, plots: Plots) -> Markup:
    details = record.details("quantize")
    if not details:
        return NOTHING
    text = "The model was trained as its int8 file computes; the ranges of its activations were learned on the way."
    columns = [TableColumn("Layer"), *(TableColumn(head, True) for head in ("From", "To"))]
    rows = [(name, wording.figure(low, 4), wording.figure(high, 4)) for name, (low, high) in details["ranges"].items()]
    return subsection(
        "Quantization-aware training",
        paragraph(text, class_="quiet"),
        learning_curves("quantize", "Learning curves with rounding", details, record.metric, plots),
        disclosure("Ranges as a table", table("Ranges of the activations", columns, rows)),
    )
