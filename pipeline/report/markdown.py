"""Small functions that write Markdown, so that every text of a user is escaped in one place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\`*\[\]<>|])")


def plain(text: object) -> str:
    """Returns text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: int) -> str:
    """Returns a table whose last `numbers` columns are flush right; cells are escaped already."""
    rules = ["---"] * (len(heads) - numbers) + ["---:"] * numbers
    return "\n".join("| " + " | ".join(row) + " |" for row in [heads, rules, *rows])


def fenced(text: str, language: str) -> str:
    """Returns a code block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"
