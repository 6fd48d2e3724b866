"""Which name was probably meant by a misspelt one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

CLOSE = 0.7
"""Least similarity of a name that is offered instead of a misspelt one (1: the same)."""


def nearest(word: str, names: Sequence[str]) -> str | None:
    """Returns the name most like a misspelt one; None where none is close."""
    best = max(names, key=lambda name: similarity(word, name), default=None)
    return best if best is not None and similarity(word, best) >= CLOSE else None


def similarity(one: str, other: str) -> float:
    """Returns how alike two names are, in [0, 1]; hyphens count as underscores, the case of letters does not.

    Args:
        one: the name that was written.
        other: a name that exists.
    """
    one, other = one.lower().replace("-", "_"), other.lower()
    alike = SequenceMatcher(None, one, other).ratio()
    # The right letters in the wrong order: in a short word, swapping two halves the ratio.
    return max(alike, CLOSE) if sorted(one) == sorted(other) else alike
