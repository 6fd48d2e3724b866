from __future__ import annotations

import json
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.contract import ConfigError, DataError
from data.image_folders import image_files
from data.pictures import GREY_WEIGHTS, UnreadablePicture, read_picture
from data.reading import read_input
from data.scratch import Scratch
from data.sources import images as source_of_images
from tests.data.conftest import Silence


@pytest.fixture
def folder(tmp_path):
    """A folder of two classes, ten images of 12x10 pixels each."""
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 256, (10, 12, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.{('png', 'bmp')[number % 2]}")
    return tmp_path / "pets"


def images(ingested, folder, **fields):
    return ingested(source="images", path=str(folder), **({"size": (10, 12), "color": "rgb"} | fields))


def test_pixels_are_kept(ingested, folder):
    (folder / "cat" / ".hidden.png").write_text("not an image")
    (folder / "cat" / "notes.txt").write_text("not an image")
    dataset = images(ingested, folder)
    assert (dataset.schema.kind, dataset.schema.input_shape) == ("image", (10, 12, 3))
    assert (dataset.schema.input_range, dataset.schema.storage_divisor) == ((0.0, 1.0), 255.0)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".bmp") and path.name[0] != ".")
    test = dataset.split("test")
    assert test.x.dtype == np.uint8
    for pixels, code, row in zip(test.x, test.y, test.rows, strict=True):
        assert np.array_equal(pixels, np.asarray(Image.open(files[row])))
        assert dataset.schema.class_names[code] == files[row].parent.name
    assert dataset.test_names() == [str(files[row].relative_to(folder)) for row in test.rows]
    assert np.array_equal(dataset.inputs("test", slice(0, 1))[0], test.x[0] / np.float32(255))
    assert not [path.name for path in dataset.folder.iterdir() if path.name.startswith((".", "tmp"))]


def test_grey_is_resized_bilinearly(ingested, folder):
    dataset = images(ingested, folder, size=(5, 6), color="grey")
    first = dataset.split("train")
    files = sorted(path for path in folder.rglob("*.*"))
    expected = Image.open(files[first.rows[0]]).convert("L").resize((6, 5), Image.Resampling.BILINEAR)
    assert np.array_equal(first.x[0, ..., 0], np.asarray(expected))


