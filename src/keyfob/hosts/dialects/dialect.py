"""What a dialect is: how a kind of host asks for a token and is answered. Parsing and writing, nothing decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from keyfob.errors import InvalidInput, NotFound, Problem
from keyfob.hosts.caller import Secret
from keyfob.hosts.token_endpoint import HostToken
from keyfob.identities.model import Selector
from keyfob.wire.http import Fields, Reply, Request


@dataclass(frozen=True, slots=True)
class TokenQuery:
    """A token request, read. `asked_by` is the selector parameter with its value as sent, or None."""

    resource: str
    selector: Selector
    asked_by: tuple[str, str] | None = None
    bypass_cache: bool = False
    refused: str = ""
    """SHA-256 of a token that some service did not take, in hex: that one is not given again."""


class KeyFiles(Protocol):
    """One-time keys in files that only programs of the host can read."""

    def new(self) -> str:
        """Writes a key; the path as the host's programs see it."""
        ...

    def spend(self, key: str) -> bool:
        """Whether this is a key that was written and not yet shown; it is used up by asking."""
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening of a host's endpoint, as far as reading its requests needs it."""

    secret: Secret
    windows: bool = False
    """Dates in the form that Windows workers write."""
    keys: KeyFiles | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """What the variables of a dialect are made of."""

    url: str
    """Scheme, address and port: `http://127.0.0.1:50001`."""
    secret: str = field(default="", repr=False)
    real: bool = False
    """The address is the one that Azure uses, where a program looks by itself."""
    client_id: str = ""
    """Which identity an Azure ML compute or a service account means by default."""
    thumbprint: str = ""
    """SHA-1 of the certificate that answers, in hex."""
    file: str = ""
    """The projected token of a service account."""
    tenant_id: str = ""
    authority: str = ""


class Asking(Protocol):
    """How a program of the host asks, from the dialect's address and secret: for `keyfob token`."""

    def __call__(self, url: str, secret: str, resource: str, client_id: str) -> Ask: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for a token, as a program of the host makes it: GET, or POST when there is a body."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Dialect:
    """One row of `DIALECTS`."""

    name: str
    title: str
    """For people."""
    socket: str
    """The row of `sandbox.protocol.ENDPOINTS` it is served on; "" when it has no endpoint at all."""
    path: str
    """Lower-case, without a trailing slash: requests for any other are not its."""
    parse: Callable[[Request, Opening], TokenQuery]
    """Raises a Problem; `refuse` says it."""
    encode: Callable[[HostToken, TokenQuery, Opening, float], Reply]
    """The last argument is the time."""
    refuse: Callable[[Problem, str], Reply]
    """The words of a refusal, with an id to find it by."""
    variables: Callable[[Place], Mapping[str, str]]
    ask: Asking
    version: str = ""
    """The api-version that tells it from another dialect at the same address."""
    lone_user_identity: bool = True
    """Whether a host's only user-assigned identity is meant when none is named."""
    of_user: bool = False
    """Tokens are not the host's but of whoever opened it."""
    tls: bool = False


SELECTORS: Mapping[str, str] = {
    "client_id": "client_id",
    "object_id": "object_id",
    "msi_res_id": "resource_id",  # what every SDK sends
    "mi_res_id": "resource_id",  # what the documentation says
}
"""Parameter of instance metadata → the field of `Selector` it fills."""


def select(fields: Fields, names: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(parameter, value, field of `Selector`) of every selector that has a value."""
    return [(name, fields[name], kind) for name, kind in names.items() if fields.get(name)]


def not_here() -> NotFound:
    """What another path than the dialect's gets."""
    return NotFound("Not found", code="NotFoundHere")


def refuse_doubled(fields: Fields) -> None:
    """A key that occurs twice is refused, whatever its case. Raises `InvalidInput`."""
    if (name := fields.repeated()) is not None:
        raise InvalidInput(f"Query parameter '{name}' is specified more than once", code="invalid_request")
