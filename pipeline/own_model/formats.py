"""Reads what a user's model is made of, without making any of it: architecture as JSON, and nothing that runs.

Three formats are told apart by their content: the zip archive `.keras`, HDF5, and the folder of a SavedModel. What
tf_keras will be handed later is looked at here first: archives that unpack to more than they may, names that lead out
of their folder, HDF5 files that take numbers from other files.
"""

from __future__ import annotations

import json
import lzma
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import h5py
from google.protobuf.message import DecodeError

from data.contract import ConfigError
from data.unpacking import most_unpacked

MAX_BYTES = 2 << 30
"""Most bytes of a model, unpacked: the numbers of the largest network that is built, and an optimizer's four times."""

MAX_ENTRIES = 10_000
"""Most entries of a `.keras` archive, and objects of an HDF5 file."""

MAX_ARCHITECTURE_BYTES = 32 << 20
"""Most bytes of an architecture as JSON."""

ZIP, HDF5 = b"PK", b"\x89HDF"

_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)
"""What Python raises of an archive that is damaged, encrypted or packed in an unknown way."""


@dataclass(frozen=True)
class Architecture:
    """What a file says of its model.

    Attributes:
        format: kind of file.
        configs: the serialized objects that loading it makes.
        keras_version: what saved it, as far as the file says.
        weight_bytes: bytes of numbers that the file holds.
    """

    format: Literal["keras", "h5", "saved_model"]
    configs: tuple[dict[str, Any], ...]
    keras_version: str
    weight_bytes: int


def read_architecture(path: Path) -> Architecture:
    """Reads the architecture of a saved model.

    Args:
        path: a file, or the folder of a SavedModel; a copy of one's own, whose size has been looked at.

    Raises:
        ConfigError: it is none of the three formats, is damaged or not whole, was saved by Keras 3 or without Keras,
            holds weights alone, or breaks one of the limits.
    """
    if path.is_dir():
        return _saved_model(path)
    with path.open("rb") as stream:
        head = stream.read(4)
    if head.startswith(ZIP):
        return _archive(path)
    if head == HDF5:
        with path.open("rb") as stream:
            return _hdf5(stream)
    raise _refused(
        "a .keras archive, an HDF5 file or a SavedModel's folder",
        f"a file that begins with {head!r}" if head else "an empty file",
    )


def _refused(
    rule: str, got: str, advice: str = "Save the model anew, by tf_keras: model.save('model.keras')."
) -> ConfigError:
    return ConfigError(f"model.file: expected {rule}, got {got}. {advice}")


def _damaged(error: BaseException) -> ConfigError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return _refused("a whole file", f"a damaged one ({reason.rstrip('.')})")


# ------------------------------------------------------------------------------------------ .keras


def _archive(path: Path) -> Architecture:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(archive)
            metadata = _json(_entry(archive, _METADATA), _METADATA)
            config = _json(_entry(archive, _CONFIG), _CONFIG)
            version = str(metadata.get("keras_version", ""))
            _refuse_keras_3(version)
            _check_room(path.stat().st_size, sum(entry.file_size for entry in archive.infolist()))
            with archive.open(_need(archive, _WEIGHTS)) as stream:
                weights = BytesIO(stream.read())
    except _UNREADABLE as error:
        raise _damaged(error) from error
    with _opened(weights) as file:
        held = _check_objects(file, len(weights.getbuffer()))
    # How it was compiled is not read: Penjing trains it by its own losses.
    return Architecture("keras", ({**config, "compile_config": None},), version, held)


def _check_room(packed: int, unpacked: int) -> None:
    """Refuses an archive that takes far more memory than its size lets one think.

    Raises:
        ConfigError: it does.
    """
    if unpacked > most_unpacked(packed):
        raise _refused(f"an archive that unpacks to at most {most_unpacked(packed):,} bytes", f"{unpacked:,}")


def _check_entries(archive: zipfile.ZipFile) -> None:
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise _refused(f"an archive of at most {MAX_ENTRIES:,} entries", f"{len(entries):,}")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_BYTES:
        raise _refused(f"an archive of at most {MAX_BYTES:,} bytes unpacked", f"{unpacked:,}")
    names = [entry.filename for entry in entries]
    for name in names:
        if name.startswith(("/", "\\")) or ":" in name or ".." in name.replace("\\", "/").split("/"):
            raise _refused("an archive of names that stay in it", f"the entry {name!r}", "Trust no such file.")
    if len(set(names)) < len(names):
        raise _refused("an archive that holds each name once", "one of them twice", "Trust no such file.")


