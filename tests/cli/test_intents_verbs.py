from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Policyd
from tests.source.conftest import Author


def test_compile_lists_every_proxy(policyd: Policyd, shop: Path) -> None:
    done = policyd("compile", shop)
    assert done.exit_code == 0
    assert "default/payments/v1/127.0.1.71" in done.stdout
    assert "17 nodes" in done.stdout


def test_compile_shows_what_one_proxy_gets(policyd: Policyd, shop: Path) -> None:
    done = policyd("compile", shop, "--node", "default/payments/v1/127.0.1.71")
    assert done.exit_code == 0
    assert "Listener" in done.stdout
    assert "/v1/charges" in done.stdout
    asked = json.loads(policyd("compile", shop, "--node", "default/payments", "-o", "json").stdout)
    assert [node["node"] for node in asked["nodes"]] == [
        "default/payments/v1/127.0.1.71",
        "default/payments/v1/127.0.1.72",
    ]
    assert all(resource["text"] for node in asked["nodes"] for resource in node["resources"])


def test_compile_writes_the_same_files_every_time(policyd: Policyd, shop: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        assert policyd("compile", shop, "--out", tmp_path / name).exit_code == 0
    first, second = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.yaml")}
        for name in ("first", "second")
    )
    assert first == second
    assert any("default/payments/v1/127.0.1.71" in str(path) for path in first)


def test_compile_writes_a_folder_that_haproxy_can_read(policyd: Policyd, shop: Path, tmp_path: Path) -> None:
    assert policyd("compile", shop, "--target", "haproxy", "--out", tmp_path / "out").exit_code == 0
    folder = tmp_path / "out" / "default" / "web" / "v1" / "127.0.1.11"
    assert {"10-process.cfg", "20-inbound.cfg", "30-outbound.cfg"} <= {path.name for path in folder.iterdir()}
    assert "/v1/charges" in (folder.parents[2] / "payments" / "v1" / "127.0.1.71" / "20-inbound.cfg").read_text()


def test_compile_for_two_targets_keeps_them_apart(policyd: Policyd, shop: Path, tmp_path: Path) -> None:
    targets = ("--target", "haproxy", "--target", "envoy")
    assert "34 nodes" in policyd("compile", shop, *targets, "--out", tmp_path / "out").stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["envoy", "haproxy"]


def test_a_target_that_is_not_installed_is_named(policyd: Policyd, shop: Path) -> None:
    done = policyd("compile", shop, "--target", "nginx")
    assert done.exit_code == 2
    assert "no compiler `nginx` is installed" in done.stderr
    assert "`envoy`, `haproxy`" in done.stderr


def test_diff_shows_files_line_by_line(policyd: Policyd, shop: Path, committed: Author) -> None:
    del committed
    _edit(shop / "services" / "payments.yaml", "methods: [GET]", "methods: [GET, DELETE]")
    done = policyd("diff", "HEAD", "--path", shop, "--target", "haproxy")
    assert done.exit_code == 0, done.output
    assert "~ haproxy file 20-inbound.cfg" in done.stdout
    assert "method DELETE GET" in done.stdout or "method GET DELETE" in done.stdout
    assert "15 proxies unchanged" in done.stdout


def test_compile_names_the_nodes_it_has(policyd: Policyd, shop: Path) -> None:
    done = policyd("compile", shop, "--node", "default/nobody")
    assert done.exit_code == 2
    assert "no node `default/nobody`" in done.stderr


