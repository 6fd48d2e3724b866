"""Sources at gs:// URLs, read from a stand-in that answers as the JSON interface of Google's Cloud Storage does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.contract import DataError
from tests.pipeline.remote_servers import Copy

OBJECTS = {"set/cat/1.png": "one", "set/dog/2.png": "two", "set/dog/notes.txt": "-", "rows.csv.gz": "\x1f these bytes"}

# In a process of its own: pyarrow holds Python's lock while it asks for an object's metadata.
SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

objects = json.loads(sys.argv[1])

def told(name):
    when = "2026-01-01T00:00:00Z"
    facts = {"kind": "storage#object", "name": name, "bucket": "bucket", "size": str(len(objects[name]))}
    return facts | {"generation": "1", "etag": "tag of " + name, "updated": when, "timeCreated": when}

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        parts = urlsplit(self.path)
        asked, name = parse_qs(parts.query), unquote(parts.path.removeprefix("/storage/v1/b/bucket/o")).lstrip("/")
        status, body = 404, b"{}"
        if name in objects:
            status, body = 200, (objects[name] if "alt" in asked else json.dumps(told(name))).encode("latin-1")
        elif not name:
            found = [told(each) for each in objects if each.startswith(asked.get("prefix", [""])[0])]
            status, body = 200, json.dumps({"kind": "storage#objects", "items": found}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    command = [sys.executable, "-c", SERVER, json.dumps(OBJECTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()


def copy_of(endpoint: str, root: Path, source: str, key: str) -> Copy:
    fields = {"source": source, "path": f"gs://bucket/{key}"} | ({"target": "y"} if source == "table" else {})
    return Copy(root, fields, {"endpoint": endpoint, "anonymous": True})


def test_a_folder(endpoint: str, tmp_path: Path) -> None:
    copy = copy_of(endpoint, tmp_path, "images", "set")
    copy.bring()
    assert copy.files() == {"cat/1.png": b"one", "dog/2.png": b"two"}


def test_a_file_stays_packed(endpoint: str, tmp_path: Path) -> None:
    copy = copy_of(endpoint, tmp_path, "table", "rows.csv.gz")
    late = copy.pending()
    assert late is not None
    assert late.missing[0].version == "tag of rows.csv.gz"
    copy.bring()
    assert copy.local.read_bytes() == OBJECTS["rows.csv.gz"].encode()


def test_nothing_of_that_name(endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"got 'gs://bucket/other\.csv', which does not exist"):
        copy_of(endpoint, tmp_path, "table", "other.csv").pending()
