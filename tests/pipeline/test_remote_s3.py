"""Sources in object storage, read from a server that speaks as Amazon's S3 does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.contract import ConfigError, DataError, PenjingError
from data.source_files import table_files
from pipeline.garbage import find_garbage, remove
from pipeline.planner import Scope
from pipeline.requests import Request
from pipeline.runs import Workdir
from pipeline.session import plan_request, run_request
from pipeline.source_digest import raw_digest
from tests.pipeline.remote_servers import KEYS, Copy, Quiet, config_of

CSV = "size,weight,kind\n" + "".join(f"{row % 7},{row * 0.5},{'ab'[row % 2]}\n" for row in range(60))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def s3(server: str) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=server)


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    """An empty bucket of the test's own."""
    name = request.node.name.partition("[")[0].replace("_", "-")[-60:].strip("-")
    s3.create_bucket(Bucket=name)
    return name


def put(s3: Any, bucket: str, **objects: bytes | str) -> None:
    for key, body in objects.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body)


def write_config(folder: Path, url: str) -> Path:
    path = folder / "far.yaml"
    path.write_text(
        "name: far\ntask: classification\nmodel: {family: mlp, units: [4]}\n"
        f"data: {{source: table, path: '{url}', target: kind}}\n"
    )
    return path


def test_a_table_is_planned_downloaded_and_ingested(s3: Any, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, **{"deep/rows.csv": CSV})
    url = f"s3://{bucket}/deep/rows.csv"
    workdir = Workdir(tmp_path / "runs")
    request = Request(write_config(tmp_path, url), (), workdir, Scope(last="ingest"))
    loaded, plan = plan_request(request)
    assert plan.stages[0].reason == f"{url} is to be downloaded first: 1 file, {len(CSV)} bytes"
    assert not workdir.root.exists()

    loaded, plan = plan_request(request, lasting=True)
    assert find_garbage(workdir, None) == []
    result = run_request(request, Quiet(), loaded, plan)
    folder = result.stages[0][0].folder
    rows = sum(len(np.load(folder / f"{split}_x.npy")) for split in ("train", "validation", "test"))
    assert rows == 60
    profile = (folder / "profile.json").read_text()
    assert json.loads(profile)["source"]["file"] == "rows.csv"
    assert "runs" not in profile
    manifest = result.stages[0][0].manifest
    assert manifest.parts["config"]["data"]["path"] == url

    # The same bytes elsewhere, with another work directory and under another time, are the same artifact.
    put(s3, bucket, **{"deep/rows.csv": CSV})
    other = Request(request.config, (), Workdir(tmp_path / "others"), Scope(last="ingest"))
    loaded, plan = plan_request(other, lasting=True)
    assert run_request(other, Quiet(), loaded, plan).stages[0][0].manifest.key == manifest.key

    _, plan = plan_request(request)
    assert [(each.state, each.key) for each in plan.stages] == [("cached", manifest.key)]
    put(s3, bucket, **{"deep/rows.csv": CSV.replace("0.5", "0.7")})
    _, plan = plan_request(request)
    assert (plan.stages[0].state, len(plan.awaited)) == ("runs", 1)

    put(s3, bucket, **{"deep/rows.csv": CSV.replace("kind", "sort")})
    loaded, plan = plan_request(request, lasting=True)
    with pytest.raises(PenjingError, match=r"far\.yaml:4: data\.target: expected a column of the table, got") as error:
        run_request(request, Quiet(), loaded, plan)
    assert error.value.exit_code == DataError.exit_code


def test_errors_about_a_copy_name_the_url(s3: Any, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, **{"set/1.png": "one", "set/2.png": "two"})
    copy = Copy(tmp_path, {"source": "images", "path": f"s3://{bucket}/set"})
    copy.bring()
    sections = {"data": config_of(copy.data).data, "task": "classification"}
    with pytest.raises(DataError) as error:
        raw_digest("data", sections, tmp_path / "store" / ".memory" / "sources.json")
    assert str(error.value).startswith(
        f"data.path: expected one folder a class with PNG, JPEG or BMP files, got 's3://{bucket}/set' without folders."
    )


