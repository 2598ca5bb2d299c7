"""Settings of one controller: how the world is reached. Git says what should be, never how to reach it.

Read from one YAML file; everything but the repository has a default that works on one machine. Relative paths are
taken from the folder of the file.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from policyd.base.errors import UsageError
from policyd.rollout.serving import DEADLINE_S


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise ValueError("is not `address:port`")
    ipaddress.ip_address(host)
    return text


ListenAddress = Annotated[str, AfterValidator(_address)]
"""`address:port`, an IP address; port 0 lets the kernel choose."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Section):
    """The Git repository that is followed."""

    repository: str
    """A path (`/srv/git/mesh`, `./mesh`), or a URL of an allowed protocol."""
    branch: str = "main"
    subdirectory: str = ""
    """The folder inside the repository that holds the intents; empty for all of it."""
    poll_s: float = Field(default=15.0, gt=0)
    """Seconds between looks; local repositories are also watched and seen at once."""


class Guardrails(_Section):
    """Who judges commits."""

    engine: Literal["auto", "opa", "embedded"] = "auto"
    """`auto` takes OPA where there is one, else the embedded engine."""
    opa_url: str = ""
    opa_binary: str = ""
    deadline_s: float = Field(default=10.0, gt=0)
    vouched: tuple[str, ...] = ()
    """Digests of team rules that the embedded engine may run (production judges team rules with OPA)."""


class Logs(_Section):
    """What the controller writes to standard error."""

    format: Literal["json", "terminal"] = "terminal"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Section):
    """All of it; see the README for an example."""

    source: Source
    state: Path = Path("state")
    """Folder of the store, the certificate authority and the Git mirror; created if it is not there."""
    xds: ListenAddress = "127.0.0.1:15010"
    http: ListenAddress = "127.0.0.1:8181"
    admin: str = "unix:/run/envoy/{service}-{version}-{address}.sock"
    """Where a sidecar's admin answers: `unix:` or `http:`; `{address}`, `{service}` and so on are filled in."""
    guardrails: Guardrails = Guardrails()
    tick_s: float = Field(default=1.0, gt=0)
    """Seconds between looks at the metrics while something is in flight."""
    deadline_s: float = Field(default=DEADLINE_S, gt=0)
    """How long a proxy may take to acknowledge or refuse what it was sent."""
    logs: Logs = Logs()


def read_settings(path: Path) -> Settings:
    """Read and check a settings file.

    Raises `UsageError` with every mistake in it, each with its place in the file's structure.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"`{path}` is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"`{path}` is empty", hint="at the least: `source: {repository: /srv/git/mesh}`")
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        mistakes = "; ".join(
            f"`{'.'.join(str(part) for part in item['loc'])}`: {item['msg'].lower()}" for item in error.errors()
        )
        raise UsageError(f"`{path}`: {mistakes}") from error
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
    return settings.model_copy(update={"source": source, "admin": admin, "state": folder / settings.state})
