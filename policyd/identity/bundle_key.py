"""The key that bundles of decisions are signed with: made once, and no part of what the mesh trusts.

folder/key.pem      the private key, mode 0600
folder/public.pem   what decision servers and OPAs verify with
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from policyd.base.errors import Stalled
from policyd.identity.authority import key_pem
from policyd.identity.private_file import write_once

KEY_FILE, PUBLIC_FILE = "key.pem", "public.pem"


def bundle_key(folder: Path) -> bytes:
    """The private key in `folder` (PEM), made if there is none; the public one is written beside it.

    Raises `Stalled` where it cannot be kept there, is damaged, or may be read by others.
    """
    path = folder / KEY_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            write_once(path, key_pem(ec.generate_private_key(ec.SECP256R1())))
        if path.stat().st_mode & 0o077:
            raise Stalled(f"`{path}` is open to other users", hint=f"chmod 600 {path}")
        pem = path.read_bytes()
        public = _public(pem)
        if not (folder / PUBLIC_FILE).exists() or (folder / PUBLIC_FILE).read_bytes() != public:
            (folder / PUBLIC_FILE).write_bytes(public)
    except OSError as error:
        raise Stalled(f"cannot use `{folder}` for the key of bundles: {error}") from error
    except ValueError as error:
        raise Stalled(
            f"`{path}` is damaged: {error}", hint="restore it; a new key has to be given to all who verify"
        ) from error
    return pem


def _public(pem: bytes) -> bytes:
    key = serialization.load_pem_private_key(pem, password=None)
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
