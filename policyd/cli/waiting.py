"""`policyd status --wait-for COMMIT`: until all that a commit asks for is live, or is known not to come."""

from __future__ import annotations

import re
import time
from typing import Any

from policyd.base.errors import Retry, UsageError
from policyd.cli.client import Client
from policyd.cli.render_releases import over

_LOOK_S = 0.2
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


def wait(client: Client, commit: str, timeout_s: float) -> str:
    """Why the commit is not going to be live; empty once it is. Raises `Retry` when the time is over before.

    Raises `UsageError` for what cannot be a commit.
    """
    if not _COMMIT.fullmatch(commit):
        raise UsageError(f"`{commit}` is not the id of a commit", hint="`git rev-parse HEAD` says it")
    end = time.monotonic() + timeout_s
    while True:
        try:
            answer = client.get("/v1/status")
            lost, missing = failed(answer, commit), awaited(answer, commit)
        except Retry as error:
            lost, missing = "", str(error)
        if lost or not missing:
            return lost
        if time.monotonic() >= end:
            raise Retry(
                f"`{commit[:12]}` is not live after {timeout_s:g} s: {missing}", after=0, hint="`policyd status`"
            )
        time.sleep(_LOOK_S)


def failed(answer: dict[str, Any], commit: str) -> str:
    """Why a commit is not going to be live; empty while it may be."""
    seen = answer["commit"]
    if seen is not None and seen["commit"].startswith(commit) and not seen["taken"]:
        return f"`{commit[:12]}` was refused"
    gone = [service for service in answer["services"] if service["diverged"]]
    if gone and answer["head"].startswith(commit):
        return "; ".join(
            f"`{service['service']}` {service['asked']} went back: {service['diverged']}" for service in gone
        )
    return ""


def awaited(answer: dict[str, Any], commit: str) -> str:
    """What is still missing until a commit is live on every proxy; empty if nothing is."""
    if not answer["head"].startswith(commit):
        return f"the controller follows `{answer['head'][:12] or 'no commit yet'}`"
    moving = [record for record in answer["releases"] if not over(record)]
    if moving:
        return "; ".join(f"{record['title']}: {record['phase']}, {record['reason']}" for record in moving)
    other = [service["service"] for service in answer["services"] if not _serves(service)]
    if other:
        return f"another version of {', '.join(f'`{name}`' for name in other)} serves"
    away = [node["node"] for node in answer["nodes"] if not (node["connected"] and node["in_sync"])]
    if away:
        return (
            f"{len(away)} of {len(answer['nodes'])} proxies are not connected or not in sync: {', '.join(away[:3])}"
        )
    return "" if answer["nodes"] else "no proxy is known yet"


def _serves(service: dict[str, Any]) -> bool:
    """Whether the version that Git asks for gets every request."""
    return all(version["version"] == service["asked"] or not version["weight"] for version in service["versions"])
