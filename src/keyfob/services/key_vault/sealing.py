"""Values at rest: AES-256-GCM under a key of the vault's own, derived from the master key.

The master key lives in a file apart from the database. What is sealed is bound to its vault, name and version, so that
neither a copied row nor a swapped one opens as something else.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyfob.errors import Problem

_NONCE = 12
_MOST_KEYS = 1_000


class CannotOpen(Problem):
    """What is stored does not open: another master key, or somebody changed it."""

    code = "SealBroken"


class Sealing:
    def __init__(self, master_key: bytes) -> None:
        if len(master_key) < 32:
            raise ValueError("a master key has at least 32 bytes")
        self._master = bytes(master_key)
        self._ciphers: dict[str, AESGCM] = {}

    def close(self, plain: bytes, *, vault: str, name: str, version: str) -> bytes:
        """nonce + ciphertext. `vault` is the key form of its id; `name` compares without case."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher("vault/" + vault).encrypt(nonce, plain, _about(vault, name, version))

    def open(self, sealed: bytes, *, vault: str, name: str, version: str) -> bytes:
        """Raises `CannotOpen`."""
        return self.opener(sealed, vault=vault, name=name, version=version)()

    def opener(self, sealed: bytes, *, vault: str, name: str, version: str) -> Callable[[], bytes]:
        """What opens it again and again; each time it decrypts, and raises `CannotOpen`."""
        return partial(self._open, self._cipher("vault/" + vault), sealed, _about(vault, name, version))

    def close_backup(self, plain: bytes, *, cloud: str, subscription: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher("backups").encrypt(nonce, plain, _about("backup", cloud, subscription))

    def open_backup(self, sealed: bytes, *, cloud: str, subscription: str) -> bytes:
        """Only in the cloud and subscription it was made in. Raises `CannotOpen`."""
        return self._open(self._cipher("backups"), sealed, _about("backup", cloud, subscription))

    def _open(self, cipher: AESGCM, sealed: bytes, about: bytes) -> bytes:
        try:
            return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], about)
        except (InvalidTag, ValueError):
            raise CannotOpen("A sealed value does not open with this master key.") from None

    def _cipher(self, purpose: str) -> AESGCM:
        cipher = self._ciphers.get(purpose)
        if cipher is None:
            info = b"keyfob/key vault/" + purpose.encode()
            cipher = AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(self._master))
            if len(self._ciphers) >= _MOST_KEYS:
                self._ciphers.clear()
            self._ciphers[purpose] = cipher
        return cipher

    def __repr__(self) -> str:
        return "Sealing(***)"


def _about(one: str, two: str, three: str) -> bytes:
    """With lengths before the parts, so that two different triples never give the same bytes."""
    return f"{len(one)}:{one}{len(two)}:{two}{len(three)}:{three}".lower().encode()
