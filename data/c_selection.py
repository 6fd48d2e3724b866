"""Which entries of an input a model takes, as C99."""

from __future__ import annotations

import math
from collections.abc import Sequence

_A_LINE = 16
_LARGEST_UINT16 = 65_535


def positions_table(name: str, size: str, positions: Sequence[int]) -> str:
    """Returns a constant array of positions, in the smallest unsigned type that holds them; needs stdint.h.

    Args:
        name: of the array.
        size: its length, a C expression.
        positions: 0 or more each.
    """
    kind = "uint16_t" if max(positions) <= _LARGEST_UINT16 else "uint32_t"
    lines = [", ".join(map(str, positions[start : start + _A_LINE])) for start in range(0, len(positions), _A_LINE)]
    return f"static const {kind} {name}[{size}] = {{\n  " + ",\n  ".join(lines) + "};\n"


def pixel_selection(shape: Sequence[int], kept: Sequence[int], header_file: str) -> tuple[str, str]:
    """Writes which pixels of an image the model takes.

    Args:
        shape: (height, width, channels) of the image.
        kept: positions in the flattened image, rising.
        header_file: name of the header.

    Returns:
        The text of the header and of the source.
    """
    size = " x ".join(map(str, shape))
    header = f"""/* From an image to the input of the model; generated with it, not to be edited.
 *
 * The model takes {len(kept)} of the {math.prod(shape)} numbers of an image of {size}: the others were the same in all
 * that it learned from. */
#ifndef PENJING_PREPROCESSING_H
#define PENJING_PREPROCESSING_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define PENJING_NUM_PIXELS {math.prod(shape)}
#define PENJING_NUM_FEATURES {len(kept)}

/* Fills input with what the model takes of an image: rows from the top, channels last, each from 0 to 255.
 * An int8 model is fed input[i] - 128. */
void penjing_preprocess(const uint8_t pixels[PENJING_NUM_PIXELS], uint8_t input[PENJING_NUM_FEATURES]);

#ifdef __cplusplus
}}
#endif

#endif /* PENJING_PREPROCESSING_H */
"""
    source = f"""#include "{header_file}"

#include <stddef.h>

{positions_table("kept_inputs", "PENJING_NUM_FEATURES", kept)}
void penjing_preprocess(const uint8_t pixels[PENJING_NUM_PIXELS], uint8_t input[PENJING_NUM_FEATURES]) {{
  for (size_t i = 0; i < PENJING_NUM_FEATURES; ++i) {{
    input[i] = pixels[kept_inputs[i]];
  }}
}}
"""
    return header, source
