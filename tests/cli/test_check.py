from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Policyd
from tests.source.conftest import Author

STRATEGY = """\
apiVersion: policyd.dev/v1alpha1
kind: RolloutStrategy
metadata: {name: s, namespace: pay, owner: web}
spec:
  waves: [{proxies: 100%}]
  hold: 10s
"""


def test_the_shop_is_fine(policyd: Policyd, shop: Path, vouched: tuple[str, str]) -> None:
    done = policyd("check", shop, *vouched)
    assert done.exit_code == 0, done.output
    assert "✓ nothing wrong  30 documents in 14 files" in done.stdout


def test_every_mistake_is_shown_at_once_with_its_place(
    policyd: Policyd, shop: Path, vouched: tuple[str, str]
) -> None:
    payments, web = shop / "services" / "payments.yaml", shop / "services" / "web.yaml"
    payments.write_text(payments.read_text().replace("from: [checkout]", "from: [chekout]"))
    web.write_text(web.read_text().replace("  port:", "  prot:"))
    done = policyd("check", shop, *vouched)
    assert done.exit_code == 1
    line = next(number for number, text in enumerate(payments.read_text().splitlines(), 1) if "chekout" in text)
    assert f"{payments}:{line}:10: error PD1203: there is no service `chekout`\n" in done.stdout
    assert (
        f"\n   {line} |   from: [chekout]\n      |          ^^^^^^^\n  hint: did you mean `checkout`?" in done.stdout
    )
    assert f"{web}:" in done.stdout
    assert "`prot`" in done.stdout


BAD: dict[str, str | bytes] = {
    "not YAML": "a: [1\n",
    "an unknown kind": "apiVersion: policyd.dev/v1alpha1\nkind: Servce\nmetadata: {name: x}\nspec: {}\n",
    "a nesting bomb": "[" * 5_000,
    "not UTF-8": b"a: \xff\n",
    "an alias bomb": "a: &a [1]\nb: [*a, *a]\n",
    "duplicate keys": "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nkind: Mesh\nmetadata: {name: x}\n",
}


@pytest.mark.parametrize("what", sorted(BAD))
def test_bad_input_is_a_finding_never_a_traceback(what: str, policyd: Policyd, tmp_path: Path) -> None:
    body = BAD[what]
    (tmp_path / "bad.yaml").write_bytes(body if isinstance(body, bytes) else body.encode())
    done = policyd("check", tmp_path)
    assert done.exit_code == 1
    assert f"{tmp_path}/bad.yaml" in done.stdout
    assert "error PD1" in done.stdout


def test_opening_payments_to_everyone_is_refused_by_the_guardrails(
    policyd: Policyd, shop: Path, vouched: tuple[str, str]
) -> None:
    file = shop / "services" / "payments.yaml"
    file.write_text(file.read_text().replace("from: [checkout]", 'from: ["*"]'))
    done = policyd("check", shop, *vouched)
    assert done.exit_code == 1
    assert "error PD21" in done.stdout
    assert f"{file}:" in done.stdout


def test_nothing_in_a_file_can_speak_to_the_terminal(policyd: Policyd, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        'kind: "\\e]0;owned\\a"\napiVersion: "\\e[2J"\nx: \N{RIGHT-TO-LEFT OVERRIDE}\n'
    )
    done = policyd("check", tmp_path)
    assert done.exit_code == 1
    assert all(character.isprintable() or character == "\n" for character in done.stdout)


def test_links_in_the_folder_are_findings(policyd: Policyd, shop: Path, vouched: tuple[str, str]) -> None:
    (shop / "services" / "passwd.yaml").symlink_to("/etc/passwd")
    done = policyd("check", shop, *vouched)
    assert done.exit_code == 1
    assert "error PD3001: `services/passwd.yaml` is a symbolic link" in done.stdout


