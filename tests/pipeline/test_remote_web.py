"""Sources at http:// URLs, read from a server on loopback that is slow or broken, or changes its mind."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.contract import ConfigError, DataError
from pipeline.remote import download
from pipeline.remote.addresses import addresses, localized
from pipeline.remote.config import RemoteConfig
from pipeline.remote.mirror import Mirror
from pipeline.source_digest import raw_digest
from pipeline.store import Store
from tests.pipeline.remote_servers import Copy, Quiet, Web, config_of, web


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as served:
        yield served


def table(server: Web, root: Path, timeout: float = 5.0) -> Copy:
    data = {"source": "table", "path": f"{server.url}/a%20b/rows.csv?year=1999", "target": "kind"}
    return Copy(root, data, {"timeout_seconds": timeout})


FILE = "/a%20b/rows.csv?year=1999"


def test_a_changed_etag_is_noticed_and_the_same_one_is_not_asked_for_again(server: Web, tmp_path: Path) -> None:
    server.files[FILE], server.tags[FILE] = b"kind,x\na,1\n", '"1"'
    copy = table(server, tmp_path)
    copy.bring()
    assert (copy.local.name, copy.local.read_bytes()) == ("rows.csv", b"kind,x\na,1\n")
    server.asked.clear()
    assert copy.pending() is None
    assert server.asked == [f"HEAD {FILE}"]
    server.files[FILE], server.tags[FILE] = b"kind,x\nb,1\n", '"2"'
    copy.bring()
    assert copy.local.read_bytes() == b"kind,x\nb,1\n"


def test_without_any_version_it_is_downloaded_each_time(server: Web, tmp_path: Path) -> None:
    server.files[FILE] = b"kind,x\na,1\n"
    copy = table(server, tmp_path)
    for _ in range(2):
        late = copy.pending()
        assert late is not None
        copy.mirror.fetch(late, Quiet())
    assert copy.local.read_bytes() == b"kind,x\na,1\n"


def test_compressed_files_stay_compressed(server: Web, tmp_path: Path) -> None:
    server.files["/rows.csv.gz"], server.tags["/rows.csv.gz"] = b"\x1f\x8b these bytes", "1"
    copy = Copy(tmp_path, {"source": "table", "path": f"{server.url}/rows.csv.gz", "target": "kind"})
    copy.bring()
    assert copy.local.read_bytes() == b"\x1f\x8b these bytes"


def test_a_dropped_connection_is_taken_up_again(server: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)
    content = b"kind,x\n" + b"a,1\n" * 50_000
    server.files[FILE], server.tags[FILE], server.broken_off[FILE] = content, "1", download.ATTEMPTS - 1
    copy = table(server, tmp_path)
    assert copy.bring().steps[-1] == ("bytes downloaded", len(content), len(content))
    assert copy.local.read_bytes() == content

    server.tags[FILE], server.broken_off[FILE] = "2", 100
    late = copy.pending()
    assert late is not None
    with pytest.raises(DataError, match=r"expected a server that answers within 5 s, got none for 'http://127"):
        copy.mirror.fetch(late, Quiet())
    # What was there before is there still, and does not count as what the server has.
    assert copy.local.read_bytes() == content
    assert copy.pending() is not None


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (404, ", which does not exist. Correct the URL."),
        (403, ", which the server refuses (status 403). Check the credentials of its storage in the environment; "),
        (500, "got none for"),
    ],
)
def test_refusals(server: Web, tmp_path: Path, status: int, told: str) -> None:
    server.refused[FILE] = status
    with pytest.raises(DataError) as error:
        table(server, tmp_path).pending()
    assert told in str(error.value)
    assert f"{server.url}{FILE}" in str(error.value)


def test_a_silent_server_is_waited_for_no_longer_than_said(server: Web, tmp_path: Path) -> None:
    server.silent.add(FILE)
    started = time.monotonic()
    with pytest.raises(DataError, match="expected a server that answers within 1 s, got none"):
        table(server, tmp_path, timeout=1.0).pending()
    assert time.monotonic() - started < 2.5
    assert not list(tmp_path.iterdir())


def test_anew_takes_no_copy_for_current(server: Web, tmp_path: Path) -> None:
    server.files[FILE], server.tags[FILE] = b"kind,x\na,1\n", "1"
    copy = table(server, tmp_path)
    copy.bring()
    server.files[FILE] = b"kind,x\na,2\n"  # a server that forgets to tell
    assert copy.pending() is None
    late = copy.mirror.pending(copy.address, anew=True)
    assert late is not None
    copy.mirror.fetch(late, Quiet())
    assert copy.local.read_bytes() == b"kind,x\na,2\n"


def test_rows_without_labels_have_a_copy_of_their_own(tmp_path: Path) -> None:
    data = config_of(
        {
            "source": "images",
            "path": "s3://a/labeled",
            "unlabeled": {"source": "images", "path": "s3://a/more/"},
        },
        model={"family": "mlp"},
        train={"mode": "layer_wise"},
        pretrain={"kind": "autoencoder"},
    ).data
    labeled, more = addresses({"data": data})
    assert (labeled.field, more.field, more.url) == ("data.path", "data.unlabeled.path", "s3://a/more")
    local: Any = localized({"data": data, "task": "classification"}, "data", tmp_path)["data"]
    assert local.path == str(tmp_path / ".remote" / labeled.key / "tree" / "labeled")
    assert local.unlabeled.path == str(tmp_path / ".remote" / more.key / "tree" / "more")
    assert labeled.key != more.key


def test_a_model_at_a_url(server: Web, tmp_path: Path) -> None:
    server.files["/net.keras"], server.tags["/net.keras"] = b"PK a model", "1"
    config = config_of(
        {"source": "builtin", "name": "iris"}, model={"family": "file", "file": f"{server.url}/net.keras"}
    )
    store = Store(tmp_path / "store")
    mirror = Mirror(store, RemoteConfig())
    (address,) = addresses({"model": config.model})
    late = mirror.pending(address)
    assert late is not None
    mirror.fetch(late, Quiet())
    memory = store.root / ".memory" / "sources.json"
    plain = tmp_path / "net.keras"
    plain.write_bytes(b"PK a model")
    here = config.model.model_copy(update={"file": str(plain)})
    assert raw_digest("model", {"model": config.model}, memory) == raw_digest("model", {"model": here}, memory)
    server.refused["/net.keras"] = 404
    with pytest.raises(ConfigError, match=r"model\.file: expected a file or folder, got .* which does not exist"):
        mirror.pending(address)


def test_whatever_fsspec_opens(tmp_path: Path) -> None:
    import fsspec  # type: ignore[import-untyped]  # has no types

    memory = fsspec.filesystem("memory")
    for name, content in (("a/1.png", b"one"), ("b/2.png", b"two")):
        memory.makedirs(f"/set/{name[0]}", exist_ok=True)
        memory.pipe_file(f"/set/{name}", content)
    copy = Copy(tmp_path, {"source": "images", "path": "memory://set"})
    copy.bring()
    assert copy.files() == {"a/1.png": b"one", "b/2.png": b"two"}
    memory.pipe_file("/set/a/1.png", b"new")
    late = copy.pending()
    assert late is not None
    assert [file.name for file in late.missing] == ["a/1.png"]
    memory.rm("/set", recursive=True)
