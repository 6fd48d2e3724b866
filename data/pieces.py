"""What a table file is cut into, and what reads it so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Piece:
    """Whole rows of a file.

    Attributes:
        content: bytes of text (anything with a buffer), or an Arrow batch.
        end: where the next piece starts: bytes of text, or rows.
        done: how much of the file is read, of `Pieces.total`.
        first: whether a CSV's header stands in it.
        quotes: how many quotes stand in it.
        part: which of several files it is of.
    """

    content: Any
    end: int
    done: int
    first: bool = False
    quotes: int = 0
    part: int = 0


class Pieces(Protocol):
    """A table, piece by piece."""

    total: int

    def starting(self, start: int) -> Iterator[Piece]:
        """Yields the pieces from `start` on; `Piece.end` of the piece before, 0 for the first."""

    def schema(self) -> Any:
        """Returns the Arrow schema of the first piece."""

    def whole_schema(self) -> Any:
        """Returns the Arrow schema that all pieces fit, as if the file were read at once."""

    def parse(self, piece: Piece, schema: Any) -> Any:
        """Returns the Arrow table of a piece.

        Raises:
            MistypedError: values do not fit the schema.
            DataError: the piece is malformed.
        """

    def check_end(self, *, odd_quotes: bool) -> None:
        """Refuses a file that only its end shows to be malformed.

        Args:
            odd_quotes: whether the number of quotes in all pieces is odd.

        Raises:
            DataError: a quote is left open.
        """


class MistypedError(Exception):
    """Values of a piece are not of the types that the first pieces let expect."""
