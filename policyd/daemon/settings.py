"""Settings of one controller: how the world is reached. Git says what should be, never how to reach it.

Read from one YAML file, by the reader that intents have: what is doubtful there is refused here. Everything but the
repository has a default that works on one machine. Relative paths are taken from the folder of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, field_validator

from policyd.api.credentials import Auth
from policyd.api.decide_settings import Decide
from policyd.api.fetch_settings import Fetch
from policyd.identity.certificates import Files
from policyd.intents.bindings import Bindings, Folders
from policyd.intents.kind import Many
from policyd.intents.settings_file import ListenAddress, Seconds, Section, path_value, read_settings_file
from policyd.intents.translate import nearest
from policyd.intents.units import Label, label, shown, unreadable
from policyd.model.external import SYSTEM
from policyd.model.tracing import Collector
from policyd.plan.places import Places
from policyd.rollout.serving import DEADLINE_S

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")


class Source(Section):
    """The Git repository that is followed."""

    repository: str
    """A path (`/srv/git/mesh`, `./mesh`), or a URL of an allowed protocol."""
    branch: str = "main"
    subdirectory: str = ""
    """The folder inside the repository that holds the intents; empty for all of it."""
    poll_s: Seconds = 15.0
    """Seconds between looks; local repositories are also watched and seen at once."""


class Guardrails(Section):
    """Who judges commits."""

    engine: Literal["auto", "opa", "embedded"] = "auto"
    """`auto` takes OPA where there is one, else the embedded engine."""
    opa_url: str = ""
    opa_binary: str = ""
    deadline_s: Seconds = 10.0
    vouched: Many[str] = ()
    """Digests of team rules that the embedded engine may run (production judges team rules with OPA)."""


class CertificateFiles(Section):
    """A certificate and its key, PEM, on this machine. New files are taken as soon as they belong together."""

    chain: Annotated[Path, PlainValidator(path_value)]
    """The certificate first, then those that signed it."""
    key: Annotated[Path, PlainValidator(path_value)]


class Logs(Section):
    """What the controller writes to standard error."""

    format: Literal["json", "terminal"] = "terminal"
    level: Literal["debug", "info", "warning", "error"] = "info"


def host(value: object) -> str:
    """Read the name or the address that a certificate must have. Raises `unreadable`."""
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise unreadable(f"`{shown(value)}` is not the name of a host", hint="for example `otel.internal`")
    return value.strip("[]")


class CollectorTls(Section):
    """TLS towards a collector. It is not told who calls."""

    roots: Label = SYSTEM
    """The roots that its certificate must come from, by their name in `roots`; those of the sidecars' machines unless
    you say so."""
    name: Annotated[str, PlainValidator(host)] | None = None
    """What its certificate must name, where that is not the host of `address`."""


def collector_address(value: object) -> str:
    """Read where a collector listens: a host name or an address, and a port. Raises `unreadable`."""
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not _HOST.fullmatch(host) or not port.isdigit() or not 0 < int(port) < 65_536:
        raise unreadable(f"`{shown(value)}` is not where a collector listens", hint="write `127.0.0.1:4317`")
    return f"{host}:{int(port)}"


class CollectorPlace(Section):
    """Where a collector listens, as seen from the sidecars: OTLP over gRPC."""

    address: Annotated[str, PlainValidator(collector_address)]
    """`host:port`; a collector that is spoken to in the clear may be said by this alone."""
    tls: CollectorTls | None = None
    """TLS towards it; in the clear unless it is given."""

    @property
    def place(self) -> Collector:
        """The same as a value."""
        return Collector(self.address, *((self.tls.roots, self.tls.name or "") if self.tls is not None else ()))


def _in_the_clear(value: object) -> object:
    return {"address": value} if isinstance(value, str) else value


class Settings(Section):
    """All of it; see the README for an example."""

    source: Source
    namespaces: Folders = Field(default_factory=dict)
    """The folders that each namespace's intents may lie in, from the watched folder on; `"*"` stands for namespaces
    that are not listed, `{namespace}` in a folder for the name. Empty: any file may name any namespace."""
    state: Annotated[Path, PlainValidator(path_value)] = Path("state")
    """Folder of the store, the certificate authority and the Git mirror; created if it is not there."""
    xds: ListenAddress = "127.0.0.1:15010"
    http: ListenAddress = "127.0.0.1:8181"
    admin: str = "unix:/run/envoy/{service}-{version}-{address}.sock"
    """Where a sidecar's admin answers: `unix:` or `http:`; `{address}`, `{service}` and so on are filled in."""
    guardrails: Guardrails = Guardrails()
    fetch: Fetch = Fetch()
    roots: Mapping[Annotated[str, PlainValidator(label)], Annotated[Path, PlainValidator(path_value)]] = Field(
        default_factory=dict
    )
    """Files of root certificates (PEM) on the machines of the sidecars, by the name that an `Egress` has for them
    (`tls: {roots: NAME}`), or a collector. `system` is `/etc/ssl/certs/ca-certificates.crt` unless you say so."""
    collectors: Mapping[
        Annotated[str, PlainValidator(label)], Annotated[CollectorPlace, BeforeValidator(_in_the_clear)]
    ] = Field(default_factory=dict)
    """Where sidecars send spans, by the name that the `Mesh` has for it (`tracing: {otlp: NAME}`)."""
    certificates: Mapping[Annotated[str, PlainValidator(label)], CertificateFiles] = Field(default_factory=dict)
    """What a `Gateway` shows to its clients, by the name that it has for it (`tls: {certificate: NAME}`)."""
    tick_s: Seconds = 1.0
    """Seconds between looks at the metrics while something is in flight."""
    deadline_s: Seconds = DEADLINE_S
    """How long a proxy may take to acknowledge or refuse what it was sent."""
    self_check_s: Seconds = 600.0
    """Seconds between two comparisons with a controller that remembers nothing."""
    auth: Auth = Auth()
    """Who may use the HTTP API."""
    decide: Decide | None = None
    """The decision server that the controller starts; `{}` for one with nothing but defaults."""
    logs: Logs = Logs()

    @field_validator("collectors")
    @classmethod
    def _roots_are_there(
        cls, said: Mapping[str, CollectorPlace], before: ValidationInfo
    ) -> Mapping[str, CollectorPlace]:
        known = {SYSTEM, *before.data.get("roots", ())}
        for name, each in said.items():
            if each.tls is not None and each.tls.roots not in known:
                raise unreadable(
                    f"`{name}` asks for the roots `{each.tls.roots}`, which `roots` has not",
                    hint=nearest(each.tls.roots, sorted(known)),
                )
        return said

    @property
    def bindings(self) -> Bindings:
        """Which folders may speak for which namespace."""
        return Bindings(
            self.namespaces,
            frozenset(self.collectors),
            frozenset({SYSTEM, *self.roots}),
            frozenset(self.certificates),
        )

    @property
    def certificate_files(self) -> Mapping[str, Files]:
        """Where the certificates for gateways are."""
        return {name: Files(said.chain, said.key) for name, said in self.certificates.items()}

    @property
    def places(self) -> Places:
        """How proxies reach what Git only names."""
        collectors = {name: said.place for name, said in self.collectors.items()}
        return Places(collectors, {name: str(file) for name, file in self.roots.items()})


