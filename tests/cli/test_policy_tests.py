"""`policyd test`: passes, failures, their exit codes; and `policyd check`, which finds the same failures."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Policyd


def _open_payments(shop: Path) -> None:
    file = shop / "services" / "payments.yaml"
    file.write_text(file.read_text().replace("from: [checkout]", "from: [checkout, web]"))


def test_the_shop_keeps_what_it_expects(policyd: Policyd, shop: Path) -> None:
    done = policyd("test", shop)
    assert done.exit_code == 0
    assert "✓ payments-is-closed  web → payments  POST /v1/charges  deny" in done.stdout
    assert done.stdout.endswith("✓ all 7 cases are as expected\n")


def test_a_failing_case_is_shown_with_its_reasons(policyd: Policyd, shop: Path) -> None:
    _open_payments(shop)
    done = policyd("test", shop)
    assert done.exit_code == 1
    shown = f"{shop}/services/payments.yaml:35:66"
    assert (
        f"✗ payments-is-closed  web → payments  POST /v1/charges  deny expected, allow (200)   {shown}" in done.stdout
    )
    assert "rule `checkout-charges` allows `web` to `POST /v1/charges` on `payments`" in done.stdout
    assert "✗ 1 of 7 cases are not as expected" in done.stdout
    told = json.loads(policyd("test", shop, "-o", "json").stdout)
    assert (told["ok"], told["passed"], told["failed"]) == (False, 6, 1)
    (failed,) = [each for each in told["cases"] if not each["passed"]]
    assert (failed["expect"], failed["outcome"], failed["place"]) == ("deny", "allow", shown)


def test_what_a_case_brings_is_shown(policyd: Policyd, shop: Path) -> None:
    file = shop / "services" / "payments.yaml"
    file.write_text(
        file.read_text().replace("{from: web, to: payments,", '{from: web, to: payments, headers: {x-a: "1"},')
    )
    assert "POST /v1/charges  x-a: 1  deny" in policyd("test", shop).stdout
    told = json.loads(policyd("test", shop, "-o", "json").stdout)
    assert [each["headers"] for each in told["cases"] if each["headers"]] == [[["x-a", "1"]]]


def test_check_finds_it_too(policyd: Policyd, shop: Path, vouched: tuple[str, str]) -> None:
    _open_payments(shop)
    done = policyd("check", shop, *vouched, "-o", "json")
    assert done.exit_code == 1
    found = [each for each in json.loads(done.stdout)["findings"] if each["code"] == "PD1391"]
    assert [(each["path"], each["line"]) for each in found] == [(f"{shop}/services/payments.yaml", 35)]


def test_a_folder_without_tests_says_so(policyd: Policyd, shop: Path) -> None:
    for name in ("payments", "checkout"):
        file = shop / "services" / f"{name}.yaml"
        parts = file.read_text().split("---\n")
        file.write_text("---\n".join(part for part in parts if "PolicyTest" not in part))
    done = policyd("test", shop)
    assert done.exit_code == 0
    assert "no `PolicyTest` is here" in done.stdout


def test_intents_with_errors_cannot_be_tested(policyd: Policyd, shop: Path) -> None:
    file = shop / "services" / "payments.yaml"
    file.write_text(file.read_text().replace("{from: web, to: payments", "{from: wbe, to: payments"))
    done = policyd("test", shop)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "PD1203: there is no service `wbe`" in done.stderr


def test_a_new_repository_begins_with_a_test(policyd: Policyd, tmp_path: Path) -> None:
    policyd("init", tmp_path / "new", "--no-git")
    done = policyd("test", tmp_path / "new")
    assert (done.exit_code, "all 2 cases are as expected" in done.stdout) == (0, True)
