from __future__ import annotations

import io
import json
import socket

import httpx
import pytest
from rich.console import Console

from policyd.cli.doctor import diagnose
from policyd.cli.status import status_text
from policyd.intents import MemoryTree, load
from policyd.rollout.machine import Command
from tests.api.conftest import OneController, OneFloor
from tests.cli.conftest import Policyd


def test_status_shows_the_mesh(policyd: Policyd, address: str) -> None:
    done = policyd("status", "--server", address)
    assert done.exit_code == 0
    assert "shop at cccccccccccc" in done.stdout
    assert "1 of 1 connected, 1 in sync" in done.stdout
    assert "r7" in done.stdout
    assert json.loads(policyd("status", "--server", address, "-o", "json").stdout)["mesh"] == "shop"


def test_releases_are_listed_and_shown(policyd: Policyd, address: str) -> None:
    for words in (("releases", "--server", address), ("releases", "list", "--server", address)):
        done = policyd(*words)
        assert done.exit_code == 0
        assert "1/4 5 % of requests" in done.stdout
    shown = policyd("releases", "show", "r7", "--server", address)
    assert "1 of 38 requests failed (2.63%)" in shown.stdout
    listed = policyd("releases", "list", "--server", address, "-o", "json")
    assert json.loads(listed.stdout)["releases"][0]["id"] == "r7"


def test_a_clock_is_accepted_by_a_person_and_not_by_a_page(
    policyd: Policyd, address: str, controller: OneController
) -> None:
    sent = httpx.post(f"{address}/v1/clock/accept", headers={"origin": "http://elsewhere.example"})
    assert (sent.status_code, controller.clocks_accepted) == (403, 0)
    done = policyd("accept-clock", "--server", address)
    assert (done.exit_code, controller.clocks_accepted) == (0, 1)
    assert "as it is now" in done.stdout


def test_what_was_promoted_is_said_by_a_person_and_not_by_a_page(
    policyd: Policyd, address: str, controller: OneController
) -> None:
    asked = {"promoted": "HEAD"}
    sent = httpx.post(f"{address}/v1/recover", json=asked, headers={"origin": "http://elsewhere.example"})
    assert (sent.status_code, controller.recovered) == (403, [])
    for odd in ({"promoted": 7}, {"new_root": "yes"}, {}):
        assert httpx.post(f"{address}/v1/recover", json=odd).status_code == 400
    assert policyd("recover", "--server", address).exit_code == 2
    done = policyd("recover", "--promoted", "HEAD", "--server", address)
    assert (done.exit_code, controller.recovered) == (0, ["HEAD"])
    assert "cccccccccc is taken for promoted" in done.stdout
    refused = policyd("recover", "--promoted", "0000000", "--server", address)
    assert (refused.exit_code, controller.new_roots) == (2, 0)
    exchanged = policyd("recover", "--new-root", "--server", address)
    assert (exchanged.exit_code, controller.new_roots) == (0, 1)
    assert "signed by a new root" in exchanged.stdout


def test_a_self_check_says_what_had_drifted(policyd: Policyd, address: str, controller: OneController) -> None:
    well = policyd("self-check", "--server", address)
    assert (well.exit_code, "as a controller without memory would have it" in well.stdout) == (0, True)
    controller.drifted = ("`default/web/v1/127.0.0.1`: cluster `x` is not what the mesh says",)
    ill = policyd("self-check", "--server", address)
    assert ill.exit_code == 1
    assert "cluster `x` is not what the mesh says" in ill.stdout
    assert httpx.post(f"{address}/v1/self-check", headers={"origin": "http://elsewhere.example"}).status_code == 403


def test_a_caller_is_cut_off_and_it_is_shown_where_that_holds(
    policyd: Policyd, address: str, floor: OneFloor
) -> None:
    order = ("revoke", "web", "--reason", "key in a log", "--server", address)
    done = policyd(*order)
    assert done.exit_code == 0
    assert "svc/web is cut off: key in a log" in done.stdout
    assert "enforced on 41 of 41 proxies, last open connection cut after 3.1 s" in done.stdout
    _, _, intent = done.stdout.partition("commit it as well:")
    loaded = load(MemoryTree({"cut.yaml": intent.encode()}))
    assert loaded.findings == ()
    assert [str(document.name) for document in loaded.documents] == ["default/revoked-web"]

    floor.missing = ("default/api/v1/127.0.0.9: not connected",)
    assert policyd(*order, "--to", "api").exit_code == 1
    shown = policyd("revocations", "--server", address)
    assert shown.exit_code == 1
    assert "enforced on 40 of 41 proxies" in shown.stdout
    assert "default/api/v1/127.0.0.9: not connected" in shown.stdout