def test_a_folder_follows_what_changes_and_what_is_removed(s3: Any, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, **{"set/cat/1.png": "one", "set/cat/2.PNG": "two", "set/dog/1.png": "three"})
    put(s3, bucket, **{"set/notes.txt": "no image", "set/empty/readme.md": "-", "settled/x.png": "of another folder"})
    copy = Copy(tmp_path, {"source": "images", "path": f"s3://{bucket}/set/"})
    progress = copy.bring()
    assert copy.files() == {"cat/1.png": b"one", "cat/2.PNG": b"two", "dog/1.png": b"three"}
    # Its files are no images: a class without any, as a folder of this machine would be.
    assert (copy.local / "empty").is_dir()
    assert progress.steps[-1] == ("bytes downloaded", 11, 11)
    before = {path: path.stat().st_ino for path in copy.local.rglob("*.png")}

    put(s3, bucket, **{"set/dog/1.png": "another"})
    s3.delete_object(Bucket=bucket, Key="set/cat/2.PNG")
    late = copy.pending()
    assert late is not None
    assert [file.name for file in late.missing] == ["dog/1.png"]
    copy.bring()
    assert copy.files() == {"cat/1.png": b"one", "dog/1.png": b"another"}
    assert (copy.local / "cat/1.png").stat().st_ino == before[copy.local / "cat/1.png"]

    s3.delete_object(Bucket=bucket, Key="set/dog/1.png")
    late = copy.pending()
    assert late is not None
    assert late.reason == f"s3://{bucket}/set has lost files since it was copied"
    copy.bring()
    assert not (copy.local / "dog").exists()


def test_a_folder_of_tables(s3: Any, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, **{"rows/1.csv": CSV, "rows/deep/2.csv": CSV, "rows/.hidden.csv": "-"})
    put(s3, bucket, **{"rows/_SUCCESS": "-", "rows/_temporary/3.csv": CSV, "rows/_delta_log/0.json": "{}"})
    copy = Copy(tmp_path, {"source": "table", "path": f"s3://{bucket}/rows", "target": "kind"})
    copy.bring()
    assert copy.files() == {"1.csv": CSV.encode(), "deep/2.csv": CSV.encode()}
    with pytest.raises(DataError, match="with a _delta_log, by which some no longer count"):
        table_files(copy.local)
    s3.delete_object(Bucket=bucket, Key="rows/_delta_log/0.json")
    copy.bring()
    assert [path.name for path in table_files(copy.local)] == ["1.csv", "2.csv"]


def test_a_copy_that_was_tampered_with_is_brought_anew(s3: Any, bucket: str, tmp_path: Path) -> None:
    put(
        s3,
        bucket,
        **{"set/train-images-idx3-ubyte.gz": "abc", "set/t10k-images-idx3-ubyte": "def", "set/big.zip": "no"},
    )
    copy = Copy(tmp_path, {"source": "idx", "path": f"s3://{bucket}/set"})
    copy.bring()
    wanted = {"t10k-images-idx3-ubyte": b"def", "train-images-idx3-ubyte.gz": b"abc"}
    assert copy.files() == wanted
    target = copy.local / "t10k-images-idx3-ubyte"
    target.unlink()
    target.symlink_to(tmp_path / "elsewhere")
    copy.bring()
    assert copy.files() == wanted
    assert not target.is_symlink()


