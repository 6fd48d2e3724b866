"""Model input of which only some entries are left."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def keep_inputs(rows: NDArray[Any], kept: tuple[int, ...] | None) -> NDArray[Any]:
    """Flattens each row and takes the entries that are left.

    Args:
        rows: (rows, ...).
        kept: positions in the flattened row, rising; None: all of them.

    Returns:
        (rows, kept) of the same type; `rows` itself where all are left.
    """
    return rows if kept is None else np.take(rows.reshape(len(rows), -1), kept, axis=1)
