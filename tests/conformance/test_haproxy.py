"""HAProxy, with real certificates and real addresses, decides as the index does about all that it can judge."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

from policyd.decisions import NO_TOKEN
from policyd.model.mesh import Mesh
from tests.conformance.conftest import Tally
from tests.conformance.engines import Answer, Disagreement
from tests.conformance.haproxy import running
from tests.conformance.issuers import Issuers
from tests.conformance.meshes import meshes
from tests.conformance.near import request
from tests.conformance.proxy import Callers
from tests.conformance.runs import drawn
from tests.conformance.sent import Sent
from tests.conformance.smaller import smaller
from tests.conformance.test_envoy import AT_ONCE, batches, contradiction, pools, possible

pytestmark = pytest.mark.e2e

SHARE = 10
"""One request through HAProxy for so many to the index and OPA."""
_TEN_DIGITS = re.compile(r":\+?0*[0-9]{10}\.?")


def understood(mesh: Mesh) -> Mesh:
    """The mesh without rules for tokens, which are left out whole (PD1308)."""
    access = {
        name: replace(each, rules=tuple(rule for rule in each.rules if rule.token is None))
        for name, each in mesh.access.items()
    }
    return replace(mesh, access=access)


def carried(sent: Sent) -> Sent:
    """The request as the two read it alike: HAProxy puts equal hosts together, and has ports of nine digits."""
    plain = replace(sent, token=NO_TOKEN, forged="")
    alike = len(set(sent.hosts)) < len(sent.hosts) or any(map(_TEN_DIGITS.search, sent.hosts))
    return replace(plain, hosts=("a",)) if alike else plain


def test_haproxy_agrees_with_the_index(tally: Tally, haproxy_binary: Path, tmp_path: Path) -> None:
    issuers, callers = Issuers(), Callers(tmp_path)
    drawing, cases = pools(issuers, datetime.now(UTC)), list[tuple[Mesh, list[Sent]]]()

    def keep(mesh: Mesh, choose: Random) -> None:
        known = understood(mesh)
        cases.append((known, [carried(possible(request(choose, known, drawing), issuers)) for _ in range(AT_ONCE)]))

    def judge(mesh: Mesh, sent: Sent) -> dict[str, Answer]:
        with running(haproxy_binary, [mesh], tmp_path, callers, issuers) as alone:
            return contradiction(mesh, sent, alone.judge(0, [sent])[0], "haproxy")

    drawn(meshes(drawing), tally.seed, -(-tally.requests // (AT_ONCE * SHARE)), keep)
    found: list[tuple[Mesh, Sent]] = []
    statuses: Counter[int] = Counter()
    for some in batches(cases):
        with running(haproxy_binary, [mesh for mesh, _ in some], tmp_path, callers, issuers) as proxy:
            for number, (mesh, sent) in enumerate(some):
                judged = proxy.judge(number, sent)
                statuses.update(each.status for each in judged)
                pairs = zip(sent, judged, strict=True)
                found += [(mesh, one) for one, said in pairs if contradiction(mesh, one, said, "haproxy")]
    tally.by_haproxy, tally.disagreements = statuses.total(), tally.disagreements + len(found)
    if found:
        small, one = smaller(*found[0], lambda *case: bool(judge(*case)))
        shown = Disagreement(small, one, datetime.now(UTC), judge(small, one))
        pytest.fail(f"{shown}\nthe first of {len(found)}; seed: {tally.seed}", pytrace=False)
    assert set(statuses) == {200, 400, 403}