def test_split_folders_are_kept(ingested, folder):
    root = folder.parent / "split"
    for split, numbers in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, 10))):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in numbers:
                (source,) = folder.glob(f"{name}/{number}.*")
                (root / split / name / source.name).write_bytes(source.read_bytes())
    (root / "val" / "stray.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    profile = images(ingested, root).profile
    assert profile["warnings"][0].startswith("1 images lie outside of the class folders and are left out (the first: ")
    assert "'val/stray.png'" in profile["warnings"][0]
    assert profile["rows"] == {"total": 20, "train": 12, "validation": 4, "test": 4}
    assert profile["class_balance"]["validation"] == {"cat": 2, "dog": 2}


def break_images(folder):
    (folder / "cat" / "text.png").write_text("I am no image")
    whole = (folder / "dog" / "0.png").read_bytes()
    (folder / "dog" / "short.png").write_bytes(whole[: len(whole) // 2])
    (folder / "dog" / "nothing.jpg").write_bytes(b"")


def test_unreadable_images_are_listed(ingested, folder):
    break_images(folder)
    with pytest.raises(DataError, match="got 3 that are not") as caught:
        images(ingested, folder)
    for name in ("cat/text.png: no PNG, JPEG or BMP image", "dog/short.png", "dog/nothing.jpg", "skip_unreadable"):
        assert name in str(caught.value)


def test_unreadable_images_are_skipped_when_asked(ingested, folder):
    break_images(folder)
    profile = images(ingested, folder, skip_unreadable=True).profile
    assert profile["rows"]["total"] == 20
    assert [item["file"] for item in profile["source"]["unreadable"]] == [
        "cat/text.png",
        "dog/nothing.jpg",
        "dog/short.png",
    ]
    assert profile["warnings"][0].startswith("3 unreadable images are left out: cat/text.png")


def png_header(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8100, 60_000])
def test_decompression_bombs_are_refused_by_name(ingested, folder, side):
    (folder / "cat" / "bomb.png").write_bytes(png_header(side, side))
    with pytest.raises(DataError, match=r"cat/bomb\.png: .*more than the 64 million"):
        images(ingested, folder)


def test_links_out_of_the_folder_are_refused(ingested, folder):
    outside = folder.parent / "secret.png"
    outside.write_bytes((folder / "cat" / "0.png").read_bytes())
    (folder / "cat" / "link.png").symlink_to(outside)
    with pytest.raises(DataError, match=r"got the link 'cat/link\.png', which leads out of it"):
        images(ingested, folder)


@pytest.mark.parametrize("target", ["../other", "cat", "."])
def test_a_linked_class_folder_is_refused(ingested, folder, target):
    (folder.parent / "other").mkdir()
    (folder / "bird").symlink_to(target)
    with pytest.raises(DataError, match="expected folders of files, got the link 'bird'"):
        images(ingested, folder)


@pytest.mark.parametrize("target", ["..", "../dog", "../dog/1.bmp", "../../pets"])
def test_a_link_that_mixes_classes_is_refused(ingested, folder, target):
    (folder / "cat" / "up.png").symlink_to(target)
    with pytest.raises(DataError, match=r"got the link 'cat/up\.png', which leads out of it"):
        images(ingested, folder)


def test_a_link_within_its_class_is_followed_once(ingested, folder):
    (folder / "cat" / "round").symlink_to(".")
    (folder / "cat" / "again.png").symlink_to("0.png")
    assert images(ingested, folder).profile["source"]["files"] == 21


@pytest.mark.parametrize("place", [b"cat/\xff\xfe.png", b"b\xff"])
def test_names_that_are_not_utf8(ingested, folder, place):
    path = os.path.join(os.fsencode(folder), place)  # noqa: PTH118 - paths of bytes
    if place.endswith(b".png"):
        Path(os.fsdecode(path)).write_bytes((folder / "cat" / "0.png").read_bytes())
    else:
        Path(os.fsdecode(path)).mkdir()
    shown = re.escape(repr(place.split(b"/")[-1]))
    with pytest.raises(DataError, match=rf"expected names in UTF-8, got {shown} in '(cat|pets)'\. Rename it\."):
        images(ingested, folder)


def test_images_outside_of_class_folders_are_told(ingested, folder):
    whole = (folder / "cat" / "0.png").read_bytes()
    for name in ("loose.png", "another.PNG", ".hidden.png", "notes.txt"):
        (folder / name).write_bytes(whole)
    dataset = images(ingested, folder)
    assert dataset.profile["rows"]["total"] == 20
    assert (
        "2 images lie outside of the class folders and are left out (the first: 'another.PNG'): put them into the "
        "folder of their class." in dataset.profile["warnings"]
    )


def test_empty_classes_and_folders(ingested, folder):
    (folder / "bird").mkdir()
    with pytest.raises(DataError, match="expected PNG, JPEG or BMP files in every class folder, got none in 'bird'"):
        images(ingested, folder)
    with pytest.raises(DataError, match="expected one folder a class"):
        images(ingested, folder / "bird")


def test_folders_are_classes_not_numbers(ingested, folder):
    with pytest.raises(ConfigError, match=r"task: expected classification for data\.source images, got regression"):
        images(ingested, folder, task="regression")


def test_orientation_depth_and_transparency(tmp_path):
    ramp = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6) * 10
    upright = Image.fromarray(ramp)
    exif = upright.getexif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    upright.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "turned.png", (6, 4, 1))[..., 0], np.rot90(ramp, -1))

    deep = (np.arange(24, dtype=np.uint16) * 2849).reshape(4, 6)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    expected = np.rint(deep / 257).astype(np.uint8)
    assert np.array_equal(read_picture(tmp_path / "deep.png", (4, 6, 1))[..., 0], expected)

    clear = np.zeros((4, 6, 4), np.uint8)
    clear[0, 0] = (200, 100, 50, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    pixels = read_picture(tmp_path / "clear.png", (4, 6, 3))
    assert pixels[0, 0].tolist() == [200, 100, 50]
    assert (pixels.reshape(-1, 3)[1:] == 255).all()
    with pytest.raises(UnreadablePicture):
        read_picture(tmp_path, (4, 6, 3))


@pytest.mark.parametrize("color", ["grey", "rgb"])
def test_the_steps_to_pixels_are_told(ingested, folder, color):
    dataset = images(ingested, folder, size=(5, 6), color=color)
    told = json.loads((dataset.folder / "preprocessing.json").read_text())["pictures"]
    assert told == {
        "exif_orientation": "applied",
        "sixteen_bit_grey": "round(value / 257)",
        "transparency": "over white",
        "color": color,
        "grey_weights": [0.299, 0.587, 0.114] if color == "grey" else None,
        "size": [5, 6],
        "resampling": "bilinear",
        "aspect_ratio": "not kept",
    }
    assert ingested(source="builtin", name="digits").preprocessing.pictures is None


def triangle(length: int, target: int) -> np.ndarray:
    """Returns (target, length) weights of Pillow's bilinear filter, from its definition."""
    scale = max(length / target, 1.0)
    centers = (np.arange(target)[:, None] + 0.5) * length / target
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(length)[None, :] + 0.5 - centers) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [(5, 6), (4, 20), (23, 7)])
def test_the_steps_that_are_told_are_those_taken(tmp_path, size):
    pixels = np.random.default_rng(3).integers(0, 256, (10, 12, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    grey = np.floor(pixels @ np.array(GREY_WEIGHTS) + 0.5)
    assert np.abs(read_picture(tmp_path / "a.png", (10, 12, 1))[..., 0] - grey).max() <= 1
    expected = triangle(10, size[0]) @ grey @ triangle(12, size[1]).T
    assert np.abs(read_picture(tmp_path / "a.png", (*size, 1))[..., 0] - expected).max() < 2.0


def test_predict_reads_images_and_folders(ingested, folder, tmp_path):
    dataset = images(ingested, folder)
    preprocessing = dataset.preprocessing
    read = read_input(preprocessing, folder)
    assert read.names[:3] == ["cat/0.png", "cat/1.bmp", "cat/2.png"]
    one = read_input(preprocessing, folder / "cat" / "2.png")
    assert one.names == ["2.png"]
    assert np.array_equal(one.x[0], read.x[2])
    assert np.array_equal(one.x[0], np.asarray(Image.open(folder / "cat" / "2.png")) / np.float32(255))
    np.save(tmp_path / "pixels.npy", dataset.split("test").x)
    assert np.array_equal(read_input(preprocessing, tmp_path / "pixels.npy").x, dataset.inputs("test"))
    break_images(folder)
    with pytest.raises(DataError, match="expected readable images, got 3 that are not"):
        read_input(preprocessing, folder)


def test_fractions_are_not_read_as_black_by_a_model_of_bytes(ingested, folder, tmp_path):
    preprocessing = images(ingested, folder).preprocessing
    pixels = np.random.default_rng(0).random((2, 10, 12, 3)).astype(np.float32)
    np.save(tmp_path / "fractions.npy", pixels)
    with pytest.raises(DataError, match=r"expected pixels of 0 to 255, got float32 of .* Multiply them by 255\."):
        read_input(preprocessing, tmp_path / "fractions.npy")
    np.save(tmp_path / "bits.npy", pixels > 0.5)
    with pytest.raises(DataError, match=r"expected pixels of 0 to 255, got bool of 0 to 1 in 'bits\.npy'\. Multiply"):
        read_input(preprocessing, tmp_path / "bits.npy")
    np.save(tmp_path / "bright.npy", np.full((1, 10, 12, 3), 256))
    with pytest.raises(DataError, match=r"uint8 of 0 to 255, got 256 to 256 in 'bright\.npy' of int64\. Scale them"):
        read_input(preprocessing, tmp_path / "bright.npy")
    np.save(tmp_path / "bytes.npy", np.rint(pixels * 255))
    assert read_input(preprocessing, tmp_path / "bytes.npy").raw.max() > 200
    np.save(tmp_path / "black.npy", np.zeros((1, 10, 12, 3)))
    assert not read_input(preprocessing, tmp_path / "black.npy").raw.any()


def test_decoding_goes_on_behind_the_images_that_it_remembers(folder, tmp_path, monkeypatch):
    """Killed after some images, readable and not: the same pixels, and no file that is remembered is read again."""
    (folder / "cat" / "2.png").write_bytes(b"no image")
    files = image_files(folder, "needed")
    whole = source_of_images.decode_images(files, folder, (4, 4, 1), Scratch(tmp_path / "whole"), Silence())
    assert [name for name, _ in whole.unreadable] == ["cat/2.png"]
    monkeypatch.setattr(source_of_images, "DECODED_AT_ONCE", 2)
    monkeypatch.setattr(source_of_images, "REMEMBERED_EVERY", 4)
    kept, read = {}, []
    decoded = source_of_images.read_picture

    class Checkpoint:
        def save(self, arrays, state):
            kept.update(state)

        def load(self):
            return ({}, dict(kept)) if kept else None

    def killed(path, shape):
        read.append(path)
        if len(read) == 7:
            raise KeyboardInterrupt
        return decoded(path, shape)

    monkeypatch.setattr(source_of_images, "read_picture", killed)
    monkeypatch.setattr(source_of_images, "num_cores", lambda: 1)
    for _ in range(2):
        with_checkpoints = Scratch(tmp_path / "scratch", lambda name: {"images": Checkpoint()}[name])
        if read:
            resumed = source_of_images.decode_images(files, folder, (4, 4, 1), with_checkpoints, Silence())
        else:
            with pytest.raises(KeyboardInterrupt):
                source_of_images.decode_images(files, folder, (4, 4, 1), with_checkpoints, Silence())
            assert kept["resumes_at"] == "image 5"
    assert read[7:] == [file.path for file in files[4:]]
    assert np.array_equal(resumed.pixels, whole.pixels)
    assert (resumed.readable, resumed.unreadable) == (whole.readable, whole.unreadable)
    boot = kept["boot"]
    for forged in (
        {},
        {"done": "all", "unreadable": []},
        {"done": 99, "unreadable": []},
        {"done": 0, "unreadable": [1]},
    ):
        kept.clear()
        kept.update(forged, boot=boot)
        again = source_of_images.decode_images(files, folder, (4, 4, 1), with_checkpoints, Silence())
        assert np.array_equal(again.pixels, whole.pixels)
