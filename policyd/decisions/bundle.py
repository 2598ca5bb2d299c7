"""The signed bundle that decision servers and OPAs follow: equal content gives equal bytes.

data.json            {"mesh": document(...), "provenance": {...}}
policyd/authz/*.rego the reference semantics, for an OPA
.manifest            revision (the commit), roots, the serial number in `metadata`
.signatures.json     see `signature`
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from policyd.decisions.signature import SignatureError, Signer, Verifier, canonical
from policyd.model.provenance import Key, Provenance

Json = dict[str, Any]
LARGEST = 512 * 1024 * 1024
"""Bytes of an unpacked bundle; more is refused while it is unpacked."""
_DATA, _MANIFEST, _SIGNATURES = "data.json", ".manifest", ".signatures.json"
_RULES = "policyd/authz"
_LEVEL = 1
"""Of gzip: twice as fast as the default, and a tenth larger."""


class BundleError(ValueError):
    """The bytes are no bundle of policyd's."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle as it travels. `etag` is its name by content, in quotes as HTTP wants it."""

    body: bytes
    etag: str
    revision: str


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a verified bundle says."""

    revision: str
    mesh: Json
    provenance: Json
    serial: int = 0
    """Higher than that of every bundle before; 0 where none is said."""


def provenance_document(commit: str, said: Mapping[Key, Provenance]) -> Json:
    """Where each access rule is said, as it rides beside `data.mesh`."""
    rules = {
        str(key.name): {"place": str(provenance.location), "owner": provenance.owner}
        for key, provenance in said.items()
        if key.kind == "AccessRule"
    }
    return {"AccessRule": rules, "commit": commit}


def pack(mesh: Json, provenance: Json, rules: Mapping[str, bytes], signer: Signer, *, serial: int = 0) -> Packed:
    """The bundle of a mesh. `rules` are Rego files by path, all of them under `policyd/authz/`."""
    revision = str(provenance["commit"])
    manifest = {
        "revision": revision,
        "rego_version": 1,
        "roots": ["mesh", "provenance", _RULES],
        "metadata": {"serial": serial},
    }
    files = {
        **rules,
        _DATA: canonical({"mesh": mesh, "provenance": provenance}),
        _MANIFEST: canonical(manifest),
    }
    body = _archive({**files, _SIGNATURES: signer.sign(files)})
    return Packed(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', revision)


def unpack(body: bytes, verifier: Verifier) -> Unpacked:
    """What the bundle says. Raises `SignatureError`, or `BundleError` where it is no bundle of policyd's."""
    files = _files(body)
    signatures = files.pop(_SIGNATURES, None)
    if signatures is None:
        raise SignatureError("the bundle is not signed")
    verifier.verify(signatures, files)
    try:
        manifest, data = orjson.loads(files[_MANIFEST]), orjson.loads(files[_DATA])
        serial = manifest.get("metadata", {}).get("serial", 0)
        return Unpacked(str(manifest["revision"]), data["mesh"], data["provenance"], int(serial))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BundleError(f"the bundle has no {error}") from error


def _archive(files: Mapping[str, bytes]) -> bytes:
    """A tar archive, packed, that says nothing of when and by whom it was made."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(out.getvalue(), _LEVEL, mtime=0)


def _files(body: bytes) -> dict[str, bytes]:
    """The regular files of an archive, by name. Nothing is written anywhere."""
    found: dict[str, bytes] = {}
    try:
        unpacking = zlib.decompressobj(wbits=31)
        plain = unpacking.decompress(body, LARGEST)
        if not unpacking.eof:
            raise BundleError("the bundle is cut off" if len(plain) < LARGEST else "the bundle is too large")
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            for entry in archive:
                name = entry.name.removeprefix("./").removeprefix("/")
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is None or name in found:
                    raise BundleError(f"`{name}` has no place in a bundle")
                found[name] = content.read()
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise BundleError(f"not a bundle: {error}") from error
    return found
