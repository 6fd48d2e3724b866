"""Whatever else fsspec opens: the web, and each storage whose package the user has installed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.remote.addresses import WEB, Address
from pipeline.remote.config import RemoteConfig
from pipeline.remote.listing import AbsentError, RefusedError, RemoteError, RemoteFile, UnreachableError

_VERSIONS = (
    *("ETag", "etag", "e_tag", "md5Hash", "md5", "Content-MD5", "Digest"),
    *("Last-Modified", "LastModified", "last_modified", "mtime", "updated", "modified", "created"),
)
"""Keys under which storages tell versions of files."""


class FsspecFiles:
    """A file or folder of a file system of fsspec.

    Args:
        filesystem: of fsspec.
        path: as that takes it.
        options: for opening a file.
    """

    def __init__(self, filesystem: Any, path: str, options: Mapping[str, Any]) -> None:
        self._filesystem = filesystem
        self._path = path
        self._options = options

    def file(self) -> RemoteFile | None:
        """See `Remote.file`."""
        try:
            self._filesystem.invalidate_cache()
            found = self._filesystem.info(self._path)
        except Exception as error:  # each storage has its own errors
            raise self.explained(error) from error
        return None if found["type"] == "directory" else RemoteFile("", found.get("size"), _version(found))

    def files(self) -> list[RemoteFile]:
        """See `Remote.files`."""
        try:
            start = len(self._filesystem.info(self._path)["name"].rstrip("/")) + 1
            below = self._filesystem.find(self._path, detail=True)
        except Exception as error:
            raise self.explained(error) from error
        return [RemoteFile(name[start:], each.get("size"), _version(each)) for name, each in below.items()]

    def open(self, file: RemoteFile) -> Any:
        """See `Remote.open`."""
        try:
            path = f"{self._path}/{file.name}" if file.name else self._path
            return self._filesystem.open(path, "rb", **self._options)
        except Exception as error:
            raise self.explained(error) from error

    def version_in(self, stream: Any) -> str | None:  # noqa: ARG002 -- as `Remote.version_in`
        """See `Remote.version_in`: what fsspec streams is one answer."""
        return None

    def version(self, file: RemoteFile) -> str | None:  # noqa: ARG002 -- as `Remote.version`
        """See `Remote.version`."""
        return None

    def explained(self, error: Exception) -> RemoteError:
        """See `Remote.explained`; of the web, the cause of fsspec's FileNotFoundError says what the server answered."""
        if isinstance(error, RemoteError):
            return error
        cause = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ is not None else error
        status = getattr(cause, "status", None)
        lines = str(cause).strip().splitlines()
        text = f"status {status}" if isinstance(status, int) else lines[0][:200] if lines else type(cause).__name__
        if status in (401, 403) or isinstance(cause, PermissionError):
            return RefusedError(text)
        if status in (404, 410) or (cause is error and isinstance(error, FileNotFoundError | NotADirectoryError)):
            return AbsentError(text)
        return UnreachableError(text)


def _version(found: Mapping[str, Any]) -> str | None:
    told = [f"{key}={found[key]}" for key in _VERSIONS if found.get(key) is not None]
    return "|".join(told) if told else None


def fsspec_files(address: Address, config: RemoteConfig) -> FsspecFiles:
    """Opens a URL by the file system that fsspec has for its scheme.

    Raises:
        RemoteError: a server cannot be reached.
        ImportError: the package for the scheme is not installed.
        ValueError: nobody knows the scheme.
    """
    import fsspec

    fsspec.get_filesystem_class(address.scheme)
    if address.scheme not in WEB:
        try:
            filesystem, path = fsspec.core.url_to_fs(address.url)
        except Exception as error:  # each storage has its own errors
            raise FsspecFiles(None, "", {}).explained(error) from error
        return FsspecFiles(filesystem, path, {})
    from aiohttp import ClientTimeout

    patience = config.timeout_seconds / 2  # fsspec asks twice what a file is: HEAD, then GET
    timeout = ClientTimeout(total=None, connect=patience, sock_connect=patience, sock_read=patience)
    filesystem = fsspec.filesystem(
        address.scheme,
        # The bytes as they lie there, so that sizes agree; a proxy and ~/.netrc as the environment says.
        headers={"Accept-Encoding": "identity"},
        client_kwargs={"timeout": timeout, "trust_env": True, "auto_decompress": False},
    )
    return FsspecFiles(filesystem, address.url, {"block_size": 0})
