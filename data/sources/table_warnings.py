"""What a user should know of a table that was read."""

from __future__ import annotations

from functools import partial

import numpy as np

from data.columns import COMMA_ADVICE, comma_numbers
from data.parallel import in_order, threads_for
from data.row_blocks import least_and_largest, mean_and_deviation
from data.scratch import Scratch
from data.sources.loaded import Column


def reading_warnings(dropped: dict[str, int], decimal_commas: tuple[str, ...]) -> list[str]:
    """Returns what a user should know of how the file was read.

    Args:
        dropped: rows that each of `missing_target` and `missing` left out.
        decimal_commas: columns that were read with decimal commas.
    """
    warnings = []
    if dropped["missing_target"]:
        rows = dropped["missing_target"]
        warnings.append(f"{rows} rows without a target are left out (data.missing_target: drop_rows).")
    if dropped["missing"]:
        warnings.append(f"{dropped['missing']} rows with missing features are left out (data.missing: drop_rows).")
    if decimal_commas:
        warnings.append(
            f"Numbers with decimal commas (1,5 for 1.5) are read in {', '.join(map(repr, decimal_commas))}; set "
            "data.types to categorical where they are none."
        )
    return warnings


def column_warnings(columns: list[Column], max_categories: int, scratch: Scratch) -> list[str]:
    """Returns what a user should know of the columns, in their order; looks at them in threads."""
    rows = max((len(column.values) for column in columns if column.values is not None), default=0)
    found = in_order(partial(_warnings_of, max_categories, scratch), columns, threads_for(8 * rows))
    return [warning for warnings in found for warning in warnings]


def _warnings_of(max_categories: int, scratch: Scratch, column: Column) -> list[str]:
    warnings = []
    if column.why_left_out is not None and column.kind != "dropped":
        warnings.append(f"Column {column.name!r} is left out: {column.why_left_out}.")
    if comma_numbers(column):
        warnings.append(
            f"Column {column.name!r} is taken for categories, though its values are numbers written with commas "
            f"({COMMA_ADVICE})."
        )
    if column.kind == "categorical" and column.distinct > max_categories:
        warnings.append(
            f"Column {column.name!r} has {column.distinct} categories; those beyond the {max_categories} "
            "most frequent share one slot (data.max_categories)."
        )
    if column.kind == "numeric" and column.values is not None:
        lost = least_and_largest(column.values, lambda block: np.abs(block - block.astype(np.float32)))
        if lost is not None and lost[1] > 0.0 and lost[1] > 0.01 * mean_and_deviation(column.values)[1] > 0.0:
            warnings.append(
                f"Column {column.name!r} loses precision in float32 (by up to {lost[1]:.3g}): subtract an offset."
            )
        scratch.release(column.values)
    return warnings
