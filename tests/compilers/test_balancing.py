"""What has one key goes to one instance, and to one version: in each data plane, whoever calls."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace

import pytest

from policyd.model.balancing import Key, LoadBalancing, Policy
from policyd.model.resilience import Resilience
from policyd.model.service import Split
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import Connection, Sidecars, loopback, running

pytestmark = pytest.mark.e2e

USERS = [f"user-{number}" for number in range(90)]
BY_HEADER = LoadBalancing(Policy.RING_HASH, Key(header="x-user"))
BY_COOKIE = LoadBalancing(Policy.MAGLEV, Key(cookie="session"))


def met(caller: Connection, what: str, user: str, by: LoadBalancing) -> str:
    """What of the answer says who it was."""
    key = {"x-user": user} if by is BY_HEADER else {"cookie": f"theme=dark; session={user}"}
    reply = caller.send("GET", "/", headers=key)
    assert reply.status == 200
    return str(reply.body[what])


@pytest.mark.parametrize("by", [BY_HEADER, BY_COOKIE], ids=["ringHash", "maglev"])
def test_one_key_meets_one_instance_whoever_calls(sidecars: Sidecars, by: LoadBalancing) -> None:
    net = loopback(os.getpid() + (210 if by is BY_HEADER else 214))
    payments = replace(
        service(PAYMENTS, v1=[f"{net}{n}" for n in (1, 2, 3)]), resilience=Resilience(load_balancing=by)
    )
    the_mesh = mesh([payments, service(WEB, v1=[f"{net}8", f"{net}9"])], (PAYMENTS, rule(PAYMENTS)))
    one, other = the_mesh.services[WEB].versions[0].endpoints
    with running(the_mesh, sidecars) as world, world.app_of(one) as web, world.app_of(other) as second:
        home = {user: met(web, "instance", user, by) for user in USERS}
        assert {user: met(web, "instance", user, by) for user in USERS} == home
        assert {user: met(second, "instance", user, by) for user in USERS} == home
        shares = Counter(home.values())
        assert len(shares) == 3
        assert min(shares.values()) >= 10  # a third of 90, and 4 standard deviations less
        without = {web.send("GET", "/").body["instance"] for _ in range(60)}
        assert len(without) == 3


def test_one_key_has_one_version_at_each_step_of_a_split(sidecars: Sidecars) -> None:
    net = loopback(os.getpid() + 218)
    payments = replace(
        service(PAYMENTS, v1=[f"{net}1"], v2=[f"{net}2"]),
        split=Split((("v1", 5_000), ("v2", 5_000))),
        resilience=Resilience(load_balancing=BY_HEADER),
    )
    the_mesh = mesh([payments, service(WEB, v1=[f"{net}9"])], (PAYMENTS, rule(PAYMENTS)))
    with running(the_mesh, sidecars) as world, world.app_of(the_mesh.services[WEB].versions[0].endpoints[0]) as web:
        home = {user: met(web, "version", user, BY_HEADER) for user in USERS}
        for _ in range(2):
            assert {user: met(web, "version", user, BY_HEADER) for user in USERS} == home
        assert 23 <= Counter(home.values())["v2"] <= 67  # half of 90, 4.6 standard deviations either way
        assert {web.send("GET", "/").body["version"] for _ in range(40)} == {"v1", "v2"}
