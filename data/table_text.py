"""Reads CSV and TSV strictly: every row whole, every byte text; and says which line is at fault."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from data.contract import DataError
from data.unpacking import check_columns, check_gzip

EXTRA_MISSING = ("?", "None", "none", "NONE", "NaT", "nil")
"""Words for a missing value beside pyarrow's own (empty, NA, N/A, NaN, null, …)."""

MOST_HEADER_BYTES = 2**20
"""Bytes of a header: pyarrow looks for its end in its first block, which is as long."""

BLOCK_BYTES = 8 * 2**20
"""Bytes of a piece that are parsed at a time: of fewer, a chunk of a column is hardly worth its handling."""

MOST_RECORD_BYTES = 64 * 2**20
"""A longer record of a CSV is taken for a quote that is left open."""


def read_text(path: Path, text_columns: Collection[str]) -> Any:
    """Reads a CSV or TSV file whole, into an Arrow table.

    Args:
        path: the file.
        text_columns: columns that are text, whatever they look like.

    Raises:
        DataError: the file is empty, ragged or cut short, or is not UTF-8.
    """
    import pyarrow

    separator = separator_of(path)
    check_whole(path)
    try:
        with open_bytes(path) as stream:
            table = parse_text(stream, separator, dict.fromkeys(text_columns, pyarrow.string()))
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise unreadable_text(path, separator, error) from error
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error
    if not is_text(table.schema) or quotes_are_odd(path):
        explain_text(path, separator)
    return table


def is_text(schema: Any) -> bool:
    """Says whether all names and values of an Arrow schema are UTF-8; Arrow gives others as bytes, or not at all."""
    import pyarrow

    try:
        names = schema.names
    except UnicodeDecodeError:
        return False
    return bool(names) and not any(pyarrow.types.is_binary(kind) for kind in schema.types)


def parse_text(
    stream: Any,
    separator: str,
    types: Mapping[str, Any],
    names: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
    *,
    quotes: bool = True,
    in_threads: bool = True,
) -> Any:
    """Parses CSV into an Arrow table.

    Args:
        stream: whole rows: a file that is open, Arrow's own or Python's.
        separator: what stands between the values.
        types: column -> Arrow type; the others are found.
        names: of the columns, where the rows have no header.
        only: columns that are looked at; all when left out.
        quotes: whether there may be quotes in the rows, and line breaks within them.
        in_threads: whether Arrow shares the work among all cores, or does it in the thread that calls, in blocks of
            `BLOCK_BYTES`.

    Raises:
        pyarrow.ArrowException: the rows are ragged, or a value is not of its column's type.
    """
    import pyarrow.csv

    return pyarrow.csv.read_csv(
        stream,
        read_options=pyarrow.csv.ReadOptions(
            column_names=None if names is None else list(names),
            block_size=None if in_threads else BLOCK_BYTES,
            use_threads=in_threads,
        ),
        parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=quotes),
        convert_options=pyarrow.csv.ConvertOptions(
            strings_can_be_null=True,
            null_values=[*pyarrow.csv.ConvertOptions().null_values, *EXTRA_MISSING],
            column_types=dict(types),
            include_columns=None if only is None else list(only),
        ),
    )


def whole_records(block: bytes | bytearray, separator: str) -> int:
    """Returns how many bytes of a block of CSV, that begins with a record, are whole records; 0 if none is whole.

    A line break within quotes ends no record. A quote opens a value at its beginning alone.
    """
    newline = b"\n" if b"\n" in block else b"\r"
    if b'"' not in block:
        return block.rfind(newline) + 1
    turns = _turns(block, separator.encode())
    end = block.rfind(newline)
    while end >= 0:
        before = int(np.searchsorted(turns, end))
        if before % 2 == 0:
            return end + 1
        end = block.rfind(newline, 0, int(turns[before - 1]))
    return 0