def test_a_root_is_distrusted_and_the_answer_says_where_that_holds(
    policyd: Policyd, address: str, floor: OneFloor
) -> None:
    order = ("revoke", "--root", "ab" * 32, "--reason", "backup leaked", "--server", address)
    done = policyd(*order)
    assert done.exit_code == 0
    assert "root abababababababab is trusted no more: backup leaked" in done.stdout
    assert "enforced on 41 of 41 proxies, last open connection cut after 3.1 s" in done.stdout
    _, _, intent = done.stdout.partition("commit it beside the `Mesh` as well:")
    loaded = load(MemoryTree({"cut.yaml": intent.encode()}))
    assert loaded.findings == ()

    floor.note = "no root of this mesh has this fingerprint: it cuts nothing, and is refused if it comes"
    done = policyd(*order)
    assert ("cuts nothing, and is refused if it comes" in done.stdout, "enforced" in done.stdout) == (True, False)

    for both in (("web", "--root", "ab" * 32), ()):
        refused = policyd("revoke", *both, "--reason", "x", "--server", address)
        assert (refused.exit_code, "a caller or `--root`" in refused.stderr) == (2, True)
    body = {"root": "ab" * 32, "to": "api", "reason": "x"}
    assert httpx.post(f"{address}/v1/revocations", json=body).json()["message"] == "`root` stands alone"


def test_a_revocation_is_lifted_once_git_does_not_ask_for_it(policyd: Policyd, address: str, floor: OneFloor) -> None:
    policyd("revoke", "web", "--reason", "key in a log", "--server", address)
    floor.asked_for = True
    lift = ("revocations", "lift", "revoked-web", "--server", address)
    refused = policyd(*lift)
    assert (refused.exit_code, "Git asks for revocation `default/revoked-web`" in refused.stderr) == (2, True)
    floor.asked_for = False
    policyd(
        "revoke", "web", "--to", "api", "--reason", "the same", "--name", "default/revoked-web", "--server", address
    )
    done = policyd(*lift)
    assert done.exit_code == 0
    web, lifted = "spiffe://shop.example/ns/default/svc/web", "revocation `default/revoked-web` is lifted"
    assert done.stdout.splitlines() == [
        f"{lifted}: {web} is cut off no more",
        f"{lifted}: {web} is cut off from api no more",
        "the rules decide again",
    ]
    assert "nobody is cut off" in policyd("revocations", "--server", address).stdout


def test_nobody_is_cut_off_by_a_slip_or_by_a_page(policyd: Policyd, address: str, floor: OneFloor) -> None:
    unknown = policyd("revoke", "wbe", "--reason", "x", "--server", address)
    assert (unknown.exit_code, "there is no service `wbe`" in unknown.stderr) == (2, True)
    for body, words in (({"identity": "web"}, "`reason` is not given"), ({"who": "web"}, "unknown field `who`")):
        answered = httpx.post(f"{address}/v1/revocations", json=body)
        assert (answered.status_code, answered.json()["message"]) == (400, words)
    unread = httpx.post(f"{address}/v1/revocations", json={"identity": "web", "reason": "x", "anyway": "yes"})
    assert (unread.status_code, unread.json()["message"]) == (400, "`anyway` is not a boolean")
    page = {"origin": "http://elsewhere.example"}
    order = {"identity": "web", "reason": "x"}
    assert httpx.post(f"{address}/v1/revocations", json=order, headers=page).status_code == 403
    assert httpx.post(f"{address}/v1/revocations/default/leak/lift", headers=page).status_code == 403
    assert floor.orders == []


@pytest.mark.parametrize("verb", list(Command))
def test_releases_are_steered(verb: Command, policyd: Policyd, address: str, controller: OneController) -> None:
    assert policyd("releases", verb.value, "r7", "--server", address).exit_code == 0
    assert controller.commands == [("r7", verb)]


@pytest.mark.parametrize("ref", ["checkout", "default/checkout", "7"])
def test_a_release_is_known_by_what_it_changes(
    ref: str, policyd: Policyd, address: str, controller: OneController
) -> None:
    assert policyd("releases", "show", ref, "--server", address).stdout.startswith("r7  ")
    assert policyd("releases", "pause", ref, "--server", address).exit_code == 0
    assert controller.commands == [("r7", Command.PAUSE)]
    watched = policyd("releases", "watch", ref, "--server", address)
    assert (watched.exit_code, "aborted" in watched.stdout) == (1, True)


