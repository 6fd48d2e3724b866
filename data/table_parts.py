"""A table in several files of one kind, that are read one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from data.contract import DataError
from data.paths import table_format
from data.pieces import MistypedError, Piece, Pieces
from data.shared_types import common_schema, first_fitting
from data.table_files import no_rows
from data.table_pieces import TextPieces, open_pieces
from data.table_text import first_line, quotes_are_odd, separator_of

PLACES = 2**48
"""Places within one file: where a piece of file k ends is k times as many, and the place in that file."""


def open_table(paths: Sequence[Path], text_columns: Sequence[str]) -> Pieces:
    """Returns the pieces of a table.

    Args:
        paths: its files, in the order of their rows; all of one kind, as `source_files.table_files` finds them.
        text_columns: columns of a CSV that are text, whatever they look like.

    Raises:
        DataError: a file is empty or cannot be read, or files have other columns than the first.
    """
    if len(paths) == 1:
        return open_pieces(paths[0], text_columns)
    return Parts(paths, text_columns)


def place_of(paths: Sequence[Path]) -> Path:
    """Returns what a table of these files is called by: its one file, or the folder that holds all of them."""
    return paths[0] if len(paths) == 1 else Path(os.path.commonpath([path.parent for path in paths]))


class Parts:
    """Pieces of several files; see `data.pieces.Pieces`.

    Every file has the columns of the first, in the same order; types are those that the values of all files share. The
    keys of JSON lines may differ from file to file, as they may from line to line.
    """

    def __init__(self, paths: Sequence[Path], text_columns: Sequence[str]) -> None:
        self._paths, self._text_columns = paths, text_columns
        self._format = table_format(paths[0])
        self._columns: list[str] | None = None
        if self._format == "text":
            self._check_separators()
        self._parts: list[Pieces | None] = [open_pieces(path, text_columns) for path in paths]
        self._totals = [self._part(number).total for number in range(len(paths))]
        self.total = sum(self._totals)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves behind what is known of each file: elsewhere few are read, and looked at anew."""
        return {**self.__dict__, "_parts": [None] * len(self._paths)}

    def starting(self, start: int) -> Iterator[Piece]:
        """Yields the pieces from `start` on."""
        for place in self.places(start):
            yield from self.of_file(place)

    def places(self, start: int) -> list[int]:
        """Returns from where to read each file that is not read to its end yet; `start` as for `starting`."""
        first = start // PLACES
        return [start, *(number * PLACES for number in range(first + 1, len(self._parts)))]

    def of_file(self, start: int) -> Iterator[Piece]:
        """Yields the pieces of one file, from `start` on."""
        number, begun = divmod(start, PLACES)
        part, quotes, done = self._part(number), 0, sum(self._totals[:number])
        for piece in part.starting(begun):
            quotes += piece.quotes
            yield replace(piece, end=number * PLACES + piece.end, done=done + piece.done, part=number)
        if self._format == "text":
            odd = quotes % 2 == 1 if begun == 0 else quotes_are_odd(self._paths[number])
            part.check_end(odd_quotes=odd)

    def _part(self, number: int) -> Pieces:
        part = self._parts[number]
        if part is None:
            part = self._parts[number] = open_pieces(self._paths[number], self._text_columns)
        return part

    def schema(self) -> Any:
        """Returns the Arrow schema of the first file that has a line; of Parquet files, the one that all fit."""
        if self._format == "parquet":
            return self.whole_schema()
        schemas = (self._part(number).schema() for number in range(len(self._paths)))
        found = next((schema for schema in schemas if len(schema) > 0), None)
        if found is None:
            raise no_rows(place_of(self._paths))
        return found

    def whole_schema(self) -> Any:
        """Returns the Arrow schema that the pieces of all files fit."""
        import pyarrow

        schemas = []
        parts = [self._part(number) for number in range(len(self._paths))]
        for number, part in enumerate(parts):
            names = part.schema().names
            self._check_names(names, number)
            if names:
                schemas.append(part.whole_schema())
        if self._format == "text":
            kinds = zip(*(schema.types for schema in schemas), strict=True)
            texts = [part for part in parts if isinstance(part, TextPieces)]
            fields = zip(schemas[0].names, kinds, strict=True)
            return pyarrow.schema([(name, first_fitting(found, partial(_fit, texts, name))) for name, found in fields])
        try:
            return common_schema(schemas)
        except pyarrow.ArrowException as error:
            raise self._unlike(error) from error

    def parse(self, piece: Piece, schema: Any) -> Any:
        """Returns the Arrow table of a piece."""
        import pyarrow

        table = self._part(piece.part).parse(piece, schema)
        self._check_names(table.schema.names, piece.part, schema.names)
        try:
            return table.cast(schema)
        except pyarrow.ArrowException as error:
            raise MistypedError(first_line(error)) from error

    def check_end(self, *, odd_quotes: bool) -> None:
        """Does nothing: each file is looked at when its own end is reached."""

    def _check_names(self, names: Sequence[str], number: int, expected: Sequence[str] | None = None) -> None:
        """Refuses a file whose columns are not those of the first; one without a line has none, and no rows."""
        wanted = list(self._names() if expected is None else expected)
        if self._format == "json_lines" or list(names) in ([], wanted):
            return
        first = next(place for place in range(number + 1) if self._part(place).schema().names)
        raise DataError(
            f"data.path: expected the columns of {self._told(first)} in every file of the folder, got "
            f"{_difference(names, wanted)} in {self._told(number)}. Write all files alike."
        )

    def _names(self) -> list[str]:
        """The columns of the first file that has a line."""
        if self._columns is None:
            found = (self._part(number).schema().names for number in range(len(self._paths)))
            self._columns = next((list(names) for names in found if names), [])
        return self._columns

    def _check_separators(self) -> None:
        wanted = separator_of(self._paths[0])
        for number, path in enumerate(self._paths):
            if separator_of(path) != wanted:
                raise DataError(
                    f"data.path: expected columns separated as in {self._told(0)} ({wanted!r}), got "
                    f"{separator_of(path)!r} in {self._told(number)}. Write all files alike."
                )

    def _told(self, number: int) -> str:
        """Names a file: in folders within the folder, others may go by its name."""
        return repr(str(self._paths[number].relative_to(place_of(self._paths))))

    def _unlike(self, error: Exception) -> DataError:
        return DataError(
            f"data.path: expected values of one type in every column, got {place_of(self._paths).name!r}, whose files "
            f"cannot be read so ({first_line(error)}). Write the values of each column alike."
        )


def _fit(parts: Sequence[TextPieces], name: str, kind: Any) -> bool:
    return all(part.fits(name, kind) for part in parts)


def _difference(names: Sequence[str], wanted: Sequence[str]) -> str:
    """Says in what the columns of a file are not those that are wanted."""
    told = []
    for what, some, others in (("others", names, wanted), ("none named", wanted, names)):
        lone = [name for name in some if name not in others]
        if lone:
            told.append(f"{what} {', '.join(map(repr, lone[:5]))}")
    again = sorted(names) != sorted(wanted)
    return " and ".join(told) or ("one of them twice" if again else "them in another order")
