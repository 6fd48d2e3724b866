"""Runs a model's C source on this machine: compiled by the host's compiler, in a process of its own."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.contract import GateError
from models.classical.c_source import HEADER_FILE, SOURCE_FILE

COMPILERS = ("cc", "gcc", "clang")
"""What is looked for on PATH, in this order."""

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-O2")
"""A warning is a failure: firmware projects compile with such flags."""

_TIMEOUT_SECONDS = 600.0

_MAIN = """\
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "model.h"

static float input[PENJING_INPUT_SIZE], output[PENJING_OUTPUT_SIZE];

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* rows and answers: files of float32; the median time of one inference goes to stdout, in microseconds. */
int main(int argc, char **argv) {
  const long repeats = argc > 3 ? atol(argv[3]) : 0;
  double *times = malloc(sizeof(double) * (size_t)(repeats > 0 ? repeats : 1));
  FILE *rows = argc > 3 ? fopen(argv[1], "rb") : NULL, *answers = argc > 3 ? fopen(argv[2], "wb") : NULL;
  if (!times || !rows || !answers) return 2;
  while (fread(input, sizeof(float), PENJING_INPUT_SIZE, rows) == PENJING_INPUT_SIZE) {
    penjing_predict(input, output);
    if (fwrite(output, sizeof(float), PENJING_OUTPUT_SIZE, answers) != PENJING_OUTPUT_SIZE) return 3;
  }
  rewind(rows);
  for (long n = 0; n < repeats; ++n) {
    struct timespec begin, end;
    if (fread(input, sizeof(float), PENJING_INPUT_SIZE, rows) != PENJING_INPUT_SIZE) {
      rewind(rows);
      if (fread(input, sizeof(float), PENJING_INPUT_SIZE, rows) != PENJING_INPUT_SIZE) return 4;
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    penjing_predict(input, output);
    clock_gettime(CLOCK_MONOTONIC, &end);
    times[n] = (double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) * 1e-3;
  }
  qsort(times, (size_t)repeats, sizeof(double), compare);
  if (repeats > 0) printf("%.6f\\n", times[repeats / 2]);
  return fclose(answers) == 0 ? 0 : 5;
}
"""


_NO_ROOM = ("No space left", "Disk quota exceeded", "File size limit exceeded", "File too large")
"""What compilers and linkers say where it is no fault of the source."""


@dataclass(frozen=True)
class CProgram:
    """A compiled model.

    Attributes:
        path: the program.
        num_outputs: numbers it answers a row.
        compiler: what compiled it, as `cc (Debian 12.2.0) 12.2.0` says of itself.
    """

    path: Path
    num_outputs: int
    compiler: str

    def run(self, x: NDArray[np.float32], repeats: int = 0) -> tuple[NDArray[np.float32], float | None]:
        """Runs rows through the model.

        Args:
            x: (rows, ...) float32; at least one row.
            repeats: inferences that are timed besides.

        Returns:
            Outputs, (rows, num_outputs) float32, and the median time of one inference in microseconds (one thread, one
            row; None without repeats).

        Raises:
            GateError: the program crashed, did not end, or answered too little.
        """
        folder = self.path.parent
        rows, answers = folder / "rows.bin", folder / "answers.bin"
        np.ascontiguousarray(x.reshape(len(x), -1), np.float32).tofile(rows)
        command = [str(self.path), str(rows), str(answers), str(repeats)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)  # noqa: S603 -- the program that was just compiled
        except subprocess.TimeoutExpired as error:
            raise GateError(
                f"gate.plain C: expected {SOURCE_FILE} to answer {len(x):,} rows within {_TIMEOUT_SECONDS:.0f} s, "
                "got no end. Make the model smaller."
            ) from error
        outputs = np.fromfile(answers, np.float32) if answers.exists() else np.empty(0, np.float32)
        if ended.returncode != 0 or outputs.size != len(x) * self.num_outputs:
            raise GateError(
                f"gate.plain C: expected {SOURCE_FILE} to answer {len(x):,} rows, got exit code {ended.returncode} and "
                f"{outputs.size // self.num_outputs:,} rows. This is a fault of Penjing's: please report it."
            )
        return outputs.reshape(len(x), -1), float(ended.stdout) if repeats else None


def require_compiler() -> str:
    """Returns the C compiler of this machine.

    Raises:
        GateError: there is none on PATH, so that nothing could be said of the C source.
    """
    found = next((path for path in map(shutil.which, COMPILERS) if path is not None), None)
    if found is None:
        raise GateError(
            f"gate.plain C: expected a C compiler ({', '.join(COMPILERS)}) on PATH, got none. Install one: "
            f"{SOURCE_FILE} is handed over only after it has been compiled and run."
        )
    return found


def compile_model(sources: Path, build: Path, num_outputs: int) -> CProgram:
    """Compiles a model's C source.

    Args:
        sources: folder of model.c and model.h.
        build: existing folder for the program and what it reads and writes.
        num_outputs: numbers the model answers.

    Raises:
        GateError: there is no compiler, or it refuses the source.
    """
    compiler = require_compiler()
    main, program = build / "main.c", build / "model"
    main.write_text(_MAIN, encoding="utf-8")
    place = [f"-I{sources}", str(main), str(sources / SOURCE_FILE), "-o", str(program), "-lm"]
    ended = subprocess.run([compiler, *FLAGS, *place], capture_output=True, text=True, check=False)  # noqa: S603 -- the machine's compiler
    if ended.returncode != 0:
        first = next((line for line in ended.stderr.splitlines() if "error" in line), ended.stderr[:200])
        no_room = any(each in ended.stderr for each in _NO_ROOM)
        raise GateError(
            f"gate.plain C: expected {compiler} to compile {SOURCE_FILE} and {HEADER_FILE}, got: {first.strip()}. "
            + ("Make room for temporary files" if no_room else "This is a fault of Penjing's: please report it")
            + "."
        )
    told = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 -- as above
    return CProgram(program, num_outputs, told.stdout.partition("\n")[0].strip() or Path(compiler).name)
