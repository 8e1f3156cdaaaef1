"""`http://169.254.169.254/metadata/…` of one host: a virtual machine, a scale set's instance; of others tokens alone.

Rules in their order: an unknown path is 404 (MSAL.NET takes a 400 from `/metadata/identity/getplatformmetadata` for
"version 2 exists"); anything but GET is 405; a forwarded request and one without `Metadata: true` are 400; then the
query. A host that does not run has no programs, so nobody gets an answer for it: 400 at once, where Azure would have
nobody to answer (a 404 or 410 would make clients repeat for over a minute).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keyfob.access.memo import Memo
from keyfob.arm.model import Resource
from keyfob.arm.resources import get_subscription
from keyfob.clock import Clock
from keyfob.clouds.cloud import Cloud
from keyfob.errors import InvalidInput, MethodNotAllowed, NotFound, Problem
from keyfob.hosts.dialects import imds
from keyfob.hosts.dialects.dialect import refuse_doubled
from keyfob.hosts.endpoints import running_host
from keyfob.hosts.kinds import kind_of
from keyfob.hosts.token_endpoint import HostToken, TokenEndpoint
from keyfob.hosts.virtual_machines import attested, instance
from keyfob.identities.choose import ConflictingSelectors
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply, Request, parse_target

Hot = Callable[[bytes, list[tuple[bytes, bytes]]], bytes | None]

_HOT = b"/metadata/identity/oauth2/token"
_LONGEST_HOT = 2_048
_REMEMBERED = 256
"""Spellings of a token request remembered for each host: a program uses one for each resource."""


@dataclass(slots=True)
class _Ready:
    """A reply that can be sent again while nothing it depends on changes. `bytes` holds for one second."""

    token: HostToken
    version: int
    renew_after: float
    pieces: tuple[bytes, bytes, bytes]
    second: int = -1
    bytes: bytes = b""


class InstanceMetadata:
    """Answers for every host that speaks this dialect; the listener has told which one is asking."""

    def __init__(
        self,
        *,
        store: Store,
        tokens: TokenEndpoint,
        signer: attested.Signer,
        clouds: Mapping[str, Cloud],
        clock: Clock,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._signer = signer
        self._clouds = clouds
        self._clock = clock
        self._exact: Mapping[str, Callable[[Request, ResourceId], Awaitable[Reply]]] = {
            imds.TOKEN_PATH: self._token,
            imds.INFO_PATH: self._info,
            "/metadata/versions": self._versions,
            "/metadata/attested/document": self._attested,
        }

    async def __call__(self, request: Request, host_id: ResourceId) -> Reply:
        path = request.path.lower()
        answer = self._exact.get(path)
        if answer is None and (path == "/metadata/instance" or path.startswith("/metadata/instance/")):
            answer = self._instance
        identity = path.startswith("/metadata/identity")
        kind = kind_of(host_id.type)
        try:
            if answer is None or not (identity or (kind is not None and kind.metadata)):
                raise NotFound("Not found", code="NotFoundHere")
            if request.method != "GET":
                raise MethodNotAllowed("Method not allowed")
            imds.check_source(request.headers)
            return await answer(request, host_id)
        except Problem as problem:
            return imds.encode_problem(problem) if identity else _refused(problem)

    # --- identity

    async def _token(self, request: Request, host_id: ResourceId) -> Reply:
        query = imds.parse_query(request.query)
        token = await self._tokens.issue(
            host_id,
            query.selector,
            query.resource,
            bypass_cache=query.bypass_cache,
            admit=lambda: self._machine(host_id),
        )
        return imds.encode(token, query, self._clock.now())

    async def _info(self, request: Request, host_id: ResourceId) -> Reply:
        refuse_doubled(request.query)
        imds.check_version(request.query, first=imds.FIRST_WITH_TOKENS)
        return _json({"tenantId": (await self._machine(host_id)).tenant_id})

    # --- the rest

    async def _versions(self, request: Request, host_id: ResourceId) -> Reply:
        return _json({"apiVersions": list(imds.VERSIONS)})

    async def _instance(self, request: Request, host_id: ResourceId) -> Reply:
        refuse_doubled(request.query)
        version = imds.check_version(request.query)
        form = (request.query.get("format") or "json").lower()
        if form not in {"json", "text"}:
            raise InvalidInput("Bad request. format must be json or text.")
        machine = await self._machine(host_id)
        cloud = await self._cloud(host_id)
        tree = instance.document(machine, azure_environment=cloud.imds_name, version=version)
        node = instance.walk(tree, [part for part in request.path.split("/") if part][2:])
        if form == "text":
            return Reply.text(instance.as_text(node)).adding(("Server", imds.SERVER))
        return _json(instance.as_json(node))

    async def _attested(self, request: Request, host_id: ResourceId) -> Reply:
        refuse_doubled(request.query)
        version = imds.check_version(request.query, first="2018-10-01")
        machine = await self._machine(host_id)
        cloud = await self._cloud(host_id)
        value = attested.payload(machine, nonce=request.query.get("nonce"), now=self._clock.now(), version=version)
        # documented: "a certificate for *.metadata.azure.com", and its like in the other clouds
        signing = self._signer("*." + cloud.instance_metadata_certificate.removeprefix("*."))
        return _json({"encoding": "pkcs7", "signature": attested.sign(value, signing)})

    async def _machine(self, host_id: ResourceId) -> Resource:
        """The stored host. Raises `NotFound` when it is gone, `InvalidInput` when it does not run."""
        return await running_host(self._store, host_id)

    async def _cloud(self, host_id: ResourceId) -> Cloud:
        subscription = await get_subscription(self._store, host_id.subscription_id or "")
        if subscription is None or subscription.cloud not in self._clouds:
            raise NotFound(f"The subscription of '{host_id}' was not found.", code="SubscriptionNotFound")
        return self._clouds[subscription.cloud]

    # --- the hot path

    def hot(self, host_id: ResourceId) -> Hot:
        """Answers repeated GETs of one host's tokens from memory, in bytes; None sends a request the slow way.

        Nothing is answered that `TokenEndpoint.recall` would not give: its version is compared at each request, so
        a change of any host, identity or principal is seen by the very next one.
        """
        memo: Memo[bytes, _Ready] = Memo(_REMEMBERED)
        tokens, clock = self._tokens, self._clock
        count = tokens.tally.of(host_id.key)

        def answer(target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
            ready = memo.get(target)
            if ready is None or ready.version != tokens.version:
                ready = self._prepare(host_id, target)
                if ready is None:
                    return None
                memo.put(target, ready)
            asked = False
            for name, value in headers:
                if name == b"metadata":
                    if asked or value.strip().lower() != b"true":
                        return None
                    asked = True
                elif name == b"x-forwarded-for":
                    return None
            if not asked:
                return None
            now = clock.now()
            second = int(now)
            if second != ready.second:
                if now >= ready.renew_after:
                    return None
                _write(ready, now)
                count.seen(now, ready.token.resource, ready.token.client_id)
            count.given += 1
            return ready.bytes

        return answer

    def _prepare(self, host_id: ResourceId, target: bytes) -> _Ready | None:
        if not target.startswith(_HOT) or len(target) > _LONGEST_HOT or not target.isascii():
            return None
        path, _, fields = parse_target(target.decode("ascii"))
        if path != imds.TOKEN_PATH:
            return None
        try:
            query = imds.parse_query(fields)
        except (InvalidInput, ConflictingSelectors):
            return None
        if query.bypass_cache:
            return None
        version = self._tokens.version
        token = self._tokens.recall(host_id, query.selector, query.resource, self._clock.now())
        if token is None:
            return None
        return _Ready(token, version, token.renew_after, imds.halves(token, query))


def _write(ready: _Ready, now: float) -> None:
    a, b, c = ready.pieces
    left = b"%d" % ready.token.seconds_left(now)
    body = a + left + b + left + c
    ready.bytes = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nServer: "
        + imds.SERVER.encode()
        + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    ready.second = int(now)


def _json(value: Any) -> Reply:
    return Reply.json(value, 200, (("Server", imds.SERVER),))


def _refused(problem: Problem) -> Reply:
    """Outside `/metadata/identity` an error is one sentence."""
    status = problem.status if problem.status < 500 else 500
    body: dict[str, Any] = {"error": problem.message if status < 500 else "Internal server error"}
    if problem.code == "bad_request_102":
        body = {"error": f"Bad request. {problem.message}"}
    elif "newest-versions" in problem.info:
        body["newest-versions"] = problem.info["newest-versions"]
    return Reply.json(body, status, (("Server", imds.SERVER),))
