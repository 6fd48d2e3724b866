"""Reads CSV, TSV and Parquet files strictly: every row whole, every name once, every byte text."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from data.contract import DataError
from data.profile import repeated

if TYPE_CHECKING:
    import pandas

EXTRA_MISSING = ("?", "None", "none", "NONE", "NaT", "nil")
"""Words for a missing value beside pyarrow's own (empty, NA, N/A, NaN, null, …)."""


def read_frame(path: Path, text_columns: Collection[str] = ()) -> pandas.DataFrame:
    """Reads a table.

    A .csv whose header has semicolons and no comma is read as semicolon-separated.

    Args:
        path: .csv, .tsv (either may end in .gz) or .parquet.
        text_columns: columns of a CSV that are text, whatever they look like.

    Returns:
        A frame of Arrow-backed columns; words for missing values are missing.

    Raises:
        DataError: the file is empty, has no rows, is ragged or cut short, repeats a column name, or is not UTF-8.
    """
    table = _read_parquet(path) if path.name.lower().endswith(".parquet") else _read_text(path, text_columns)
    twice = repeated(table.column_names)
    if twice:
        raise DataError(
            f"data.path: expected every column name once, got {', '.join(map(repr, twice))} more than once in "
            f"{path.name!r}. Rename the columns."
        )
    if table.num_rows == 0:
        raise DataError(f"data.path: expected one or more rows, got none in {path.name!r}. Check the file.")
    import pandas

    frame: pandas.DataFrame = table.to_pandas(types_mapper=pandas.ArrowDtype, ignore_metadata=True)
    return frame


def _read_parquet(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"data.path: expected a whole Parquet file, got {path.name!r}, which cannot be read "
            f"({_first_line(error)}). Write it again."
        ) from error
    for position, field in enumerate(table.schema):
        if pyarrow.types.is_dictionary(field.type):
            plain = table.column(position).cast(field.type.value_type)
            table = table.set_column(position, pyarrow.field(field.name, field.type.value_type), plain)
    return table


def _read_text(path: Path, text_columns: Collection[str]) -> Any:
    import pyarrow
    import pyarrow.csv

    separator = _separator(path)
    convert = pyarrow.csv.ConvertOptions(
        strings_can_be_null=True,
        null_values=[*pyarrow.csv.ConvertOptions().null_values, *EXTRA_MISSING],
        column_types={name: pyarrow.string() for name in text_columns},
    )
    try:
        with _open(path) as stream:
            table = pyarrow.csv.read_csv(
                stream,
                parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
                convert_options=convert,
            )
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        _explain(path, separator)
        raise DataError(
            f"data.path: expected a table with a header, got {path.name!r}, which cannot be read "
            f"({_first_line(error)}). Correct the file."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    if any(pyarrow.types.is_binary(field.type) for field in table.schema) or _quotes_are_odd(path):
        _explain(path, separator)
    return table


def _open(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path))
    return path.open("rb")


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"data.path: expected a whole file, got {path.name!r}, which cannot be read ({_first_line(error)}). "
        "Copy or compress it again."
    )


def _separator(path: Path) -> str:
    """Returns what stands between the values: a tab in .tsv, else a comma, or a semicolon by the header."""
    try:
        with _open(path) as stream:
            header = stream.readline()
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    if not header:
        raise DataError(
            f"data.path: expected a table with a header, got {path.name!r}, which is empty. Check the file."
        )
    if b"\x00" in header:
        raise DataError(
            f"data.path: expected UTF-8 text, got {path.name!r}, whose header has zero bytes (UTF-16, or no text). "
            "Save the file as UTF-8."
        )
    if ".tsv" in path.name.lower():
        return "\t"
    return ";" if b";" in header and b"," not in header else ","


def _quotes_are_odd(path: Path) -> bool:
    """Says whether some quote may have been left open; a value would then run to the end of the file."""
    count = 0
    with _open(path) as stream:
        while block := stream.read(2**22):
            count += block.count(b'"')
    return count % 2 == 1


def _explain(path: Path, separator: str) -> None:
    """Reads the file again, slowly, and raises for the first line that is at fault; returns if none is.

    Raises:
        DataError: with the number of the line.
    """
    with _open(path) as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"data.path: expected UTF-8 text, got byte 0x{line[error.start]:02x} in line {number} of "
                    f"{path.name!r}. Save the file as UTF-8."
                ) from error
    # A field may be as long as the file where a quote is left open; the module's own limit is 128 KiB.
    csv.field_size_limit(2**31 - 1)
    with _open(path) as stream:
        lines = (line.decode("utf-8-sig") for line in stream)
        reader = csv.reader(lines, delimiter=separator, strict=True)
        width, start = 0, 1
        try:
            for row in reader:
                if row and not width:
                    width = len(row)
                if row and len(row) != width:
                    raise DataError(
                        f"data.path: expected {width} values in every row, got {len(row)} in line {start} of "
                        f"{path.name!r}. Correct the line, or the end of the file if it was cut short."
                    )
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(
                f"data.path: expected quotes in pairs, got {error} in the value that starts in line {start} of "
                f"{path.name!r}. Correct the line, or the end of the file if it was cut short."
            ) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
