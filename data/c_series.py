"""The preprocessing of series as C99: every channel standardized at every step."""

from __future__ import annotations

import math

from data.c_functions import STANDARDIZE
from data.c_selection import positions_table
from data.c_text import c_float, commented, enum_names
from data.preprocessing import Preprocessing
from data.series_steps import SeriesSteps


def series_source(preprocessing: Preprocessing, header_file: str, declaration: str, answer: str) -> tuple[str, str]:
    """Writes the preprocessing of a series, `SeriesSteps.standardize` operation by operation.

    Args:
        preprocessing: of kind `series`.
        header_file: name of the header.
        declaration: what the header declares of the model's answer, or nothing.
        answer: the same defined.

    Returns:
        The text of the header and of the source.

    Raises:
        ValueError: the preprocessing is of another kind.
    """
    if preprocessing.series is None:
        raise ValueError(f"series_source: expected a series, got {preprocessing.kind}. Use c_source.")
    source = _source(preprocessing, preprocessing.series, header_file, answer)
    return _header(preprocessing, preprocessing.series, declaration), source


def _source(preprocessing: Preprocessing, series: SeriesSteps, header_file: str, answer: str) -> str:
    means = ", ".join(c_float(channel.mean) for channel in series.channels)
    scales = ", ".join(c_float(channel.scale) for channel in series.channels)
    includes, table, position = "#include <stddef.h>\n", "", "i"
    if preprocessing.kept_inputs is not None:
        includes += "#include <stdint.h>\n"
        table = positions_table("kept_inputs", "PENJING_NUM_FEATURES", preprocessing.kept_inputs)
        position = "kept_inputs[i]"
    return f"""#include "{header_file}"

{includes}
static const float means[PENJING_NUM_CHANNELS] = {{{means}}};
static const float scales[PENJING_NUM_CHANNELS] = {{{scales}}};
{table}
{STANDARDIZE}void penjing_preprocess(
    const float raw[PENJING_NUM_STEPS * PENJING_NUM_CHANNELS], float input[PENJING_NUM_FEATURES]) {{
  for (size_t i = 0; i < PENJING_NUM_FEATURES; ++i) {{
    const size_t position = {position};
    const size_t channel = position % PENJING_NUM_CHANNELS;
    input[i] = standardize(raw[position], means[channel], scales[channel], {c_float(preprocessing.clip)});
  }}
}}
{answer}"""


def _header(preprocessing: Preprocessing, series: SeriesSteps, declaration: str) -> str:
    names = [channel.name for channel in series.channels]
    channels = "\n".join(
        f"  {name} = {position}, /* {commented(names[position])} */"
        for position, name in enumerate(enum_names(names, "PENJING_CHANNEL"))
    )
    taken = math.prod(preprocessing.model_shape)
    some = f"\n * The model takes {taken} of these numbers: the others were the same in all that it learned from."
    some = "" if preprocessing.kept_inputs is None else some
    return f"""/* From a window of measurements to the input of the model; generated with it, not to be edited.
 *
 * A raw window holds the last PENJING_NUM_STEPS steps, the oldest first; of each step all channels, side by side:
 * channel c of step t is raw[t * PENJING_NUM_CHANNELS + c]. No value may be missing.{some} */
#ifndef PENJING_PREPROCESSING_H
#define PENJING_PREPROCESSING_H

#ifdef __cplusplus
extern "C" {{
#endif

#define PENJING_NUM_STEPS {preprocessing.input_shape[0]}
#define PENJING_NUM_CHANNELS {len(names)}
#define PENJING_NUM_FEATURES {taken}

enum penjing_channel {{
{channels}
}};

/* Fills input with the float input of the model; quantize it by the scale and zero point of the model's input. */
void penjing_preprocess(
    const float raw[PENJING_NUM_STEPS * PENJING_NUM_CHANNELS], float input[PENJING_NUM_FEATURES]);
{declaration}
#ifdef __cplusplus
}}
#endif

#endif /* PENJING_PREPROCESSING_H */
"""
