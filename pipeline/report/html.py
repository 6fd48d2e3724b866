"""The report: one HTML file of a run, which opens without a network and is the same bytes for the same record."""

from __future__ import annotations

from pipeline.report.drawing import DRAW_SCRIPT
from pipeline.report.figures import Plots
from pipeline.report.markup import Markup, join, section, tag
from pipeline.report.record import RunRecord
from pipeline.report.section_baselines import baselines_section
from pipeline.report.section_bits import bits_section
from pipeline.report.section_clusters import clusters_section
from pipeline.report.section_data import data_section
from pipeline.report.section_errors import errors_section
from pipeline.report.section_layers import layers_section
from pipeline.report.section_overview import header, overview
from pipeline.report.section_pruning import pruning_section
from pipeline.report.section_reproduce import reproduce_section
from pipeline.report.section_result import gate_section, result_section
from pipeline.report.section_search import search_section
from pipeline.report.section_size import ledger_section
from pipeline.report.section_training import training_section
from pipeline.report.section_tuning import tuning_section
from pipeline.report.style import STYLE

SHORT_TITLES = {
    "overview": "Overview",
    "data": "Data",
    "layers": "Layer by layer",
    "training": "Training",
    "tuning": "Tuning",
    "search": "Search",
    "pruning": "Pruning",
    "bits": "Fewer bits",
    "ledger": "Bytes and score",
    "baselines": "Baselines",
    "result": "Test split",
    "errors": "Abnormal rows",
    "clusters": "Clusters",
    "gate": "Gate",
    "reproduce": "Reproduce",
}
"""What the table of contents calls the sections, in their order."""


def render_report(record: RunRecord) -> str:
    """Draws the report of a run.

    Args:
        record: the run; stages it does not have leave their section out.

    Returns:
        An HTML document that loads nothing from anywhere: style, plots and pictures are inside it. It holds no clock
        time and no random id, so that the same record gives the same text.

    Raises:
        ValueError: a figure of the record is NaN or infinite.
    """
    plots = Plots()
    sections = {
        "overview": section("overview", "Asked, and delivered", overview(record)),
        "data": data_section(record, plots),
        "layers": layers_section(record, plots),
        "training": training_section(record, plots),
        "tuning": tuning_section(record, plots),
        "search": search_section(record, plots),
        "pruning": pruning_section(record, plots),
        "bits": bits_section(record, plots),
        "ledger": ledger_section(record, plots),
        "baselines": baselines_section(record),
        "result": result_section(record, plots),
        "errors": errors_section(record, plots),
        "clusters": clusters_section(record, plots),
        "gate": gate_section(record),
        "reproduce": reproduce_section(record),
    }
    present = {name: content for name, content in sections.items() if content.html}
    links = [tag("a", SHORT_TITLES[name], href=f"#{name}") for name in present]
    body = tag("main", header(record), tag("nav", *links, aria_label="Sections of this report"), *present.values())
    return f"""<!DOCTYPE html>
<html lang="en">
{_head(record).html}
<body>
{body.html}
{_plotting(plots).html}
</body>
</html>
"""


def _head(record: RunRecord) -> Markup:
    parts = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{record.name} · Penjing report"),
        Markup(f"<style>\n{STYLE}</style>"),
    ]
    return tag("head", join(parts, "\n"))


def _plotting(plots: Plots) -> Markup:
    """Returns the figures and what draws them; plotly.js is inside once, and only where there is a plot."""
    if not plots.figures:
        return Markup("")
    from plotly.offline import get_plotlyjs

    without = tag("noscript", "The plots need JavaScript; the tables hold the same numbers.")
    figures = f'<script type="application/json" id="figures">{plots.as_json()}</script>'
    library = f"<script>{get_plotlyjs()}</script>"
    return join([without, Markup(figures), Markup(library), Markup(f"<script>\n{DRAW_SCRIPT}</script>")], "\n")
