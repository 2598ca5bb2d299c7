"""`policyd decide`: the decision server, in the foreground, until a signal."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from policyd.base.clock import SystemClock
from policyd.base.logs import configure_logs
from policyd.cli.version import version_of

if TYPE_CHECKING:
    from policyd.api.decide_settings import Decide
    from policyd.decider.memory import Memory
    from policyd.decisions.signature import Verifier


def decide(
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="The signed bundle: a file, or a URL to follow.")],
    key: Annotated[Path, typer.Option("--key", "-k", help="The public key that the bundle has to be signed by.")],
    *,
    settings: Annotated[
        Path | None, typer.Option("--settings", "-c", help="Log, tokens and so on: a file, YAML or JSON.")
    ] = None,
    listen: Annotated[str, typer.Option("--listen", help="`address:port`; port 0 lets the kernel choose.")] = "",
    workers: Annotated[int, typer.Option("--workers", help="Processes that share the port.", min=0, max=64)] = 0,
    log: Annotated[
        list[str] | None, typer.Option("--log", help="Where decisions are written: `-`, a file, a URL.")
    ] = None,
    controller: Annotated[
        str, typer.Option("--controller", help="URL of a controller's HTTP API, which answers `?at=`.")
    ] = "",
    accept_older: Annotated[
        bool, typer.Option("--accept-older", help="Take a bundle that is older than what was served before.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Write the server's own log as JSON.")] = False,
) -> None:
    """Answer "may A call B?" over HTTP, as OPA does, from a bundle that is followed."""
    # Servers are imported by the verb that starts them, so that all others start fast.
    from policyd.decider.choice import check_source, chosen, verifier  # noqa: PLC0415
    from policyd.decider.memory import Memory, memory_of  # noqa: PLC0415

    configure_logs(json=json)
    check_source(bundle)
    found, by = chosen(settings, listen=listen, workers=workers, log=log, controller=controller), verifier(key)
    memory = Memory(memory_of(bundle, found.remember), key.read_bytes(), accept_older=accept_older)
    asyncio.run(_run(found, bundle, by, memory, json=json))


async def _run(settings: Decide, bundle: str, verifier: Verifier, memory: Memory, *, json: bool) -> None:
    from policyd.decider.parent import Parent  # noqa: PLC0415

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    version = version_of("policyd")
    parent = Parent(
        settings, bundle, verifier, SystemClock(), version=version, memory=memory, json=json, started=_say_started
    )
    await parent.run(stop)


def _say_started(address: str) -> None:
    typer.echo(f"decisions at http://{address}", err=True)
