"""`/bundles/mesh.tar.gz`: the signed bundle, for OPAs and decision servers, with their ways to ask for the next one.

Source: OPA's bundle service API; with `Prefer: wait=N` it is a long poll.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from policyd.api.bad_request import BadRequest
from policyd.api.bodies import refusal
from policyd.api.control import Bundles
from policyd.base.errors import Retry

LONGEST_WAIT_S = 60.0
_WAIT = re.compile(r"(?:^|[;, ])wait=([0-9]{1,6})(?:$|[;, ])")
_WAITS = "application/vnd.openpolicyagent.bundles"


class BundleEndpoint:
    """Serves one controller's bundle."""

    def __init__(self, bundles: Bundles) -> None:
        self._bundles = bundles

    async def mesh(self, request: Request) -> Response:
        """The bundle, or 304 where the caller has it."""
        wait = _WAIT.search(request.headers.get("Prefer", ""))
        wait_s = min(float(wait[1]), LONGEST_WAIT_S) if wait else 0.0
        known = [each.strip() for each in request.headers.get("If-None-Match", "").split(",")]
        try:
            packed = await self._bundles.bundle(known[-1], wait_s)
        except Retry as error:
            return refusal(BadRequest(str(error), code="internal_error", status=503))
        # Its type tells that this server waits.
        headers = {"ETag": packed.etag, "Content-Type": _WAITS if wait else "application/gzip"}
        if packed.etag in known:
            return Response(status_code=304, headers=headers)
        return Response(packed.body, headers=headers)
