"""The master key: sealing private keys at rest (AES-256-GCM) and deriving keys for other purposes.

The master key lives in a file apart from the database, so that a copy of the database signs nothing.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keyfob.errors import Problem

_NONCE = 12


class WrongMasterKey(Problem):
    """The database was written under another master key."""

    code = "WrongMasterKey"


class Seal:
    def __init__(self, master_key: bytes) -> None:
        if len(master_key) < 32:
            raise ValueError("a master key has at least 32 bytes")
        self._master = bytes(master_key)
        self._cipher = AESGCM(self.derive("signing keys at rest"))

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose."""
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"keyfob/" + purpose.encode()).derive(self._master)

    def close(self, plain: bytes, *, about: str) -> bytes:
        """`about` is bound to the result: a sealed key cannot be passed off as another."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, about.encode())

    def open(self, sealed: bytes, *, about: str) -> bytes:
        """Raises `WrongMasterKey`."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], about.encode())
        except (InvalidTag, ValueError) as error:
            raise WrongMasterKey(f"The signing key {about} cannot be opened with this master key.") from error

    def __repr__(self) -> str:
        return "Seal(***)"
