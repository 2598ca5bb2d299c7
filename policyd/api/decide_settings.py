"""Settings of decision servers, as the section `decide` of the controller's file or a file of their own."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from policyd.api.credentials import Auth
from policyd.api.fetch_settings import Fetch
from policyd.intents.kind import Many
from policyd.intents.settings_file import ListenAddress, Section


class Log(Section):
    """The decision log."""

    to: Many[str] = ("-",)
    """`-` is standard output; paths are appended to; to a URL batches are posted as OPA does it."""
    hosts: Many[str] = ()
    """The hosts that a URL may name."""
    token: str = ""
    """Bearer token for the URL."""
    mask: Many[str] = ()
    """JSON pointers to what must not be written, `/input/jwt/claims/email`."""
    drop: Many[dict[str, Any]] = ()
    """Events that are not written: values by JSON pointer, all of which have to be there."""
    waiting_bytes: int = Field(default=32 * 1024 * 1024, ge=64 * 1024)
    """How much may wait to be written; more is lost, and counted. Not less than some hundred events."""


class Decide(Section):
    """Everything but the bundle and its key."""

    listen: ListenAddress = "127.0.0.1:8182"
    workers: int = Field(default=1, ge=1, le=64)
    log: Log | None = None
    """None: decisions are not written down."""
    opa: str = ""
    """The URL of an OPA that answers for paths which are not ours."""
    auth: Auth = Auth()
    fetch: Fetch = Fetch()
    """Where the keys of `auth: {oidc}` may be fetched; a controller's own server has the controller's."""
    token: str = ""
    """Bearer token for the URL of the bundle."""
    poll_s: float = Field(default=5.0, gt=0)
    """Seconds between two looks at a URL whose server does not wait for changes by itself."""
    remember: str = ""
    """The file that keeps the newest bundle's number over restarts; a bundle that is a file has one beside it."""
    controller: str = ""
    """The URL of a controller's HTTP API: it answers `?at=`, and says where proxies do not decide as promoted yet."""
