"""Keeps the tables of docs/bundle.md current with the classes they describe.

`python -m pipeline.bundle_docs` rewrites the page between its two marks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.ledger import ClassicalRow, LedgerRow
from pipeline.summary import Summary, TargetResult, Tensor
from pipeline.summary_parts import BaselineResult, ClusteringFigures, ReconstructionFigures

PAGE = Path(__file__).resolve().parent.parent / "docs" / "bundle.md"
"""The page; all but its tables is written by hand."""

_BEGIN = "<!-- Generated from pipeline/summary.py by `python -m pipeline.bundle_docs`; a test keeps it current. -->\n"
_END = "<!-- End of what is generated. -->\n"

_KINDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "null": "null",
    "boolean": "true or false",
}


def _kind(schema: Mapping[str, Any]) -> str:
    """Writes a JSON schema's type for a reader."""
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    if "$ref" in schema:
        return f"`{schema['$ref'].rsplit('/', 1)[-1]}`"
    if schema["type"] == "array":
        return f"list of {_kind(schema['items'])}"
    if schema["type"] == "object":
        return f"by name: {_kind(schema['additionalProperties'])}"
    return _KINDS[schema["type"]]


def summary_tables() -> str:
    """Returns the fields of `summary.json` as Markdown tables."""
    parts = [_table(Summary)]
    sections = (Tensor, ReconstructionFigures, ClusteringFigures, TargetResult, LedgerRow, ClassicalRow, BaselineResult)
    for section in sections:
        parts.append(f"### `{section.__name__}`\n\n{_sentence(section.__doc__)}\n\n{_table(section)}")
    return "\n".join(parts)


def bundle_page(page: str) -> str:
    """Returns the page's text with current tables.

    Args:
        page: the text as it is.
    """
    before, rest = page.split(_BEGIN)
    _, after = rest.split(_END)
    return f"{before}{_BEGIN}\n{summary_tables()}\n{_END}{after}"


def _table(section: type[BaseModel]) -> str:
    rows = ["| field | what it may be | meaning |", "|---|---|---|"]
    for name, schema in section.model_json_schema()["properties"].items():
        rows.append(f"| `{name}` | {_kind(schema)} | {_sentence(section.model_fields[name].description)} |")
    return "\n".join(rows) + "\n"


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    PAGE.write_text(bundle_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
