from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.bundle_docs import PAGE, bundle_page
from pipeline.summary import Summary, summary_of
from tests.pipeline.report_records import summary

ROOT = Path(__file__).resolve().parents[2]
GIVEN = ("schema_version", "name", "ledger", "seconds", "versions", "better_than_guess")
FIELDS = {name: value for name, value in summary().items() if name not in GIVEN}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_score", float("nan"), "finite number"),
        ("agreement", 1.5, "less than or equal to 1"),
        ("model_bytes", -1, "greater than or equal to 0"),
        ("surprise", 1, "Extra inputs are not permitted"),
    ],
)
def test_summary_refuses_what_the_contract_does_not_say(field: str, value: object, message: str) -> None:
    details = {"summary": FIELDS | {field: value}}
    with pytest.raises(ValueError, match=message):
        summary_of("tiny", details, [], 1.0, {}, better_than_guess=True)


def test_every_field_has_a_meaning() -> None:
    assert [name for name, field in Summary.model_fields.items() if not field.description] == []


def test_the_page_on_the_bundle_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert bundle_page(page) == page


def test_summary_is_cheap_to_import() -> None:
    code = (
        "import sys, pipeline.summary\n"
        "print([name for name in ('numpy', 'tensorflow', 'pandas', 'ai_edge_litert') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
