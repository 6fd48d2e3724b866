"""The child process of `models.tflite.micro`: one model, many rows.

`python -m models.tflite.micro_child FOLDER OUTPUTS` reads FOLDER/model.tflite and FOLDER/inputs.npy, writes
FOLDER/output_0.npy and so on, and leaves TFLite Micro's allocation report on stderr, the only place it has.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite_micro import runtime

from models.tflite.micro import REFUSED

# More than any microcontroller has; pages that are not touched cost nothing. The report names what was used.
_ARENA_LIMIT_BYTES = 64 * 1024 * 1024


def main(folder: Path, num_outputs: int) -> int:
    """Runs the rows; returns `REFUSED` where TFLite Micro refused the model and said why on stderr, else 0."""
    model = (folder / "model.tflite").read_bytes()
    inputs = np.load(folder / "inputs.npy", allow_pickle=False)
    try:
        interpreter = runtime.Interpreter.from_bytes(model, arena_size=_ARENA_LIMIT_BYTES)
        outputs: list[list[NDArray[Any]]] = [[] for _ in range(num_outputs)]
        for row in inputs:
            interpreter.reset()  # what a recurrent layer remembers of the row before
            interpreter.set_input(row[np.newaxis], 0)
            interpreter.invoke()
            for position, rows in enumerate(outputs):
                rows.append(interpreter.get_output(position).copy())
    except (RuntimeError, ValueError, TypeError, struct.error) as error:
        print(error, file=sys.stderr)
        return REFUSED
    for position, rows in enumerate(outputs):
        np.save(folder / f"output_{position}.npy", np.stack(rows), allow_pickle=False)
    interpreter.print_allocations()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
