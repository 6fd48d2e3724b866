"""`TF_CONFIG`: how systems that start one process a machine (Kubernetes and others) tell each which one it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from data.contract import ConfigError

_LEADING, _OTHERS = "chief", "worker"


@dataclass(frozen=True)
class Cluster:
    """The workers of one training, and which of them is here.

    Attributes:
        addresses: `host:port` of each; the first leads: its run makes all artifacts, the others take part in training.
        index: this one's position.
    """

    addresses: tuple[str, ...]
    index: int

    def require_workers(self, workers: int) -> None:
        """Checks that a config asks for as many workers as there are.

        Raises:
            ConfigError: it asks for more or fewer.
        """
        if workers != len(self.addresses):
            raise ConfigError(
                f"train.workers: expected {len(self.addresses)}, the workers that TF_CONFIG names, got {workers}. Say "
                "so in the config, or start the run without that variable."
            )


def cluster_of(text: str | None) -> Cluster | None:
    """Reads `TF_CONFIG`.

    Args:
        text: `{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}`; a `chief` among
            the jobs comes before the workers. None or empty: there is no cluster.

    Returns:
        The cluster; None where there is none, or one of a single worker.

    Raises:
        ConfigError: it is malformed, or has other jobs.

    Example:
        >>> config = '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}'
        >>> cluster_of(config)
        Cluster(addresses=('a:1', 'b:1'), index=1)
    """
    if text is None or not text.strip():
        return None
    try:
        body: Any = json.loads(text)
    except ValueError:
        _refuse("JSON", text)
    if (
        not isinstance(body, dict)
        or not isinstance(body.get("cluster"), dict)
        or not isinstance(body.get("task"), dict)
    ):
        _refuse("an object with 'cluster' and 'task'", text)
    jobs, task = body["cluster"], body["task"]
    strange = sorted(set(jobs) - {_LEADING, _OTHERS})
    if strange:
        _refuse(f"the jobs {_LEADING} and {_OTHERS} alone", ", ".join(map(str, strange)))
    for name, addresses in jobs.items():
        if not isinstance(addresses, list) or not all(map(_is_address, addresses)):
            _refuse(f"a list of 'host:port' in cluster.{name}", json.dumps(addresses))
    leading, others = jobs.get(_LEADING, []), jobs.get(_OTHERS, [])
    kind, index = task.get("type"), task.get("index")
    if kind not in jobs or not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(jobs[kind]):
        _refuse("a task that is one of the cluster's", json.dumps(task))
    addresses = (*leading, *others)
    if len(leading) > 1 or len(set(addresses)) < len(addresses):
        _refuse("one chief at most, and each address once", json.dumps(jobs))
    return Cluster(addresses, index + (len(leading) if kind == _OTHERS else 0)) if len(addresses) > 1 else None


def _is_address(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    host, _, port = value.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def _refuse(rule: str, got: str) -> NoReturn:
    shown = got if len(got) <= 120 else f"{got[:120]}…"
    raise ConfigError(f"TF_CONFIG: expected {rule}, got {shown}. Whatever starts the workers sets it.")
