"""The composition root: builds every part of a controller from its settings, runs them together, takes them down."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from policyd.api.app import application, server
from policyd.api.credentials import Gatekeeper
from policyd.api.metrics import ControllerMetrics
from policyd.api.oidc import OidcTokens, check_keys, refresh
from policyd.base.clock import Clock
from policyd.base.errors import PolicydError, Stalled
from policyd.compiler import registry
from policyd.daemon.admins import AdminAddresses
from policyd.daemon.admission import Admission
from policyd.daemon.controller import Controller, Counts
from policyd.daemon.deciders import DecisionServer
from policyd.daemon.deciding import ControllerDecisions
from policyd.daemon.elsewhere import Commits, Elsewhere, Fleet
from policyd.daemon.examining import MeshExamining
from policyd.daemon.judging import Guardrails
from policyd.daemon.lock import only_controller
from policyd.daemon.lost import LostStore
from policyd.daemon.mapping import MeshMapping
from policyd.daemon.publishing import Publisher, reference_rules
from policyd.daemon.recovery import Recovery
from policyd.daemon.revoking import MeshRevoking
from policyd.daemon.seen_edges import SeenEdges
from policyd.daemon.serials import Serials
from policyd.daemon.settings import Settings
from policyd.daemon.showing import Showing
from policyd.daemon.troubles import Troubles
from policyd.daemon.wallet import Wallet
from policyd.decisions.signature import Signer
from policyd.delivery.acknowledged import AcknowledgedSets
from policyd.delivery.ledger import Ledger
from policyd.delivery.snapshot import NodeSnapshot
from policyd.delivery.xds.server import XdsServer
from policyd.guardrails.bundle import shipped_bundle
from policyd.guardrails.choice import choose, find_opa
from policyd.identity.bundle_key import PUBLIC_FILE, bundle_key
from policyd.identity.certificates import Certificates
from policyd.identity.key_sets import KeySets
from policyd.model.node import nodes
from policyd.rollout.assembly import Assembly
from policyd.rollout.driver import Driver
from policyd.rollout.store import Store
from policyd.source import Mirror
from policyd.telemetry.envoy import EnvoyStats
from policyd.telemetry.running import RunningEnvoys


async def serve(settings: Settings, clock: Clock, stop: asyncio.Event) -> None:
    """Run a controller until `stop` is set. Raises `Stalled` or `UsageError` where it cannot start."""
    _prepare(settings.state)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(only_controller(settings.state))
        ledger = Ledger()
        acknowledged = AcknowledgedSets(settings.state / "acknowledged.sqlite", clock)
        stack.callback(acknowledged.close)
        acknowledged.recall(ledger)

        def floor(snapshot: NodeSnapshot) -> NodeSnapshot:
            # By the driver, which is built on this server.
            return driver.closing.narrowed(snapshot)

        xds = XdsServer(settings.xds, clock, ledger, keep=lambda: acknowledged.keep(ledger), floor=floor)
        metrics = ControllerMetrics()
        guardrails = settings.guardrails
        engine = choose(
            guardrails.engine,
            opa_url=guardrails.opa_url,
            opa_binary=guardrails.opa_binary,
            deadline_s=guardrails.deadline_s,
        )
        stack.push_async_callback(engine.close)
        store = Store(settings.state / "policyd.sqlite")
        stack.callback(store.close)
        mirror = Mirror(
            settings.state / "mirror.git",
            settings.source.repository,
            settings.source.branch,
            subdirectory=settings.source.subdirectory,
        )
        stack.callback(mirror.close)
        wallet = Wallet(settings.state / "identity", clock)
        key_sets = KeySets(settings.state / "key-sets.json", settings.fetch.allowed, clock)
        stats = EnvoyStats(AdminAddresses(settings.admin), clock)
        stack.push_async_callback(stats.aclose)
        troubles = Troubles()
        showing = Showing(Certificates(settings.certificate_files, clock), troubles)
        assembly = Assembly(registry.load, wallet.secrets, settings.places, showing.secrets)
        driver = Driver(
            store=store,
            clock=clock,
            assembly=assembly,
            delivery=xds,
            metrics=stats,
            trust=wallet,
            tick_s=settings.tick_s,
            deadline_s=settings.deadline_s,
            keys=lambda: key_sets.keys,
            stopwatch=metrics.stopwatch,
        )
        envoys = RunningEnvoys(AdminAddresses(settings.admin))
        stack.push_async_callback(envoys.aclose)
        lost = LostStore(xds, ledger, mirror, envoys, compiler_of=registry.load, clock=clock)
        guarding = Guardrails(
            engine, shipped_bundle(), opa=find_opa(guardrails.opa_binary), vouched=guardrails.vouched
        )
        admission = Admission(guarding, clock, metrics.stopwatch, bindings=settings.bindings)
        recovery = Recovery(
            driver, lost, mirror=mirror, admission=admission, wallet=wallet, troubles=troubles, xds=xds, envoys=envoys
        )
        controller = Controller(
            mirror=mirror,
            poll_s=settings.source.poll_s,
            admission=admission,
            driver=driver,
            xds=xds,
            wallet=wallet,
            key_sets=key_sets,
            recovery=recovery,
            troubles=troubles,
            metrics=metrics,
            clock=clock,
            engine_name=engine.name,
            self_check_s=settings.self_check_s,
            counts=lambda: Counts(
                admission.parsed_files, admission.lowered_values, guarding.asked, assembly.compiled
            ),
        )
        elsewhere = Elsewhere(controller.head, Commits(mirror), Fleet(driver.serving, xds))
        publisher = Publisher(
            controller.promoted,
            clock,
            Signer(bundle_key(settings.state / "bundle")),
            reference_rules(),
            Serials(settings.state / "bundle", clock),
        )
        decisions = ControllerDecisions(controller.promoted, elsewhere, clock)
        revoking, mapping = MeshRevoking(driver, wallet, xds, envoys, clock), MeshMapping(driver, clock)
        seen_edges = SeenEdges(settings.state / "seen-edges.json", clock)
        seen_edges.recall(driver.edges)
        stack.callback(lambda: seen_edges.keep(driver.edges.seen()))
        api, deciding = _answering(
            settings,
            controller,
            clock,
            lambda keeper: application(
                controller,
                decisions,
                revoking,
                metrics,
                mapping=mapping,
                examining=MeshExamining(driver, xds, ledger, envoys, clock),
                bundles=publisher,
                keeper=keeper,
            ),
        )
        if driver.promoted is not None:
            xds.expect(node.id for node in nodes(driver.promoted))
        await xds.start()
        stack.push_async_callback(xds.stop)

        def end_feeds() -> None:
            driver.events.close()
            publisher.close()

        others = [
            acknowledged.follow(ledger),
            seen_edges.follow(driver.edges),
            recovery.watch(clock),
            showing.follow(clock, driver.runtime_changed),
            *deciding,
        ]
        await _together(controller, api, stop, end_feeds, *others)


async def _together(
    controller: Controller,
    api: uvicorn.Server,
    stop: asyncio.Event,
    end_feeds: Callable[[], None],
    *others: Coroutine[None, None, None],
) -> None:
    """Run all tasks until `stop`; one that fails takes the others down with it, since half a controller misleads."""
    try:
        async with asyncio.TaskGroup() as group:
            forever = [
                *(group.create_task(other) for other in others),
                group.create_task(controller.follow(), name="follow"),
                group.create_task(controller.renew(), name="renew"),
                group.create_task(controller.fetch_keys(), name="keys"),
                group.create_task(controller.record_metrics(), name="metrics"),
                group.create_task(controller.check_itself(), name="self-check"),
            ]
            group.create_task(controller.drive(stop), name="drive")
            serving = group.create_task(_answer(api, stop), name="http")
            await stop.wait()
            end_feeds()
            api.should_exit = True
            await serving
            for task in forever:
                task.cancel()
    except ExceptionGroup as failed:
        ours, bugs = failed.split(PolicydError)
        if ours is None or bugs is not None:
            raise
        raise _first(ours) from failed


def _answering(
    settings: Settings,
    controller: Controller,
    clock: Clock,
    api: Callable[[Gatekeeper | None], Starlette],
) -> tuple[uvicorn.Server, list[Coroutine[None, None, None]]]:
    """The management API, and what keeps the decision server where the settings ask for one."""
    auth, keeping = settings.auth, list[Coroutine[None, None, None]]()
    if settings.decide is not None:
        decide = settings.decide
        if not decide.fetch.hosts:
            decide = decide.model_copy(update={"fetch": settings.fetch})
        check_keys(decide.auth.oidc, decide.fetch.allowed)
        child = DecisionServer(
            decide,
            folder=settings.state,
            key=settings.state / "bundle" / PUBLIC_FILE,
            controller=settings.http,
            clock=clock,
            trouble=controller.say_about_decisions,
            floor=lambda: promoted.floor if (promoted := controller.promoted()) is not None else None,
        )
        keeping.append(child.keep())
        auth = auth.model_copy(update={"tokens": (*auth.tokens, child.token)}) if auth.required else auth
    oidc = OidcTokens(auth.oidc) if auth.oidc is not None else None
    if oidc is not None and auth.oidc is not None:
        check_keys(auth.oidc, settings.fetch.allowed)
        keeping.append(refresh(oidc, auth.oidc, settings.fetch.allowed))
    keeper = Gatekeeper(auth, oidc) if auth.required else None
    return server(api(keeper), settings.http, auth), keeping


def _first(group: BaseExceptionGroup[PolicydError]) -> PolicydError:
    """The first error of a group: the others are what it brought down."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _answer(api: uvicorn.Server, stop: asyncio.Event) -> None:
    """Serve HTTP. A controller that does not answer is none: the end of the server is its end."""
    try:
        await api.serve()
    except SystemExit as error:  # how uvicorn says that the address is taken
        raise Stalled(
            f"cannot listen on {api.config.host}:{api.config.port} for HTTP", hint="is another controller running?"
        ) from error
    finally:
        stop.set()


def _prepare(folder: Path) -> None:
    """Make the state folder, for its owner only. Raises `Stalled` where that cannot be done."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Stalled(f"the state folder `{folder}` cannot be made: {error.strerror}") from error


def stop_on_signals(stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT end the controller in good order."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
