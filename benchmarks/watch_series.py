"""Writes real recordings of a smartwatch as a folder of CSV files, for configs/watch.yaml.

    python -m pip download --no-deps --dest datasets seglearn==1.2.5
    python -m benchmarks.watch_series datasets/seglearn-1.2.5-py3-none-any.whl datasets/watch

The package seglearn (BSD licence) carries 140 recordings of people who do seven exercises of the shoulder with a watch
on their wrist: acceleration and rotation along three axes at 50 Hz (Burns et al. 2018, Shoulder physiotherapy exercise
recognition, arXiv 1802.01489). Nothing of it is installed or run: its data file is taken out of the wheel and compared
with the digest below before it is opened, for it is a pickle.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

DATA_FILE = "seglearn/data/watch_dataset.npy"
DATA_SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
EXERCISES = {
    "PEN": "pendulum",
    "ABD": "abduction",
    "FEL": "forward_elevation",
    "IR": "internal_rotation",
    "ER": "external_rotation",
    "TRAP": "trapezius_extension",
    "ROW": "row",
}


def read_recordings(wheel: Path) -> dict[str, Any]:
    """Takes the recordings out of the package.

    Args:
        wheel: seglearn-1.2.5-py3-none-any.whl.

    Returns:
        `X`: 140 arrays (steps, 6) float64; `y`: positions in `y_labels`; `subject`; `X_labels`: names of the channels.

    Raises:
        SystemExit: the file is not there, or not the one that is expected.
    """
    try:
        content = zipfile.ZipFile(wheel).read(DATA_FILE)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise SystemExit(f"wheel: expected seglearn-1.2.5-py3-none-any.whl, got {str(wheel)!r} ({error}).") from error
    if hashlib.sha256(content).hexdigest() != DATA_SHA256:
        raise SystemExit(f"wheel: expected the {DATA_FILE} of seglearn 1.2.5, got another in {str(wheel)!r}.")
    recordings: dict[str, Any] = np.load(io.BytesIO(content), allow_pickle=True).item()
    return recordings


def write_folder(recordings: dict[str, Any], folder: Path) -> int:
    """Writes `<exercise>/<number>.csv` with the channels and the subject of each step; returns how many files."""
    header = ",".join([*recordings["X_labels"], "subject"])
    for number, (values, code, subject) in enumerate(
        zip(recordings["X"], recordings["y"], recordings["subject"], strict=True), start=1
    ):
        place = folder / EXERCISES[recordings["y_labels"][int(code)]]
        place.mkdir(parents=True, exist_ok=True)
        rows = [",".join([*(f"{value:.6g}" for value in step), f"s{int(subject):02d}"]) for step in values.tolist()]
        (place / f"{number:03d}.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return len(recordings["X"])


def main() -> None:
    """Writes the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="seglearn-1.2.5-py3-none-any.whl")
    parser.add_argument("folder", type=Path, help="where the folders of the exercises go")
    arguments = parser.parse_args()
    written = write_folder(read_recordings(arguments.wheel), arguments.folder)
    print(f"{written} recordings in {arguments.folder}")


if __name__ == "__main__":
    main()