def _turns(block: bytes | bytearray, separator: bytes) -> NDArray[np.int64]:
    """Returns the positions of the quotes that open and close values, in turn."""
    data = np.frombuffer(block, np.uint8)
    quotes = np.flatnonzero(data == ord('"'))
    opening = quotes[::2]
    before = data[np.maximum(opening - 1, 0)]
    usual = np.isin(before, np.frombuffer(separator + b'\r\n"', np.uint8)) | (opening == 0)
    usual |= (opening == 3) & block.startswith(b"\xef\xbb\xbf")
    if usual.all():
        return quotes
    # Quotes within unquoted values, as in 5" pipe: the values have to be told apart one by one.
    quoted = re.compile(rb"(?:(?<=[" + re.escape(separator) + rb'\r\n])|\A(?:\xef\xbb\xbf)?)"[^"]*(?:""[^"]*)*(?:"|\Z)')
    ends = [(match.start(), match.end() - 1) for match in quoted.finditer(block)]
    return np.array(ends, np.int64).reshape(-1)


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file, decompressed where its name ends in .gz."""
    if path.name.lower().endswith(".gz"):
        return cast("IO[bytes]", gzip.open(path))
    return path.open("rb")


def check_whole(path: Path) -> None:
    """Refuses a .gz file that memory should not hold whole.

    Raises:
        DataError: it is damaged, or unpacks to far more than its size.
    """
    if not path.name.lower().endswith(".gz"):
        return
    try:
        check_gzip(path)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> DataError:
    """Returns the error for a file that cannot be read or decompressed to its end."""
    return DataError(
        f"data.path: expected a whole file, got {path.name!r}, which cannot be read ({first_line(error)}). "
        "Copy or compress it again."
    )


def unreadable_text(path: Path, separator: str, error: Exception) -> DataError:
    """Returns the error for a file that is no CSV: with the line that is at fault, if one is found."""
    try:
        explain_text(path, separator)
    except DataError as explained:
        return explained
    return DataError(
        f"data.path: expected a table with a header, got {path.name!r}, which cannot be read "
        f"({first_line(error)}). Correct the file."
    )


def separator_of(path: Path) -> str:
    """Returns what stands between the values: a tab in .tsv, else a comma, or a semicolon by the header.

    Raises:
        DataError: the file is empty, cannot be read, is no text, or has a header too long or of too many columns.
    """
    try:
        with open_bytes(path) as stream:
            header = stream.readline(MOST_HEADER_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise unreadable(path, error) from error
    if not header:
        raise DataError(
            f"data.path: expected a table with a header, got {path.name!r}, which is empty. Check the file."
        )
    if not header.endswith(b"\n"):
        header = header.split(b"\r", 1)[0]  # lines of old Macs end so
    if len(header) > MOST_HEADER_BYTES and b"\x00" not in header:
        raise DataError(
            f"data.path: expected a header of at most {MOST_HEADER_BYTES // 2**10} KiB, got a longer first line in "
            f"{path.name!r}. Is this a table?"
        )
    if b"\x00" in header:
        raise DataError(
            f"data.path: expected UTF-8 text, got {path.name!r}, whose header has zero bytes (UTF-16, or no text). "
            "Save the file as UTF-8."
        )
    separator = ";" if b";" in header and b"," not in header else ","
    if ".tsv" in path.name.lower():
        separator = "\t"
    if b'"' not in header:
        check_columns(header.count(separator.encode()) + 1, path.name)
    return separator


def quotes_are_odd(path: Path) -> bool:
    """Says whether some quote may have been left open; a value would then run to the end of the file."""
    count = 0
    with open_bytes(path) as stream:
        while block := stream.read(2**22):
            count += block.count(b'"')
    return count % 2 == 1


def explain_text(path: Path, separator: str) -> None:
    """Reads the file again, slowly, and raises for the first line that is at fault; returns if none is.

    Raises:
        DataError: with the number of the line.
    """
    with open_bytes(path) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MOST_RECORD_BYTES + 1), b""), start=1):
            if len(line) > MOST_RECORD_BYTES:
                raise long_record(path, number)
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"data.path: expected UTF-8 text, got byte 0x{line[error.start]:02x} in line {number} of "
                    f"{path.name!r}. Save the file as UTF-8."
                ) from error
    # A field may be as long as the file where a quote is left open; the module's own limit is 128 KiB.
    csv.field_size_limit(MOST_RECORD_BYTES)
    with open_bytes(path) as stream:
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


def long_record(path: Path, line: int) -> DataError:
    """Returns the error for a record that is longer than memory should hold."""
    return DataError(
        f"data.path: expected rows of at most {MOST_RECORD_BYTES // 2**20} MiB, got a longer one from line {line} "
        f"of {path.name!r} on. Close the quote that is left open there, if it is one."
    )


def first_line(error: Exception) -> str:
    """Returns the first line of what an error says."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
