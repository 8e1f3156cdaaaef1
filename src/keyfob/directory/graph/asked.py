"""One request as the operations see it: parsed, its caller known, its permission decided."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Action, Caller, Decision
from keyfob.directory.graph.catalog import Catalog
from keyfob.directory.graph.dialect import bad
from keyfob.directory.graph.permissions import Needs
from keyfob.directory.model import Tenant
from keyfob.errors import TooLarge
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply, Request

GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MOST_BYTES = 4 * 2**20
_DEEPEST = 24
_REFERENCE = re.compile(r"[^?#]*/([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})/?")


class DecisionLog(Protocol):
    """`access.log.DecisionLog`, as far as Graph needs it."""

    def add(
        self,
        now: float,
        request_id: str,
        caller: Caller,
        action: Action,
        scope: ResourceId,
        decision: Decision,
        service: str,
    ) -> None: ...


class Gate(Protocol):
    """`access.guard.Guard`, as far as Graph needs it: who is it. What they may do, Graph decides itself."""

    @property
    def log(self) -> DecisionLog: ...

    async def authenticate(
        self, authorization: str | None, *, audiences: frozenset[str], tenant_id: str | None, now: float
    ) -> Caller: ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    store: Store
    gate: Gate
    catalog: Catalog
    clock: Clock
    ids: Ids


@dataclass(frozen=True, kw_only=True)
class Asked:
    parts: Parts
    request: Request
    version: str
    """`v1.0` or `beta`."""
    base: str
    """Scheme and authority as the client addressed them."""
    cloud: Cloud
    tenant: Tenant
    caller: Caller
    now: float
    parameters: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    """The object id that the path's first parameter means, "" when there is none such."""
    also: Callable[[Needs], Awaitable[None]]
    """Asks for a further permission about the same object. Raises `Forbidden`."""

    @property
    def store(self) -> Store:
        return self.parts.store

    @property
    def user(self) -> bool:
        return "scp" in self.caller.claims

    @property
    def root(self) -> str:
        return f"{self.base}/{self.version}"

    @property
    def url(self) -> str:
        """What was addressed, without the query."""
        return f"{self.base}{self.request.raw_path or self.request.path}"

    def context(self, what: str) -> str:
        return f"{self.root}/$metadata#{what}"

    def location(self, object_id: str, kind: str) -> tuple[str, str]:
        return (
            "Location",
            f"{self.base}/v2/{self.tenant.id}/directoryObjects/{object_id}/Microsoft.DirectoryServices.{kind}",
        )

    def body(self) -> dict[str, Any]:
        """The JSON object of the request. Raises `InvalidInput`."""
        return parse_body(self.request.body)


Operation = Callable[[Asked], Awaitable[Reply]]


def parse_body(data: bytes) -> dict[str, Any]:
    if len(data) > _MOST_BYTES:
        raise TooLarge("The size of the request is larger than the limit.", code="RequestEntityTooLarge")
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad(
            "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of "
            "valid JSON format.",
            code="BadRequest",
        ) from None
    if not isinstance(value, dict):
        raise bad("Empty Payload. JSON content expected.", code="BadRequest")
    _check(value, _DEEPEST)
    return value


def reference(value: Any) -> str:
    """The object id of an `@odata.id`: `https://graph.microsoft.com/v1.0/directoryObjects/{id}`."""
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) and len(value) < 2_000 else None
    if found is None:
        raise bad("Invalid URL format specified in @odata.id for referenced entity.", code="Request_BadRequest")
    return found[1].lower()


def references(body: Mapping[str, Any], name: str) -> list[str]:
    given = body.get(f"{name}@odata.bind", [])
    if not isinstance(given, list):
        raise bad(f"The value of '{name}@odata.bind' is not a list of references.")
    return list(dict.fromkeys(reference(one) for one in given))


def _check(value: Any, deep: int) -> None:
    """No text that a database cannot keep, nothing endlessly nested."""
    if deep < 0:
        raise bad("The request body is nested too deeply.", code="BadRequest")
    if isinstance(value, str):
        if "\x00" in value:
            raise bad("Invalid value: a text holds a null character.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise bad("Invalid value: a text holds a character that is none.") from None
    elif isinstance(value, dict):
        for key, one in value.items():
            _check(key, deep)
            _check(one, deep - 1)
    elif isinstance(value, list):
        for one in value:
            _check(one, deep - 1)
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise bad("Invalid value: a number is too large.")