def read_settings(path: Path) -> Settings:
    """Read and check a settings file, as strictly as intents are read.

    Raises `UsageError` with every mistake in it, each with its line and column.
    """
    settings = read_settings_file(path, Settings, least="at the least: `source: {repository: /srv/git/mesh}`")
    return _anchored(settings, path.parent.resolve())


def _anchored(settings: Settings, folder: Path) -> Settings:
    """The settings with every relative path taken from the folder of their file."""
    source = settings.source
    if source.repository.startswith("."):
        source = source.model_copy(update={"repository": str((folder / source.repository).resolve())})
    admin, socket = settings.admin, settings.admin.removeprefix("unix:")
    if socket != admin and not socket.startswith("/"):
        # The folder is no template: braces in its name stand for themselves.
        admin = f"unix:{str(folder).replace('{', '{{').replace('}', '}}')}/{socket}"
    fetch = settings.fetch
    if fetch.authorities is not None:
        fetch = fetch.model_copy(update={"authorities": folder / fetch.authorities})
    certificates = {
        name: files.model_copy(update={"chain": folder / files.chain, "key": folder / files.key})
        for name, files in settings.certificates.items()
    }
    return settings.model_copy(
        update={
            "source": source,
            "admin": admin,
            "state": folder / settings.state,
            "fetch": fetch,
            "certificates": certificates,
        }
    )
