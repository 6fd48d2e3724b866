"""A table in several files of one kind, that are read one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from data.contract import DataError
from data.json_lines import common_schema
from data.paths import table_format
from data.pieces import MistypedError, Piece, Pieces
from data.table_files import no_rows
from data.table_pieces import TextPieces, first_fitting, open_pieces
from data.table_text import explain_text, first_line, separator_of

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


class Parts:
    """Pieces of several files; see `data.pieces.Pieces`.

    Every file has the columns of the first, in the same order; types are those that the values of all files share.
    """

    def __init__(self, paths: Sequence[Path], text_columns: Sequence[str]) -> None:
        if table_format(paths[0]) == "text":
            _check_separators(paths)
        self._paths, self._text_columns = paths, text_columns
        self._columns: list[str] | None = None
        self._parts: list[Pieces | None] = [open_pieces(path, text_columns) for path in paths]
        self._totals = [self._part(number).total for number in range(len(paths))]
        self.total = sum(self._totals)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves open files behind: elsewhere those are opened that are read there."""
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
        if begun == 0 and quotes % 2 == 1:
            part.check_end(odd_quotes=True)

    def _part(self, number: int) -> Pieces:
        part = self._parts[number]
        if part is None:
            part = self._parts[number] = open_pieces(self._paths[number], self._text_columns)
        return part

    def schema(self) -> Any:
        """Returns the Arrow schema of the first file that has rows; of Parquet files, the one that all fit."""
        if table_format(self._paths[0]) == "parquet":
            return self.whole_schema()
        for number, path in enumerate(self._paths):
            schema = self._part(number).schema()
            self._check_names(schema.names, path)
            if len(schema) > 0:
                return schema
        raise no_rows(self._paths[0].parent)

    def whole_schema(self) -> Any:
        """Returns the Arrow schema that the pieces of all files fit."""
        import pyarrow

        schemas = []
        parts = [self._part(number) for number in range(len(self._paths))]
        for part, path in zip(parts, self._paths, strict=True):
            self._check_names(part.schema().names, path)
            schemas.append(part.whole_schema())
        if table_format(self._paths[0]) == "text":
            kinds = zip(*([field.type for field in schema] for schema in schemas if len(schema)), strict=True)
            texts = [part for part in parts if isinstance(part, TextPieces)]
            names = next(schema.names for schema in schemas if len(schema))
            fields = zip(names, kinds, strict=True)
            return pyarrow.schema([(name, first_fitting(found, partial(_fit, texts, name))) for name, found in fields])
        try:
            return common_schema(schemas)
        except pyarrow.ArrowException as error:
            raise self._unlike(error) from error

    def parse(self, piece: Piece, schema: Any) -> Any:
        """Returns the Arrow table of a piece."""
        import pyarrow

        table = self._part(piece.part).parse(piece, schema)
        self._check_names(table.schema.names, self._paths[piece.part], schema.names)
        try:
            return table.cast(schema)
        except pyarrow.ArrowException as error:
            raise MistypedError(first_line(error)) from error

    def check_end(self, *, odd_quotes: bool) -> None:
        """Looks for a quote that is left open in any of the files."""
        for path in self._paths if odd_quotes and table_format(self._paths[0]) == "text" else ():
            explain_text(path, separator_of(path))

    def _check_names(self, names: Sequence[str], path: Path, expected: Sequence[str] | None = None) -> None:
        """Refuses a file whose columns are not those of the first; one without a line has none, and no rows."""
        wanted = list(self._names() if expected is None else expected)
        if list(names) in ([], wanted):
            return
        other = [name for name in names if name not in wanted] + [name for name in wanted if name not in names]
        what = f"others ({', '.join(map(repr, other[:5]))})" if other else "them in another order"
        raise DataError(
            f"data.path: expected the columns of {self._paths[0].name!r} in every file of the folder, got {what} in "
            f"{path.name!r}. Write all files alike."
        )

    def _names(self) -> list[str]:
        """The columns of the first file that has a line."""
        if self._columns is None:
            found = (self._part(number).schema().names for number in range(len(self._paths)))
            self._columns = next((list(names) for names in found if names), [])
        return self._columns

    def _unlike(self, error: Exception) -> DataError:
        return DataError(
            f"data.path: expected values of one type in every column, got {self._paths[0].parent.name!r}, whose files "
            f"cannot be read so ({first_line(error)}). Write the values of each column alike."
        )


def _fit(parts: Sequence[TextPieces], name: str, kind: Any) -> bool:
    return all(part.fits(name, kind) for part in parts)


def _check_separators(paths: Sequence[Path]) -> None:
    for path in paths:
        if separator_of(path) != separator_of(paths[0]):
            raise DataError(
                f"data.path: expected columns separated as in {paths[0].name!r} ({separator_of(paths[0])!r}), got "
                f"{separator_of(path)!r} in {path.name!r}. Write all files alike."
            )
