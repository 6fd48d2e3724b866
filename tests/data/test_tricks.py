"""Files that are none, links that lead out, names that climb: refused by name, without waiting for anything."""

from __future__ import annotations

import os
import shutil
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.array_files import npz_names
from data.contract import DataError
from data.image_folders import files_below
from data.reading import read_input

ROWS = "t,a\n" + "".join(f"{step},{step % 7}\n" for step in range(24))


@pytest.fixture
def series(tmp_path: Path) -> Path:
    for name in ("flat", "steep"):
        (tmp_path / "series" / name).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "series" / name / f"{number}.csv").write_text(ROWS)
    return tmp_path / "series"


def run(ingested, folder):
    return ingested(source="series", path=str(folder), window=4, channels=("a",))


def test_links_in_a_folder_of_series(ingested, series):
    (series / "flat" / "again.csv").symlink_to("0.csv")
    assert run(ingested, series).profile["rows"]["total"] > 0
    outside = series.parent / "secret.csv"
    outside.write_text(ROWS)
    (series / "flat" / "link.csv").symlink_to(outside)
    with pytest.raises(DataError, match=r"got the link 'flat/link\.csv', which leads out of it\. Copy the file"):
        run(ingested, series)
    (series / "flat" / "link.csv").unlink()
    (series / "flat" / "steep.csv").symlink_to("../steep/0.csv")
    with pytest.raises(DataError, match=r"got the link 'flat/steep\.csv', which leads out of it"):
        run(ingested, series)


def make_special(kind: str, path: Path) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(here)
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_special_files_in_folders_are_refused_by_name(tmp_path, kind):
    make_special(kind, tmp_path / "a.png")
    message = r"^data\.path: expected files, got 'a\.png', which is a pipe, a socket or a device\. Remove it\.$"
    with pytest.raises(DataError, match=message):
        list(files_below(tmp_path, tmp_path))


def test_a_link_to_a_device_leads_out(tmp_path):
    make_special("device", tmp_path / "a.png")
    with pytest.raises(DataError, match=r"got the link 'a\.png', which leads out of it"):
        list(files_below(tmp_path, tmp_path))


SOURCES = {
    "table": ("t.csv", {}),
    "series": ("t.csv", {"window": 4}),
    "arrays": ("x.npz", {}),
    "images": ("x.npz", {}),
    "idx": ("t.idx", {}),
}


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
@pytest.mark.parametrize("source", SOURCES)
def test_special_files_as_sources_are_refused(ingested, tmp_path, source, kind):
    name, fields = SOURCES[source]
    make_special(kind, tmp_path / name)
    if source == "table":
        fields = {"target": "y"}
    with pytest.raises(DataError, match=rf"got '.*{name}', which is something else\. Correct the path\.$"):
        ingested(source=source, path=str(tmp_path / name), **fields)


@pytest.mark.parametrize("name", ["x.npy", "y.npy", "x_test.npy"])
def test_special_files_as_arrays_are_refused(ingested, tmp_path, name):
    for each in ("x", "y", "x_test", "y_test"):
        np.save(tmp_path / f"{each}.npy", np.zeros((8, 2) if each.startswith("x") else 8))
    (tmp_path / name).unlink()
    make_special("pipe", tmp_path / name)
    with pytest.raises(DataError, match=rf"got '.*/{name}', which is something else"):
        ingested(source="arrays", path=str(tmp_path))


def test_special_files_as_idx_are_refused(ingested, tmp_path):
    make_special("pipe", tmp_path / "train-images-idx3-ubyte")
    with pytest.raises(DataError, match=r"got '.*/train-images-idx3-ubyte', which is something else"):
        ingested(source="idx", path=str(tmp_path))


@pytest.mark.parametrize("name", ["../x.npy", "a/../../x.npy", "/x.npy", "..\\x.npy"])
def test_names_that_climb_out_of_an_npz(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(
        DataError, match=r"^data\.path: expected names that stay in the file, got '.*' in 'a\.npz'\. Tru"
    ):
        npz_names(tmp_path / "a.npz")


LABELS = ("../../etc", "/abs", "a\nb", "..", "\N{SNOWMAN}", "a" * 300)


def test_labels_and_columns_name_no_files(ingested, tmp_path):
    """Names from the data go into JSON and into lines of labels.txt; files are named by position."""
    rows = [f"{number % 5},{number},{label!r}" for number, label in enumerate(LABELS * 8)]
    text = '"../../x","/y/z",label\n' + "\n".join(rows).replace("'", '"').replace("\\n", "\n") + "\n"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text(text)
    dataset = ingested(source="table", path=str(tmp_path / "in" / "t.csv"), target="label")
    assert set(dataset.schema.class_names) == set(LABELS)
    assert len((dataset.folder / "labels.txt").read_text().splitlines()) == len(LABELS)
    made = {path.relative_to(dataset.folder) for path in dataset.folder.rglob("*")}
    assert all(len(path.parts) == 1 and path.suffix in (".npy", ".json", ".txt", ".c", ".h") for path in made)
    assert {path.name for path in tmp_path.iterdir()} == {"in", dataset.folder.name}
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["t.csv"]


def test_images_to_predict_do_not_lie_elsewhere(ingested, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(np.full((4, 4), 20 * number, np.uint8)).save(tmp_path / "train" / name / f"{number}.png")
    preprocessing = ingested(source="images", path=str(tmp_path / "train"), size=(4, 4), color="grey").preprocessing
    shutil.copytree(tmp_path / "train" / "cat", tmp_path / "new")
    assert len(read_input(preprocessing, tmp_path / "new").x) == 6
    (tmp_path / "new" / "link.png").symlink_to(tmp_path / "train" / "dog" / "0.png")
    with pytest.raises(DataError, match=r"got the link 'link\.png', which leads out of it"):
        read_input(preprocessing, tmp_path / "new")
