"""Makes steps where the run's store is not: takes what they need from an exchange, and brings there what it made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from data.contract import PenjingError, StoreError
from pipeline.executors.exchange import ArtifactExchange
from pipeline.executors.handle import Exchange
from pipeline.executors.steps import PlannedStep
from pipeline.lineage import forebears
from pipeline.runner import Runner
from pipeline.store import Artifact, Store

_SIGN_SECONDS = 1.0
"""How often bytes that pass are told as a sign of life, at most."""


class Courier:
    """Makes steps in a store of copies; see `pipeline.runner.Runner.make_step`.

    Args:
        runner: makes them.
        store: its store.
        exchange: where artifacts come from and go to.
        note: told one line where there is something to tell.
    """

    def __init__(self, runner: Runner, store: Store, exchange: Exchange, note: Callable[[str], object]) -> None:
        self._runner, self._store, self._note = runner, store, note
        self._seconds = exchange.seconds
        self._exchange = ArtifactExchange(exchange.url, note, self._sign)
        self._begun: Callable[[], object] = lambda: None
        self._signed = time.monotonic()
        self._here: set[tuple[str, str]] = set()

    def make_step(self, planned: PlannedStep, begun: Callable[[], object]) -> None:
        """Makes the artifact of a step and brings it to the exchange, unless it is there.

        Args:
            planned: the step.
            begun: called once nobody else is making it, and as a sign of life while bytes pass.

        Raises:
            PenjingError: what the stage raised; or an input is nowhere.
        """
        self._begun = begun
        # Another run's worker on this machine may be at it: its copy is brought to the exchange before it is set aside.
        with self._store.lock("courier", "-".join(planned.artifact)):
            begun()
            if self._exchange.has(*planned.artifact) and self._fetch(*planned.artifact):
                return
            # The exchange is what counts: a copy of it may be what a run was told to make again.
            self._store.set_aside(*planned.artifact)
            self._here.discard(planned.artifact)
            for stage, key in planned.inputs.values():
                if not self._fetch(stage, key):
                    raise PenjingError(
                        f"engine.store_url: expected {stage} {key[:12]} to be there, got none. Start the run again."
                    )
            self._make(planned, begun)

    def _make(self, planned: PlannedStep, begun: Callable[[], object]) -> None:
        """Makes the artifact of a step, from where another worker was lost, and brings it to the exchange."""
        self._exchange.pull_scratch(*planned.artifact, self._store.scratch(*planned.artifact))
        with self._kept_safe(planned):
            artifact: Artifact = self._runner.make_step(planned, begun)
        begun()
        self._exchange.push(artifact)
        self._exchange.drop_scratch(*planned.artifact)
        self._here.add(planned.artifact)

    def _fetch(self, stage: str, key: str) -> bool:
        """Sees to it that an artifact is in the store, with the models that it was made from; verified once.

        Returns:
            False where it is nowhere.
        """
        if (stage, key) in self._here:
            return True
        found = self._exchange.pull(stage, key, self._store)
        if found is None:
            return False
        self._here.add((stage, key))
        for source in forebears(found.manifest):
            self._fetch(*source)  # one that is nowhere is told of by who cannot do without
        return True

    @contextmanager
    def _kept_safe(self, planned: PlannedStep) -> Iterator[None]:
        """Copies the checkpoints of a step to the exchange, now and then, while it is made."""
        done = threading.Event()
        thread = threading.Thread(target=self._copy_checkpoints, args=(planned, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _copy_checkpoints(self, planned: PlannedStep, done: threading.Event) -> None:
        copied: dict[str, tuple[int, int]] = {}
        while not done.wait(self._seconds):
            for path in sorted(self._store.scratch(*planned.artifact).glob("*.checkpoint")):
                try:
                    status = path.stat()
                    if copied.get(path.name) != (status.st_mtime_ns, status.st_ino):
                        self._exchange.push_checkpoint(*planned.artifact, path)
                        copied[path.name] = (status.st_mtime_ns, status.st_ino)
                except FileNotFoundError:  # the step is done with it
                    continue
                except StoreError as error:  # the trial goes on; only a lost node would lose more
                    self._note(f"its checkpoint was not copied: {error}")

    def _sign(self) -> None:
        if time.monotonic() - self._signed > _SIGN_SECONDS:
            self._signed = time.monotonic()
            self._begun()
