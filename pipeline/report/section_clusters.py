"""The section on clusters: how they came about, what they are worth, and what is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.bundle_layout import cluster_name
from pipeline.report import wording
from pipeline.report.figures import Plots
from pipeline.report.markup import NOTHING, Content, Markup, TableColumn, paragraph, section, subsection, table, tag
from pipeline.report.pictures import picture
from pipeline.report.plots_clusters import changed_figure, map_figure
from pipeline.report.plots_training import history_figures
from pipeline.report.record import RunRecord
from pipeline.report.subject import learned_clusters

MAX_SHOWN = 30
"""Clusters of which rows are shown."""

_FIGURES = (
    ("silhouette", "Silhouette of the inputs"),
    ("embedding_silhouette", "Silhouette of the embedding"),
    ("nmi", "Normalized mutual information with the labels"),
    ("ari", "Adjusted Rand index with the labels"),
)


def clusters_section(record: RunRecord, plots: Plots) -> Markup:
    """Returns how rows were clustered and what the clusters hold; nothing for other tasks."""
    learned = learned_clusters(record)
    if not learned:
        return NOTHING
    text = (
        "An autoencoder learns to give the rows back; k-means clusters its embedding; then encoder and clusters are "
        "refined together (Deep Embedded Clustering). The score that decides is the silhouette in the space of the "
        "inputs, -1 to 1: the embedding is trained to look well clustered, and proves nothing. Labels, where there are "
        "any, are never learned from."
    )
    parts = [paragraph(text), _before_and_after(learned), _curves(learned, plots)]
    told, figures = record.details("export").get("clusters"), record.summary.get("clustering")
    if told and figures:
        parts += [_on_test(record, figures), plots.place(map_figure(told["map"]))]
        parts += [_contingency(told), _examples(told["examples"])]
    return section("clusters", "Clusters", *parts)


def _before_and_after(learned: Mapping[str, Any]) -> Markup:
    before, after = learned["before"], learned["after"]
    rows = [
        (title, wording.score(before[name]), wording.score(after[name]))
        for name, title in _FIGURES
        if after[name] is not None
    ]
    columns = [TableColumn("On the validation split"), TableColumn("k-means", True), TableColumn("Refined", True)]
    return table("What the refinement did", columns, rows)


def _curves(learned: Mapping[str, Any], plots: Plots) -> Markup:
    reconstruction = learned["reconstruction"]
    figures = history_figures(
        "reconstruction", "the autoencoder", reconstruction["history"], "R²", reconstruction["best_epoch"]
    )
    if len(learned["changed"]) > 1:
        figures = [*figures[:1], changed_figure(learned["changed"])]
    return plots.place(*figures)


def _on_test(record: RunRecord, figures: Mapping[str, Any]) -> Markup:
    rows = [
        ("Silhouette of the inputs, model.tflite", wording.score(record.summary["model_score"])),
        ("Silhouette of the embedding", wording.score(figures["embedding_silhouette"])),
    ]
    if figures["nmi"] is not None:
        rows += [
            ("Normalized mutual information with the labels, model.tflite", wording.score(figures["nmi"])),
            ("The same of the dense float model", wording.score(figures["baseline_nmi"])),
            ("Adjusted Rand index with the labels, model.tflite", wording.score(figures["ari"])),
            ("The same of the dense float model", wording.score(figures["baseline_ari"])),
        ]
    empty = sum(size == 0 for size in figures["sizes"])
    note = f" {wording.plural(empty, 'cluster')} of {len(figures['sizes'])} hold no test row." if empty else ""
    caption = f"On the test split.{note}" if note else "On the test split"
    return table(caption, [TableColumn("What"), TableColumn("Figure", True)], rows)


def _contingency(told: Mapping[str, Any]) -> Markup:
    sizes: Sequence[int] = told["sizes"]
    columns = [TableColumn("Rows of the test split"), *(TableColumn(str(i), True) for i in range(len(sizes)))]
    rows: list[list[Content]] = [
        [str(name), *(wording.count(count) for count in counts)]
        for name, counts in zip(told["classes"], told["contingency"], strict=True)
    ]
    rows.append(["all", *(wording.count(size) for size in sizes)])
    return table("Test rows by label and cluster" if told["classes"] else "Test rows by cluster", columns, rows)


def _examples(examples: Sequence[Sequence[Mapping[str, Any]]]) -> Markup:
    parts = []
    for cluster, rows in enumerate(examples[:MAX_SHOWN]):
        drawn = [row for row in rows if row["pixels"] is not None]
        if not drawn:
            continue
        cards = [tag("figure", picture(row["pixels"], _described(row)), _caption(row)) for row in drawn]
        parts.append(subsection(wording.capital(cluster_name(cluster)), tag("div", *cards, class_="gallery")))
    return tag("div", tag("h3", "The surest test rows of each cluster"), *parts) if parts else NOTHING


def _described(row: Mapping[str, Any]) -> str:
    label = "" if row["class"] is None else f", {row['class']}"
    return f"{wording.capital(_name(row))}{label}"


def _caption(row: Mapping[str, Any]) -> Markup:
    label = [] if row["class"] is None else [tag("span", tag("b", row["class"]))]
    return tag("figcaption", *label, tag("span", _name(row), class_="name"))


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("name") or f"row {row['row'] + 1}")
