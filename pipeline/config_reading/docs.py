"""Writes docs/config.md and the JSON schema of a config, both from the declarations alone.

`python -m pipeline.config_reading.docs` rewrites docs/config.md.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config import RunConfig
from pipeline.config_reading.schema import Section, all_sections, field_slot, rule_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "config.md"
"""The generated page."""

_INTRODUCTION = """\
# The config

<!-- Generated from the declarations by `python -m pipeline.config_reading.docs`; a test keeps it current. -->

One YAML file describes a run. `python run_pipeline.py validate CONFIG` checks it without opening the data and
names every fault at once, with its line; `python run_pipeline.py schema` prints the same rules as a JSON schema
for editors. `configs/` holds commented examples, `configs/digits.yaml` the shortest way to a first run.

## How values are written

- The file is YAML 1.2 in UTF-8: `yes` and `2024-01-31` are text, `1e-4` is a number, `1_000` is not.
- A key may stand once. A key that no section has is an error, never ignored.
- Keys that end in `_fraction`, and `sparsity`, are fractions between 0 and 1: `0.8`, not `80`.
- Sizes end in `_bytes` (`40000`, not `40 kB`), times in `_us`, `_ms` or `_seconds`.
- Scores are higher-is-better: accuracy, or R² for regression.
- A section that is left out, or `null`, skips its stage; `prune: {}` runs it with its defaults. A key with nothing
  after it is an error, because it could mean either.
- A relative `data.path`, `data.unlabeled.path` or `model.file` counts from the folder of the config file, so that the
  two can move together; given on the command line it counts from the current folder. `~` is the home folder. Each may
  also be a URL (`s3://…`, `gs://…`, `https://…`): [urls.md](urls.md).
- On the command line `a.b=value` replaces one value, written in YAML: `train.epochs=5`, `prune=null`,
  `data.drop=[id, date]`. Positions in a list count from 0: `model.blocks.0.filters=8`.
"""


def config_markdown() -> str:
    """Returns the text of docs/config.md: every section, key, rule, default and meaning."""
    parts = [_INTRODUCTION]
    seen: dict[type[BaseModel], Section] = {}
    previous: tuple[str, ...] | None = None
    for section in all_sections():
        if section.path != previous:
            parts.append(_heading(section))
        if section.variant is not None:
            parts.append(f"{'#' * (len(section.path) + 2)} {_title(section)} with `{_variant(section)}`\n")
        if section.declared in seen:
            parts.append(f"The keys of {_title(seen[section.declared])}.\n")
        else:
            parts.append(f"{_meaning_of(section)}\n\n{_table(section)}")
        seen.setdefault(section.declared, section)
        previous = section.path
    return "\n".join(parts)


def config_json_schema() -> dict[str, Any]:
    """Returns the JSON schema (draft 2020-12) of a config, for editors that complete and check YAML."""
    schema = RunConfig.model_json_schema()
    schema.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Penjing run", **schema}


def _heading(section: Section) -> str:
    return f"{'#' * max(2, len(section.path) + 1)} {_title(section)}\n"


def _title(section: Section) -> str:
    if not section.path:
        return "The top level"
    return f"`{'.'.join(section.path).replace('.[]', '[]')}`"


def _variant(section: Section) -> str:
    return "" if section.variant is None else ": ".join(section.variant)


def _meaning_of(section: Section) -> str:
    return inspect.cleandoc(section.declared.__doc__ or "")


def _table(section: Section) -> str:
    key = None if section.variant is None else section.variant[0]
    rows = ["| key | what it may be | default | meaning |", "|---|---|---|---|"]
    fields = section.declared.model_fields
    # What tells the kinds of a section apart comes first, then what must be given.
    names = sorted(fields, key=lambda name: (name != key, not fields[name].is_required()))
    for name in names:
        meaning = " ".join((fields[name].description or "").split())
        cells = (f"`{name}`", _rule(section, name), _default(fields[name]), meaning)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) + "\n"


def _rule(section: Section, name: str) -> str:
    slot = field_slot(section.declared.model_fields[name])
    if slot.discriminator is not None:
        words = ", ".join(f"'{tag}'" for tag in slot.tags)
        implied = "".join(f", or with '{key}'" for key in slot.implying_keys)
        return f"a section with '{slot.discriminator}': one of {words}{implied}{' or null' if slot.nullable else ''}"
    return rule_of(slot)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        # The one factory of a mapping makes an empty one; that of `pretrain` depends on `train.mode`.
        return "`{}`" if field.default_factory is dict else "see meaning"
    if isinstance(field.default, BaseModel):
        return "its defaults"
    return f"`{_yaml(field.default)}`"


def _yaml(value: Any) -> str:
    """Writes a default in YAML's flow style, sections with what they set themselves."""
    if isinstance(value, BaseModel):
        return _yaml(value.model_dump(exclude_unset=True))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_yaml(each) for each in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def write_page() -> None:
    """Writes docs/config.md anew."""
    PAGE.write_text(config_markdown(), encoding="utf-8")


if __name__ == "__main__":
    write_page()