def test_compile_of_intents_with_errors_cannot_tell(policyd: Policyd, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1\n")
    done = policyd("compile", tmp_path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "`policyd check` shows them all" in done.stderr


def test_diff_says_a_release_in_words_and_shows_equal_hunks_once(
    policyd: Policyd, shop: Path, committed: Author
) -> None:
    del committed
    _edit(shop / "services" / "checkout.yaml", "  version: v1", "  version: v2")
    done = policyd("diff", "HEAD", "--path", shop)
    assert done.exit_code == 0, done.output
    assert "1 change from HEAD to the working tree" in done.stdout
    assert f"• checkout: v1 -> v2   {shop}/services/checkout.yaml:" in done.stdout
    assert done.stdout.count("-      cluster: default/checkout/v1") == 1
    assert "on 2 proxies (default/web/v1/127.0.1.11, default/web/v1/127.0.1.12)" in done.stdout
    assert "15 proxies unchanged" in done.stdout


def test_diff_between_two_commits(policyd: Policyd, shop: Path, committed: Author) -> None:
    _edit(shop / "services" / "payments.yaml", "methods: [GET]", "methods: [GET, DELETE]")
    committed.commit("let checkout delete charges")
    done = policyd("diff", "HEAD~1", "HEAD", "--path", shop, "-o", "json")
    answer = json.loads(done.stdout)
    assert done.exit_code == 0
    assert [change["text"] for change in answer["changes"]] == ["access to payments: ~rule checkout-charges"]
    assert "services/payments.yaml:" in answer["changes"][0]["place"]
    assert any("DELETE" in line for difference in answer["compiled"] for line in difference["lines"])


def test_diff_of_nothing_is_nothing(policyd: Policyd, shop: Path, committed: Author) -> None:
    del committed
    answer = json.loads(policyd("diff", "HEAD", "--path", shop, "-o", "json").stdout)
    assert (answer["changes"], answer["compiled"], answer["nodes_unchanged"]) == ([], [], 17)


def test_diff_tells_how_releases_are_taken(policyd: Policyd, shop: Path, committed: Author) -> None:
    del committed
    _edit(shop / "services" / "payments.yaml", "steps: [1, 5, 25, 100]", "steps: [2, 25, 100]")
    done = policyd("diff", "HEAD", "--path", shop)
    assert "• canary of payments: changed" in done.stdout
    assert "17 proxies unchanged" in done.stdout


def test_diff_from_a_commit_without_intents_shows_all_as_new(policyd: Policyd, tmp_path: Path, shop: Path) -> None:
    author = Author(tmp_path / "clone")
    author.commit("empty")
    for file in shop.rglob("*.yaml"):
        author.write(str(file.relative_to(shop)), file.read_text())
    answer = json.loads(policyd("diff", "HEAD", "--path", author.folder, "-o", "json").stdout)
    assert len(answer["nodes_added"]) == 17


def test_diff_from_a_broken_commit_is_not_an_empty_diff(policyd: Policyd, shop: Path) -> None:
    author, file = Author(shop), shop / "services" / "payments.yaml"
    sound = file.read_text()
    file.write_text("a: [1\n")
    author.commit("broken")
    file.write_text(sound)
    done = policyd("diff", "HEAD", "--path", shop)
    assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize("output", ["text", "json", "markdown"])
def test_diff_to_intents_with_errors_shows_the_errors(
    output: str, policyd: Policyd, shop: Path, committed: Author
) -> None:
    del committed
    _edit(shop / "services" / "payments.yaml", "from: [checkout]", "from: [chekout]")
    done = policyd("diff", "HEAD", "--path", shop, "-o", output)
    assert done.exit_code == 1
    assert "there is no service `chekout`" in done.stdout


def test_a_comment_for_a_pull_request_is_bounded_and_cannot_be_broken_out_of(
    policyd: Policyd, shop: Path, committed: Author
) -> None:
    del committed
    for file in (shop / "services").glob("*.yaml"):
        file.write_text(file.read_text().replace("path: /healthz", "path: /healthz-```"))
    done = policyd("diff", "HEAD", "--path", shop, "-o", "markdown")
    assert done.stdout.startswith("### policyd: ")
    assert len(done.stdout) <= 60_001
    opened = [line for line in done.stdout.splitlines() if line.startswith("```")]
    assert len(opened) % 2 == 0


def test_explain_names_the_rule_and_its_place(policyd: Policyd, shop: Path) -> None:
    done = policyd("explain", "--from", "web", "--to", "checkout", "POST /v1/orders", shop)
    assert done.exit_code == 0
    assert done.stdout.startswith("allow  web → checkout  POST /v1/orders\n")
    assert f"{shop}/services/checkout.yaml:" in done.stdout


def test_explain_shows_what_came_nearest(policyd: Policyd, shop: Path) -> None:
    done = policyd("explain", "--from", "web", "--to", "payments", "POST /v1/charges", shop, "-o", "json")
    answer = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (answer["outcome"], answer["rule"]) == ("deny", "")
    assert "only from `checkout`" in answer["reasons"][1]["text"]
    assert "services/payments.yaml:" in answer["reasons"][1]["place"]


def test_explain_rejects_what_is_not_canonical(policyd: Policyd, shop: Path) -> None:
    done = policyd("explain", "--from", "checkout", "--to", "payments", "GET /v1/charges/../admin", shop)
    assert done.exit_code == 1
    assert done.stdout.startswith("reject (400)")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "web", "--to", "payment", "GET /"), "did you mean `payments`?"),
        (("--from", "web", "--to", "payments", "GET"), "`GET` is not a request"),
        (("GET /",), "who calls whom?"),
        (("PD9999",), "no finding has the code `PD9999`"),
    ],
)
def test_explain_says_what_it_does_not_understand(
    words: tuple[str, ...], said: str, policyd: Policyd, shop: Path
) -> None:
    done = policyd("explain", *words, *([] if len(words) == 1 else [shop]))
    assert done.exit_code == 2
    assert said in done.stderr


def test_explain_tells_what_a_code_means(policyd: Policyd) -> None:
    assert policyd("explain", "pd3001").stdout.startswith("PD3001  symbolic link\n")
    for code in ("PD1203", "PD1301", "PD1306", "PD1390", "PD2012", "PD3102"):
        assert json.loads(policyd("explain", code, "-o", "json").stdout)["text"]


def test_schema_is_json_schema(policyd: Policyd, tmp_path: Path) -> None:
    shown = json.loads(policyd("schema").stdout)
    assert shown["$schema"].startswith("https://json-schema.org/")
    assert policyd("schema", "--out", tmp_path / "s.json").exit_code == 0
    assert json.loads((tmp_path / "s.json").read_text()) == shown


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
