from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small_disk(tmp_path):
    """A filesystem of 300 KB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small filesystem")
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small filesystem can be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def errno_of(code: str, *arguments: str) -> str:
    """Returns what a child process prints: a hole in a memory map would end the process itself by SIGBUS."""
    program = f"import sys\ntry:\n    {code}\nexcept OSError as error:\n    print(error.errno)\n"
    command = [sys.executable, "-c", program, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert finished.returncode == 0, (finished.returncode, finished.stderr)
    return finished.stdout.strip()


def test_arrays_need_room(small_disk):
    code = (
        "import numpy as np; from pathlib import Path; from data.storage import write_array; "
        "write_array(Path(sys.argv[1]), (100, 8000), np.uint8, lambda rows: np.ones((rows.stop - rows.start, 8000)))"
    )
    assert errno_of(code, str(small_disk / "x.npy")) == "28"


def test_decoded_images_need_room(small_disk, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / "pets" / name / f"{number}.png")
    code = (
        "from pathlib import Path; from unittest.mock import Mock; from data.config import ImagesData; "
        "from data.scratch import Scratch; from data.sources.images import load_images; "
        "config = ImagesData(source='images', path=sys.argv[1], size=(256, 256)); "
        "load_images(config, 'classification', Scratch(Path(sys.argv[2])), Mock())"
    )
    assert errno_of(code, str(tmp_path / "pets"), str(small_disk)) == "28"
