"""A namespace is bound to folders: whoever may write elsewhere cannot speak for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from policyd.intents import Bindings, MemoryTree, load
from policyd.intents.bindings import folder

RULE = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata:
  name: let-me-in
  namespace: pay
spec:
  to: ledger
  from: [web/front]
  allow: [{methods: ["*"], paths: [/**]}]
"""
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: ledger
  annotations: {policyd.dev/namespace: pay}
spec:
  service: ledger
  indicator:
    metadata: {name: ledger}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {type: policyd, spec: {service: ledger, good: non-5xx}}}
        total: {metricSource: {type: policyd, spec: {service: ledger}}}
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
"""
MESH = "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m}\nspec: {trustDomain: m.example}\n"
TEAMS = Bindings({"pay": ("teams/pay/",), "web": ("teams/web/", "edge/")})


def said(path: str, text: str, bindings: Bindings = TEAMS) -> list[tuple[str, str, str, str]]:
    loaded = load(MemoryTree({path: text}))
    assert not loaded.findings
    found = bindings.findings(loaded.documents)
    return [(one.code, str(one.location), one.message, one.hint) for one in found]


def test_a_rule_for_another_teams_service_is_refused_at_its_namespace() -> None:
    assert said("teams/web/rule.yaml", RULE) == [
        (
            "PD1113",
            "teams/web/rule.yaml:5:14",
            "namespace `pay` is bound to `teams/pay/`",
            "move the file to `teams/pay/`, or name a namespace of this folder: `web`",
        )
    ]
    assert said("teams/pay/deep/rule.yaml", RULE) == []


@pytest.mark.parametrize(
    "path",
    ["teams/payments/rule.yaml", "teams/pay.yaml", "x/teams/pay/rule.yaml", "teams/Pay/rule.yaml", "rule.yaml"],
)
def test_a_folder_is_a_folder_and_no_beginning_of_a_name(path: str) -> None:
    assert [code for code, *_ in said(path, RULE)] == ["PD1113"]


def test_every_kind_is_bound_whatever_its_format() -> None:
    ((code, where, *_),) = said("edge/slo.yaml", SLO)
    assert (code, where) == ("PD1113", "edge/slo.yaml:5:40")


def test_what_nobody_bound_is_refused_once_anything_is() -> None:
    assert said("mesh.yaml", MESH) == [
        (
            "PD1114",
            "mesh.yaml:3:1",
            "no namespace is given, and `default`, which is meant then, is bound to no folder",
            "known here: `pay`, `web`",
        )
    ]
    ((code, where, _, hint),) = said("teams/pay/rule.yaml", RULE.replace("namespace: pay", "namespace: pya"))
    assert (code, where) == ("PD1114", "teams/pay/rule.yaml:5:14")
    assert hint.startswith("did you mean `pay`?")


def test_the_others_may_be_bound_together_by_their_names() -> None:
    bindings = Bindings({"pay": ("finance/",), "*": ("teams/{namespace}/",)})
    shop = RULE.replace("namespace: pay", "namespace: shop")
    assert said("teams/shop/rule.yaml", shop, bindings) == []
    ((code, _, message, _),) = said("teams/pay/rule.yaml", shop, bindings)
    assert (code, message) == ("PD1113", "namespace `shop` is bound to `teams/shop/`")
    assert said("finance/rule.yaml", RULE, bindings) == []
    assert said("teams/pay/rule.yaml", RULE, bindings) != [], "what is listed is not among the others"


def test_without_bindings_and_with_the_whole_tree_any_file_will_do() -> None:
    assert said("anywhere.yaml", RULE, Bindings()) == []
    assert said("anywhere.yaml", RULE, Bindings({"*": ("",)})) == []
    assert [code for code, *_ in said("anywhere.yaml", RULE, Bindings({"pay": ()}))] == ["PD1114"]


@pytest.mark.parametrize(
    ("text", "prefix"), [("teams/pay", "teams/pay/"), ("/teams/pay/", "teams/pay/"), ("a", "a/"), ("/", "")]
)
def test_folders_are_read_as_prefixes(text: str, prefix: str) -> None:
    assert folder(text) == prefix


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a/../b", "a//b", "//", "./a", "a\\b", "a\nb", "teams/{name}", 7, None]
)
def test_what_is_no_folder_is_refused(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        folder(text)


@given(st.lists(st.sampled_from(["teams", "pay", "web", "payments", "edge", "a"]), min_size=1, max_size=4))
def test_who_is_not_in_the_folder_is_never_let_through(parts: list[str]) -> None:
    path = "/".join(parts) + "/rule.yaml"
    assert (said(path, RULE) == []) == (parts[:2] == ["teams", "pay"])


TRACED = MESH.replace("m.example", "m.example, observability: {tracing: {otlp: mian}}")


def test_a_collector_is_one_that_the_settings_know() -> None:
    assert said("mesh.yaml", TRACED, Bindings()) == [], "nobody knows the settings"
    assert said("mesh.yaml", TRACED, Bindings(collectors=frozenset({"mian"}))) == []
    assert said("mesh.yaml", TRACED, Bindings(collectors=frozenset({"main"}))) == [
        (
            "PD1270",
            "mesh.yaml:4:64",
            "the controller's settings know no collector `mian`",
            "did you mean `main`?",
        )
    ]
    ((_, _, _, hint),) = said("mesh.yaml", TRACED, Bindings(collectors=frozenset()))
    assert hint == "`collectors` in the settings has none"


def test_a_share_of_calls_is_sampled_and_may_be_none() -> None:
    for text, points in (("0%", 0), ("0.5%", 50), ("100%", 10_000)):
        traced = TRACED.replace("mian", f"main, sampling: {text}")
        (document,) = load(MemoryTree({"mesh.yaml": traced})).documents
        assert document.intent.spec.observability.tracing.sampling == points  # type: ignore[union-attr]
    loaded = load(MemoryTree({"mesh.yaml": TRACED.replace("mian", "main, sampling: 101%")}))
    assert [finding.code for finding in loaded.findings] == ["PD1109"]


EGRESS = """\
apiVersion: policyd.dev/v1alpha1
kind: Egress
metadata: {name: partner}
spec: {host: api.partner.example, tls: {roots: corp}}
"""


def test_roots_are_some_that_the_settings_know() -> None:
    assert said("out.yaml", EGRESS, Bindings(roots=frozenset({"corp", "system"}))) == []
    assert said("out.yaml", EGRESS, Bindings()) == []
    ((code, _, message, hint),) = said("out.yaml", EGRESS, Bindings(roots=frozenset({"system"})))
    assert (code, hint) == ("PD1270", "known here: `system`")
    assert "`corp`" in message


GATEWAY = """\
apiVersion: policyd.dev/v1alpha1
kind: Gateway
metadata: {name: edge}
spec:
  endpoints: [10.0.9.1]
  listeners:
    - {port: 80, hosts: shop.example}
    - {port: 443, hosts: shop.example, tls: {certificate: shpo}}
  routes: [{to: checkout}]
"""


def test_certificates_are_some_that_the_settings_know() -> None:
    assert said("edge.yaml", GATEWAY, Bindings()) == []
    assert said("edge.yaml", GATEWAY, Bindings(certificates=frozenset({"shpo"}))) == []
    assert said("edge.yaml", GATEWAY, Bindings(certificates=frozenset({"shop"}))) == [
        (
            "PD1270",
            "edge.yaml:8:59",
            "the controller's settings know no certificate `shpo`",
            "did you mean `shop`?",
        )
    ]
