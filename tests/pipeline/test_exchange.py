"""Artifacts and checkpoints that pass through a URL: whole or not at all, verified where they arrive."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from data.contract import StoreError
from pipeline.executors.exchange import ArtifactExchange
from pipeline.files import sha256_of_json
from pipeline.store import Artifact, Manifest, Store

PARTS = {"stage": "train", "seed": 3}
KEY = sha256_of_json(PARTS)
NAME = ("train", KEY)


def committed(store: Store, text: str = "weights") -> Artifact:
    staging = store.stage_folder(*NAME)
    (staging / "deep").mkdir()
    (staging / "deep" / "model.txt").write_text(text)
    return store.commit(staging, Manifest("train", KEY, PARTS, (), {}, (), {"score": 0.5}, 1.0))


class Place:
    """An exchange in a folder, with the stores at both of its ends."""

    def __init__(self, folder: Path) -> None:
        self.notes: list[str] = []
        self.here, self.there = Store(folder / "here"), Store(folder / "there")
        self.folder = folder / "exchange"
        self.exchange = ArtifactExchange(f"file://{self.folder}", self.notes.append)
        self.object = self.folder / "train" / f"{KEY}.tar"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_artifact_arrives_as_it_was(place: Place) -> None:
    artifact = committed(place.here)
    assert place.exchange.pull(*NAME, place.there) is None
    assert not place.exchange.has(*NAME)
    place.exchange.push(artifact)
    arrived = place.exchange.pull(*NAME, place.there)
    assert arrived is not None
    assert arrived.manifest == artifact.manifest
    assert place.there.damage(*NAME) is None
    names = ["deep/model.txt", "manifest.json"]
    assert sorted(str(each.relative_to(arrived.folder)) for each in arrived.folder.rglob("*.*")) == names
    assert [(arrived.folder / each).read_bytes() for each in names] == [
        (artifact.folder / each).read_bytes() for each in names
    ]
    # Nothing is left of its way.
    assert [each.name for each in place.object.parent.iterdir()] == [place.object.name]
    assert list((place.there.root / ".staging").iterdir()) == []
    assert not place.there.scratch(*NAME).exists()


def test_what_is_there_is_not_sent_again(place: Place) -> None:
    artifact = committed(place.here)
    place.exchange.push(artifact)
    before = place.object.stat().st_ino
    place.exchange.push(artifact)
    assert place.object.stat().st_ino == before


@pytest.mark.parametrize("position", ["torn", "flipped", "other key", "no archive"])
def test_damage_is_noticed_said_and_made_again(place: Place, position: str) -> None:
    artifact = committed(place.here)
    place.exchange.push(artifact)
    data = bytearray(place.object.read_bytes())
    if position == "torn":
        data = data[: len(data) // 3]
    elif position == "flipped":
        data[data.index(b"weights")] ^= 1
    elif position == "no archive":
        data = bytearray(b"nothing of the kind" * 100)
    else:
        other = Store(place.folder / "other")
        staging = other.stage_folder(*NAME)
        made = other.commit(staging, Manifest("train", KEY, {"seed": 4}, (), {}, (), {}, 1.0))
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            archive.add(made.folder, arcname=".")
        data = bytearray(content.getvalue())
    place.object.write_bytes(data)
    assert place.exchange.pull(*NAME, place.there) is None
    (note,) = place.notes
    assert note.startswith(f"train {KEY[:12]}: what came from engine.store_url is damaged (")
    assert not place.object.exists()
    assert not place.there.folder(*NAME).exists()
    place.exchange.push(artifact)
    assert place.exchange.pull(*NAME, place.there) is not None


def test_an_archive_cannot_write_outside(place: Place, tmp_path: Path) -> None:
    place.object.parent.mkdir(parents=True)
    with tarfile.open(place.object, "w") as archive:
        member = tarfile.TarInfo("../../../outside")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    assert place.exchange.pull(*NAME, place.there) is None
    assert "outside" in place.notes[0]
    assert list(tmp_path.rglob("outside")) == []


def test_checkpoints_pass_and_go(place: Place, tmp_path: Path) -> None:
    checkpoint = tmp_path / "train.checkpoint"
    for text in ("first", "second"):
        checkpoint.write_text(text)
        place.exchange.push_checkpoint(*NAME, checkpoint)
    (place.folder / ".scratch" / "train" / KEY / "train.checkpoint.0000.part").write_text("torn")
    target = place.there.scratch(*NAME)
    place.exchange.pull_scratch(*NAME, target)
    assert [(each.name, each.read_text()) for each in target.iterdir()] == [("train.checkpoint", "second")]
    place.exchange.push(committed(place.here))
    place.exchange.forget(*NAME)
    assert [each for each in place.folder.rglob("*") if each.is_file()] == []
    place.exchange.pull_scratch(*NAME, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("url", "got"),
    [
        ("nosuch://bucket/x", "ValueError: Protocol not known: nosuch"),
        ("sftp://host/x", "ImportError: "),
    ],
)
def test_urls_that_cannot_be_opened(url: str, got: str) -> None:
    with pytest.raises(StoreError) as refused:
        ArtifactExchange(url, print)
    assert str(refused.value).startswith(f"engine.store_url: expected to be able to open {url}, got {got}")


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is forbidden to root")
def test_a_place_that_cannot_be_written_to(place: Place) -> None:
    place.folder.mkdir(mode=0o500)
    with pytest.raises(StoreError, match=r"expected to be able to write to file://.*PermissionError"):
        place.exchange.push(committed(place.here))


def test_what_breaks_off_on_its_way_leaves_nothing_there(place: Place) -> None:
    def refuse() -> None:
        raise OSError("no way")

    broken = ArtifactExchange(f"file://{place.folder}", print, refuse)
    with pytest.raises(StoreError, match=r"expected to be able to write to file://\S+, got OSError: no way\."):
        broken.push(committed(place.here))
    assert list(place.object.parent.iterdir()) == []
