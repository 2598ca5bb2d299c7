"""Settings: defaults that work on one machine, and every mistake named at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from policyd.base.errors import UsageError
from policyd.daemon.admins import AdminAddresses
from policyd.daemon.settings import Source, read_settings
from policyd.intents.translate import nearest
from policyd.model.tracing import Collector


def written(folder: Path, text: str) -> Path:
    path = folder / "policyd.yaml"
    path.write_text(text)
    return path


def test_only_the_repository_is_needed(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "source: {repository: /srv/git/mesh}\n"))

    assert settings.source.branch == "main"
    assert settings.state == tmp_path / "state"
    assert settings.xds.startswith("127.0.0.1:")
    assert settings.http.startswith("127.0.0.1:")


def test_relative_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "{odd}"
    folder.mkdir()
    text = 'source: {repository: ./mesh}\nstate: here\nadmin: "unix:run/{service}.sock"\n'
    settings = read_settings(written(folder, text))

    assert settings.source.repository == str(folder / "mesh")
    assert settings.state == folder / "here"
    assert AdminAddresses(settings.admin)["default/web/v1/127.0.0.9"] == f"unix:{folder}/run/web.sock"


def test_every_mistake_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "source: {repository: /x, brnach: main}\nxds: somewhere\ntick_s: 0\n")

    with pytest.raises(UsageError) as caught:
        read_settings(path)

    assert str(caught.value).splitlines() == [
        f"`{path}` is not in order",
        f"  {path}:1:26: PD1103: unknown field `brnach` in `source`; {nearest('brnach', list(Source.model_fields))}",
        f"  {path}:2:6: PD1108: `somewhere` is not `address:port`; for example `127.0.0.1:15010`",
        f"  {path}:3:9: PD1109: `tick_s` must be at least 0.01",
    ]


HOSTILE = {
    "empty": ("", "` is empty"),
    "a list": ("- a\n", ":1:1: PD1105"),
    "two documents": ("source: {repository: /x}\n---\nxds: 1\n", ":3:1: PD1105"),
    "not YAML": ("a: [", ":1:5: PD1005"),
    "NUL": ("a: \x00", ":1:4: PD1002"),
    "a key given twice": ("xds: 127.0.0.1:1\nxds: 127.0.0.1:2\n", ":2:1: PD1009"),
    "a bomb of brackets": ("[" * 100_000, ":1:65: PD1004"),
    "an alias": ("source: &a {repository: /x}\nlogs: *a\n", ":1:9: PD1006"),
    "nothing after the colon": ("source: {repository: /x}\nhttp:\n", ":2:6: PD1015"),
    "a port of other digits": ("source: {repository: /x}\nhttp: 127.0.0.1:\u0661\n", ":2:7: PD1108"),
    "no repository": ("source: {}\n", ":1:1: PD1104"),
    "a number as a path": ("source: {repository: /x}\nstate: 8\n", ":2:8: PD1108"),
    "a folder outside": ("source: {repository: /x}\nnamespaces: {pay: ../x}\n", ":2:19: PD1108"),
    "a folder of something else": ("source: {repository: /x}\nnamespaces: {pay: 'x/{team}'}\n", ":2:19: PD1108"),
    "looking all the time": ("source: {repository: /x, poll_s: 1e-300}\n", ":1:34: PD1109"),
    "waiting for ever": ("source: {repository: /x}\nguardrails: {deadline_s: 1e300}\n", ":2:26: PD1109"),
    "no namespace": ("source: {repository: /x}\nnamespaces: {Pay: pay}\n", ":2:14: PD1107"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_settings_are_read_as_strictly_as_intents(tmp_path: Path, what: str) -> None:
    text, said = HOSTILE[what]
    with pytest.raises(UsageError) as caught:
        read_settings(written(tmp_path, text))
    assert f"{tmp_path}/policyd.yaml{said}" in str(caught.value)


def test_namespaces_are_bound_to_one_folder_or_several(tmp_path: Path) -> None:
    text = (
        'source: {repository: /x}\nnamespaces:\n  pay: teams/pay/\n  web: [web, /edge]\n  "*": "teams/{namespace}"\n'
    )
    folders = read_settings(written(tmp_path, text)).bindings.folders
    assert folders == {"pay": ("teams/pay/",), "web": ("web/", "edge/"), "*": ("teams/{namespace}/",)}


def test_collectors_are_where_the_settings_say(tmp_path: Path) -> None:
    first = "source: {repository: /x}\n"
    good = 'collectors: {main: "127.0.0.1:4317", v6: "[::1]:4317", far: otel.internal:4317}\n'
    settings = read_settings(written(tmp_path, first + good))
    assert settings.places.collectors == {
        "main": Collector("127.0.0.1:4317"), "v6": Collector("[::1]:4317"), "far": Collector("otel.internal:4317"),
    }  # fmt: skip
    assert settings.bindings.collectors == frozenset({"main", "v6", "far"})
    for bad in ("main: 'http://127.0.0.1:4317'", "main: 127.0.0.1", "main: 'a:0'", "main: 4317", "'a b': 'a:1'"):
        with pytest.raises(UsageError):
            read_settings(written(tmp_path, f"{first}collectors: {{{bad}}}\n"))


def test_collectors_have_certificates_of_roots_by_name(tmp_path: Path) -> None:
    first = "source: {repository: /x}\nroots: {corp: /etc/corp.pem}\n"
    said = "{a: {address: 'otel:4317', tls: {}}, b: {address: '10.0.0.9:4317', tls: {roots: corp, name: otel.corp}}}"
    places = read_settings(written(tmp_path, f"{first}collectors: {said}\n")).places
    assert places.collectors == {
        "a": Collector("otel:4317", "system"), "b": Collector("10.0.0.9:4317", "corp", "otel.corp"),
    }  # fmt: skip
    for bad, words in (
        (
            "tls: {roots: crop}",
            ":3:13: PD1108: `a` asks for the roots `crop`, which `roots` has not; did you mean `corp`",
        ),
        ("tls: {name: 'a b'}", ":3:52: PD1108: `a b` is not the name of a host"),
        ("tls: {cert: x}", ":3:46: PD1103"),
    ):
        text = f"{first}collectors: {{a: {{address: 'otel:4317', {bad}}}}}\n"
        with pytest.raises(UsageError) as caught:
            read_settings(written(tmp_path, text))
        assert words in str(caught.value)


def test_roots_are_files_by_name(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "source: {repository: /x}\nroots: {corp: /etc/corp.pem}\n"))
    assert settings.places.roots == {"corp": "/etc/corp.pem"}
    assert settings.bindings.roots == frozenset({"corp", "system"})
    for bad in ("'a b': /x", "corp: 7", "corp: ''"):
        with pytest.raises(UsageError):
            read_settings(written(tmp_path, f"source: {{repository: /x}}\nroots: {{{bad}}}\n"))


def test_certificates_are_two_files_by_name(tmp_path: Path) -> None:
    said = "certificates: {shop: {chain: tls/shop.pem, key: /keys/shop.key}}\n"
    settings = read_settings(written(tmp_path, f"source: {{repository: /x}}\n{said}"))
    files = settings.certificate_files["shop"]
    assert (files.chain, files.key) == (tmp_path.resolve() / "tls/shop.pem", Path("/keys/shop.key"))
    assert settings.bindings.certificates == frozenset({"shop"})
    for bad in ("shop: {chain: /x}", "'a b': {chain: /x, key: /y}", "shop: /x"):
        with pytest.raises(UsageError):
            read_settings(written(tmp_path, f"source: {{repository: /x}}\ncertificates: {{{bad}}}\n"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.yaml"):
        read_settings(tmp_path / "gone.yaml")


def test_admin_addresses_are_filled_in_from_the_node() -> None:
    admins = AdminAddresses("unix:/run/{service}-{version}-{address}.sock")

    assert admins["default/web/v1/127.0.0.9"] == "unix:/run/web-v1-127.0.0.9.sock"
    assert "not a node" not in admins


@pytest.mark.parametrize(
    "template",
    ["http://{address}:{port}", "unix:/{service.__class__}", "unix:/{0}", "unix:/{", "unix:/{service!r}", "", "/x"],
)
def test_a_template_that_no_node_can_fill_in_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match=r"`admin: .*` (has a field|cannot be filled in|is no address)"):
        AdminAddresses(template)
