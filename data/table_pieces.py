"""Cuts table files into pieces of whole rows, that are parsed one by one."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from data import table_text
from data.contract import DataError
from data.json_lines import explain_json_lines, parse_json_lines
from data.parallel import in_order, num_cores
from data.paths import table_format
from data.pieces import MistypedError, Piece, Pieces
from data.shared_types import common_schema, first_fitting
from data.table_files import no_json_lines, open_parquet, plain_columns, whole_parquet
from data.table_text import (
    explain_text,
    first_line,
    is_text,
    open_bytes,
    parse_text,
    separator_of,
    unreadable,
    unreadable_text,
    whole_records,
)

PIECE_BYTES = 32 * 2**20
"""Bytes of a file that are parsed at once."""

BLANK_BYTES = 256
"""Bytes in which a piece usually shows that it is not blank: to look at more takes a copy."""

FEWEST_ROWS = 1024
"""Rows that a batch of a Parquet file has at least."""

WORKERS = max(2, min(num_cores(), 8))
"""Pieces that are parsed at once, each in a thread: one takes some three times its size of memory."""


def open_pieces(path: Path, text_columns: Sequence[str]) -> Pieces:
    """Returns the pieces of a table file.

    Args:
        path: .csv, .tsv, .jsonl or .ndjson (each may end in .gz), or .parquet.
        text_columns: columns of a CSV that are text, whatever they look like.

    Raises:
        DataError: the file is empty or cannot be read.
    """
    kind = table_format(path)
    if kind == "parquet":
        return ParquetPieces(path)
    return JsonPieces(path) if kind == "json_lines" else TextPieces(path, text_columns)


class _LinePieces:
    """Pieces of a file of lines, plain or .gz."""

    blank = b"\r\n\xef\xbb\xbf"
    """Bytes of which a piece without rows is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total = path.stat().st_size

    def starting(self, start: int) -> Iterator[Piece]:
        """Yields the pieces from `start` on."""
        first, rest, position = start == 0, b"", start
        try:
            with self.path.open("rb") as file, self._opened(file) as stream:
                stream.seek(start)
                while True:
                    block, more = _block(rest, stream, None if stream is not file else self.total - file.tell())
                    size = self._whole(block) if more else len(block)
                    if more and size == 0:
                        self._check_length(len(block), position)
                    content, position = memoryview(block)[:size].toreadonly(), position + size
                    rest = bytes(memoryview(block)[size:])
                    if bytes(content[:BLANK_BYTES]).strip(self.blank) or bytes(content).strip(self.blank):
                        yield Piece(content, position, file.tell(), first, block.count(b'"', 0, size))
                        first = False
                    if not more:
                        return
        except (OSError, EOFError, zlib.error) as error:
            raise unreadable(self.path, error) from error

    def check_end(self, *, odd_quotes: bool) -> None:
        """Does nothing: only CSV can go wrong so."""

    def _opened(self, file: Any) -> Any:
        return gzip.GzipFile(fileobj=file) if self.path.name.lower().endswith(".gz") else file

    def _whole(self, block: bytearray) -> int:
        return block.rfind(b"\n") + 1

    def _check_length(self, size: int, position: int) -> None:
        if size <= table_text.MOST_RECORD_BYTES:
            return
        with open_bytes(self.path) as stream:
            line = 1
            for start in range(0, position, PIECE_BYTES):
                line += stream.read(min(PIECE_BYTES, position - start)).count(b"\n")
        raise table_text.long_record(self.path, line)


def _block(rest: bytes, stream: Any, left: int | None) -> tuple[bytearray, bool]:
    """Returns what was left of the last piece and what comes behind it; and whether anything came."""
    if left is None:  # unpacked, nobody knows how much there is
        return bytearray(rest + (more := stream.read(PIECE_BYTES))), bool(more)
    # Copied but once; of a small file only as much as it has, or grew by: to make room takes time.
    block = bytearray(rest).ljust(len(rest) + min(PIECE_BYTES, max(left, 2**16)), b" ")
    size = stream.readinto(memoryview(block)[len(rest) :])
    del block[len(rest) + size :]
    return block, size > 0


