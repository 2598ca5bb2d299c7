"""Settings of one controller: how the world is reached. Git says what should be, never how to reach it.

Read from one YAML file, by the reader that intents have: what is doubtful there is refused here. Everything but the
repository has a default that works on one machine. Relative paths are taken from the folder of the file.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PlainValidator, ValidationError

from policyd.base.diagnostics import Finding, in_order
from policyd.base.errors import UsageError
from policyd.intents.bindings import Bindings, Folders
from policyd.intents.kind import Many, Part
from policyd.intents.place import find
from policyd.intents.reader import read
from policyd.intents.translate import translate
from policyd.intents.units import shown, unreadable
from policyd.rollout.serving import DEADLINE_S


def _address(value: object) -> str:
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65_535:
        raise unreadable(f"`{shown(value)}` is not `address:port`", hint="for example `127.0.0.1:15010`")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise unreadable(f"`{shown(host)}` is not an IP address", hint="for example `127.0.0.1:15010`") from None
    return f"{host}:{port}"


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise unreadable(f"`{shown(value)}` is not a path", hint="for example `/var/lib/policyd`")
    return Path(value)


ListenAddress = Annotated[str, PlainValidator(_address)]
"""`address:port`, an IP address; port 0 lets the kernel choose."""


Seconds = Annotated[float, Field(ge=0.01, le=86_400)]
"""What a process can wait for without spinning, and a person without wondering."""


class _Section(Part):
    # Fields are written as they are called here.
    model_config = ConfigDict(alias_generator=None, validate_by_name=True)


class Source(_Section):
    """The Git repository that is followed."""

    repository: str
    """A path (`/srv/git/mesh`, `./mesh`), or a URL of an allowed protocol."""
    branch: str = "main"
    subdirectory: str = ""
    """The folder inside the repository that holds the intents; empty for all of it."""
    poll_s: Seconds = 15.0
    """Seconds between looks; local repositories are also watched and seen at once."""


class Guardrails(_Section):
    """Who judges commits."""

    engine: Literal["auto", "opa", "embedded"] = "auto"
    """`auto` takes OPA where there is one, else the embedded engine."""
    opa_url: str = ""
    opa_binary: str = ""
    deadline_s: Seconds = 10.0
    vouched: Many[str] = ()
    """Digests of team rules that the embedded engine may run (production judges team rules with OPA)."""


class Fetch(_Section):
    """What may be fetched from elsewhere, over `https`: the keys of token issuers."""

    hosts: Many[str] = ()
    """The hosts that may be asked: `login.example`, or with a port. Nothing is fetched from any other."""
    authorities: Annotated[Path, PlainValidator(_path)] | None = None
    """A PEM file of certificate authorities to trust; those of the machine, if not given."""


class Logs(_Section):
    """What the controller writes to standard error."""

    format: Literal["json", "terminal"] = "terminal"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Section):
    """All of it; see the README for an example."""

    source: Source
    namespaces: Folders = Field(default_factory=dict)
    """The folders that each namespace's intents may lie in, from the watched folder on; `"*"` stands for namespaces
    that are not listed, `{namespace}` in a folder for the name. Empty: any file may name any namespace."""
    state: Annotated[Path, PlainValidator(_path)] = Path("state")
    """Folder of the store, the certificate authority and the Git mirror; created if it is not there."""
    xds: ListenAddress = "127.0.0.1:15010"
    http: ListenAddress = "127.0.0.1:8181"
    admin: str = "unix:/run/envoy/{service}-{version}-{address}.sock"
    """Where a sidecar's admin answers: `unix:` or `http:`; `{address}`, `{service}` and so on are filled in."""
    guardrails: Guardrails = Guardrails()
    fetch: Fetch = Fetch()
    tick_s: Seconds = 1.0
    """Seconds between looks at the metrics while something is in flight."""
    deadline_s: Seconds = DEADLINE_S
    """How long a proxy may take to acknowledge or refuse what it was sent."""
    self_check_s: Seconds = 600.0
    """Seconds between two comparisons with a controller that remembers nothing."""
    logs: Logs = Logs()

    @property
    def bindings(self) -> Bindings:
        """Which folders may speak for which namespace."""
        return Bindings(self.namespaces)


def read_settings(path: Path) -> Settings:
    """Read and check a settings file, as strictly as intents are read.

    Raises `UsageError` with every mistake in it, each with its line and column.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read: {error.strerror}") from error
    raw = read(str(path), body)
    documents = [document for document in raw.documents if document.value is not None]
    if raw.findings:
        raise _refused(path, raw.findings)
    if not documents:
        raise UsageError(f"`{path}` is empty", hint=_LEAST)
    if len(documents) > 1 or not isinstance(documents[0].value, dict):
        place = find(documents[-1].place, ())
        raise _refused(path, [raw.source.finding("PD1105", "settings are one mapping", place, hint=_LEAST)])
    try:
        settings = Settings.model_validate(documents[0].value)
    except ValidationError as errors:
        raise _refused(path, tuple(translate(errors, Settings, raw.source, documents[0]))) from errors
    return _anchored(settings, path.parent.resolve())


_LEAST = "at the least: `source: {repository: /srv/git/mesh}`"


def _refused(path: Path, findings: Sequence[Finding]) -> UsageError:
    """Every finding on a line of its own, as an editor or a terminal takes it to the place."""
    lines = (
        f"  {each.location}: {each.code}: {each.message}{f'; {each.hint}' if each.hint else ''}"
        for each in in_order(findings)
    )
    return UsageError("\n".join((f"`{path}` is not in order", *lines)))


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
    return settings.model_copy(
        update={"source": source, "admin": admin, "state": folder / settings.state, "fetch": fetch}
    )