@pytest.mark.parametrize("place", ["", "/tree", "/tree/set", "/tree/set/cat", "/journal.jsonl", "/partial"])
def test_nothing_is_written_or_removed_through_a_link(s3: Any, tmp_path: Path, place: str) -> None:
    s3.create_bucket(Bucket="planted")
    put(s3, "planted", **{"set/cat/1.png": "one"})
    copy = Copy(tmp_path / "runs", {"source": "images", "path": "s3://planted/set"})
    elsewhere, folder = tmp_path / "elsewhere", copy.address.folder(copy.root / "store")
    for name in ("set/cat/diary.png", "cat/diary.png", "diary.png"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_text("mine")
    link = Path(f"{folder}{place}")
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere / "diary.png" if place == "/journal.jsonl" else elsewhere)
    if place == "":
        with pytest.raises(OSError, match="symbolic link"):
            copy.bring()
    else:
        copy.bring()
        assert copy.files() == {"cat/1.png": b"one"}
    assert {path.read_text() for path in elsewhere.rglob("*") if path.is_file()} == {"mine"}
    assert len([*elsewhere.rglob("*")]) == 6


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("set/../../../stolen.png", "has a part '..'"),
        ("set/a/../../b.png", "has a part '..'"),
        ("set//b.png", "has an empty part"),
        (f"set/{'x' * 300}.png", "has a part that no filesystem takes"),
    ],
)
def test_names_that_lead_out_are_refused(s3: Any, tmp_path: Path, key: str, told: str) -> None:
    bucket = "tricks"
    s3.create_bucket(Bucket=bucket)
    for old in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=old["Key"])
    put(s3, bucket, **{"set/a/1.png": "one", key: "two"})
    copy = Copy(tmp_path, {"source": "images", "path": f"s3://{bucket}/set"})
    with pytest.raises(DataError) as error:
        copy.pending()
    assert str(error.value).startswith(f"data.path: expected names that stay inside of 's3://{bucket}/set', got ")
    assert told in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_name_of_file_and_folder_is_refused(s3: Any, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, **{"set/a.png": "one", "set/a.png/b.png": "two"})
    with pytest.raises(DataError, match=r"got 'a\.png', which is both"):
        Copy(tmp_path, {"source": "images", "path": f"s3://{bucket}/set"}).pending()


def test_what_is_absent_or_of_another_kind(s3: Any, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, **{"set/rows.csv": CSV, "set/notes.txt": "-"})
    told = {
        ("table", "nothing.csv"): "expected a file or folder, got 's3://{0}/nothing.csv', which does not exist.",
        ("images", "set"): "expected files that source images reads in 's3://{0}/set', got none among its 2.",
        ("table", "set/notes.txt"): "expected a file that ends in .csv, .tsv, ",
        ("images", "set/rows.csv"): "expected a folder, got 's3://{0}/set/rows.csv', which is a file.",
    }
    for (source, key), message in told.items():
        copy = Copy(
            tmp_path,
            {"source": source, "path": f"s3://{bucket}/{key}", **({"target": "kind"} if source == "table" else {})},
        )
        with pytest.raises(DataError) as error:
            copy.pending()
        assert str(error.value).startswith(f"data.path: {message.format(bucket)}")


def test_no_bucket_and_no_server(s3: Any, tmp_path: Path) -> None:
    data = {"source": "table", "path": "s3://nowhere-at-all/rows.csv", "target": "kind"}
    with pytest.raises(DataError, match="which does not exist"):
        Copy(tmp_path, data).pending()
    started = time.monotonic()
    with pytest.raises(DataError) as error:
        Copy(tmp_path, data, {"endpoint": "http://127.0.0.1:9", "timeout_seconds": 2.0}).pending()
    assert time.monotonic() - started < 4
    assert str(error.value).startswith(
        "data.path: expected a server that answers within 2 s, got none for 's3://nowhere-at-all/rows.csv' ("
    )
    assert str(error.value).endswith("remote.check: once a copy that is whole is read without asking.")
    with pytest.raises(ConfigError, match=r"expected a URL of a storage that is installed, got 'nosuch://a/rows\.csv'"):
        Copy(tmp_path, {**data, "path": "nosuch://a/rows.csv"}).pending()


