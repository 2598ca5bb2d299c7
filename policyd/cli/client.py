"""Talks to a running controller over HTTP, for `status` and `releases`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import orjson
import typer

from policyd.base.errors import PolicydError, Retry, UsageError

DEFAULT_SERVER = "http://127.0.0.1:8181"
ServerOption = Annotated[
    str, typer.Option("--server", envvar="POLICYD_SERVER", help="Where the controller's HTTP API listens.")
]
_TIMEOUT_S = 10.0
_TOKEN = re.compile(r"[!-~]*")
"""What a header can carry as one word. RFC 6750, section 2.1, asks for less than that; whose token it is may not."""


class Client:
    """One controller. Every method raises `Retry` where it does not answer, `UsageError` where it refuses."""

    def __init__(self, server: str, transport: httpx.BaseTransport | None = None) -> None:
        self._server = server
        try:
            self._http = httpx.Client(
                base_url=server, timeout=_TIMEOUT_S, transport=transport, trust_env=False, headers=_credentials()
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise UsageError(f"`{server}` is not an address", hint=f"for example {DEFAULT_SERVER}") from error

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        with self._in_words():
            return _body(self._http.get(path))

    def post(
        self,
        path: str,
        body: object = None,
        params: Mapping[str, str] | None = None,
        *,
        timeout_s: float = _TIMEOUT_S,
    ) -> Any:
        """What the controller answers to an order, or to a question."""
        with self._in_words():
            return _body(self._http.post(path, json=body, params=params, timeout=timeout_s))

    @contextmanager
    def following(self) -> Iterator[Iterator[dict[str, Any]]]:
        """What happens from now on, one event at a time (server-sent events, HTML standard, section 9.2)."""
        with (
            self._in_words(),
            self._http.stream("GET", "/v1/events", timeout=httpx.Timeout(_TIMEOUT_S, read=None)) as flow,
        ):
            if flow.status_code >= httpx.codes.BAD_REQUEST:
                flow.read()
                _body(flow)
            lines = flow.iter_lines()
            next(lines, "")  # from the first line on nothing is missed
            yield (orjson.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:"))

    def close(self) -> None:
        """End the connections."""
        self._http.close()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise UsageError(f"`{self._server}` is not an address", hint=f"for example {DEFAULT_SERVER}") from error
        except httpx.HTTPError as error:
            raise Retry(
                f"no controller answers at `{self._server}`: {str(error) or type(error).__name__}",
                after=_TIMEOUT_S,
                hint="start one with `policyd run --config policyd.yaml`, or name it with --server",
            ) from error


def _credentials() -> dict[str, str]:
    """Who asks, where the controller wants to know: the bearer token in `POLICYD_TOKEN`."""
    token = os.environ.get("POLICYD_TOKEN", "")
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            "`POLICYD_TOKEN` has a character that no header carries",
            hint="a token is printable ASCII without spaces: set it as it was given out",
        )
    return {"Authorization": f"Bearer {token}"} if token else {}


def _body(answer: httpx.Response) -> Any:
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        raise PolicydError(f"`{answer.url}` is not policyd: it answers {answer.status_code} without JSON") from error
    if answer.is_success or answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return body
    said = body if isinstance(body, dict) else {}
    raise UsageError(
        said.get("message") or f"the controller answered {answer.status_code}", hint=said.get("hint", "")
    )
