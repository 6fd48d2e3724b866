"""Servers on loopback that tests of URLs read from, and what looks at copies."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pipeline.config import RunConfig
from pipeline.remote.addresses import addresses
from pipeline.remote.config import RemoteConfig
from pipeline.remote.mirror import Mirror, Pending
from pipeline.store import Store

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


class Quiet:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[tuple[str, int, int]] = []

    def step(self, label: str, done: int, total: int, figures: Mapping[str, float | str]) -> None:
        self.steps.append((label, done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, planned: Any) -> None:
        self.notes.append(f"{planned.stage.name} begins")

    def end(self, planned: Any, artifact: Any, cached: bool) -> None:
        self.notes.append(f"{planned.stage.name} {'cached' if cached else 'done'}")


def config_of(data: Mapping[str, Any], **more: Any) -> RunConfig:
    fields = {"name": "far", "task": "classification", "model": {"family": "linear"}, "data": data}
    return RunConfig.model_validate(fields | more)


@dataclass
class Copy:
    """The copy of one source's URL in a work directory."""

    root: Path
    data: Mapping[str, Any]
    remote: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mirror(self) -> Mirror:
        return Mirror(Store(self.root / "store"), RemoteConfig.model_validate({"timeout_seconds": 5.0, **self.remote}))

    @property
    def address(self) -> Any:
        (found,) = addresses({"data": config_of(self.data).data})
        return found

    @property
    def local(self) -> Path:
        return Path(self.address.local(self.root / "store"))

    def pending(self) -> Pending | None:
        return self.mirror.pending(self.address)

    def bring(self) -> Quiet:
        """Makes the copy current; it must not have been before."""
        late, progress = self.pending(), Quiet()
        assert late is not None
        self.mirror.fetch(late, progress)
        assert self.pending() is None
        return progress

    def files(self) -> dict[str, bytes]:
        found = sorted(path for path in self.local.rglob("*") if path.is_file())
        return {str(path.relative_to(self.local)): path.read_bytes() for path in found}


@dataclass
class Web:
    """A web server: what it answers, and what it was asked."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    broken_off: dict[str, int] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def web() -> Iterator[Web]:
    """Serves files on loopback; `broken_off`: times that a file's connection is dropped in the middle."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Says nothing."""

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            served.asked.append(f"{self.command} {self.path}")
            if self.path in served.silent:
                served.closing.wait(30)
                return
            content = served.files.get(self.path, b"")
            status = served.refused.get(self.path, 200 if self.path in served.files else 404)
            self.send_response(status)
            if status == 200:
                self.send_header("Content-Length", str(len(content)))
                if self.path in served.tags:
                    self.send_header("ETag", served.tags[self.path])
            self.end_headers()
            if body and status == 200:
                broken = served.broken_off.get(self.path, 0)
                if broken:
                    served.broken_off[self.path] = broken - 1
                    content = content[: len(content) // 2]
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Web(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        served.closing.set()
        server.shutdown()
        server.server_close()