def _need(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    if name not in archive.namelist():
        raise _refused(f"an archive with {name}", f"one without ({', '.join(archive.namelist()[:4]) or 'empty'})")
    return archive.getinfo(name)


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    entry = _need(archive, name)
    if entry.file_size > MAX_ARCHITECTURE_BYTES:
        raise _refused(f"{name} of at most {MAX_ARCHITECTURE_BYTES:,} bytes", f"{entry.file_size:,}")
    return archive.read(entry)


def _json(text: bytes | str, place: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _refused(f"JSON in {place}", f"none ({str(error).splitlines()[0]})") from error
    if not isinstance(found, dict):
        raise _refused(f"a mapping in {place}", type(found).__name__)
    return found


def _refuse_keras_3(version: str) -> None:
    if version.split(".")[0].isdigit() and int(version.split(".")[0]) >= 3:
        raise _refused(
            "a model of tf_keras (Keras 2)",
            f"one of Keras {version}",
            "Write its layers in a function and name it by `builder`, or save the model in an environment where "
            "TF_USE_LEGACY_KERAS is 1.",
        )


# ------------------------------------------------------------------------------------------ HDF5


def _opened(stream: IO[bytes]) -> h5py.File:
    try:
        return h5py.File(stream, "r")
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise _damaged(error) from error


def _hdf5(stream: IO[bytes]) -> Architecture:
    with _opened(stream) as file:
        held = _check_objects(file, stream.seek(0, 2))
        try:
            version, text = file.attrs.get("keras_version", ""), file.attrs.get("model_config")
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise _damaged(error) from error
        version = version.decode(errors="replace") if isinstance(version, bytes) else str(version)
        _refuse_keras_3(version)
        if not isinstance(text, bytes | str):
            raise _refused(
                "a whole model",
                f"weights alone ({', '.join(list(file)[:4]) or 'nothing'})",
                "Save it by model.save, not save_weights; or name a function by model.builder that builds the layers "
                "and loads them.",
            )
        if len(text) > MAX_ARCHITECTURE_BYTES:
            raise _refused(f"an architecture of at most {MAX_ARCHITECTURE_BYTES:,} bytes", f"{len(text):,}")
        return Architecture("h5", (_json(text, "model_config"),), version, held)


def _check_objects(file: h5py.File, size: int) -> int:
    """Returns how many bytes of numbers there are in an HDF5 file of so many bytes.

    Raises:
        ConfigError: there are links to other files, numbers that lie in other files or nowhere, or too many.
    """
    seen = total = 0
    waiting: list[h5py.Group] = [file]
    try:
        while waiting:
            group = waiting.pop()
            for name in group:
                seen += 1
                if seen > MAX_ENTRIES:
                    raise _refused(f"at most {MAX_ENTRIES:,} objects in the HDF5 file", "more")
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise _refused("an HDF5 file without links", f"{group.name}/{name}", "Trust no such file.")
                found = group[name]
                if isinstance(found, h5py.Group):
                    waiting.append(found)
                elif isinstance(found, h5py.Dataset):
                    if found.external or found.is_virtual:
                        raise _refused("numbers in the file itself", f"{found.name} elsewhere", "Trust no such file.")
                    if found.nbytes > found.id.get_storage_size():
                        told = f"{found.nbytes:,} bytes in {found.id.get_storage_size():,} in {found.name}"
                        raise _refused("numbers that lie in the file as they are", told)
                    total += found.nbytes
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise _damaged(error) from error
    if total > MAX_BYTES:
        raise _refused(f"an HDF5 file of at most {MAX_BYTES:,} bytes of numbers", f"{total:,}")
    if total > size:
        raise _refused(f"an HDF5 file of {size:,} bytes to hold no more than that", f"{total:,} bytes of numbers")
    return total


# ------------------------------------------------------------------------------------------ SavedModel


def _saved_model(folder: Path) -> Architecture:
    """Reads the model's own entry of Keras's metadata; the graph is never read, as nothing is made of it."""
    from models.legacy_keras import saved_metadata

    metadata = saved_metadata()
    place = folder / "keras_metadata.pb"
    if not place.is_file():
        raise _refused(
            "a SavedModel that tf_keras saved (with keras_metadata.pb)",
            "one without Keras's layers",
            "What tf.saved_model.save, model.export or Keras 3 write holds a graph alone, whose layers cannot be "
            "pruned: save the model itself, by tf_keras.",
        )
    if place.stat().st_size > MAX_ARCHITECTURE_BYTES:
        raise _refused(f"{place.name} of at most {MAX_ARCHITECTURE_BYTES:,} bytes", f"{place.stat().st_size:,}")
    try:
        metadata.ParseFromString(place.read_bytes())
    except (DecodeError, RuntimeError) as error:
        raise _damaged(error) from error
    roots = [node for node in metadata.nodes if node.node_id == 0]
    if len(roots) != 1:
        raise _refused("a SavedModel of one Keras model", f"{len(roots)} of them in {place.name}")
    told = _json(roots[0].metadata, place.name)
    held = sum(file.stat().st_size for file in (folder / "variables").glob("variables.data-*"))
    config = {"class_name": told.get("class_name"), "config": told.get("config")}
    return Architecture("saved_model", (config,), "", held)
