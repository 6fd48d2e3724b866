"""Tables: CSV, TSV, Parquet and JSON lines files of rows and named columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data.columns import as_categories, as_numbers, count_missing, recognise
from data.config import TableData, label_use
from data.contract import ConfigError, DataError, Progress
from data.parallel import in_order, threads_for
from data.paths import nearest
from data.scratch import Scratch
from data.source_files import table_files
from data.sources.loaded import Column, LoadedTable, Targets, no_targets
from data.sources.table_warnings import column_warnings, reading_warnings
from data.table_scan import scan_table
from data.targets import classes_from_names, classes_from_numbers

if TYPE_CHECKING:
    import pandas


def load_table(config: TableData, task: str, scratch: Scratch, progress: Progress) -> LoadedTable:
    """Loads a table and recognises its columns.

    Args:
        config: path, target, and what else the config says of the columns.
        task: says whether the target is needed, and what it is.
        scratch: where the columns are kept: the table may be larger than memory.
        progress: told how far it is read.

    Returns:
        Every column but target and group, those left out with the reason.

    Raises:
        ConfigError: the same column is asked for twice over, or a target is needed and none is named.
        DataError: the file is malformed, a column is missing, or values are not what the config says.
        OSError: there is no room on the disk.
    """
    _check_config(config)
    target = _target(config, task)
    path = Path(config.path)
    text_columns = [name for name, kind in config.types.items() if kind == "categorical"]
    as_they_are = [name for name in (target, config.group) if name is not None]
    table = scan_table(table_files(path), text_columns, as_they_are, scratch, progress)
    frame = table.frame
    _check_columns(config, [str(name) for name in frame.columns])
    columns = _columns(config, frame, scratch)
    with_target = np.ones(len(frame), bool) if target is None else _rows_with_target(config, target, frame)
    keep = with_target & ~_lacking(config, columns, with_target)
    if not keep.any():
        raise DataError(
            f"data.missing: expected rows without missing values, got none of {int(with_target.sum())}. "
            "Set data.missing: impute."
        )
    if not keep.all():
        columns = [column.without_rows(keep, scratch) for column in columns]
    description = {"source": "table", "file": path.name, "rows": len(keep), "dropped_rows": int((~keep).sum())}
    dropped = {"missing_target": int((~with_target).sum()), "missing": int((with_target & ~keep).sum())}
    rows = slice(None) if keep.all() else keep
    return LoadedTable(
        no_targets(int(keep.sum())) if target is None else _targets(frame[target][rows], target, task),
        description | {"target": target, "group": config.group, "missing": config.missing},
        np.flatnonzero(keep).astype(np.int64),
        (*reading_warnings(dropped, table.decimal_commas), *column_warnings(columns, config.max_categories, scratch)),
        groups=None if config.group is None else _groups(frame[config.group][rows], config.group),
        columns=tuple(columns),
        max_categories=config.max_categories,
        scratch=scratch,
    )


def _columns(config: TableData, frame: pandas.DataFrame, scratch: Scratch) -> list[Column]:
    """Recognises the columns that are no target and no group, in threads as far as memory allows."""

    def recognised(name: Any) -> Column:
        column = _column(config, str(name), frame[name]).kept(scratch)
        if column.values is not None:
            scratch.release(column.values)
        return column

    names = [name for name in frame.columns if name not in _aside(config)]
    return list(in_order(recognised, names, threads_for(8 * len(frame))))


def _target(config: TableData, task: str) -> str | None:
    """Returns the column whose labels or numbers are read; None where the task reads none."""
    use = label_use(config, task)
    if use == "needed" and config.target is None:
        raise ConfigError(f"data.target: expected a column for task {task}, got null. Name the column to predict.")
    return None if use == "unread" else config.target


def _aside(config: TableData) -> set[str]:
    """Returns the columns that are no inputs because of their role."""
    return {name for name in (config.target, config.group) if name is not None}


def _check_config(config: TableData) -> None:
    """Refuses a column that is asked for in two roles."""
    target = set() if config.target is None else {config.target}
    features = set(config.features) if config.features is not None else set()
    roles = (
        ("data.features", features, "data.drop", set(config.drop)),
        ("data.features", features, "data.target", target),
        ("data.drop", set(config.drop), "data.target", target),
        ("data.types", set(config.types), "data.target", target),
    )
    for field, names, other, others in roles:
        for name in sorted(names & others):
            raise ConfigError(f"{field}: expected columns that are not in {other}, got {name!r}. Take it out of one.")
    if config.group is not None and config.group == config.target:
        raise ConfigError(f"data.group: expected another column than data.target, got {config.group!r}. Name another.")


def _check_columns(config: TableData, names: list[str]) -> None:
    asked = [] if config.target is None else [("data.target", config.target)]
    asked += [("data.features", name) for name in config.features or ()]
    asked += [("data.drop", name) for name in config.drop]
    asked += [("data.types", name) for name in config.types]
    asked += [("data.group", config.group)] if config.group is not None else []
    for field, name in asked:
        if name not in names:
            shown = ", ".join(map(repr, names[:12])) + (" …" if len(names) > 12 else "")
            raise DataError(
                f"{field}: expected a column of the table, got {name!r}{nearest(name, names)}. "
                f"Name one of its columns: {shown}."
            )


def _column(config: TableData, name: str, series: pandas.Series[Any]) -> Column:
    """Recognises a column, unless the config leaves it out."""
    if name in config.drop:
        return Column(name, "dropped", None, (), count_missing(series), 0, "dropped by data.drop")
    asked_for = config.features is not None and name in config.features
    if config.features is not None and not asked_for:
        return Column(name, "dropped", None, (), count_missing(series), 0, "not in data.features")
    column = recognise(name, series, config.types.get(name), asked_for)
    if asked_for and column.why_left_out is not None:
        raise DataError(
            f"data.features: expected columns to learn from, got {name!r} ({column.why_left_out}). "
            "Take it out, or overrule its type in data.types."
        )
    return column


def _missing(series: pandas.Series[Any], name: str) -> NDArray[np.bool_]:
    import pyarrow

    arrow = series.dtype.pyarrow_dtype  # type: ignore[union-attr]
    if pyarrow.types.is_string(arrow):
        missing: NDArray[np.bool_] = as_categories(series, name)[0] < 0
    elif pyarrow.types.is_floating(arrow):  # Parquet tells NaN from null; here both are missing
        missing = np.isnan(series.to_numpy(dtype=np.float64, na_value=np.nan))
    else:
        missing = series.isna().to_numpy()
    return missing


def _rows_with_target(config: TableData, target: str, frame: pandas.DataFrame) -> NDArray[np.bool_]:
    """Marks (rows,) that have a target.

    Raises:
        DataError: some lack it and the config does not drop them, or all lack it.
    """
    missing = _missing(frame[target], target)
    if missing.all():
        raise DataError(
            f"data.target: expected values in {target!r}, got none in {len(frame)} rows. Name another column."
        )
    if missing.any() and config.missing_target == "error":
        raise DataError(
            f"data.target: expected a value in every row, got {int(missing.sum())} missing in {target!r} "
            f"(first in row {int(missing.argmax()) + 1}). Fill them in, or set data.missing_target: drop_rows to leave "
            "these rows out."
        )
    return ~missing


def _lacking(config: TableData, columns: list[Column], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Marks (rows,) of those in question that lack a feature, where the config does not impute."""
    lacking = np.zeros(len(among), bool)
    if config.missing == "impute":
        return lacking
    counts = {}
    for column in columns:
        if column.values is not None:
            absent = np.isnan(column.values) & among
            lacking |= absent
            counts[column.name] = int(absent.sum())
    if config.missing == "error" and lacking.any():
        named = ", ".join(f"{name!r}: {count}" for name, count in counts.items() if count)
        raise DataError(
            f"data.missing: expected a value in every row, got missing values ({named}). "
            "Fill them in, or set data.missing to impute or drop_rows."
        )
    return lacking


