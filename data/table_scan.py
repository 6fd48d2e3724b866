"""Reads a table of any size: piece by piece into files of its columns, which are then mapped."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from data.column_files import ColumnFiles, Layout, Rows
from data.contract import DataError, Progress
from data.parallel import Spread, in_order
from data.paths import table_format
from data.pieces import MistypedError, Piece, Pieces
from data.scratch import Scratch
from data.table_files import TableFile, check_names, decimal_numbers, no_rows
from data.table_parts import Parts, open_table, place_of
from data.table_pieces import WORKERS
from data.table_text import separator_of


def scan_table(
    paths: Sequence[Path],
    text_columns: Sequence[str],
    as_they_are: Collection[str],
    scratch: Scratch,
    progress: Progress,
) -> TableFile:
    """Reads a table as `read_frame` does, without ever holding it in memory.

    Types are those of the first piece. If a later piece does not fit them, all pieces are looked at for the types that
    the whole file has, and the table is read again.

    Args:
        paths: the files of the table, in the order of their rows; each as for `read_frame`.
        text_columns: as for `read_frame`.
        as_they_are: columns that keep the type which the file has for them; other numbers become float64.
        scratch: where the columns are kept. With checkpoints, reading goes on behind the last finished piece of a
            killed process; with `spread`, each of several files may be read elsewhere.
        progress: told how far it is.

    Returns:
        Columns that lie in files; a missing number is NaN.

    Raises:
        DataError: as for `read_frame`.
        OSError: there is no room on the disk.
    """
    pieces = open_table(paths, text_columns)
    path = place_of(paths)
    files = ColumnFiles(scratch, [*text_columns, *as_they_are])
    if not files.resume():
        schema = pieces.schema()
        check_names(schema.names, path)
        files.begin(schema)
    try:
        _read(pieces, files, scratch.spread, progress)
    except MistypedError:
        files.begin(pieces.whole_schema())
        try:
            _read(pieces, files, scratch.spread, progress)
        except MistypedError as error:
            raise DataError(
                f"data.path: expected values of one type in every column, got {path.name!r}, which cannot be read so "
                f"({error}). Write the values of each column alike."
            ) from error
    pieces.check_end(odd_quotes=files.odd_quotes)
    if files.rows == 0:
        raise no_rows(path)
    commas: list[str] = []
    table = files.table()
    if table_format(paths[0]) == "text" and separator_of(paths[0]) == ";":
        table, commas = _with_decimal_points(table, text_columns, scratch)
    import pandas

    return TableFile(table.to_pandas(types_mapper=pandas.ArrowDtype, ignore_metadata=True), tuple(commas))


def _read(pieces: Pieces, files: ColumnFiles, spread: Spread | None, progress: Progress) -> None:
    prepare = partial(_prepared, pieces, files.layout)
    if spread is not None and isinstance(pieces, Parts):
        made = spread(partial(_of_file, pieces, files.layout), pieces.places(files.end))
    else:
        made = in_order(prepare, pieces.starting(files.end), WORKERS)
    for rows, piece in made:
        files.append(rows, piece.end, odd_quotes=piece.quotes % 2 == 1)
        files.save()
        if piece.done < pieces.total:
            progress.step("read", piece.done, pieces.total, {"rows": float(files.rows)})


def _prepared(pieces: Pieces, layout: Layout, piece: Piece) -> tuple[Rows, Piece]:
    return layout.prepare(pieces.parse(piece, layout.schema)), replace(piece, content=None)


def _of_file(parts: Parts, layout: Layout, place: int) -> Iterator[tuple[Rows, Piece]]:
    """Reads one file of several, on whatever machine this is called."""
    for piece in parts.of_file(place):
        yield _prepared(parts, layout, piece)


def _with_decimal_points(table: Any, text_columns: Collection[str], scratch: Scratch) -> tuple[Any, list[str]]:
    """Turns text columns of numbers with decimal commas into numbers; returns their names too."""
    import pyarrow

    names = []
    for position, field in enumerate(table.schema):
        values = None if field.name in text_columns else decimal_numbers(table.column(position))
        if values is not None:
            kept = scratch.keep(values.to_numpy())
            numbers = pyarrow.Array.from_buffers(pyarrow.float64(), len(kept), [None, pyarrow.py_buffer(kept)])
            table = table.set_column(position, pyarrow.field(field.name, pyarrow.float64()), numbers)
            names.append(field.name)
    return table, names
