"""Reading a secret without leaving memory: the same checks as the slow way, each against something remembered.

Remembered are vaults by host name, parsed targets, and sealed secret versions; the store's notifications drop what
changed, so the next request reads it again. Tokens are verified and roles decided at every request, by the guard and
from its memory. The value is decrypted for each answer and never kept in the clear. Whatever is not a plain yes goes
the slow way: refusals, challenges, vaults with access policies, disabled secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from keyfob.access.guard import Guard
from keyfob.access.memo import Memo
from keyfob.clock import Clock, Ids
from keyfob.declare import Allowed
from keyfob.errors import Problem
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault.locate import Known, Locator
from keyfob.services.key_vault.model import SecretVersion, bundle
from keyfob.services.key_vault.policies import GET, uses_roles
from keyfob.services.key_vault.records import key_of
from keyfob.services.key_vault.remembered import Remembered
from keyfob.services.key_vault.routes import api_version
from keyfob.services.key_vault.secrets import Secrets
from keyfob.wire.http import Fields, Request, parse_target

_TARGETS = 4_000
"""Parsed targets remembered at most."""
_LONGEST = 2_048
_VALUE = b'{"value":'
"""What every body begins with."""
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Place:
    """One target in one vault: what is authorised and where the secret is remembered; and, for the version that was
    read last, how it is opened and what follows its value in the body."""

    scope: ResourceId
    key: str
    vault: Known | None = None
    version: SecretVersion | None = None
    open: Callable[[], str] | None = None
    tail: bytes = b""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A parsed target."""

    name: str
    version: str
    api_version: str
    places: dict[str, _Place] = field(default_factory=dict)
    """By vault: the same path is asked of several vaults."""


class HotSecrets:
    def __init__(
        self,
        *,
        guard: Guard,
        secrets: Secrets,
        remembered: Remembered,
        locator: Locator,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._guard = guard
        self._secrets = secrets
        self._remembered = remembered
        self._locator = locator
        self._clock = clock
        self._ids = ids
        self._asked: Memo[bytes, _Asked] = Memo(_TARGETS)

    def __call__(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        """A GET without body. The whole answer, without `Date`; None: take the slow way."""
        asked = self._asked.get(target)
        if asked is None:
            asked = _parse(target)
            if asked is None:
                return None
            self._asked.put(target, asked)
        host = authorization = client_id = None
        for name, value in headers:
            if name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif name == b"host":
                host = value
            elif name == b"x-ms-client-request-id":
                client_id = value
        if host is None or authorization is None:
            return None
        vault = self._locator.by_host(host)
        if vault is None or not uses_roles(vault.target):
            return None
        try:
            return self._answer(vault, asked, authorization, client_id)
        except Problem:
            return None

    def _answer(self, vault: Known, asked: _Asked, authorization: bytes, client_id: bytes | None) -> bytes | None:
        target = vault.target
        place = asked.places.get(target.resource_id.key)
        if place is None:
            place = _place(asked, target.resource_id)
        version = self._remembered.get(place.key, asked.version)
        if version is None or not version.enabled:
            return None
        now = self._clock.now()
        caller = self._guard.authenticate_now(
            authorization.decode("latin-1"), audiences=vault.audiences, tenant_id=target.tenant_id, now=now
        )
        if caller is None:
            return None
        decision = self._guard.memory.decide_now(caller.tenant_id, caller.principal_id, GET, place.scope)
        if not isinstance(decision, Allowed):
            return None  # the slow way decides, logs and words it
        if place.open is None or place.version is not version or place.vault is not vault:
            self._prepare(place, vault, version, asked.api_version)
        value = place.open()  # type: ignore[misc]
        request_id = self._ids.guid()
        self._guard.log.add(now, request_id, caller, GET, place.scope, decision, "key_vault")
        return _reply(vault.head, request_id, client_id, _VALUE + _encode(value) + place.tail)

    def _prepare(self, place: _Place, vault: Known, version: SecretVersion, api_version: str) -> None:
        whole = _encode(bundle(version, base=vault.base, recovery=vault.recovery, api_version=api_version, value=""))
        place.vault, place.version = vault, version
        place.open = self._secrets.opener(vault.target.resource_id, version)
        place.tail = whole.removeprefix(_VALUE + b'""')


def _place(asked: _Asked, vault: ResourceId) -> _Place:
    if len(asked.places) >= 32:
        asked.places.clear()
    made = asked.places[vault.key] = _Place(vault.child("secrets", asked.name), key_of(vault, asked.name))
    return made


def _parse(target: bytes) -> _Asked | None:
    """`/secrets/{name}[/{version}]?api-version=…` and nothing else."""
    if len(target) > _LONGEST or not target.startswith(b"/secrets/") or not target.isascii():
        return None
    path, _, query = parse_target(target.decode("ascii"))
    parts = path.split("/")[2:]
    if len(parts) not in {1, 2} or query.repeated() or (len(parts) == 2 and parts[1].lower() == "versions"):
        return None
    try:
        version = api_version(Request("GET", path, query, Fields()))
    except Problem:
        return None
    return _Asked(parts[0], parts[1].lower() if len(parts) == 2 else "", version)


def _reply(fixed: bytes, request_id: str, client_id: bytes | None, body: bytes) -> bytes:
    echo = b""
    if client_id and len(client_id) <= 128 and client_id.isascii() and client_id.decode("ascii").isprintable():
        echo = b"x-ms-client-request-id: " + client_id + b"\r\n"
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n%b%bx-ms-request-id: %b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (fixed, echo, request_id.encode(), len(body), body)
    )