def _targets(series: pandas.Series[Any], name: str, task: str) -> Targets:
    """Returns class codes or numbers; no value is missing any more.

    Raises:
        DataError: text under regression, quantities under classification, infinite numbers.
    """
    import pyarrow

    arrow = series.dtype.pyarrow_dtype  # type: ignore[union-attr]
    number = pyarrow.types.is_integer(arrow) or pyarrow.types.is_floating(arrow) or pyarrow.types.is_decimal(arrow)
    if task == "regression":
        if not number:
            raise DataError(
                f"data.target: expected numbers for task regression, got {_first(series)!r} in {name!r}. "
                "Set task: classification, or name a column of numbers."
            )
        return Targets(as_numbers(series, name), (), name)
    if number:
        return classes_from_numbers(as_numbers(series, name), name, task)
    if pyarrow.types.is_temporal(arrow):
        raise DataError(f"data.target: expected class labels, got dates in {name!r}. Name another column.")
    codes, vocabulary = as_categories(series, name)
    return classes_from_names(codes, vocabulary, name)


def _first(series: pandas.Series[Any]) -> str:
    import pandas

    texts = series.astype(str)
    other = pandas.to_numeric(texts.astype(object), errors="coerce").isna().to_numpy()
    return str(texts.iloc[int(other.argmax())])[:40]


def _groups(series: pandas.Series[Any], name: str) -> NDArray[np.int64]:
    codes, _ = as_categories(series, name)
    if (codes < 0).any():
        raise DataError(
            f"data.group: expected a value in every row, got {int((codes < 0).sum())} missing in {name!r}. "
            "Fill them in, or remove these rows."
        )
    return codes.astype(np.int64)
