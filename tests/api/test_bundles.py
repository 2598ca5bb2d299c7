"""`/bundles/mesh.tar.gz`: a real OPA that polls it verifies it, says what it has, and is sent nothing twice."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from policyd.api.bundles import BundleEndpoint
from policyd.base.errors import Retry
from policyd.daemon.publishing import reference_rules
from policyd.decisions.bundle import Packed, pack, provenance_document
from policyd.decisions.document import document
from policyd.model.mesh import Mesh
from tests.decider.meshes import READS, question, shop
from tests.decider.opa import opa_server
from tests.decider.server import SIGNER, wait_for


def packed(mesh: Mesh, serial: int) -> Packed:
    provenance = provenance_document(str(serial) * 40, {})
    return pack(document(mesh), provenance, reference_rules(), SIGNER, serial=serial)


@dataclass
class OneBundle:
    """What is promoted, and who asked for it: the name of what each had, and the status of what he got."""

    now: Packed | None
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def bundle(self, known: str = "", wait_s: float = 0.0) -> Packed:
        del known, wait_s
        if self.now is None:
            raise Retry("no mesh has been promoted yet", after=1.0)
        return self.now

    async def mesh(self, request: Request) -> Response:
        answer = await BundleEndpoint(self).mesh(request)
        self.asked.append((request.headers.get("if-none-match", ""), answer.status_code))
        return answer


@contextmanager
def served(bundles: OneBundle) -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/bundles/mesh.tar.gz", bundles.mesh)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


def test_a_real_opa_says_what_it_has_and_is_sent_the_next_one_only(tmp_path: Path, opa_binary: Path) -> None:
    first, second = packed(shop(READS), 1), packed(shop(), 2)
    bundles = OneBundle(first)
    with served(bundles) as url:
        polling = {"min_delay_seconds": 1, "max_delay_seconds": 1}
        mesh = {"service": "policyd", "resource": "bundles/mesh.tar.gz", "polling": polling}
        config = {
            "services": {"policyd": {"url": url}},
            "bundles": {"mesh": {**mesh, "signing": {"keyid": "policyd"}}},
            "keys": {"policyd": {"algorithm": "ES256", "key": SIGNER.public_pem.decode()}},
        }
        (tmp_path / "opa.json").write_text(json.dumps(config))
        with opa_server(opa_binary, tmp_path, "--config-file", str(tmp_path / "opa.json")) as opa:

            def allows() -> object:
                return opa.post("/v1/data/policyd/authz/allow", json={"input": question()}).json().get("result")

            wait_for(lambda: (first.etag, 304) in bundles.asked)
            assert allows() is True
            bundles.now = second
            wait_for(lambda: (second.etag, 304) in bundles.asked)
            assert allows() is False
    assert [status for _, status in bundles.asked if status != 304] == [200, 200]


def test_who_has_it_already_is_told_so_whatever_else_he_has() -> None:
    bundles = OneBundle(None)
    with served(bundles) as url, httpx.Client(base_url=url, trust_env=False) as client:
        none_yet = client.get("/bundles/mesh.tar.gz")
        assert (none_yet.status_code, none_yet.json()["code"]) == (503, "internal_error")
        bundles.now = packed(shop(READS), 1)
        whole = client.get("/bundles/mesh.tar.gz")
        assert (whole.status_code, whole.content, whole.headers["etag"]) == (200, bundles.now.body, bundles.now.etag)
        for known, status in ((f'"other", {bundles.now.etag}', 304), ('"other"', 200), ("", 200)):
            answer = client.get("/bundles/mesh.tar.gz", headers={"If-None-Match": known})
            assert (answer.status_code, answer.content == b"") == (status, status == 304), known
