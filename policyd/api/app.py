"""Puts the endpoints together to one ASGI application, and serves it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from policyd.api.bad_request import BadRequest
from policyd.api.bodies import refusal
from policyd.api.bundles import BundleEndpoint
from policyd.api.control import Bundles, ControlPlane, Decisions
from policyd.api.credentials import Auth, Gatekeeper, check_exposure
from policyd.api.data import DataEndpoint
from policyd.api.gate import Gate
from policyd.api.metrics import ControllerMetrics
from policyd.api.proxies import Examining, ProxiesEndpoint
from policyd.api.releases import ControlEndpoint
from policyd.api.revocations import RevocationsEndpoint, Revoking
from policyd.api.service_map import MapEndpoint, Mapping


def application(
    control: ControlPlane,
    decisions: Decisions,
    revoking: Revoking,
    metrics: ControllerMetrics,
    *,
    mapping: Mapping | None = None,
    examining: Examining | None = None,
    bundles: Bundles | None = None,
    keeper: Gatekeeper | None = None,
) -> Starlette:
    """The ASGI application of one controller; without a `keeper` nobody is asked who he is."""
    data, own, cuts = DataEndpoint(decisions), ControlEndpoint(control, metrics), RevocationsEndpoint(revoking)
    published = [] if bundles is None else [Route("/bundles/mesh.tar.gz", BundleEndpoint(bundles).mesh)]
    drawn = [] if mapping is None else [Route("/v1/map", MapEndpoint(mapping).map)]
    examined = [] if examining is None else [Route("/v1/proxies", ProxiesEndpoint(examining).proxies)]
    app = Starlette(
        routes=[
            Route("/v1/data", data.data, methods=["GET", "POST"]),
            Route("/v1/data/{path:path}", data.data, methods=["GET", "POST"]),
            Route("/v1/differing", data.differing),
            Route("/v1/explain", data.explain, methods=["GET", "POST"]),
            Route("/v1/status", own.status),
            Route("/v1/releases", own.releases),
            Route("/v1/releases/{id}", own.release),
            Route("/v1/releases/{id}/{verb}", own.command, methods=["POST"]),
            Route("/v1/revocations", cuts.list),
            Route("/v1/revocations", cuts.revoke, methods=["POST"]),
            Route("/v1/revocations/{namespace}/{name}/lift", cuts.lift, methods=["POST"]),
            Route("/v1/clock/accept", own.accept_clock, methods=["POST"]),
            Route("/v1/recover", own.recover, methods=["POST"]),
            Route("/v1/self-check", own.self_check, methods=["POST"]),
            Route("/v1/events", own.events),
            Route("/healthz", own.healthz),
            Route("/readyz", own.readyz),
            Route("/metrics", own.metrics),
            *published,
            *drawn,
            *examined,
        ],
        middleware=[] if keeper is None else [Middleware(Gate, keeper)],
        exception_handlers={HTTPException: _http_error},
    )
    # OPA's clients do not follow redirects, and a POST that is redirected loses its body in some of them.
    app.router.redirect_slashes = False
    return app


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path, status = request.url.path, error.status_code
    if status == 405:
        return refusal(
            BadRequest(f"`{request.method}` is not for `{path}`", code="method_not_allowed", status=status)
        )
    words = f"nothing at `{path}`" if status == 404 else error.detail
    return refusal(BadRequest(words, code="not_found", status=status))


def server(app: Starlette, address: str, auth: Auth | None = None) -> uvicorn.Server:
    """A server for `address:port`. Raises `UsageError` beyond loopback where nobody is asked who he is."""
    check_exposure(address, auth or Auth(), "the HTTP API")
    host, _, port = address.rpartition(":")
    config = uvicorn.Config(
        app, host=host, port=int(port), log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2
    )
    return _Server(config)


class _Server(uvicorn.Server):
    """Leaves signals to the controller, which ends the feeds first: the server would wait for them and break them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take none."""
        yield
