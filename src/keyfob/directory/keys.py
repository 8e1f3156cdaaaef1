"""Signing keys: made once, sealed in the store, rotated; retired keys stay published until their tokens are dead.

Several nodes may share the store. Each keeps the parsed keys in memory and reads them again when a key changes
(`Store.watch`) or when a token names a key it does not know.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID

from keyfob.clock import Clock
from keyfob.directory.model import SigningKey
from keyfob.directory.records import SIGNING_KEYS
from keyfob.directory.seal import Seal
from keyfob.store.port import Store

LONGEST_TOKEN = 87_000
"""Seconds from issue to the last moment any token of ours is valid: 24 h for managed identities, and skew."""
_RELOAD_EVERY = 5.0
"""Unknown key ids make us read the store again at most this often, in seconds."""


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True, eq=False)
class Key:
    """A parsed signing key. `header` is the encoded JWT header of every token it signs, with its dot."""

    kid: str
    private: RSAPrivateKey = field(repr=False)
    public: RSAPublicKey = field(repr=False)
    header: bytes
    jwk: Mapping[str, Any]
    created: float
    retired: float | None

    @property
    def dies(self) -> float:
        """When the last token it signed is dead."""
        return float("inf") if self.retired is None else self.retired + LONGEST_TOKEN

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, PKCS1v15(), SHA256())


def make_key(seal: Seal, now: float) -> SigningKey:
    """A new RSA-2048 key with a self-signed certificate. Costs about 0.1 s: first start and rotation only."""
    private = generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Keyfob token signing")])
    begin = datetime.fromtimestamp(now, UTC).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - timedelta(days=1))
        .not_valid_after(begin + timedelta(days=5 * 365))
        .sign(private, SHA256())
        .public_bytes(Encoding.DER)
    )
    kid = b64url(hashlib.sha1(certificate, usedforsecurity=False).digest())
    plain = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey(kid=kid, certificate=certificate, sealed=seal.close(plain, about=kid), created=now)


def parse_key(stored: SigningKey, seal: Seal) -> Key:
    plain = seal.open(stored.sealed, about=stored.kid)
    # checking the primes costs 60 ms, and the seal already proves that we wrote this key
    private = load_der_private_key(plain, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(private, RSAPrivateKey):
        raise TypeError(f"signing key {stored.kid} is not RSA")
    public = private.public_key()
    numbers = public.public_numbers()
    header = {"typ": "JWT", "alg": "RS256", "x5t": stored.kid, "kid": stored.kid}
    return Key(
        kid=stored.kid,
        private=private,
        public=public,
        header=base64.urlsafe_b64encode(msgspec.json.encode(header)).rstrip(b"=") + b".",
        jwk={
            "kty": "RSA",
            "use": "sig",
            "kid": stored.kid,
            "x5t": stored.kid,
            "n": b64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")),
            "e": b64url(numbers.e.to_bytes(3, "big")),
            "x5c": [base64.b64encode(stored.certificate).decode()],
        },
        created=stored.created,
        retired=stored.retired,
    )


class KeyRing:
    """The keys of this store. `version` grows whenever they change, so that caches compare one integer."""

    def __init__(self, *, store: Store, seal: Seal, clock: Clock) -> None:
        self._store = store
        self._seal = seal
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._current: Key | None = None
        self._reloads: set[asyncio.Task[None]] = set()
        self._asked = float("-inf")
        self._reading = asyncio.Lock()
        self.version = 0

    async def load(self) -> None:
        """Reads the ring, making its first key if there is none, and follows the store from then on."""
        self._store.watch(SIGNING_KEYS.topic, lambda _key: self._reload_soon())
        if not await SIGNING_KEYS.list(self._store, limit=1):
            made = await asyncio.to_thread(make_key, self._seal, self._clock.now())
            async with self._store.transaction() as tx:
                if not await SIGNING_KEYS.list(tx, limit=1):  # another node may have been first
                    await SIGNING_KEYS.insert(tx, made.kid, made)
        await self.reload()

    async def reload(self) -> None:
        async with self._reading:  # one after another, so that an older read never overwrites a newer one
            await self._read()

    async def _read(self) -> None:
        stored = [row.value for row in await SIGNING_KEYS.list(self._store)]
        keys: dict[str, Key] = {}
        for value in stored:
            known = self._keys.get(value.kid)
            keys[value.kid] = known if known and known.retired == value.retired else parse_key(value, self._seal)
        signing = [key for key in keys.values() if key.retired is None]
        if keys.keys() != self._keys.keys() or any(keys[kid] is not self._keys[kid] for kid in keys):
            self._keys = keys
            self._current = max(signing, key=lambda key: (key.created, key.kid), default=None)
            self.version += 1

    async def rotate(self) -> str:
        """A new key signs from now on; the old ones stay published until their tokens are dead. Returns its `kid`."""
        now = self._clock.now()
        made = await asyncio.to_thread(make_key, self._seal, now)
        async with self._store.transaction() as tx:
            for row in await SIGNING_KEYS.list(tx):
                if row.value.retired is None:
                    await SIGNING_KEYS.put(tx, row.key, msgspec.structs.replace(row.value, retired=now))
                elif row.value.retired + LONGEST_TOKEN <= now:
                    await SIGNING_KEYS.delete(tx, row.key)
            await SIGNING_KEYS.insert(tx, made.kid, made)
        await self.reload()
        return made.kid

    @property
    def current(self) -> Key:
        if self._current is None:
            raise RuntimeError("the key ring has not been loaded")
        return self._current

    def published(self, now: float) -> Sequence[Mapping[str, Any]]:
        """Public JSON Web Keys whose tokens may still be alive, newest first."""
        alive = [key for key in self._keys.values() if now < key.dies]
        return [key.jwk for key in sorted(alive, key=lambda key: -key.created)]

    def find(self, kid: str, now: float) -> Key | None:
        """The key, unless it is unknown or all its tokens are dead. An unknown one makes the ring look again, soon."""
        key = self._keys.get(kid)
        if key is None:
            if now - self._asked >= _RELOAD_EVERY:
                self._asked = now
                self._reload_soon()
            return None
        return key if now < key.dies else None

    def _reload_soon(self) -> None:
        try:
            task = asyncio.get_running_loop().create_task(self.reload())
        except RuntimeError:  # no loop: nobody else writes
            return
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def settled(self) -> None:
        """Waits until every reload that is under way has ended."""
        while self._reloads:
            await asyncio.gather(*self._reloads)
