"""A host's own listeners: what answers on one, what a program is told of it, and how one is opened from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from keyfob.arm.model import Resource
from keyfob.arm.resources import get_resource
from keyfob.clock import Clock, Ids
from keyfob.declare import Action, Call, Caller, Provider, Route, SignedIn
from keyfob.errors import InvalidInput, NotFound, Problem
from keyfob.hosts.dialects.dialect import Dialect, Opening, TokenQuery, not_here
from keyfob.hosts.kinds import CONSOLE, SITE, kind_of, runs
from keyfob.hosts.token_endpoint import HostToken
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session
from keyfob.wire.http import Reply, Request

OPEN = Action("Keyfob.Hosts/endpoints/open/action")
"""Being a host: what opening its endpoint, or a sandbox as it, needs on the host's resource."""

Issue = Callable[[Dialect, TokenQuery], Awaitable[HostToken]]
"""A token for whoever listens here, or a Problem."""


class Wish(NamedTuple):
    """How somebody wants to be a host, where that is not the kind's own way."""

    dialect: str = ""
    """Another than the kind's."""
    service_account: str = ""
    """On a Kubernetes cluster: `namespace/name`."""
    client_id: str = ""
    """Which identity the program's variables name."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a host's own endpoint listens, its main dialect, and the variables that lead a program there."""

    url: str
    variables: Mapping[str, str] = field(repr=False)
    dialect: str = "imds"


class Speaking:
    """One listener of one host, and the dialects that are heard on it."""

    def __init__(self, dialects: Sequence[Dialect], opening: Opening, *, issue: Issue, clock: Clock, ids: Ids) -> None:
        if not dialects:
            raise ValueError("a listener without a dialect answers nothing")
        self._dialects = tuple(dialects)
        self._opening = opening
        self._issue = issue
        self._clock = clock
        self._ids = ids

    async def __call__(self, request: Request) -> Reply:
        dialect = self._meant(request)
        try:
            if request.path.lower() != dialect.path:
                raise not_here()
            query = dialect.parse(request, self._opening)
            token = await self._issue(dialect, query)
            return dialect.encode(token, query, self._opening, self._clock.now())
        except Problem as problem:
            return dialect.refuse(problem, self._ids.guid())

    def _meant(self, request: Request) -> Dialect:
        """Path and api-version tell; what is nobody's is refused in the words of the nearest."""
        path, version = request.path.lower(), request.query.get("api-version") or ""
        here = [dialect for dialect in self._dialects if dialect.path == path] or list(self._dialects)
        return next((dialect for dialect in here if dialect.version == version), here[0])


async def running_host(session: Session, host_id: ResourceId) -> Resource:
    """The stored host. Raises `NotFound` when it is gone, `InvalidInput` when no program of it can run.

    A site whose setting `WEBSITE_DISABLE_MSI` is true keeps its identity and has no endpoint: `NotFound`, too.
    """
    host = await get_resource(session, host_id)
    if host is None:
        raise NotFound(f"The host '{host_id}' was not found.", code="ResourceNotFound", target=str(host_id))
    kind = kind_of(host_id.type)
    if kind is not None and not runs(kind, host.properties):
        raise InvalidInput(f"The {kind.name} '{host.name}' is not running.", code="invalid_request")
    if kind is SITE and await identity_disabled(session, host_id):
        raise NotFound(f"The site '{host.name}' has no token endpoint.", code="NotFoundHere")
    return host


async def identity_disabled(session: Session, site: ResourceId) -> bool:
    """Whether a site's settings take its token endpoint away."""
    settings = await get_resource(session, site.child("config", "appsettings"))
    values: Mapping[str, Any] = settings.properties if settings is not None else {}
    found = next((value for name, value in values.items() if name.upper() == "WEBSITE_DISABLE_MSI"), "")
    return str(found).strip().lower() in {"true", "1"}


def outside_variables(*, ca_bundle: str, proxy: str = "") -> Mapping[str, str]:
    """What a program on this machine needs beside the endpoint: our authority, and the proxy under which the real
    service names lead here. `ca_bundle` is the path of a PEM file."""
    # each library reads its own: requests, OpenSSL and Go, Node, curl, gRPC
    names = (
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "CURL_CA_BUNDLE",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    )
    variables = dict.fromkeys(names, ca_bundle)
    if proxy:
        around = "127.0.0.1,localhost,169.254.169.254"
        variables |= {"HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": around, "no_proxy": around}
    return variables


OpenEndpoint = Callable[[ResourceId, Wish, Caller], Awaitable[Endpoint]]


def endpoints_provider(open_endpoint: OpenEndpoint) -> Provider:
    """`POST {host}/providers/Keyfob.Hosts/openEndpoint`: ours, not Azure's; under the same guard as everything.

    The body is empty, or a `Wish` in camel case. `open_endpoint` raises `NotFound` when the resource is no host.
    """

    async def open_(call: Call) -> Reply:
        assert call.caller is not None  # the route has an action
        endpoint = await open_endpoint(call.scope, _wish(call.request.body), call.caller)
        return Reply.json(
            {"endpoint": endpoint.url, "dialect": endpoint.dialect, "variables": dict(endpoint.variables)}
        )

    return Provider(
        namespace="Keyfob.Hosts",
        registered=True,
        routes=(
            Route("POST", "/{+scope}/providers/Keyfob.Hosts/openEndpoint", OPEN, open_),
            Route(
                "POST",
                f"{CONSOLE}/providers/Keyfob.Hosts/openEndpoint",
                SignedIn("a Cloud Shell gives its owner tokens of the owner, and nobody else's"),
                open_,
                lambda parameters, target: CONSOLE,
            ),
        ),
    )


class _Body(msgspec.Struct, rename="camel"):
    dialect: str = ""
    service_account: str = ""
    client_id: str = ""


def _wish(body: bytes) -> Wish:
    try:
        given = msgspec.json.decode(body, type=_Body) if body.strip() else _Body()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(
            "The body may have the texts 'dialect', 'serviceAccount' and 'clientId'.", code="InvalidRequestContent"
        ) from None
    return Wish(given.dialect, given.service_account, given.client_id)
