"""Says that a clustering tells nothing apart; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def collapsed_sentence(summary: Mapping[str, Any]) -> str | None:
    """Says that all rows of the test split came to lie in one cluster.

    Args:
        summary: `summary.json`; empty before `export`.

    Returns:
        A sentence; None where rows are in two clusters or more, where there is but one row, and for other tasks.
    """
    sizes = (summary.get("clustering") or {}).get("sizes") or []
    rows = sum(sizes)
    if rows <= 1 or max(sizes) < rows:
        return None
    return (
        f"The clustering has collapsed: all {rows:,d} rows of the test split are in cluster {sizes.index(rows)} of "
        f"{len(sizes)}. Its silhouette counts as -1, the worst there is."
    )
