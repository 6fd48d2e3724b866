"""The script that draws the report's figures in the page's own colours; plotly.js must stand before it."""

from __future__ import annotations

DRAW_SCRIPT = """\
"use strict";
// Draws every figure of the page, in the page's own colours, and again when those change.
(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const scheme = window.matchMedia("(prefers-color-scheme: dark)");

  function template() {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const axis = {
      gridcolor: color("--line"), linecolor: color("--edge"), zerolinecolor: color("--edge"),
      zerolinewidth: 1, showline: true, ticks: "outside", tickcolor: color("--edge"), ticklen: 4,
      separatethousands: true,
      title: { standoff: 10, font: { size: 13, color: color("--quiet") } },
    };
    return {
      layout: {
        font: { family: style.fontFamily, size: 13, color: color("--ink") },
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        margin: { l: 8, r: 16, t: 8, b: 8 },
        xaxis: axis, yaxis: axis,
        legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
        hovermode: "closest", dragmode: false,
      },
    };
  }

  function draw() {
    const shared = template();
    for (const figure of figures) {
      const layout = Object.assign({}, figure.layout, { template: shared, autosize: true });
      Plotly.react("figure-" + figure.id, figure.data, layout, { responsive: true, displayModeBar: false });
    }
  }

  // A point that names an element of the page opens it.
  function open(event) {
    const target = document.getElementById(event.points[0].customdata);
    if (!target) return;
    target.querySelector("details").open = true;
    target.scrollIntoView({ behavior: "smooth", block: "center" });
  }

  draw();
  for (const figure of figures) {
    const opens = figure.data.some((trace) => (trace.customdata || []).some((name) => typeof name === "string"));
    if (opens) document.getElementById("figure-" + figure.id).on("plotly_click", open);
  }
  scheme.addEventListener("change", draw);
})();
"""
