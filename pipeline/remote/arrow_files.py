"""Amazon's and Google's object storage, and what speaks as they do, through the file systems of pyarrow."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from pipeline.remote.config import RemoteConfig
from pipeline.remote.listing import AbsentError, RefusedError, RemoteError, RemoteFile, UnreachableError

S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Variables of the environment that name the server of s3:// URLs, the first that is set; pyarrow reads neither."""

S3_ATTEMPTS = 3
"""Times that S3 is asked the same before it counts as out of reach: it answers some requests with "slow down"."""

_REFUSALS = ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH", "EXPIRED", "403", "401", "FORBIDDEN")
_ABSENCES = ("NO_SUCH_BUCKET", "NO_SUCH_KEY", "RESOURCE_NOT_FOUND", "404")


class ArrowFiles:
    """A file or folder of an object store.

    Args:
        filesystem: of pyarrow.
        path: bucket and key.
    """

    def __init__(self, filesystem: Any, path: str) -> None:
        self._filesystem = filesystem
        self._path = path

    def file(self) -> RemoteFile | None:
        """See `Remote.file`; its version is the ETag."""
        from pyarrow.fs import FileType

        try:
            found = self._filesystem.get_file_info(self._path)
            if found.type == FileType.NotFound:
                raise AbsentError("nothing of that name")
            if found.type == FileType.Directory:
                return None
            with self._filesystem.open_input_file(self._path) as stream:
                return RemoteFile("", found.size, self.version_in(stream) or _time(found))
        except (OSError, ValueError) as error:
            raise self.explained(error) from error

    def files(self) -> list[RemoteFile]:
        """See `Remote.files`; listings of Arrow have no ETags: a version is the time of the last change."""
        from pyarrow.fs import FileSelector, FileType

        try:
            below = self._filesystem.get_file_info(FileSelector(self._path, recursive=True))
        except (OSError, ValueError) as error:
            raise self.explained(error) from error
        start = len(self._path) + 1
        return [RemoteFile(each.path[start:], each.size, _time(each)) for each in below if each.type == FileType.File]

    def open(self, file: RemoteFile) -> Any:
        """See `Remote.open`."""
        try:
            return self._filesystem.open_input_stream(self._at(file), compression=None)
        except (OSError, ValueError) as error:
            raise self.explained(error) from error

    def version_in(self, stream: Any) -> str | None:
        """See `Remote.version_in`: the ETag."""
        told = stream.metadata() or {}
        tags = {str(key).lower(): bytes(value) for key, value in told.items()}
        return tags["etag"].decode("latin-1") if "etag" in tags else None

    def version(self, file: RemoteFile) -> str | None:
        """See `Remote.version`: a stream asks for range after range, perhaps of another version each."""
        try:
            with self._filesystem.open_input_file(self._at(file)) as stream:
                return self.version_in(stream)
        except (OSError, ValueError) as error:
            raise self.explained(error) from error

    def explained(self, error: Exception) -> RemoteError:
        """See `Remote.explained`. Arrow tells all kinds of failure as text."""
        text = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        if isinstance(error, FileNotFoundError) or any(word in text for word in _ABSENCES):
            return AbsentError(text)
        upper = text.upper()
        return RefusedError(text) if any(word in upper for word in _REFUSALS) else UnreachableError(text)

    def _at(self, file: RemoteFile) -> str:
        return f"{self._path}/{file.name}" if file.name else self._path


def _time(found: Any) -> str | None:
    return None if found.mtime_ns is None else str(found.mtime_ns)


def s3_files(path: str, config: RemoteConfig) -> ArrowFiles:
    """Opens `bucket/key` of Amazon's S3, or of the server that the config or the environment names."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    endpoint = config.endpoint
    for name in S3_ENDPOINTS:
        endpoint = os.environ.get(name) or None if endpoint is None else endpoint
    region = next((os.environ[name] for name in ("AWS_REGION", "AWS_DEFAULT_REGION") if os.environ.get(name)), None)
    try:
        if region is None and endpoint is None:
            region = resolve_s3_region(path.partition("/")[0])
        filesystem = S3FileSystem(
            endpoint_override=None if endpoint is None else endpoint.rstrip("/"),
            region=region,
            anonymous=config.anonymous,
            # All attempts together take the time that is allowed: a process does not end before an open request.
            connect_timeout=config.timeout_seconds / S3_ATTEMPTS,
            request_timeout=config.timeout_seconds / S3_ATTEMPTS,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=S3_ATTEMPTS),
        )
    except (OSError, ValueError) as error:
        raise ArrowFiles(None, path).explained(error) from error
    return ArrowFiles(filesystem, path)


def gcs_files(path: str, config: RemoteConfig) -> ArrowFiles:
    """Opens `bucket/key` of Google's Cloud Storage, or of the server that the config names."""
    from pyarrow.fs import GcsFileSystem

    scheme, _, host = (config.endpoint or "").partition("://")
    server = {} if config.endpoint is None else {"scheme": scheme, "endpoint_override": host.rstrip("/")}
    patience = timedelta(seconds=config.timeout_seconds)
    try:
        return ArrowFiles(GcsFileSystem(anonymous=config.anonymous, retry_time_limit=patience, **server), path)
    except (OSError, ValueError) as error:
        raise ArrowFiles(None, path).explained(error) from error