def test_once_reads_a_whole_copy_offline(s3: Any, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, **{"rows.csv": CSV})
    data = {"source": "table", "path": f"s3://{bucket}/rows.csv", "target": "kind"}
    copy = Copy(tmp_path, data, {"check": "once", "endpoint": os.environ["AWS_ENDPOINT_URL"]})
    copy.bring()
    put(s3, bucket, **{"rows.csv": CSV + "1,2,a\n"})
    assert copy.pending() is None
    assert Copy(tmp_path, data, {"endpoint": os.environ["AWS_ENDPOINT_URL"]}).pending() is not None
    copy.local.write_text("short")
    assert copy.pending() is not None


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.pipeline.remote_servers import Copy, Quiet
from pipeline.remote import journal
kept = journal.Journal.add
def add(self, path, files):
    kept(self, path, files)
    if len(self.kept) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
journal.Journal.add = add
copy = Copy(Path({place!r}), {data!r}, {{"threads": 1}})
copy.mirror.fetch(copy.pending(), Quiet())
"""


def test_killed_in_the_middle_it_goes_on_with_the_next_file(s3: Any, bucket: str, tmp_path: Path) -> None:
    names = [f"set/{letter}/{number}.png" for letter in "ab" for number in range(4)]
    put(s3, bucket, **{name: f"bytes of {name}" for name in names})
    data = {"source": "images", "path": f"s3://{bucket}/set"}
    script = KILLED.format(root=str(Path(__file__).resolve().parents[2]), place=str(tmp_path), data=data)
    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=60, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    copy = Copy(tmp_path, data)
    there = copy.files()
    assert len(there) == 3
    # The line of a file that a kill cut short counts for nothing.
    with (copy.address.folder(tmp_path / "store") / "journal.jsonl").open("a") as stream:
        stream.write('{"name": "b/3.png", "si')
    late = copy.pending()
    assert late is not None
    assert {file.name for file in late.missing} == {name[4:] for name in names} - there.keys()
    copy.bring()
    assert copy.files() == {name[4:]: f"bytes of {name}".encode() for name in names}


class Looking(Quiet):
    """Reads what a run's file says while it downloads."""

    def __init__(self, workdir: Workdir) -> None:
        super().__init__()
        self._workdir = workdir
        self.told: list[str] = []

    def note(self, text: str) -> None:
        if text.startswith("download"):
            run = self._workdir.read("far")
            self.told.append("" if run is None else run.config_text)


def test_gc_takes_copies_that_no_run_reads(s3: Any, bucket: str, tmp_path: Path) -> None:
    put(s3, bucket, **{"rows.csv": CSV, "old.csv": CSV})
    workdir = Workdir(tmp_path / "runs")
    request = Request(write_config(tmp_path, f"s3://{bucket}/rows.csv"), (), workdir, Scope(last="ingest"))
    loaded, plan = plan_request(request, lasting=True)
    run_request(request, Quiet(), loaded, plan)
    old = Copy(workdir.root, {"source": "table", "path": f"s3://{bucket}/old.csv", "target": "kind"})
    old.bring()
    garbage = find_garbage(workdir, None)
    assert [(each.path, each.what) for each in garbage] == [
        (old.address.folder(workdir.store().root), "copy of a URL that no run reads")
    ]
    remove(garbage)

    # A run of another URL says that it wants its copy before that is there: it may take long until stages begin.
    other = Request(write_config(tmp_path, f"s3://{bucket}/old.csv"), (), workdir, Scope(last="ingest"))
    listener = Looking(workdir)
    run_request(other, listener, *plan_request(other, lasting=True))
    assert ["old.csv" in told for told in listener.told] == [True]

    write_config(tmp_path, f"s3://{bucket}/rows.csv")
    run_request(request, Quiet(), *plan_request(request, lasting=True))
    _, plan = plan_request(request)
    assert (plan.awaited, plan.stages[0].state) == ((), "cached")
    assert len(find_garbage(workdir, 0)) > 1
