"""The plane `graph`: version, token, route, permission, operation, reply. Also `$batch`, which is many of these."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from keyfob.declare import Action, Address, Caller, Denied
from keyfob.directory.cache import Memo
from keyfob.directory.graph.asked import Asked, Parts, parse_body
from keyfob.directory.graph.dialect import answer, bad, denied, problem_reply
from keyfob.directory.graph.permissions import Facts, Needs, decide
from keyfob.directory.graph.reading import target_of
from keyfob.directory.graph.routes import GraphTable, graph_routes
from keyfob.directory.model import Group, Tenant
from keyfob.directory.principals import directory_roles_of, get_principal, owners_of
from keyfob.directory.records import TENANTS
from keyfob.directory.tenants import get_tenant
from keyfob.errors import Fault, MethodNotAllowed, Problem, Unauthenticated
from keyfob.resource_id import ROOT
from keyfob.wire.http import Fields, Reply, Request, parse_target

_log = logging.getLogger(__name__)
VERSIONS = ("v1.0", "beta")
_KEYED = re.compile(r"([A-Za-z0-9.]+)\((.*)\)")
_BATCH = 20
_FOUND_IN = ("users", "groups", "applications", "serviceprincipals", "directoryobjects")


class Graph:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.table = GraphTable(graph_routes())
        self._tenants: Memo[str, Tenant | None] = Memo(lambda tenant_id: get_tenant(parts.store, tenant_id))
        parts.store.watch(TENANTS.topic, self._tenants.forget)

    async def __call__(self, request: Request, address: Address) -> Reply:
        now = self._parts.clock.now()
        if not request.request_id:
            request = dataclasses.replace(request, request_id=self._parts.ids.guid())
        try:
            reply = await self._answer(request, address, now)
        except Problem as problem:
            reply = problem_reply(problem, request, now)
        except Exception:
            _log.exception("graph %s %s failed (request %s)", request.method, request.path, request.request_id)
            reply = problem_reply(Problem(""), request, now)
        headers = [("Cache-Control", "no-cache")] if "Cache-Control" not in dict(reply.headers) else []
        headers.append(("request-id", request.request_id))
        headers.append(("client-request-id", request.headers.get("client-request-id") or request.request_id))
        return reply.adding(*headers)

    async def _answer(self, request: Request, address: Address, now: float) -> Reply:
        caller = await self._parts.gate.authenticate(
            request.headers.get("Authorization"),
            audiences=frozenset(address.cloud.audiences["graph"]),
            tenant_id=None,
            now=now,
        )
        tenant = await self._tenants.get(caller.tenant_id)
        if tenant is None or tenant.cloud != address.cloud.name:
            raise Unauthenticated(Fault.TENANT, "The token is of a tenant of another cloud.")
        await self._must_be_known(caller)
        version, _, rest = request.path.lstrip("/").partition("/")
        if version not in VERSIONS:
            raise bad(f"Invalid version: {version[:100]}", code="BadRequest")
        if rest == "$batch" and request.method == "POST":
            return await self._batch(request, address, version)
        segments = _segments(rest, request.method)
        if segments[0].lower() == "me":
            segments = _myself(segments, caller)
        found = self.table.match(request.method, segments)
        if found is None:
            if self.table.knows(segments):
                raise MethodNotAllowed(
                    "Specified HTTP method is not allowed for the request target.", code="Request_BadRequest"
                )
            raise bad(f"Resource not found for the segment '{_unknown(self.table, segments)}'.", code="BadRequest")
        route, parameters = found
        target = ""
        if segments[0].lower() in _FOUND_IN and "id" in parameters:
            value = await target_of(self._parts.store, tenant.id, segments[0].lower(), parameters["id"])
            target = value.id if value is not None else ""
        also = self._checker(request, caller, target, now)
        await also(route.needs)
        asked = Asked(
            parts=self._parts,
            request=request,
            version=version,
            base=_base(request),
            cloud=address.cloud,
            tenant=tenant,
            caller=caller,
            now=now,
            parameters=parameters,
            target=target,
            also=also,
        )
        return await route.operation(asked)

    async def _must_be_known(self, caller: Caller) -> None:
        """A token outlives its principal; Graph does not go on with one whose principal is gone or disabled."""
        found = await get_principal(self._parts.store, caller.tenant_id, caller.principal_id)
        if found is None or isinstance(found, Group) or not found.enabled:
            raise Unauthenticated(
                Fault.CLAIMS,
                "The identity of the calling application could not be established.",
                code="Authorization_IdentityNotFound",
            )

    def _checker(self, request: Request, caller: Caller, target: str, now: float) -> Callable[[Needs], Awaitable[None]]:
        async def check(needs: Needs) -> None:
            store, tenant_id = self._parts.store, caller.tenant_id
            scopes = caller.claims.get("scp")
            owned = bool(needs.owned) or needs.user == "owner"
            facts = Facts(
                application=scopes is None,
                roles=caller.roles,
                scopes=frozenset((scopes or "").split()),
                directory_roles=await directory_roles_of(store, tenant_id, caller.principal_id),
                myself=bool(target) and target == caller.principal_id,
                owner=owned and bool(target) and caller.principal_id in await owners_of(store, tenant_id, target),
            )
            decision = decide(needs, facts)
            self._parts.gate.log.add(now, request.request_id, caller, Action(needs.name), ROOT, decision, "graph")
            if isinstance(decision, Denied):
                raise denied()

        return check

    async def _batch(self, request: Request, address: Address, version: str) -> Reply:
        """At most twenty requests, one after another in their order; each is checked as if it came alone."""
        wanted = parse_body(request.body).get("requests")
        if not isinstance(wanted, list) or not 1 <= len(wanted) <= _BATCH:
            raise bad(f"Number of batch request steps must be between 1 and {_BATCH}.", code="BadRequest")
        done: dict[str, int] = {}
        responses = []
        for one in wanted:
            step = _step(one)
            if step is None or step["id"] in done:
                raise bad("Invalid batch payload format.", code="BadRequest")
            if any(done.get(other, 500) >= 400 for other in step["depends"]):
                reply = problem_reply(
                    Problem("A request it depends on failed.", code="FailedDependency", status=424),
                    request,
                    self._parts.clock.now(),
                )
            else:
                reply = await self(_inner(request, step, version), address)
            done[step["id"]] = reply.status
            responses.append(_written(step["id"], reply))
        return answer({"responses": responses})


def _segments(rest: str, method: str) -> list[str]:
    """`applications(appId='x')/owners` → `applications`, `appId='x'`, `owners`; `users('a@b')` → `users`, `a@b`."""
    made: list[str] = []
    for part in rest.split("/"):
        keyed = _KEYED.fullmatch(part)
        if keyed is None:
            made.append(part)
        elif not keyed[2]:
            made.append(keyed[1])
        else:
            key = keyed[2]
            quoted = len(key) > 1 and key[0] == key[-1] == "'"
            made += [keyed[1], key[1:-1].replace("''", "'") if quoted else key]
    if method == "POST" and len(made) > 1:
        made[-1] = made[-1].removeprefix("microsoft.graph.")
    return made


def _myself(segments: list[str], caller: Caller) -> list[str]:
    if "scp" not in caller.claims:
        raise bad("/me request is only valid with delegated authentication flow.", code="BadRequest")
    return ["users", caller.principal_id, *segments[1:]]


def _unknown(table: GraphTable, segments: list[str]) -> str:
    first = {route.path.split("/")[0].lower() for route in table.routes}
    return (segments[-1] if segments[0].lower() in first and len(segments) > 1 else segments[0])[:100]


def _base(request: Request) -> str:
    raw = request.raw_path or request.path
    return request.url.removesuffix(raw)


def _step(one: Any) -> dict[str, Any] | None:
    if not isinstance(one, dict):
        return None
    depends = one.get("dependsOn") or []
    if not isinstance(depends, list) or not isinstance(one.get("headers") or {}, dict):
        return None
    if not all(isinstance(one.get(name), str) for name in ("id", "method", "url")):
        return None
    if urlsplit(one["url"]).netloc or "$batch" in one["url"] or not one["url"].isprintable():
        return None
    return {**one, "depends": [str(other) for other in depends]}


def _inner(request: Request, step: dict[str, Any], version: str) -> Request:
    path, raw, query = parse_target(f"/{version}/{step['url'].lstrip('/')}")
    keep = [("Authorization", request.headers.get("Authorization") or "")]
    keep += [
        (str(name), str(value))
        for name, value in (step.get("headers") or {}).items()
        if str(name).lower() != "authorization"
    ]
    body = msgspec.json.encode(step["body"]) if step.get("body") is not None else b""
    return dataclasses.replace(
        request,
        method=step["method"].upper(),
        path=path,
        raw_path=raw,
        query=query,
        headers=Fields(keep),
        body=body,
        request_id="",
    )


def _written(step_id: str, reply: Reply) -> dict[str, Any]:
    made: dict[str, Any] = {"id": step_id, "status": reply.status, "headers": {"Cache-Control": "no-cache"}}
    if reply.content_type:
        made["headers"]["Content-Type"] = reply.content_type
    if reply.body:
        made["body"] = msgspec.json.decode(reply.body) if "json" in (reply.content_type or "") else reply.body.decode()
    return made
