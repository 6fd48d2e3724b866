"""The section `engine`: where trials run. Nothing that is made depends on it, and no key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from data.contract import FrozenConfig

_WORKERS = Annotated[int, Field(ge=1, le=1024)]


class LocalEngineConfig(FrozenConfig):
    """Trials of `tune` and candidates of `search` in worker processes on this machine."""

    kind: Literal["local"] = "local"
    """`local`: worker processes on this machine, each with a share of its cores. One that crashes, hangs or is killed
    takes nothing else along. This kind when left out."""

    workers: _WORKERS | Literal["auto"] = "auto"
    """Processes that work at a time; `auto`: one a core, but no more than there are trials out at once
    (`tune.batch_trials`; all candidates of a round of `search`)."""

    memory_bytes_per_trial: Annotated[int, Field(ge=1)] | None = None
    """Memory in bytes that a worker may hold, what TensorFlow takes for itself counted in (some 330 MB); one that holds
    more is ended, and its trial tried once more while no other runs. `null`: as much as the system gives."""

    silence_seconds: Annotated[float, Field(gt=0.0)] | None = 1800.0
    """A trial that shows no progress for so long counts as hung; `null`: none does."""


class RayEngineConfig(FrozenConfig):
    """Trials of `tune`, candidates of `search`, workers of `train`, and the reading of images and of a table's folder
    on the nodes of a Ray cluster; needs requirements-ray.txt. A worker of a training takes of its node what a trial
    does.
    """

    kind: Literal["ray"]
    """`ray`: worker processes on the nodes of a Ray cluster, which may come and go."""

    address: str = Field(default="auto", pattern=r"^(auto|ray://[^/\s]+:[0-9]{1,5}|[^/:\s]+:[0-9]{1,5})$")
    """`auto`: the cluster that `ray start` or RAY_ADDRESS names on this machine, or one that is started here for the
    run where there is none; `host:port` of a cluster that this machine is a node of; `ray://host:port` of any other."""

    workers: _WORKERS | Literal["auto"] = "auto"
    """Trials that run at a time, at most; `auto`: as many as are out at once (`tune.batch_trials`; all candidates of a
    round of `search`). As many of them as the nodes have room for do."""

    cpus_per_trial: int = Field(default=1, ge=1, le=1024)
    """Processors that Ray sets apart for a trial, or a worker of a training; it keeps to so many cores of its node."""

    gpus_per_trial: float = Field(default=0.0, ge=0.0, le=64.0)
    """GPUs that Ray sets apart for a trial, or a worker of a training: a whole number, or a fraction below 1 where
    trials share one, which workers cannot."""

    memory_bytes_per_trial: Annotated[int, Field(ge=1)] | None = None
    """Memory in bytes that Ray sets apart for a trial, or a worker of a training, when it looks for room; `null`: none
    is."""

    store_url: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*(::[a-z][a-z0-9+.-]*)*://.+$")] | None = None
    """Where artifacts and checkpoints pass between this machine and the nodes: a URL that fsspec opens for writing
    (`s3://bucket/penjing`, `file:///mnt/shared/penjing`). `null`: through the work directory itself, which then all
    nodes must see under the same path, as those must that train together (`train.workers`)."""

    checkpoint_seconds: float = Field(default=30.0, gt=0.0)
    """How often the checkpoint of a trial is copied to `store_url`, in seconds: what a lost node loses, at most."""

    wait_seconds: Annotated[float, Field(gt=0.0)] | None = 3600.0
    """How long the run waits for a node with room for a trial, while none of its trials runs, or for room for all
    workers of a training; `null`: for ever."""

    silence_seconds: Annotated[float, Field(gt=0.0)] | None = 1800.0
    """A trial that shows no progress for so long counts as hung; `null`: none does."""

    @field_validator("gpus_per_trial")
    @classmethod
    def _whole_or_shared(cls, value: float) -> float:
        if value > 1.0 and not value.is_integer():
            raise ValueError(
                f"expected a whole number or a fraction below 1, got {value:g}. Trials share one GPU, not several."
            )
        return value

    @field_validator("store_url")
    @classmethod
    def _reaches_others(cls, value: str | None) -> str | None:
        if value is not None and value.startswith("memory:"):
            raise ValueError(f"expected a place that all nodes reach, got '{value}'. Each process has its own memory.")
        return value
