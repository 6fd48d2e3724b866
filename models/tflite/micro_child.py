"""The child process of `models.tflite.micro`: one model, many rows.

`python -m models.tflite.micro_child FOLDER` reads FOLDER/model.tflite and FOLDER/inputs.npy, writes
FOLDER/outputs.npy, and leaves TFLite Micro's allocation report on stderr, the only place it has.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
from tflite_micro import runtime

from models.tflite.micro import REFUSED

# More than any microcontroller has; pages that are not touched cost nothing. The report names what was used.
_ARENA_LIMIT_BYTES = 64 * 1024 * 1024


def main(folder: Path) -> int:
    """Runs the rows; returns `REFUSED` where TFLite Micro refused the model and said why on stderr, else 0."""
    model = (folder / "model.tflite").read_bytes()
    inputs = np.load(folder / "inputs.npy", allow_pickle=False)
    try:
        interpreter = runtime.Interpreter.from_bytes(model, arena_size=_ARENA_LIMIT_BYTES)
        outputs = []
        for row in inputs:
            interpreter.reset()  # what a recurrent layer remembers of the row before
            interpreter.set_input(row[np.newaxis], 0)
            interpreter.invoke()
            outputs.append(interpreter.get_output(0)[0].copy())
    except (RuntimeError, ValueError, TypeError, struct.error) as error:
        print(error, file=sys.stderr)
        return REFUSED
    np.save(folder / "outputs.npy", np.stack(outputs), allow_pickle=False)
    interpreter.print_allocations()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
