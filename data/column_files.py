"""Columns of a table on disk, written piece by piece and mapped when they are whole."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.columns import is_number
from data.scratch import Scratch, cut_to

CHECKPOINT = "table"
"""Name under which it is kept how far a table is read."""


@dataclass(frozen=True)
class Rows:
    """Rows of a piece, as they are written.

    Attributes:
        count: how many.
        numbers: position of a column of numbers -> float64 of all rows, in parts, NaN where missing.
        others: an Arrow message with the rows of the other columns.
    """

    count: int
    numbers: Mapping[int, Sequence[NDArray[np.float64]]]
    others: bytes


@dataclass(frozen=True)
class Layout:
    """Which columns a table has, and how they are kept.

    Attributes:
        schema: Arrow schema of the columns.
        as_they_are: columns that keep their own type even where they are numbers.
    """

    schema: Any
    as_they_are: frozenset[str] = frozenset()

    @property
    def numbers(self) -> list[int]:
        """Positions of the columns that are kept as float64."""
        return [
            position
            for position, field in enumerate(self.schema)
            if is_number(field.type) and field.name not in self.as_they_are
        ]

    @property
    def plain(self) -> list[int]:
        """Positions of the columns that keep their type."""
        numbers = set(self.numbers)
        return [position for position in range(len(self.schema)) if position not in numbers]

    def prepare(self, table: Any) -> Rows:
        """Turns an Arrow table of `schema` into what is written; may be called in any thread, on any machine."""
        numbers = {position: _as_float64(table.column(position)) for position in self.numbers}
        batches = table.select(self.plain).combine_chunks().to_batches() if self.plain else []
        return Rows(table.num_rows, numbers, b"".join(batch.serialize().to_pybytes() for batch in batches))


class ColumnFiles:
    """A file a column of numbers, float64, and one Arrow stream for all other columns.

    Whole pieces count: what a killed process wrote beyond the last checkpoint is cut off.
    """

    def __init__(self, scratch: Scratch, as_they_are: Collection[str]) -> None:
        """Takes the folder, and the columns that keep their own type even where they are numbers."""
        self._scratch = scratch
        self._others_size = 0
        self.layout = Layout(None, frozenset(as_they_are))
        self.rows = 0
        self.end = 0
        self.odd_quotes = False

    def begin(self, schema: Any) -> None:
        """Starts with no rows.

        Args:
            schema: Arrow schema of the columns.
        """
        self.layout = replace(self.layout, schema=schema)
        self.rows, self.end, self.odd_quotes = 0, 0, False
        header = b"" if self.layout.plain == [] else self._others_schema().serialize().to_pybytes()
        self._others_path.write_bytes(header)
        self._others_size = len(header)
        for position in self.layout.numbers:
            self._path(position).write_bytes(b"")

    def resume(self) -> bool:
        """Goes on from the last checkpoint; says whether there is one, and its files are whole."""
        import pyarrow

        state = self._scratch.load(CHECKPOINT)
        if state is None:
            return False
        try:
            schema = pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(state["schema"])))
            rows, end, others_size = (int(state[name]) for name in ("rows", "end", "others_size"))
            odd_quotes = bool(state["odd_quotes"])
        except (KeyError, TypeError, ValueError, OSError, pyarrow.ArrowException):  # no such state
            return False
        self.layout = replace(self.layout, schema=schema)
        sizes = {self._path(position): 8 * rows for position in self.layout.numbers}
        sizes[self._others_path] = others_size
        if min(rows, end, others_size) < 0 or not all(cut_to(path, size) for path, size in sizes.items()):
            return False
        self.rows, self.end, self._others_size, self.odd_quotes = rows, end, others_size, odd_quotes
        return True

    def append(self, rows: Rows, end: int, *, odd_quotes: bool = False) -> None:
        """Writes rows behind those that are there.

        Args:
            rows: of one piece.
            end: where the next piece starts.
            odd_quotes: whether the number of quotes in the piece is odd.

        Raises:
            OSError: there is no room on the disk.
        """
        for position, parts in rows.numbers.items():
            _append(self._path(position), [part.data for part in parts])
        _append(self._others_path, [rows.others])
        self.rows, self.end, self._others_size = self.rows + rows.count, end, self._others_size + len(rows.others)
        self.odd_quotes ^= odd_quotes

    def save(self) -> None:
        """Remembers that the rows up to here need not be read again."""
        state = {
            "resumes_at": f"row {self.rows + 1:,}",
            "rows": self.rows,
            "end": self.end,
            "odd_quotes": self.odd_quotes,
            "others_size": self._others_size,
            "schema": base64.b64encode(self.layout.schema.serialize()).decode(),
        }
        self._scratch.save(CHECKPOINT, state)

    def table(self) -> Any:
        """Returns an Arrow table of all rows, mapped; numbers are float64, NaN where missing."""
        import pyarrow

        others = {}
        if self.layout.plain:
            stream = pyarrow.ipc.open_stream(self._scratch.map_bytes(self._others_path)).read_all()
            others = {position: stream.column(place) for place, position in enumerate(self.layout.plain)}
        columns = []
        for position in range(len(self.layout.schema)):
            column = others.get(position)
            if column is None:
                buffer = self._scratch.map_bytes(self._path(position))
                column = pyarrow.Array.from_buffers(pyarrow.float64(), self.rows, [None, buffer])
            columns.append(column)
        return pyarrow.table(columns, names=self.layout.schema.names)

    def _others_schema(self) -> Any:
        import pyarrow

        return pyarrow.schema([self.layout.schema.field(position) for position in self.layout.plain])

    @property
    def _others_path(self) -> Path:
        return self._scratch.folder / "other-columns.arrows"

    def _path(self, position: int) -> Path:
        return self._scratch.folder / f"column-{position}.f64"


def _as_float64(column: Any) -> list[NDArray[np.float64]]:
    """Returns the numbers of an Arrow column, chunk by chunk."""
    import pandas
    import pyarrow

    if pyarrow.types.is_decimal(column.type):
        series = pandas.Series(column, dtype=pandas.ArrowDtype(column.type))
        return [series.to_numpy(dtype=np.float64, na_value=np.nan)]
    return [
        np.ascontiguousarray(chunk.to_numpy(zero_copy_only=False), np.float64) for chunk in column.chunks if len(chunk)
    ]


def _append(path: Path, parts: Sequence[Any]) -> None:
    with path.open("ab", buffering=0) as stream:
        for part in parts:
            rest = memoryview(part).cast("B")
            while rest:  # a write may take less than it is given
                rest = rest[stream.write(rest) :]