def test_warnings_are_findings_only_when_asked(policyd: Policyd, shop: Path, vouched: tuple[str, str]) -> None:
    file = shop / "services" / "checkout.yaml"
    file.write_text(file.read_text().replace("  version: v1", "  version: v2"))
    assert policyd("check", shop, *vouched).exit_code == 0
    strict = policyd("check", shop, "--strict", *vouched)
    assert strict.exit_code == 1
    assert "1 warning" in strict.stdout


def test_json_says_the_same_to_programs(policyd: Policyd, shop: Path, vouched: tuple[str, str]) -> None:
    file = shop / "services" / "payments.yaml"
    file.write_text(file.read_text().replace("from: [checkout]", "from: [chekout]"))
    done = policyd("check", shop, "-o", "json", *vouched)
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    finding = next(one for one in answer["findings"] if one["code"] == "PD1203")
    assert answer["ok"] is False
    assert (finding["severity"], finding["path"], finding["column"]) == ("error", str(file), 10)


@pytest.mark.parametrize("target", ["envoy", "haproxy"])
def test_the_real_proxy_is_asked(
    policyd: Policyd, shop: Path, vouched: tuple[str, str], target: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(f"{target}_binary")
    done = policyd("check", shop, "--deep", "-v", "--target", target, *vouched)
    assert done.exit_code == 0, done.output
    assert "17 proxies asked" in done.stdout


def test_a_mesh_of_haproxies_is_checked_and_its_losses_stand_at_their_intents(
    policyd: Policyd, shop: Path, vouched: tuple[str, str]
) -> None:
    file = shop / "mesh.yaml"
    text = file.read_text()
    assert "compiler: envoy" in text
    file.write_text(text.replace("compiler: envoy", "compiler: haproxy"))
    done = policyd("check", shop, "-o", "json", *vouched)
    assert done.exit_code == 0, done.output
    lost = [one for one in json.loads(done.stdout)["findings"] if one["code"] == "PD1306"]
    assert {(one["severity"], Path(one["path"]).parent) for one in lost} == {("warning", shop / "services")}
    assert all((shop / one["path"]).read_text().splitlines()[one["line"] - 1].startswith("metadata:") for one in lost)


def test_deep_without_the_proxy_cannot_tell(
    policyd: Policyd, shop: Path, vouched: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("policyd.cli.deep.find_program", lambda _: None)
    done = policyd("check", shop, "--deep", *vouched)
    assert done.exit_code == 2
    assert "`envoy` is not installed" in done.stderr


def test_a_folder_that_is_not_there_cannot_be_told(policyd: Policyd, tmp_path: Path) -> None:
    done = policyd("check", tmp_path / "nowhere")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "is not a folder" in done.stderr
    assert "hint:" in done.stderr


def test_a_pull_request_is_judged_by_the_folders_that_the_settings_bind(policyd: Policyd, tmp_path: Path) -> None:
    mesh = tmp_path / "mesh"
    assert policyd("init", mesh, "--no-git").exit_code == 0
    author = Author(mesh)
    base = author.commit("the first mesh")
    settings = tmp_path / "policyd.yaml"
    settings.write_text("source: {repository: ./mesh}\nnamespaces: {default: /, pay: [teams/pay]}\n")
    assert policyd("check", mesh, "--settings", settings).exit_code == 0

    author.write("teams/web/mine.yaml", STRATEGY)
    author.commit("a strategy in the name of another team")
    assert policyd("check", mesh).exit_code == 0
    for words in (("check", mesh), ("diff", base, "--path", mesh), ("review", base, "--path", mesh)):
        done = policyd(*words, "--settings", settings)
        assert done.exit_code == 1, words
        assert "teams/web/mine.yaml:3:32: error PD1113: namespace `pay` is bound to `teams/pay/`" in done.stdout

    author.git("mv", "teams/web", "teams/pay")
    author.commit("where it belongs")
    assert policyd("review", base, "--path", mesh, "--settings", settings).exit_code == 0
