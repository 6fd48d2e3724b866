"""The preprocessing as C99: no allocation, tables in read-only memory."""

from __future__ import annotations

from pathlib import Path

from data.c_functions import ENCODE_BINS, ENCODE_CATEGORY, FIND_CATEGORY, IS_MISSING, SIGNED_LOG, STANDARDIZE
from data.c_selection import pixel_selection, positions_table
from data.c_series import series_source
from data.c_text import c_float, c_string, commented, enum_names
from data.column_transforms import BooleanColumn, CategoricalColumn, NumericColumn, TableColumn
from data.preprocessing import Preprocessing
from data.storage import write_text

HEADER_FILE = "preprocessing.h"
SOURCE_FILE = "preprocessing.c"


def write_c_source(preprocessing: Preprocessing, folder: Path) -> None:
    """Writes preprocessing.h and preprocessing.c into a folder; nothing where `pixel - 128` is all there is to do."""
    if preprocessing.kind == "image" and preprocessing.kept_inputs is None:
        return
    header, source = c_source(preprocessing)
    write_text(folder / HEADER_FILE, header)
    write_text(folder / SOURCE_FILE, source)


def c_source(preprocessing: Preprocessing) -> tuple[str, str]:
    """Writes the preprocessing of a vector or a series in C99; of an image, which of its pixels the model takes.

    `penjing_preprocess` does in float what `Preprocessing.transform` does in float32, operation by operation: the same
    numbers bit for bit, but for columns with a logarithm, where `log1pf` and NumPy's differ by some 1e-6 at most, and
    under options that let a compiler change the arithmetic (-ffast-math, fused multiply-adds). Missing values are
    told by their bits, so these options do not lose them.

    Args:
        preprocessing: of kind `vector` or `series`, or with `kept_inputs`.

    Returns:
        The text of the header and of the source.

    Raises:
        ValueError: the model takes whole images, whose preprocessing is `pixel - 128`.
    """
    if preprocessing.kind == "image":
        if preprocessing.kept_inputs is None:
            raise ValueError("c_source: expected a vector input, got images. Their int8 input is pixel - 128.")
        return pixel_selection(preprocessing.input_shape, preprocessing.kept_inputs, HEADER_FILE)
    if preprocessing.kind == "series":
        answer = "" if preprocessing.class_names else _postprocess(preprocessing)
        return series_source(preprocessing, HEADER_FILE, _postprocess_declaration(preprocessing), answer)
    return _header(preprocessing), _source(preprocessing)


def _header(preprocessing: Preprocessing) -> str:
    names = enum_names([column.name for column in preprocessing.columns], "PENJING_COLUMN")
    columns = "\n".join(
        f"  {name} = {position}, /* {_comment(column)} */"
        for position, (name, column) in enumerate(zip(names, preprocessing.columns, strict=True))
    )
    return f"""/* From raw columns to the input of the model; generated with it, not to be edited.
 *
 * A raw row holds one float a column: a number; 1 or 0 for yes or no; for a category what penjing_category()
 * returns. NAN stands for a missing value, also where compiled with -ffast-math. */
#ifndef PENJING_PREPROCESSING_H
#define PENJING_PREPROCESSING_H

#ifdef __cplusplus
extern "C" {{
#endif

#define PENJING_NUM_COLUMNS {len(preprocessing.columns)}
#define PENJING_NUM_FEATURES {preprocessing.model_shape[0]}
#define PENJING_UNSEEN_CATEGORY (-1.0f)

enum penjing_column {{
{columns}
}};

/* Fills input with the float input of the model; quantize it by the scale and zero point of the model's input. */
void penjing_preprocess(const float raw[PENJING_NUM_COLUMNS], float input[PENJING_NUM_FEATURES]);

/* The raw value of a category, UTF-8: PENJING_UNSEEN_CATEGORY where the column has no such category,
 * NAN where category is a null pointer. */
float penjing_category(enum penjing_column column, const char *category);
{_postprocess_declaration(preprocessing)}
#ifdef __cplusplus
}}
#endif

#endif /* PENJING_PREPROCESSING_H */
"""


def _postprocess_declaration(preprocessing: Preprocessing) -> str:
    if not preprocessing.predicts_a_number:
        return ""
    return f"""
/* The model's output in the unit of the target, {commented(str(preprocessing.target_name))}. */
float penjing_postprocess(float output);
"""


def _source(preprocessing: Preprocessing) -> str:
    names = enum_names([column.name for column in preprocessing.columns], "PENJING_COLUMN")
    tables, steps, cases, start = [], [], [], 0
    for position, (name, column) in enumerate(zip(names, preprocessing.columns, strict=True)):
        if isinstance(column, CategoricalColumn):
            tables.append(_category_tables(position, column))
            steps.append(_category_step(name, position, start, column))
            cases.append(_category_case(name, position))
        else:
            steps.append(_number_step(name, start, column, preprocessing.clip))
            if isinstance(column, NumericColumn) and column.edges:
                tables.append(_edges_table(position, column))
                steps.append(_bins_step(position, start, column))
        start += len(column.features)
    body = "\n".join(steps)
    return f"""#include "{HEADER_FILE}"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

{"".join(tables)}{_functions(preprocessing)}{_preprocess(preprocessing, body)}
{_lookup(cases)}{_postprocess(preprocessing) if preprocessing.predicts_a_number else ""}"""