class TextPieces(_LinePieces):
    """Pieces of a CSV or TSV."""

    def __init__(self, path: Path, text_columns: Sequence[str]) -> None:
        super().__init__(path)
        self._separator = separator_of(path)
        self._text_columns = text_columns
        self._names: list[str] = []

    def schema(self) -> Any:
        """Returns the Arrow schema of the first piece."""
        import pyarrow

        for piece in self.starting(0):
            found = self._found(piece)
            self._names = found.names
            return found
        return pyarrow.schema([])

    def whole_schema(self) -> Any:
        """Returns the Arrow schema that all pieces fit."""
        import pyarrow

        kinds: dict[str, list[Any]] = {}
        for schema in in_order(self._found, self.starting(0), WORKERS):
            for field in schema:
                known = kinds.setdefault(field.name, [])
                if field.type not in known:
                    known.append(field.type)
        return pyarrow.schema([(name, first_fitting(found, partial(self.fits, name))) for name, found in kinds.items()])

    def parse(self, piece: Piece, schema: Any) -> Any:
        """Returns the Arrow table of a piece."""
        import pyarrow

        self._names = schema.names
        try:
            table = self._parsed(piece, dict(zip(schema.names, schema.types, strict=True)))
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            if self._found(piece) != schema:
                raise MistypedError(first_line(error)) from error
            raise unreadable_text(self.path, self._separator, error) from error
        if piece.first and not is_text(table.schema):  # of several files, each has a header of its own
            explain_text(self.path, self._separator)
        return table

    def check_end(self, *, odd_quotes: bool) -> None:
        """Looks for a quote that is left open where the number of quotes is odd."""
        if odd_quotes:
            explain_text(self.path, self._separator)

    def _whole(self, block: bytearray) -> int:
        return whole_records(block, self._separator)

    def _found(self, piece: Piece) -> Any:
        """Returns the schema of a piece by itself."""
        import pyarrow

        try:
            found = self._parsed(piece, dict.fromkeys(self._text_columns, pyarrow.string())).schema
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise unreadable_text(self.path, self._separator, error) from error
        if not is_text(found):
            explain_text(self.path, self._separator)
        return found

    def _parsed(self, piece: Piece, types: dict[str, Any], only: Sequence[str] | None = None) -> Any:
        import pyarrow

        stream = pyarrow.BufferReader(pyarrow.py_buffer(piece.content))
        names = None if piece.first else self._names
        quotes = piece.quotes > 0
        return parse_text(stream, self._separator, types, names, only, quotes=quotes, in_threads=False)

    def fits(self, name: str, kind: Any) -> bool:
        """Says whether the values of a column, in all pieces, are of a type."""
        return all(in_order(partial(self._fits, name, kind), self.starting(0), WORKERS))

    def _fits(self, name: str, kind: Any, piece: Piece) -> bool:
        import pyarrow

        try:
            self._parsed(piece, {name: kind}, [name])
        except pyarrow.ArrowInvalid:
            return False
        return True


class JsonPieces(_LinePieces):
    """Pieces of JSON lines."""

    blank = b"\r\n \t\xef\xbb\xbf"

    def schema(self) -> Any:
        """Returns the Arrow schema of the first piece."""
        import pyarrow

        for piece in self.starting(0):
            return self._found(piece)
        return pyarrow.schema([])

    def whole_schema(self) -> Any:
        """Returns the Arrow schema that all pieces fit."""
        import pyarrow

        try:
            return common_schema(in_order(self._found, self.starting(0), WORKERS))
        except pyarrow.ArrowException as error:
            raise self._wrong(error) from error

    def parse(self, piece: Piece, schema: Any) -> Any:
        """Returns the Arrow table of a piece."""
        import pyarrow

        try:
            return parse_json_lines(bytes(piece.content), schema).select(schema.names)
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            self._found(piece)
            raise MistypedError(first_line(error)) from error

    def _found(self, piece: Piece) -> Any:
        import pyarrow

        try:
            return parse_json_lines(bytes(piece.content)).schema
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            raise self._wrong(error) from error

    def _wrong(self, error: Exception) -> DataError:
        try:
            with open_bytes(self.path) as stream:
                explain_json_lines(stream, self.path.name)
        except DataError as explained:
            return explained
        return no_json_lines(self.path, error)


class ParquetPieces:
    """Batches of a Parquet file, which is open while it is read: there may be more files than a process may open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with whole_parquet(path), open_parquet(path) as file:
            self.total = file.metadata.num_rows
            self._schema = plain_columns(file.schema_arrow.empty_table()).schema

    def starting(self, start: int) -> Iterator[Piece]:
        """Yields the pieces from `start` on."""
        size = max(FEWEST_ROWS, PIECE_BYTES // (8 * max(1, len(self._schema))))
        with whole_parquet(self.path), open_parquet(self.path) as file:
            groups = file.metadata
            skipped, first = 0, 0
            while first < groups.num_row_groups and skipped + groups.row_group(first).num_rows <= start:
                skipped += groups.row_group(first).num_rows
                first += 1
            remaining = list(range(first, groups.num_row_groups))
            end = skipped
            for batch in file.iter_batches(size, remaining) if remaining else ():
                end += batch.num_rows
                if end > start:
                    fresh = batch.slice(max(0, batch.num_rows - (end - start)))
                    yield Piece(fresh, end, end)

    def schema(self) -> Any:
        """Returns the Arrow schema of the first piece."""
        return self._schema

    def whole_schema(self) -> Any:
        """Returns the Arrow schema that all pieces fit."""
        return self._schema

    def parse(self, piece: Piece, schema: Any) -> Any:  # noqa: ARG002 - one signature
        """Returns the Arrow table of a piece."""
        import pyarrow

        return plain_columns(pyarrow.Table.from_batches([piece.content]))

    def check_end(self, *, odd_quotes: bool) -> None:
        """Does nothing: only CSV can go wrong so."""
