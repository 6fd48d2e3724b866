"""Reads CSV, TSV, Parquet and JSON lines files strictly: every row whole, every name once, every byte text."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.contract import DataError
from data.json_lines import explain_json_lines, parse_json_lines
from data.paths import table_format
from data.table_text import EXTRA_MISSING, check_whole, first_line, open_bytes, read_text, separator_of, unreadable
from data.unpacking import check_columns, check_unpacked

if TYPE_CHECKING:
    import pandas

DECIMAL_COMMA = re.compile(r"^[+-]?([0-9]+(,[0-9]*)?|,[0-9]+)([eE][+-]?[0-9]+)?$")
"""A number as it is written where a comma stands before its fraction; without thousands separators."""


@dataclass(frozen=True)
class TableFile:
    """What a table file holds.

    Attributes:
        frame: Arrow-backed columns; words for missing values are missing.
        decimal_commas: columns whose numbers are written with a comma before the fraction.
    """

    frame: pandas.DataFrame
    decimal_commas: tuple[str, ...] = ()


def read_frame(path: Path, text_columns: Collection[str] = ()) -> TableFile:
    """Reads a table.

    A .csv whose header has semicolons and no comma is read as semicolon-separated. In such a file a column whose every
    value is a number, some with a comma before the fraction (1,5), is read as these numbers; where commas separate
    the values, or tabs, 1,500 may as well be fifteen hundred, and such a column stays text.

    Args:
        path: .csv, .tsv, .jsonl or .ndjson (each may end in .gz), or .parquet.
        text_columns: columns of a CSV that are text, whatever they look like.

    Returns:
        The columns, and which of them were written with decimal commas.

    Raises:
        DataError: the file is empty, has no rows, is ragged or cut short, repeats a column name, or is not UTF-8.
    """
    kind = table_format(path)
    commas: tuple[str, ...] = ()
    if kind == "parquet":
        table = _read_parquet(path)
    else:
        table = _read_json_lines(path) if kind == "json_lines" else read_text(path, text_columns)
    check_names(table.column_names, path)
    if table.num_rows == 0:
        raise no_rows(path)
    if kind == "text" and separator_of(path) == ";":
        table, commas = _with_decimal_points(table, text_columns)
    import pandas

    return TableFile(table.to_pandas(types_mapper=pandas.ArrowDtype, ignore_metadata=True), commas)


def check_names(names: Sequence[str], path: Path) -> None:
    """Refuses a table that has two columns of one name, or too many columns.

    Raises:
        DataError: with these names, or their number.
    """
    check_columns(len(names), path.name)
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(
            f"data.path: expected every column name once, got {', '.join(map(repr, twice))} more than once in "
            f"{path.name!r}. Rename the columns."
        )


class NoRowsError(DataError):
    """A table has no rows."""


def no_rows(path: Path) -> NoRowsError:
    """Returns the error for a table without rows."""
    return NoRowsError(f"data.path: expected one or more rows, got none in {path.name!r}. Check the file.")


def _with_decimal_points(table: Any, text_columns: Collection[str]) -> tuple[Any, tuple[str, ...]]:
    """Turns text columns of numbers with decimal commas into numbers; returns their names too."""
    import pyarrow

    names = []
    for position, field in enumerate(table.schema):
        values = None if field.name in text_columns else decimal_numbers(table.column(position))
        if values is not None:
            table = table.set_column(position, pyarrow.field(field.name, pyarrow.float64()), values)
            names.append(field.name)
    return table, tuple(names)


def decimal_numbers(column: Any) -> Any | None:
    """Returns the numbers of an Arrow column of text, if each is written with a decimal comma or none; else None."""
    import pyarrow
    import pyarrow.compute

    if not pyarrow.types.is_string(column.type):
        return None
    chunks, present = [], 0
    for chunk in column.chunks:
        texts = pyarrow.compute.utf8_trim_whitespace(chunk)
        nothing = pyarrow.compute.is_in(texts, pyarrow.array(["", *EXTRA_MISSING]))
        texts = pyarrow.compute.if_else(nothing, pyarrow.scalar(None, texts.type), texts)
        numbers = pyarrow.compute.match_substring_regex(texts, DECIMAL_COMMA.pattern)
        if pyarrow.compute.all(numbers).as_py() is False:
            return None
        present += len(texts) - texts.null_count
        chunks.append(pyarrow.compute.replace_substring(texts, ",", ".").cast(pyarrow.float64()))
    return pyarrow.chunked_array(chunks, pyarrow.float64()) if present else None


def _read_parquet(path: Path) -> Any:
    with whole_parquet(path):
        file = open_parquet(path)
        metadata = file.metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        takes = max(8 * metadata.num_rows * metadata.num_columns, sum(group.total_byte_size for group in groups))
        check_unpacked(path.name, path.stat().st_size, takes, "Cut the file in parts, if you trust it.")
        return plain_columns(file.read())


def open_parquet(path: Path) -> Any:
    """Opens a Parquet file so that its columns are read through buffers, not each of a row group at once."""
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
    metadata, size = file.metadata, path.stat().st_size
    check_columns(metadata.num_columns, path.name)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in range(group.num_columns):
            # A page is unpacked whole, and a column may be one page.
            takes = group.column(column).total_uncompressed_size
            check_unpacked(path.name, size, takes, "Write it anew in smaller row groups, if you trust it.")
    return file


@contextmanager
def whole_parquet(path: Path) -> Iterator[None]:
    """Words what goes wrong when a Parquet file is read.

    Raises:
        DataError: it is damaged or cannot be read.
    """
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"data.path: expected a whole Parquet file, got {path.name!r}, which cannot be read "
            f"({first_line(error)}). Write it again."
        ) from error


def plain_columns(table: Any) -> Any:
    """Returns an Arrow table whose dictionary-encoded columns are plain ones."""
    import pyarrow

    for position, field in enumerate(table.schema):
        if pyarrow.types.is_dictionary(field.type):
            plain = table.column(position).cast(field.type.value_type)
            table = table.set_column(position, pyarrow.field(field.name, field.type.value_type), plain)
    return table


def _read_json_lines(path: Path) -> Any:
    import pyarrow

    check_whole(path)
    try:
        with open_bytes(path) as stream:
            block = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error
    if not block.strip():
        raise no_rows(path)
    try:
        return parse_json_lines(block)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        with open_bytes(path) as stream:
            explain_json_lines(stream, path.name)
        raise no_json_lines(path, error) from error


def no_json_lines(path: Path, error: Exception) -> DataError:
    """Returns the error for a file that is none of JSON lines, where no line is found to be at fault."""
    return DataError(
        f"data.path: expected a JSON object in every line, got {path.name!r}, which cannot be read "
        f"({first_line(error)}). Correct the file."
    )