def _preprocess(preprocessing: Preprocessing, body: str) -> str:
    """Returns penjing_preprocess; where inputs are left out, all are made first."""
    if preprocessing.kept_inputs is None:
        return f"""void penjing_preprocess(
    const float raw[PENJING_NUM_COLUMNS], float input[PENJING_NUM_FEATURES]) {{
{body}
}}
"""
    return f"""{positions_table("kept_inputs", "PENJING_NUM_FEATURES", preprocessing.kept_inputs)}
#define num_encoded {preprocessing.input_shape[0]}
static void encode_columns(const float raw[PENJING_NUM_COLUMNS], float input[num_encoded]) {{
{body}
}}

void penjing_preprocess(
    const float raw[PENJING_NUM_COLUMNS], float input[PENJING_NUM_FEATURES]) {{
  float encoded[num_encoded];
  encode_columns(raw, encoded);
  for (size_t i = 0; i < PENJING_NUM_FEATURES; ++i) {{
    input[i] = encoded[kept_inputs[i]];
  }}
}}
"""


def _functions(preprocessing: Preprocessing) -> str:
    """Returns the C functions that the steps of these columns call, and no other."""
    columns = preprocessing.columns
    numbers = [column for column in columns if isinstance(column, NumericColumn)]
    categories = any(isinstance(column, CategoricalColumn) for column in columns)
    wanted = (
        (IS_MISSING, True),
        (SIGNED_LOG, any(column.log is not None for column in numbers)),
        (STANDARDIZE, bool(numbers)),
        (ENCODE_BINS, any(column.edges for column in numbers)),
        (ENCODE_CATEGORY, categories),
        (FIND_CATEGORY, categories),
    )
    return "".join(function for function, is_wanted in wanted if is_wanted)


def _lookup(cases: list[str]) -> str:
    """Returns penjing_category, with one case for each column of categories."""
    unused = "" if cases else "  (void)column;\n"
    lookup = "  switch (column) {\n" + "\n".join(cases) + "\n    default:\n      break;\n  }\n" if cases else ""
    return f"""float penjing_category(enum penjing_column column, const char *category) {{
{unused}  if (category == NULL) {{
    return NAN;
  }}
{lookup}  return PENJING_UNSEEN_CATEGORY;
}}
"""


def _category_step(name: str, position: int, start: int, column: CategoricalColumn) -> str:
    return (
        f"  encode_category(&raw[{name}], categories_{position}_count, {len(column.slots)}, "
        f"unseen_{position}, missing_{position}, &input[{start}]);"
    )


def _category_case(name: str, position: int) -> str:
    return (
        f"    case {name}:\n      return find_category(categories_{position}, categories_{position}_count, category);"
    )


def _bins_step(position: int, start: int, column: NumericColumn) -> str:
    first = start + 1 + column.indicator
    return f"  encode_bins(input[{start}], edges_{position}, {len(column.edges) - 1}, &input[{first}]);"


def _number_step(name: str, start: int, column: NumericColumn | BooleanColumn, clip: float) -> str:
    """Returns the statements for a column of numbers or of yes and no."""
    value = f"is_missing(&raw[{name}]) ? {c_float(column.impute)} : "
    if isinstance(column, BooleanColumn):
        step = f"  input[{start}] = {value}(raw[{name}] != 0.0f ? 1.0f : 0.0f);"
    else:
        value += f"raw[{name}]"
        if column.log is not None:
            value = f"signed_log({value}, {c_float(column.log.center)}, {c_float(column.log.unit)})"
        figures = ", ".join(c_float(figure) for figure in (column.mean, column.scale, clip))
        step = f"  input[{start}] = standardize({value}, {figures});"
    if column.indicator:
        step += f"\n  input[{start + 1}] = is_missing(&raw[{name}]) ? 1.0f : 0.0f;"
    return step


def _category_tables(position: int, column: CategoricalColumn) -> str:
    strings = ",\n".join(f"  {c_string(category)}" for category in column.categories)
    unseen = ", ".join(c_float(value) for value in column.unseen)
    missing = ", ".join(c_float(value) for value in column.missing)
    return f"""#define categories_{position}_count {len(column.categories)}
static const char *const categories_{position}[categories_{position}_count] = {{
{strings}
}};
static const float unseen_{position}[{len(column.slots)}] = {{{unseen}}};
static const float missing_{position}[{len(column.slots)}] = {{{missing}}};

"""


def _edges_table(position: int, column: NumericColumn) -> str:
    edges = ", ".join(c_float(edge) for edge in column.edges)
    return f"static const float edges_{position}[{len(column.edges)}] = {{{edges}}};\n\n"


def _postprocess(preprocessing: Preprocessing) -> str:
    mean, scale = c_float(preprocessing.target_mean), c_float(preprocessing.target_scale)
    return f"""
float penjing_postprocess(float output) {{
  return {mean} + {scale} * output;
}}
"""


def _comment(column: TableColumn) -> str:
    what = {"numeric": "number", "boolean": "1 or 0", "categorical": "penjing_category()"}[column.kind]
    return f"{commented(column.name)}: {what}"
