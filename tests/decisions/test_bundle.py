"""The signed bundle: repeatable to the byte, taken by a real OPA, and refused once anything in it was touched."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from policyd.base.diagnostics import Location
from policyd.decisions.bundle import BundleError, Packed, pack, provenance_document, unpack
from policyd.decisions.document import document
from policyd.decisions.signature import SignatureError, Signer, Verifier
from policyd.identity.authority import key_pem
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.provenance import Key, Provenance
from policyd.testing import build
from tests.decider.opa import OpaRefusedError, opa_server

COMMIT = "c" * 40
RULE = b"""\
package policyd.authz

default allow := false

allow if data.mesh.services[input.destination.service].port == 8080
"""
SAID = {Key("AccessRule", Name("default", "r")): Provenance(Location("services/api.yaml", 14, 1), "team<&>\u2028")}


def shop() -> Mesh:
    services = [build.service("web", {"v1": ["10.0.0.1"]}), build.service("payments", {"v1": ["10.0.0.3"]})]
    return build.mesh(services, [build.access("payments", build.rule("r", ["web"], "GET /v1/{id}"))])


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer(key_pem(ec.generate_private_key(ec.SECP256R1())))


@pytest.fixture(scope="module")
def packed(signer: Signer) -> Packed:
    return pack(document(shop()), provenance_document(COMMIT, SAID), {"policyd/authz/authz.rego": RULE}, signer)


def repacked(packed: Packed, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The bundle after somebody had it in hands."""
    with tarfile.open(fileobj=io.BytesIO(packed.body), mode="r:gz") as archive:
        files = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    change(files)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def _opens(files: dict[str, bytes]) -> None:
    files["data.json"] = files["data.json"].replace(b'"GET"', b'"PUT"')


def _adds(files: dict[str, bytes]) -> None:
    files["policyd/authz/more.rego"] = b"package policyd.authz\n\nallow := true\n"


def _leaves_out(files: dict[str, bytes]) -> None:
    del files["policyd/authz/authz.rego"]


def _unsigned(files: dict[str, bytes]) -> None:
    del files[".signatures.json"]


def _signs_nothing(files: dict[str, bytes]) -> None:
    files[".signatures.json"] = b'{"signatures": []}'


def _breaks_the_data(files: dict[str, bytes]) -> None:
    files["data.json"] = files["data.json"][:-1]


def _breaks_the_manifest(files: dict[str, bytes]) -> None:
    files[".manifest"] = b"\xff"


def _buries_the_data(files: dict[str, bytes]) -> None:
    files["data.json"] = b"[" * 500 + b"]" * 500


TOUCHED = [
    *(_opens, _adds, _leaves_out, _unsigned, _signs_nothing),
    *(_breaks_the_data, _breaks_the_manifest, _buries_the_data),
]


def _key(folder: Path, signer: Signer) -> Path:
    file = folder / "key.pem"
    file.write_bytes(signer.public_pem)
    return file


def _verified(folder: Path, signer: Signer, body: bytes) -> tuple[str, ...]:
    bundle = folder / "mesh.tar.gz"
    bundle.write_bytes(body)
    key = str(_key(folder, signer))
    return (
        "--bundle",
        str(bundle),
        "--verification-key",
        key,
        "--verification-key-id",
        "policyd",
        "--signing-alg",
        "ES256",
    )


def test_equal_content_has_equal_bytes_and_another_content_another_name(signer: Signer, packed: Packed) -> None:
    rules = {"policyd/authz/authz.rego": RULE}
    again = pack(document(shop()), provenance_document(COMMIT, dict(SAID)), rules, signer)
    assert again == packed
    other = pack(document(shop()), provenance_document("d" * 40, SAID), rules, signer)
    assert other.etag != packed.etag


def test_what_was_packed_is_unpacked(signer: Signer, packed: Packed) -> None:
    found = unpack(packed.body, Verifier(signer.public_pem))
    assert found.revision == COMMIT
    assert found.mesh == document(shop())
    assert found.provenance["AccessRule"]["default/r"]["place"] == "services/api.yaml:14:1"


@pytest.mark.parametrize("change", TOUCHED)
def test_a_bundle_that_was_touched_is_refused(
    change: Callable[[dict[str, bytes]], None], signer: Signer, packed: Packed
) -> None:
    with pytest.raises(SignatureError):
        unpack(repacked(packed, change), Verifier(signer.public_pem))


def test_a_bundle_of_another_key_is_refused(packed: Packed) -> None:
    other = Signer(key_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(SignatureError):
        unpack(packed.body, Verifier(other.public_pem))


@pytest.mark.parametrize("body", [b"", b"not gzip", gzip.compress(b"not tar" * 200, mtime=0), b"cut"])
def test_what_is_no_bundle_is_refused(body: bytes, signer: Signer, packed: Packed) -> None:
    with pytest.raises((BundleError, SignatureError)):
        unpack(packed.body[:-20] if body == b"cut" else body, Verifier(signer.public_pem))


def test_a_real_opa_takes_it_and_names_the_commit(
    opa_binary: Path, tmp_path: Path, signer: Signer, packed: Packed
) -> None:
    with opa_server(opa_binary, tmp_path, *_verified(tmp_path, signer, packed.body)) as opa:
        asked: dict[str, Any] = {"input": {"destination": {"service": "default/payments"}}}
        answer = opa.post("/v1/data/policyd/authz?provenance", json=asked).json()
        assert answer["result"] == {"allow": True}
        assert [bundle["revision"] for bundle in answer["provenance"]["bundles"].values()] == [COMMIT]
        assert opa.get("/v1/data/mesh").json()["result"] == document(shop())


@pytest.mark.parametrize("change", TOUCHED)
def test_a_real_opa_refuses_one_that_was_touched(
    change: Callable[[dict[str, bytes]], None], opa_binary: Path, tmp_path: Path, signer: Signer, packed: Packed
) -> None:
    arguments = _verified(tmp_path, signer, repacked(packed, change))
    with pytest.raises(OpaRefusedError), opa_server(opa_binary, tmp_path, *arguments):
        pass


def test_opas_own_signature_is_taken(opa_binary: Path, tmp_path: Path, packed: Packed) -> None:
    """An operator may sign again, with OPA's tool and a key of his own."""
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "private.pem").write_bytes(key_pem(key))
    (tmp_path / "bundle").mkdir()
    with tarfile.open(fileobj=io.BytesIO(packed.body), mode="r:gz") as archive:
        archive.extractall(tmp_path / "bundle", filter="data")
    (tmp_path / "bundle" / ".signatures.json").unlink()
    sign = (
        opa_binary,
        "sign",
        "--bundle",
        ".",
        "--signing-key",
        str(tmp_path / "private.pem"),
        "--signing-alg",
        "ES256",
    )
    subprocess.run(sign, cwd=tmp_path / "bundle", check=True, capture_output=True)
    theirs = (tmp_path / "bundle" / ".signatures.json").read_bytes()
    assert orjson.loads(theirs)["signatures"]
    body = repacked(packed, lambda files: files.__setitem__(".signatures.json", theirs))
    assert unpack(body, Verifier(Signer(key_pem(key)).public_pem)).revision == COMMIT
