"""The section `remote` of a config: how URLs are read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from data.contract import FrozenConfig


class RemoteConfig(FrozenConfig):
    """How sources at URLs are read. It holds no credentials: these come from where the tools of each storage look for
    them (docs/urls.md).
    """

    endpoint: str | None = None
    """Server of s3:// and gs:// URLs that is not Amazon's or Google's, as `http://localhost:9000` for MinIO. What
    AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL says when left out, for s3:// alone."""

    anonymous: bool = False
    """Ask s3:// and gs:// without credentials, as public buckets want it."""

    check: Literal["each_run", "once"] = "each_run"
    """`each_run`: every plan and run asks the server whether anything changed. `once`: a copy that is whole is read
    without asking, offline too."""

    timeout_seconds: Annotated[float, Field(ge=1.0, le=3600.0)] = 20.0
    """Seconds without an answer after which a server counts as out of reach."""

    threads: Annotated[int, Field(ge=1, le=64)] = 8
    """Files that are downloaded at a time."""

    @field_validator("endpoint")
    @classmethod
    def _address_alone(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        scheme, separator, host = endpoint.partition("://")
        if not separator or scheme not in ("http", "https") or not host.strip("/") or "@" in host:
            raise ValueError(
                "expected http:// or https:// and a host, without credentials, got something else. Write it as "
                "http://localhost:9000."
            )
        return endpoint
