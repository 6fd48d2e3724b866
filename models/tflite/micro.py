"""Running a TFLite file with TFLite Micro's interpreter, in a process of its own.

Its kernels are C++ for microcontrollers: on a model they do not know they fail, and on a broken
one they may crash. In a child process either is a finding with a reason, never the end of the run.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEFAULT_TIMEOUT_SECONDS = 300.0

REFUSED = 3
"""Exit code of the child where TFLite Micro refused the model; any other but 0 is a failure of the child itself."""

_ROOT = Path(__file__).resolve().parents[2]
_ARENA = re.compile(r"Arena allocation total (\d+) bytes")
_ALLOCATION_REPORT = "[RecordingMicroAllocator]"


@dataclass(frozen=True)
class MicroResult:
    """What TFLite Micro answered.

    Attributes:
        outputs: (rows, *output_shape) in the model's own output type.
        arena_bytes: working memory the model took, as measured on this host, whose pointers are 8
            bytes wide; a microcontroller with 4-byte pointers needs a little less.
    """

    outputs: NDArray[Any]
    arena_bytes: int


@dataclass(frozen=True)
class MicroFailure:
    """Why TFLite Micro did not run a model.

    Attributes:
        reason: one line, e.g. the operator that was refused.
        refused: True: TFLite Micro said no, in order; False: it crashed or did not come to an end.
    """

    reason: str
    refused: bool


def run_micro(
    model: bytes, inputs: NDArray[Any], timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> MicroResult | MicroFailure:
    """Runs rows through TFLite Micro in one child process.

    float16 and most dynamic_range models are refused; docs/runtimes.md says why.

    Args:
        model: bytes of a .tflite file with a static batch of one row.
        inputs: (rows, *input_shape) in the model's own input type, at least one row.
        timeout_seconds: after so many seconds the child is ended, and that is the reason given.

    Returns:
        Outputs and arena size; or why there are none.
    """
    ran = _run(model, inputs, 1, timeout_seconds)
    return ran if isinstance(ran, MicroFailure) else MicroResult(ran[0][0][:, 0], ran[1])


def run_micro_tensors(
    model: bytes, inputs: NDArray[Any], num_outputs: int, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> list[NDArray[Any]] | MicroFailure:
    """Runs rows through a model of several outputs, as `run_micro` does.

    Args:
        model: as for `run_micro`.
        inputs: as for `run_micro`.
        num_outputs: how many outputs the model has.
        timeout_seconds: as for `run_micro`.

    Returns:
        For each output (rows, *its shape), the leading dimension of the shape kept; or why there are none.
    """
    ran = _run(model, inputs, num_outputs, timeout_seconds)
    return ran if isinstance(ran, MicroFailure) else ran[0]


def _run(
    model: bytes, inputs: NDArray[Any], num_outputs: int, timeout_seconds: float
) -> tuple[list[NDArray[Any]], int] | MicroFailure:
    """Returns each output of all rows, and the bytes of the arena."""
    if len(inputs) == 0:
        return MicroFailure("no rows were given to run", refused=True)
    with tempfile.TemporaryDirectory(prefix="penjing-micro-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(model)
        np.save(folder / "inputs.npy", inputs, allow_pickle=False)
        try:
            child = subprocess.run(  # noqa: S603 - this interpreter, a module of this repository
                [sys.executable, "-m", "models.tflite.micro_child", str(folder), str(num_outputs)],
                cwd=_ROOT,
                env={**os.environ, "PYTHONPATH": str(_ROOT)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            reason = f"TFLite Micro did not finish {len(inputs)} rows within {timeout_seconds:g} seconds"
            return MicroFailure(reason, refused=False)
        errors = child.stderr.decode(errors="replace")
        if child.returncode != 0:
            return MicroFailure(_reason(child.returncode, errors), refused=child.returncode == REFUSED)
        arena = _ARENA.search(errors)
        if arena is None:
            return MicroFailure("TFLite Micro ran, but did not report its arena", refused=False)
        outputs = [np.load(folder / f"output_{each}.npy", allow_pickle=False) for each in range(num_outputs)]
        return outputs, int(arena.group(1))


def _reason(returncode: int, errors: str) -> str:
    """One line from what the child wrote: TFLite Micro's own first words say which operator it refused."""
    said = [line.strip() for line in errors.splitlines() if line.strip() and _ALLOCATION_REPORT not in line]
    if returncode < 0:
        number = -returncode
        known = number in {member.value for member in signal.Signals}
        name = signal.Signals(number).name if known else str(number)
        return f"TFLite Micro crashed with signal {name}" + (f": {said[0]}" if said else "")
    if returncode == REFUSED:
        return "TFLite Micro refused the model: " + ("; ".join(said[:3]) if said else "it did not say why")
    return f"TFLite Micro could not be run, exit code {returncode}" + (f": {said[-1]}" if said else "")
