"""What URLs of a config must be like, as far as that shows without a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from data.paths import TABLE_SUFFIXES
from pipeline.config_reading.disagreement import Disagreement, Location
from pipeline.remote.addresses import WEB, Address, addresses
from pipeline.remote.config import RemoteConfig

if TYPE_CHECKING:
    from pipeline.config import RunConfig

_LOCAL = ("file", "local")
_STORES = ("s3", "s3a", "gs", "gcs")
_SIGNATURES = ("sig", "key", "apikey", "auth", "pass", "pwd")
"""What the last word of a query's name is where its value opens a door (`api_key`)."""

_SECRETS = ("signature", "token", "credential", "password", "passwd", "secret")
"""How such a name ends, whatever stands before it (`X-Amz-Signature`, `accessToken`)."""

_FILES_OF_THE_WEB = {
    "table": TABLE_SUFFIXES,
    "arrays": (".npz",),
    "series": TABLE_SUFFIXES,
    "model": (".keras", ".h5", ".hdf5"),
}

NO_SECRETS = (
    "expected a URL without credentials, which would be kept in run.json and in reports, got one with some. Put them "
    "where docs/urls.md says."
)


def urls_add_up(config: RunConfig) -> Iterator[Disagreement]:
    """URLs are complete, hold no secrets, and name a file where their server knows no folders."""
    found = addresses({"data": config.data, "model": config.model})
    for address in found:
        message = _fault_of(address)
        if message is not None:
            yield Disagreement(address.place, message)
    involves: tuple[Location, ...] = tuple(address.place for address in found)
    if not found and config.remote != RemoteConfig():
        message = "expected no such section without a URL to read, got one. Take it out."
        yield Disagreement(("remote",), message, involves)
    elif not any(address.scheme in _STORES for address in found):
        for field in ("endpoint", "anonymous"):
            if getattr(config.remote, field) != RemoteConfig.model_fields[field].default:
                message = "expected no such key without a URL of s3:// or gs://, got one. Take it out."
                yield Disagreement(("remote", field), message, involves)


def _fault_of(address: Address) -> str | None:
    """Says what is wrong with a URL; a secret in it is not repeated."""
    if has_secret(address.url):
        return NO_SECRETS
    if address.scheme in _LOCAL:
        return f"expected a path without a scheme, or a URL of another machine, got '{address.url}'. Take file:// out."
    parts = address.path.split("/")
    if "::" in address.url or "\0" in address.url or any(part in ("", ".", "..") for part in parts):
        return (
            f"expected a URL of a host or bucket and names, none of them empty, '.' or '..', got '{address.url}'. "
            "Write it out."
        )
    if address.scheme in WEB:
        if address.kind in ("images", "idx"):
            return (
                f"expected storage that can list a folder, as s3://, got '{address.url}': the web has no folders. "
                "Name the data there, or download it."
            )
        ends = _FILES_OF_THE_WEB.get(address.kind, ("",))
        if not address.leaf.lower().endswith(ends):
            return f"expected a URL of the web to end in {', '.join(ends)}, got '{address.url}'. Name one file."
    return None


def has_secret(url: str) -> bool:
    """Says whether a URL opens a door to whoever reads it."""
    parts = urlsplit(url)
    user, is_told, _ = parts.netloc.rpartition("@")
    # What the web takes for a user is a token more often than not; others name a bucket or a user so.
    if ":" in unquote(user) or (is_told and parts.scheme in WEB):
        return True
    names = [name.lower().replace("_", "-").rpartition("-")[2] for name, _ in parse_qsl(parts.query)]
    return any(name in _SIGNATURES or name.endswith(_SECRETS) for name in names)
