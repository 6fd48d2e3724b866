"""Reads a table of any size: piece by piece into files of its columns, which are then mapped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.column_files import ColumnFiles, Rows
from data.contract import DataError, Progress
from data.parallel import in_order
from data.paths import table_format
from data.pieces import MistypedError, Piece, Pieces
from data.scratch import Scratch
from data.table_files import TableFile, check_names, decimal_numbers, no_rows
from data.table_parts import open_table
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
            killed process.
        progress: told how far it is.

    Returns:
        Columns that lie in files; a missing number is NaN.

    Raises:
        DataError: as for `read_frame`.
        OSError: there is no room on the disk.
    """
    pieces = open_table(paths, text_columns)
    path = paths[0] if len(paths) == 1 else paths[0].parent
    files = ColumnFiles(scratch, [*text_columns, *as_they_are])
    if not files.resume():
        schema = pieces.schema()
        check_names(schema.names, path)
        files.begin(schema)
    try:
        _read(pieces, files, progress)
    except MistypedError:
        files.begin(pieces.whole_schema())
        try:
            _read(pieces, files, progress)
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


def _read(pieces: Pieces, files: ColumnFiles, progress: Progress) -> None:
    def prepared(piece: Piece) -> tuple[Rows, Piece]:
        return files.prepare(pieces.parse(piece, files.schema)), replace(piece, content=None)

    for rows, piece in in_order(prepared, pieces.starting(files.end), WORKERS):
        files.append(rows, piece.end, odd_quotes=piece.quotes % 2 == 1)
        files.save()
        if piece.done < pieces.total:
            progress.step("read", piece.done, pieces.total, {"rows": float(files.rows)})


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