def test_a_name_that_no_release_has_is_said_so(policyd: Policyd, address: str) -> None:
    done = policyd("releases", "show", "basket", "--server", address)
    assert done.exit_code == 2
    assert "no release is meant by `basket`" in done.stderr
    assert "`r7` (default/checkout)" in done.stderr


def test_a_release_that_has_not_begun_is_waited_for(policyd: Policyd, address: str) -> None:
    # The events that come are of another release: none of them is shown.
    done = policyd("releases", "watch", "basket", "--server", address)
    assert done.stdout == ""
    # And then nothing comes any more: that is no verdict.
    assert done.exit_code == 2
    assert "has ended" in done.stderr


def test_an_order_that_is_refused_says_why(policyd: Policyd, address: str) -> None:
    done = policyd("releases", "abort", "r1", "--server", address)
    assert done.exit_code == 2
    assert "release `r1` is over\n  hint: a revert takes it back" in done.stderr
    assert policyd("releases", "abort", "../status", "--server", address).exit_code == 2


def test_watching_a_release_ends_with_it(policyd: Policyd, address: str) -> None:
    done = policyd("releases", "watch", "r7", "--server", address)
    assert done.exit_code == 1, "it was aborted"
    assert "5 % of requests" in done.stdout
    lines = policyd("releases", "watch", "--server", address, "-o", "json").stdout.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["stage", "aborted"]


def test_a_paused_release_waits_for_a_person(policyd: Policyd, address: str) -> None:
    paused = policyd("releases", "pause", "r7", "--server", address)
    assert "waits for  a person: `policyd releases resume r7`" in paused.stdout


def test_a_refused_commit_shows_how_much_each_finding_matters() -> None:
    findings = [
        {"code": f"PD{number}", "severity": severity, "message": "m", "file": "a.yaml", "line": 1, "column": 2}
        for number, severity in ((2104, "error"), (2103, "warning"))
    ]
    commit = {"commit": "c" * 40, "taken": False, "subject": "s", "author": "Ada", "findings": findings}
    told = io.StringIO()
    Console(file=told, width=200).print(status_text({"commit": commit}))
    assert "a.yaml:1:2: error PD2104: m" in told.getvalue()
    assert "a.yaml:1:2: warning PD2103: m" in told.getvalue()


def test_no_controller_is_said_so(policyd: Policyd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for words in (("status",), ("releases",), ("releases", "watch")):
        done = policyd(*words, "--server", address)
        assert done.exit_code == 2
        assert f"no controller answers at `{address}`" in done.stderr


@pytest.mark.parametrize("address", ["nonsense", "ftp://x", "http://x:y", ""])
def test_an_address_that_is_none_is_said_so(address: str, policyd: Policyd) -> None:
    done = policyd("status", "--server", address)
    assert done.exit_code == 2
    assert "is not an address" in done.stderr


@pytest.mark.parametrize("token", ["é", "two words", "\n"])
def test_a_token_that_no_header_carries_is_said(
    policyd: Policyd, address: str, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("POLICYD_TOKEN", token)
    done = policyd("status", "--server", address)
    assert (done.exit_code, "`POLICYD_TOKEN` has a character that no header carries" in done.stderr) == (2, True)


def test_the_doctor_finds_what_runs_the_tests(policyd: Policyd) -> None:
    done = policyd("doctor", "-o", "json")
    parts = {part["name"]: part for part in json.loads(done.stdout)["parts"]}
    assert done.exit_code == 0
    assert {"python", "git", "compiler envoy", "regopy", "opa", "envoy"} <= parts.keys()
    assert parts["compiler envoy"]["use"].startswith("xds")
    assert policyd("doctor").stdout.rstrip().endswith("ready")


def test_the_doctor_says_how_to_get_what_is_missing(policyd: Policyd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    git = next(part for part in diagnose() if part.name == "git")
    assert (git.found, git.needed) == (False, True)
    done = policyd("doctor")
    assert done.exit_code == 1
    assert "apt install git" in done.stdout


def test_every_verb_has_help_and_a_version_is_said(policyd: Policyd) -> None:
    assert policyd("--version").stdout.startswith("policyd ")
    for verb in (
        "init",
        "bootstrap",
        "check",
        "compile",
        "diff",
        "explain",
        "schema",
        "run",
        "status",
        "releases",
        "demo",
        "doctor",
    ):
        assert policyd(verb, "-h").exit_code == 0, verb
    assert policyd("nonsense").exit_code == 2
