"""Runs the real command line in a process of its own, as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.small_run import ROOT, SMALL, Finished, Run
from tests.cli.warm_process import WarmProcess

ENVIRONMENT = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmProcess]:
    """Lends a process that has imported what a run needs."""
    process = WarmProcess(ENVIRONMENT)
    yield process
    process.close()


@pytest.fixture(scope="session")
def penjing(request: pytest.FixtureRequest) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Returns a function that runs `python run_pipeline.py ...` and returns what came of it."""

    def run(*arguments: str | Path, cwd: Path = ROOT, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        words = list(map(str, arguments))
        if words[:1] in (["run"], ["search"]):
            return request.getfixturevalue("warm").run(words, cwd, timeout)
        command = [sys.executable, str(ROOT / "run_pipeline.py"), *words]
        return subprocess.run(
            command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout, check=False
        )

    return run


@pytest.fixture(scope="session")
def finished(penjing: Run, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Returns a finished run of the small config; tests that harm it leave it whole again."""
    folder = tmp_path_factory.mktemp("finished")
    config = folder / "small.yaml"
    config.write_text(SMALL)
    told = penjing("run", config, "--workdir", folder / "runs")
    assert told.returncode == 0, told.stdout + told.stderr
    return Finished(config, folder / "runs", told.stdout)
