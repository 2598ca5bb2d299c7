"""Envoy, with real certificates, real tokens and real addresses, decides as the index does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from policyd.decisions import Cause, Index, Token, TokenState
from policyd.model.mesh import Mesh
from tests.conformance.conftest import Tally
from tests.conformance.engines import Answer, Disagreement
from tests.conformance.envoy import running
from tests.conformance.issuers import Issuers
from tests.conformance.meshes import (
    CLOSED,
    DESTINATIONS,
    IDENTITIES,
    NOT_CANONICAL_IDENTITIES,
    OPAQUE,
    Pools,
    meshes,
)
from tests.conformance.near import request
from tests.conformance.proxy import MESHES, Callers, Judged
from tests.conformance.runs import drawn
from tests.conformance.sent import Sent
from tests.conformance.smaller import smaller

pytestmark = pytest.mark.e2e

AT_ONCE = 100
"""Requests to one mesh."""
SHARE = 5
"""One request through Envoy for so many to the index and OPA."""
HTTP2_SHARE = 3
"""One of so many goes by HTTP/2."""
BLOCKS = (
    "127.1.0.0/16", "127.1.2.0/30", "127.1.2.3/32", "127.1.2.2/31", "0.0.0.0/0", "10.0.0.0/8", "::/0", "::1/128",
    "::ffff:127.1.2.0/126", "2001:db8::/32",
)  # fmt: skip
ADDRESSES = ("127.1.2.3", "127.1.2.4", "127.2.0.9")
SOON = tuple(timedelta(seconds=seconds) for seconds in (2, 4, 6, 8))
"""Rules end in the middle of the run, too: before and after the instant Envoy has to say what the index says."""


def pools(issuers: Issuers, now: datetime) -> Pools:
    day = timedelta(days=1)
    return Pools(BLOCKS, ADDRESSES, (now - day, now + day, *(now + later for later in SOON)), issuers.known)


def possible(sent: Sent, issuers: Issuers) -> Sent:
    """The request as it can be sent at all: to a service, from an address, with a token that somebody has signed."""
    destination = sent.destination if sent.destination in {*DESTINATIONS, OPAQUE, CLOSED} else CLOSED
    source = sent.source if sent.source in {*IDENTITIES, *NOT_CANONICAL_IDENTITIES} else IDENTITIES[0]
    ip = sent.ip or ADDRESSES[0]
    path = "/v1" if sent.path.startswith("http:") else sent.path  # on the wire it would be a path and a host
    unsigned = sent.token.state is TokenState.VALID and sent.token.issuer not in {each.url for each in issuers.known}
    token = Token(TokenState.INVALID, sent.token.issuer, sent.token.claims) if unsigned else sent.token
    return replace(
        sent,
        source=source,
        destination=destination,
        path=path,
        ip=ip,
        port=None,
        token=token,
        forged="issuer" if unsigned else sent.forged,
    )


def by_http2(choose: Random, sent: Sent) -> Sent:
    """Some of them go by HTTP/2, where there is one host, and what has no form of HTTP/1 is a request, too."""
    return replace(sent, http2=len(sent.hosts) == 1 and choose.randrange(HTTP2_SHARE) == 0)


def contradiction(mesh: Mesh, sent: Sent, judged: Judged, proxy: str = "envoy") -> dict[str, Answer]:
    """What the two say, where they disagree; if a rule ended while the proxy decided, either answer will do.

    A proxy looks at the request before it looks at who sent it: from nobody, 400 is as good a denial.
    """
    index = Index.build(mesh)
    decisions = [index.decide(sent.request, at) for at in (judged.began, judged.ended)]
    statuses = {decision.status for decision in decisions}
    if decisions[0].cause is Cause.MALFORMED:
        statuses.add(Cause.NOT_CANONICAL.status)
    if judged.status in statuses:
        return {}
    return {"index": Answer(min(statuses)), proxy: Answer(judged.status)}


def test_envoy_agrees_with_the_index(tally: Tally, envoy_binary: Path, tmp_path: Path) -> None:
    issuers, callers = Issuers(), Callers(tmp_path)
    cases: list[tuple[Mesh, list[Sent]]] = []
    drawing = pools(issuers, datetime.now(UTC))

    def keep(mesh: Mesh, choose: Random) -> None:
        sent = [possible(request(choose, mesh, drawing), issuers) for _ in range(AT_ONCE)]
        cases.append((mesh, [by_http2(choose, each) for each in sent]))

    def judge(mesh: Mesh, sent: Sent) -> dict[str, Answer]:
        with running(envoy_binary, [mesh], tmp_path, callers, issuers) as alone:
            return contradiction(mesh, sent, alone.judge(0, [sent])[0])

    drawn(meshes(drawing), tally.seed, -(-tally.requests // (AT_ONCE * SHARE)), keep)
    found: list[tuple[Mesh, Sent]] = []
    statuses: Counter[int] = Counter()
    for some in batches(cases):
        with running(envoy_binary, [mesh for mesh, _ in some], tmp_path, callers, issuers) as proxy:
            for number, (mesh, sent) in enumerate(some):
                judged = proxy.judge(number, sent)
                statuses.update(each.status for each in judged)
                pairs = zip(sent, judged, strict=True)
                found += [(mesh, one) for one, said in pairs if contradiction(mesh, one, said)]
    tally.proxied, tally.disagreements = statuses.total(), tally.disagreements + len(found)
    if found:
        small, one = smaller(*found[0], lambda *case: bool(judge(*case)))
        shown = Disagreement(small, one, datetime.now(UTC), judge(small, one))
        pytest.fail(f"{shown}\nthe first of {len(found)}; seed: {tally.seed}", pytrace=False)
    assert set(statuses) == {200, 400, 401, 403}


def batches(cases: list[tuple[Mesh, list[Sent]]]) -> list[list[tuple[Mesh, list[Sent]]]]:
    """As many meshes as one Envoy has addresses for."""
    return [cases[at : at + MESHES] for at in range(0, len(cases), MESHES)]
