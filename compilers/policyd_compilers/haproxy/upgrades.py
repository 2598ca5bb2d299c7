"""Upgrades to other protocols: refused with 403, save those that the service offers.

What has been upgraded lasts as long as both ends like and something is said within the bound of silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policyd.model.names import Name
from policyd.model.service import Service
from policyd_compilers.haproxy import replies
from policyd_compilers.haproxy.names import condition
from policyd_compilers.haproxy.text import milliseconds, word

_ASKED = "req.hdr(upgrade) -m found"
_ONCE = "req.fhdr_cnt(upgrade) eq 1"
"""One protocol in one header: two proxies must not choose differently from a list."""


def offered(service: Service) -> Iterator[str]:
    """The lines of the callee's frontend."""
    if service.upgrades:
        yield f"acl upgrade-offered req.fhdr(upgrade) -m str -i -- {_words(service)}"
        yield f"acl one-upgrade {_ONCE}"
        yield replies.deny(403, replies.UPGRADE, f"if {{ {_ASKED} }} !one-upgrade")
        yield replies.deny(403, replies.UPGRADE, f"if {{ {_ASKED} }} !upgrade-offered")
    else:
        yield replies.deny(403, replies.UPGRADE, f"if {{ {_ASKED} }}")


def carried(services: Iterable[Service], caller: Name) -> Iterator[str]:
    """The lines of a caller's frontend: what no destination offers is refused before it leaves."""
    unless = ""
    for service in services:
        if not service.upgrades:
            continue
        if not unless:
            yield f"http-request set-var(txn.upgrade) bool(true) if {{ {_ASKED} }}"
            yield f"acl one-upgrade {_ONCE}"
            unless = " { var(txn.upgrade) -m found }"
        name = condition(service.name, "upgrade")
        yield f"acl {name} req.fhdr(upgrade) -m str -i -- {_words(service)}"
        yield f"http-request unset-var(txn.upgrade) if one-upgrade {condition(service.name, 'named')} {name}"
    yield replies.deny(403, replies.UPGRADE, f"if{unless}" if unless else f"if {{ {_ASKED} }}", caller)


def silence(service: Service) -> Iterator[str]:
    """The line of a backend that bounds the silence of an upgraded connection, and nothing else of it."""
    if service.upgrades:
        yield f"timeout tunnel {milliseconds(service.resilience.timeouts.idle_ms)}"


def _words(service: Service) -> str:
    return " ".join(word(each) for each in service.upgrades)
