"""The connection to a Ray cluster and what Ray says of it, as far as that needs none."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from data.contract import PenjingError
from pipeline.executors.handle import Loss
from pipeline.executors.ray_worker import loss_of
from pipeline.ray_cluster import RayConnection, environment_of_workers, shaping_environment
from pipeline.ray_messages import messages_of_ray_to_stderr


def test_a_worker_computes_in_the_environment_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TF_ENABLE_ONEDNN_OPTS", "0"), ("OMP_NUM_THREADS", "7"), ("TF_CONFIG", "{}")):
        monkeypatch.setenv(name, value)
    shaping = shaping_environment()
    assert shaping.items() >= {("TF_ENABLE_ONEDNN_OPTS", "0"), ("OMP_NUM_THREADS", "7")}
    assert not {"TF_CONFIG", "PATH"} & shaping.keys()
    node = {"PATH": "/node", "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "2"}
    without = {"TF_ENABLE_ONEDNN_OPTS": "0"}
    assert environment_of_workers(node, without, 1.0) == {**without, "PATH": "/node", "CUDA_VISIBLE_DEVICES": "2"}
    assert environment_of_workers(node, without, 0.0) == {**without, "PATH": "/node", "CUDA_VISIBLE_DEVICES": ""}
    shared = environment_of_workers(node, without, 0.5)
    assert shared["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert environment_of_workers(node, {"OMP_NUM_THREADS": "7"}, 1.0)["OMP_NUM_THREADS"] == "7"


def test_what_ray_prints_is_not_between_the_lines_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    out, errors = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", errors)
    with messages_of_ray_to_stderr():
        for name in ("ray_listen_error_messages", "another"):
            thread = threading.Thread(target=print, args=(name,), name=name)
            thread.start()
            thread.join()
        print("the run")
    assert sys.stdout is out
    assert out.getvalue() == "another\nthe run\n"
    assert errors.getvalue() == "ray_listen_error_messages\n"


@pytest.mark.parametrize("left", ["nonsense", "127.0.0.1:999999"])
def test_an_address_in_the_environment_is_looked_at_too(left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", left)
    with RayConnection("auto", print) as connection, pytest.raises(PenjingError) as refused:
        connection.ray()
    assert str(refused.value).startswith(f"engine.address: expected a Ray cluster that answers at {left}, got: ")


def test_what_ray_says_of_a_worker() -> None:
    from ray import exceptions

    assert loss_of(exceptions, exceptions.OutOfMemoryError("x")) == Loss(
        "was killed by Ray, since its node ran out of memory", killed=True
    )
    lost = Loss("was lost with its node", node=True)
    assert loss_of(exceptions, exceptions.NodeDiedError("x")) == lost
    died = "The actor died.\nThe actor died because its node has died. Node Id: 5"
    assert loss_of(exceptions, exceptions.RayActorError(error_msg=died)) == lost
    crashed = (
        "The actor is dead. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker\n left. Some common causes x"
    )
    told = loss_of(exceptions, exceptions.RayActorError(error_msg=crashed))
    assert told == Loss("ended under Ray: Worker left.")
    told = loss_of(exceptions, exceptions.RuntimeEnvSetupError("no space"))
    assert told.cause.startswith("could not be given this project's code: ")
    assert "no space" in told.cause
