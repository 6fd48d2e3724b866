"""docs/config.md and the JSON schema say what the declarations say."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from pipeline.config_reading.docs import PAGE, config_json_schema, config_markdown
from pipeline.config_reading.schema import all_sections, field_slot, rule_of


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == config_markdown(), "run `python -m pipeline.config_reading.docs`"


def test_every_key_is_declared_with_a_sentence_and_has_a_rule() -> None:
    for section in all_sections():
        assert section.declared.__doc__, section
        for name, field in section.declared.model_fields.items():
            where = f"{section.declared.__name__}.{name}"
            assert field.description, where
            assert field.description.rstrip().endswith("."), where
            assert rule_of(field_slot(field)).strip() == rule_of(field_slot(field)) != "", where


def test_every_section_and_key_is_on_the_page() -> None:
    page = config_markdown()
    for section in all_sections():
        if section.path:
            assert f"`{'.'.join(section.path).replace('.[]', '[]')}`" in page
        if section.variant is not None:
            assert f"`{section.variant[0]}: {section.variant[1]}`" in page
        for name in section.declared.model_fields:
            assert f"| `{name}` |" in page


def test_tables_have_four_cells_a_row() -> None:
    rows = [line for line in config_markdown().splitlines() if line.startswith("|")]
    assert rows
    for row in rows:
        assert len(re.split(r"(?<!\\)\|", row)) == 6, row


def test_rules_and_defaults_are_spelled_out() -> None:
    page = config_markdown()
    assert "| `sparsity` | 'auto' or a number above 0 and below 1 | `0.5` |" in page
    assert "| `units` | a list of 1 to 16 (each a whole number from 1 to 4096) | `[64, 64, 32]` |" in page
    assert (
        "| `blocks` | a list of 1 to 32 (each a section) | `[{filters: 16, pool: 2}, {filters: 32, pool: 2}]` |" in page
    )
    assert "| `patience` | a whole number of at least 1 or null | `null` |" in page
    assert "| `source` | 'idx' | required |" in page


def test_the_json_schema_knows_every_section_and_refuses_other_keys() -> None:
    schema = config_json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["name", "task", "data", "model"]
    definitions: dict[str, Any] = schema["$defs"]
    declared: set[type[BaseModel]] = {section.declared for section in all_sections() if section.path}
    assert set(definitions) == {each.__name__ for each in declared}
    for each in (schema, *definitions.values()):
        assert each["additionalProperties"] is False
    assert definitions["PretrainConfig"]["properties"]["corruption_fraction"]["exclusiveMaximum"] == 1.0
    assert schema["properties"]["data"]["discriminator"]["propertyName"] == "source"
