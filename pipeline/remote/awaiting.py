"""What has to be downloaded before a config can run, and the download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from data.contract import Progress
from pipeline.remote.addresses import addresses
from pipeline.store import Store

if TYPE_CHECKING:
    from pipeline.config import RunConfig
    from pipeline.remote.mirror import Pending


def awaited(config: RunConfig, store: Store, *, anew: bool = False) -> tuple[Pending, ...]:
    """Returns the URLs of a config whose copies are not current; asks servers only where there are URLs.

    Args:
        config: the run's config.
        store: where copies lie.
        anew: take no copy for current: all is downloaded again.

    Raises:
        DataError: as `Mirror.pending`.
        ConfigError: as `Mirror.pending`.
    """
    found = addresses({"data": config.data, "model": config.model})
    if not found:
        return ()
    from pipeline.remote.mirror import Mirror

    mirror = Mirror(store, config.remote)
    return tuple(late for address in found if (late := mirror.pending(address, anew=anew)) is not None)


def fetch(pending: Sequence[Pending], config: RunConfig, store: Store, progress: Progress) -> None:
    """Makes copies current.

    Raises:
        DataError: as `Mirror.fetch`.
        StoreError: as `Mirror.fetch`.
        OSError: as `Mirror.fetch`.
    """
    from pipeline.remote.mirror import Mirror

    mirror = Mirror(store, config.remote)
    for each in pending:
        progress.note(f"download  {each.reason}")
        mirror.fetch(each, progress)
