"""What a decision server is started with: its settings file, and what the command line says instead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from policyd.api.credentials import check_exposure
from policyd.api.decide_settings import Decide, Log
from policyd.api.oidc import check_keys
from policyd.base.errors import UsageError
from policyd.decider.masks import Masks, PointerError
from policyd.decisions.signature import Verifier
from policyd.intents.settings_file import read_settings_file

_URL = ("http://", "https://")


def chosen(
    settings: Path | None,
    *,
    listen: str = "",
    workers: int = 0,
    log: Sequence[str] | None = None,
    controller: str = "",
) -> Decide:
    """The settings in force. Raises `UsageError` for what cannot be done, or may not."""
    found = read_settings_file(settings, Decide, least="`listen: 127.0.0.1:8182`") if settings else Decide()
    said: dict[str, object] = {}
    if listen:
        said["listen"] = _listen(listen)
    if controller:
        said["controller"] = controller
    if workers:
        said["workers"] = workers
    if log:
        said["log"] = (found.log or Log()).model_copy(update={"to": tuple(log)})
    found = found.model_copy(update=said)
    check(found)
    return found


def _listen(text: str) -> str:
    try:
        return Decide.model_validate({"listen": text}).listen
    except ValidationError as error:
        raise UsageError(f"cannot listen on `{text}`", hint="`address:port`, for example `127.0.0.1:8182`") from error


def check_source(bundle: str) -> None:
    """Raise `UsageError` for a URL of a bundle that nobody could fetch. A file may come later."""
    if not bundle.startswith(_URL):
        return
    if not _is_url(bundle):
        raise UsageError(f"`{bundle}` is not a URL", hint="`http://127.0.0.1:8181/bundles/mesh.tar.gz`, or a file")


def _is_url(text: str) -> bool:
    """Whether it can be asked over HTTP."""
    try:
        parts, _ = urlsplit(text), httpx.URL(text)
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0) and text.startswith(_URL)
    except (ValueError, httpx.InvalidURL):
        return False
    return good and text.isascii() and text.isprintable() and " " not in text


def check(settings: Decide) -> None:
    """Raise `UsageError` for settings that are well written and cannot be followed."""
    check_exposure(settings.listen, settings.auth, "the decision server")
    check_keys(settings.auth.oidc, settings.fetch.allowed)
    for url, what in ((settings.opa, "an OPA"), (settings.controller, "a controller")):
        if url and not _is_url(url):
            raise UsageError(f"`{url}` is not the address of {what}", hint="`http://127.0.0.1:8181`")
    log = settings.log
    for where, token in (("token", settings.token), ("log.token", log.token if log is not None else "")):
        if not (token.isascii() and (token.isprintable() and " " not in token)):
            raise UsageError(f"`{where}` cannot be sent as a bearer token", hint="letters, digits, `-._~+/=`")
    if log is None:
        return
    try:
        Masks(log.mask, log.drop)
    except PointerError as error:
        raise UsageError(str(error), hint="for example `/input/jwt/claims/email`") from error
    for to in log.to:
        if not to.startswith(_URL):
            continue
        if not _is_url(to):
            raise UsageError(f"decisions cannot be sent to `{to}`", hint="`https://logs.example/logs`, or a file")
        if (host := urlsplit(to).hostname) not in log.hosts:
            raise UsageError(f"decisions may not be sent to `{host}`", hint=f"`log: {{hosts: [{host}]}}` allows it")


def verifier(key: Path) -> Verifier:
    """The key in a file, to verify with. Raises `UsageError` where it is none."""
    try:
        return Verifier(key.read_bytes())
    except OSError as error:
        raise UsageError(f"`{key}` cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"`{key}` is not a public key: {error}", hint="PEM, P-256") from error
