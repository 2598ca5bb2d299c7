"""A controller with its decision server: real processes, a real repository, and a real OPA on the same bundle."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from policyd.demo.world import free_ports
from tests.decider.opa import opa_server
from tests.decider.server import wait_for

MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: shop, owner: platform}
spec: {trustDomain: shop.example, dataPlanes: [{name: sidecars, compiler: envoy}]}
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: web, owner: team-web}
spec: {port: 8080, protocol: http, versions: {v1: {endpoints: [127.0.77.1]}}, version: v1}
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: api, owner: team-api}
spec: {port: 8080, protocol: http, versions: {v1: {endpoints: [127.0.77.2]}}, version: v1}
"""
RULE = """\
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: web-reads, owner: team-api}
spec:
  to: api
  from: [web]
  allow: [{methods: [%s], paths: [/v1/items]}]
"""
INPUT = {
    "source": {"spiffe": "spiffe://shop.example/ns/default/svc/web"},
    "destination": {"service": "api"},
    "method": "GET",
    "path": "/v1/items",
}
TOKENS = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("reader", "decider", "operator")}


@dataclass
class Running:
    folder: Path
    http: int
    decide: int
    process: subprocess.Popen[bytes]

    def commit(self, methods: str) -> str:
        mesh = self.folder / "mesh"
        (mesh / "mesh.yaml").write_text(MESH + (RULE % methods if methods else ""))
        git = ("git", "-C", str(mesh), "-c", "user.name=Ada", "-c", "user.email=ada@shop.example")
        subprocess.run((*git, "add", "--all"), check=True)
        subprocess.run((*git, "commit", "--quiet", "--message", f"allow {methods}"), check=True)
        return subprocess.run((*git, "rev-parse", "HEAD"), check=True, capture_output=True, text=True).stdout.strip()

    def asked(self, document: str) -> object:
        with contextlib.suppress(httpx.TransportError):
            url = f"http://127.0.0.1:{self.decide}/v1/data/policyd/authz/{document}"
            return httpx.post(url, json={"input": INPUT}, trust_env=False).json().get("result")
        assert self.process.poll() is None, (self.folder / "said").read_text()
        return None

    def status(self) -> str:
        return httpx.get(f"http://127.0.0.1:{self.http}/v1/status", trust_env=False).text

    def decision_server(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (pid,) = [pid for pid in children if b"decide" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
        return int(pid)


@contextlib.contextmanager
def running(folder: Path, auth: object = None) -> Iterator[Running]:
    http, decide, xds = free_ports(3)
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(folder / "mesh")], check=True)
    settings = {
        "source": {"repository": str(folder / "mesh"), "poll_s": 0.5},
        "state": str(folder / "state"),
        "xds": f"127.0.0.1:{xds}",
        "http": f"127.0.0.1:{http}",
        "decide": {"listen": f"127.0.0.1:{decide}"},
        **({"auth": auth} if auth else {}),
    }
    (folder / "policyd.yaml").write_text(json.dumps(settings))
    with (folder / "said").open("wb") as out:
        argv = (sys.executable, "-m", "policyd", "run", "--config", str(folder / "policyd.yaml"))
        process = subprocess.Popen(argv, stdout=out, stderr=out, env=dict(os.environ))
    try:
        yield Running(folder, http, decide, process)
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
def test_the_decision_server_of_a_controller_and_an_opa_follow_what_is_promoted(
    tmp_path: Path, opa_binary: Path
) -> None:
    with running(tmp_path) as controller:
        first = controller.commit("GET")
        wait_for(lambda: controller.asked("commit") == first)
        assert controller.asked("allow") is True
        assert str(controller.asked("place")).startswith("mesh.yaml:18:")
        public = tmp_path / "state" / "bundle" / "public.pem"
        config = {
            "services": {"policyd": {"url": f"http://127.0.0.1:{controller.http}"}},
            "bundles": {
                "mesh": {
                    "service": "policyd",
                    "resource": "bundles/mesh.tar.gz",
                    "polling": {"long_polling_timeout_seconds": 30},
                    "signing": {"keyid": "policyd"},
                }
            },
            "keys": {"policyd": {"algorithm": "ES256", "key": public.read_text()}},
        }
        (tmp_path / "opa.json").write_text(json.dumps(config))
        with opa_server(opa_binary, tmp_path, "--config-file", str(tmp_path / "opa.json")) as opa:
            wait_for(lambda: opa.get("/health?bundles").status_code == 200)
            assert opa.get("/v1/data/provenance/commit").json()["result"] == first
            os.kill(controller.decision_server(), signal.SIGKILL)
            wait_for(lambda: "the decision server ended with -9" in controller.status())
            second = controller.commit("POST")
            wait_for(lambda: opa.get("/v1/data/provenance/commit").json().get("result") == second)
            wait_for(lambda: controller.asked("commit") == second)
            for at, commit in (("head", second), (first, first)):  # through the decision server, by its controller
                wait_for(lambda: controller.asked("commit?at=" + at) == commit)  # noqa: B023
        assert controller.asked("allow") is True  # no proxy is there to take the change, so it is not promoted
        child = controller.decision_server()
        controller.process.kill()
        wait_for(lambda: not Path(f"/proc/{child}/cmdline").exists() or not _command(child))


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@pytest.mark.slow
def test_where_callers_have_to_say_who_they_are_each_may_do_what_its_roles_allow(tmp_path: Path) -> None:
    roles = {"reader": ["read"], "decider": ["decide"], "operator": ["read", "operate"]}
    auth = {"tokens": [{"name": name, "sha256": TOKENS[name], "roles": roles[name]} for name in roles]}
    with running(tmp_path, auth) as controller:
        commit = controller.commit("GET")
        wait_for(lambda: controller.asked("commit") == commit)  # the child has a token of its own
        with httpx.Client(base_url=f"http://127.0.0.1:{controller.http}", trust_env=False) as client:
            assert client.get("/healthz").status_code == 200

            def status(method: str, path: str, token: str) -> int:
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                return client.request(
                    method, path, headers=headers, json={} if method == "POST" else None
                ).status_code

            assert {token: status("GET", "/v1/status", token) for token in ("", "nobody", *TOKENS)} == {
                "": 401,
                "nobody": 401,
                "reader": 200,
                "decider": 403,
                "operator": 200,
            }
            assert {token: status("POST", "/v1/self-check", token) for token in ("", *TOKENS)} == {
                "": 401,
                "reader": 403,
                "decider": 403,
                "operator": 200,
            }
            for path in ("/bundles/mesh.tar.gz", "/v1/data/policyd/authz/allow"):
                assert [status("GET", path, token) for token in ("", *TOKENS)] == [401, 403, 200, 403]
