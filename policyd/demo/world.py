"""Everything of a mesh that is not policyd, plus one controller: set up on loopback, torn down without a trace.

The demonstration and the end-to-end tests stand in the same world, so that what people see is what is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import yaml

from policyd.base.clock import Clock
from policyd.base.errors import Stalled
from policyd.compiler import registry
from policyd.demo.apps import Behaviour, encode
from policyd.demo.client import Controller
from policyd.demo.processes import Child, Processes
from policyd.demo.repository import ShopRepository
from policyd.demo.sidecars import Sidecars
from policyd.guardrails.team import team_rules
from policyd.intents import load
from policyd.lowering import lower
from policyd.model.mesh import Mesh
from policyd.model.node import Node, nodes
from policyd.rollout.serving import DEADLINE_S
from policyd.source import DirectoryTree

Calls = Mapping[str, tuple[tuple[str, str], ...]]
"""What each service's application calls before it answers: service name to (method, URL)."""


class World:
    """A repository, applications, sidecars and a controller in one folder. Use as an async context manager."""

    def __init__(self, folder: Path, repository: ShopRepository, envoy: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self.repository = repository
        logs = folder / "logs"
        sockets = folder / "run"
        logs.mkdir()
        sockets.mkdir()
        self._processes = Processes(logs)
        self.sidecars = Sidecars(envoy, registry.load("envoy"), sockets, self._processes)
        self._xds, self._http = (f"127.0.0.1:{port}" for port in free_ports(2))
        self._controller: Child | None = None
        self.client = Controller(f"http://{self._http}", clock, self.check)

    async def __aenter__(self) -> World:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.close()
        await self._processes.stop_all()
        self.repository.close()

    @property
    def api(self) -> str:
        """Where the controller answers HTTP."""
        return f"http://{self._http}"

    @property
    def xds(self) -> str:
        """Where the controller serves xDS."""
        return self._xds

    @property
    def controller_pid(self) -> int:
        """The controller's process id. It has to run."""
        assert self._controller is not None
        return self._controller.process.pid

    def mesh(self) -> Mesh:
        """The mesh as the working files of the repository say it. Raises `Stalled` where they are not sound."""
        lowered = lower(load(DirectoryTree(self.repository.path)))
        if lowered.mesh is None:
            raise Stalled("the intents are not sound: " + "; ".join(str(f.message) for f in lowered.findings))
        return lowered.mesh

    async def start_apps(
        self,
        calls: Calls,
        failing: Mapping[tuple[str, str], float],
        slow_s: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        """Start the applications of all instances; the proxies of a gateway have none.

        By (service, version), `failing` is the share of failures and `slow_s` how long an answer takes at the least.
        """
        mesh = self.mesh()
        behaviours = tuple(
            Behaviour(
                service=node.service.name,
                version=node.version,
                address=node.endpoint.app_address,
                port=node.endpoint.app_port,
                proxy=proxy_of(node, mesh.settings.outbound_port),
                calls=calls.get(node.service.name, ()),
                failing=failing.get((node.service.name, node.version), 0.0),
                slow_s=(slow_s or {}).get((node.service.name, node.version), 0.0),
            )
            for node in nodes(mesh)
            if mesh.services[node.service].gateway is None
        )
        await self._processes.start("apps", (sys.executable, "-m", "policyd.demo.apps", encode(behaviours)))
        for behaviour in behaviours:
            await self._listening(behaviour.address, behaviour.port)

    async def start_controller(
        self, *, tick_s: float = 0.5, deadline_s: float = DEADLINE_S, more: Mapping[str, object] | None = None
    ) -> None:
        """Start `policyd run` on this repository, with `more` settings, or start it again after `kill_controller`.

        Its team rules, as they are now, are vouched for: they are ours, and there may be no OPA to check them.
        """
        rules, _ = team_rules(DirectoryTree(self.repository.path))
        settings = {
            "source": {"repository": str(self.repository.path), "branch": "main"},
            "state": str(self._folder / "state"),
            "xds": self._xds,
            "http": self._http,
            "admin": self.sidecars.admin_template,
            "tick_s": tick_s,
            "deadline_s": deadline_s,
            "guardrails": {"vouched": [rules.digest]},
            "logs": {"format": "json"},
            **(more or {}),
        }
        config = self._folder / "policyd.yaml"
        await asyncio.to_thread(config.write_text, yaml.safe_dump(settings))
        command = (sys.executable, "-m", "policyd", "run", "--config", str(config))
        self._controller = await self._processes.start("controller", command)

    async def kill_controller(self) -> None:
        """End the controller at once, as a crash would."""
        assert self._controller is not None
        await self._processes.stop(self._controller, kill=True)
        self.client.forget()

    async def stop_controller(self) -> int:
        """End the controller in good order; returns its exit code, negative where it had to be killed."""
        assert self._controller is not None
        await self._processes.stop(self._controller)
        self.client.forget()
        code = self._controller.process.returncode
        assert code is not None
        return code

    async def start_sidecars(self) -> None:
        """Start an Envoy beside every instance that the intents name.

        Not before the controller listens: an Envoy that finds nobody there asks again ever more seldom.
        """
        host, _, port = self._xds.rpartition(":")
        await self._listening(host, int(port), within_s=60.0)
        await self.sidecars.start(nodes(self.mesh()), self._xds)

    async def until_healthy(self, within_s: float) -> None:
        """Return when every sidecar has found all of its neighbours well: a call before that is answered 503.

        Raises `Stalled` naming one that has not after `within_s` seconds.
        """
        end = self._clock.monotonic() + within_s
        while waiting := await self.sidecars.waiting_for_health():
            self.check()
            if self._clock.monotonic() > end:
                raise Stalled(f"after {within_s:.0f} s {waiting}")
            await self._clock.sleep(0.1)

    async def start_sidecar(self, node_id: str) -> None:
        """Start the Envoy of one instance (again)."""
        for node in nodes(self.mesh()):
            if node.id == node_id:
                await self.sidecars.start_one(node, self._xds)

    def proxy(self, service: str) -> str:
        """The `HTTP_PROXY` of the first instance of a service."""
        mesh = self.mesh()
        for node in nodes(mesh):
            if node.service.name == service:
                return proxy_of(node, mesh.settings.outbound_port)
        raise Stalled(f"no instance of `{service}`")

    def log(self, name: str) -> str:
        """What a child has written so far: `controller`, `apps`, `envoy-<service>-<version>-<address>`."""
        return (self._folder / "logs" / f"{name}.log").read_text(errors="replace")

    def addresses(self, service: str) -> tuple[str, ...]:
        """Where the sidecars of a service are, as the intents have it."""
        return tuple(node.endpoint.address for node in nodes(self.mesh()) if node.service.name == service)

    def check(self) -> None:
        """Raise `Stalled` if anything that was started has ended by itself."""
        self._processes.check()

    async def _listening(self, address: str, port: int, within_s: float = 10.0) -> None:
        end = self._clock.monotonic() + within_s
        while True:
            try:
                _, writer = await asyncio.open_connection(address, port)
            except OSError:
                self.check()
                if self._clock.monotonic() > end:
                    raise Stalled(f"nothing listens on {address}:{port}") from None
                await self._clock.sleep(0.05)
            else:
                writer.close()
                return


def proxy_of(node: Node, outbound_port: int) -> str:
    """Where an instance's application finds its sidecar."""
    address = node.endpoint.address
    return f"http://{address if address.startswith('127.') else '127.0.0.1'}:{outbound_port}"


def free_ports(count: int) -> list[int]:
    """Ports, each another, that nobody listens on now and that the kernel gives to no caller until somebody does."""
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise Stalled("nearly all ports of 127.0.0.1 are taken", hint="who listens on 20000 and above?")


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
