"""Reads CSV, TSV, Parquet and JSON lines files strictly: every row whole, every name once, every byte text."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from data.contract import DataError
from data.json_lines import explain_json_lines, parse_json_lines

if TYPE_CHECKING:
    import pandas

DECIMAL_COMMA = re.compile(r"^[+-]?([0-9]+(,[0-9]*)?|,[0-9]+)([eE][+-]?[0-9]+)?$")
"""A number as it is written where a comma stands before its fraction; without thousands separators."""

EXTRA_MISSING = ("?", "None", "none", "NONE", "NaT", "nil")
"""Words for a missing value beside pyarrow's own (empty, NA, N/A, NaN, null, …)."""


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
        table = _read_json_lines(path) if kind == "json_lines" else _read_text(path, text_columns)
    twice = [name for name, times in Counter(table.column_names).items() if times > 1]
    if twice:
        raise DataError(
            f"data.path: expected every column name once, got {', '.join(map(repr, twice))} more than once in "
            f"{path.name!r}. Rename the columns."
        )
    if table.num_rows == 0:
        raise DataError(f"data.path: expected one or more rows, got none in {path.name!r}. Check the file.")
    if kind == "text" and _separator(path) == ";":
        table, commas = _with_decimal_points(table, text_columns)
    import pandas

    return TableFile(table.to_pandas(types_mapper=pandas.ArrowDtype, ignore_metadata=True), commas)


def table_format(path: Path) -> Literal["parquet", "json_lines", "text"]:
    """Returns what a table's name says that it is; `text` is CSV and TSV."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(".parquet"):
        return "parquet"
    return "json_lines" if name.endswith((".jsonl", ".ndjson")) else "text"


def _with_decimal_points(table: Any, text_columns: Collection[str]) -> tuple[Any, tuple[str, ...]]:
    """Turns text columns of numbers with decimal commas into numbers; returns their names too."""
    import pyarrow
    import pyarrow.compute

    names = []
    for position, field in enumerate(table.schema):
        if field.name in text_columns or not pyarrow.types.is_string(field.type):
            continue
        texts = pyarrow.compute.utf8_trim_whitespace(table.column(position))
        nothing = pyarrow.compute.is_in(texts, pyarrow.array(["", *EXTRA_MISSING]))
        texts = pyarrow.compute.if_else(nothing, pyarrow.scalar(None, texts.type), texts)
        numbers = pyarrow.compute.match_substring_regex(texts, DECIMAL_COMMA.pattern)
        if texts.null_count < len(texts) and pyarrow.compute.all(numbers).as_py():
            values = pyarrow.compute.replace_substring(texts, ",", ".").cast(pyarrow.float64())
            table = table.set_column(position, pyarrow.field(field.name, pyarrow.float64()), values)
            names.append(field.name)
    return table, tuple(names)


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


def _read_json_lines(path: Path) -> Any:
    import pyarrow

    try:
        with _open(path) as stream:
            block = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error
    if not block.strip():
        raise DataError(f"data.path: expected one or more rows, got none in {path.name!r}. Check the file.")
    try:
        return parse_json_lines(block)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        with _open(path) as stream:
            explain_json_lines(stream, path.name)
        raise _no_json_lines(path, error) from error


def _no_json_lines(path: Path, error: Exception) -> DataError:
    return DataError(
        f"data.path: expected a JSON object in every line, got {path.name!r}, which cannot be read "
        f"({_first_line(error)}). Correct the file."
    )


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
