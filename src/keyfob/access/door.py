"""A data plane's door: the phases that every request of a service passes, in one place, so that none can be forgotten.

1. locate the account by its host name (404 in the service's words);
2. match the route (404, 405);
3. a Public route skips to 6;
4. authenticate: no credential, or a bad one, is the service's challenge, before the api-version or the body is looked
   at: Key Vault clients send their first request without credential and without body to learn the challenge
   (azure-keyvault-secrets 4.10);
5. authorise the route's action at its scope: refused in the service's words, and logged;
6. check the api-version, run the operation. A Problem becomes the service's error, anything unexpected its 500.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from keyfob.access.guard import Guard
from keyfob.clock import Clock
from keyfob.declare import Action, Address, Call, Caller, HttpPlane, Public, Route, RouteTable, Target
from keyfob.errors import InvalidInput, MethodNotAllowed, NotFound, Problem, Unauthenticated
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply, Request

_log = logging.getLogger(__name__)


@runtime_checkable
class Finishing(Protocol):
    """A dialect may put its own headers (request ids, versions) on every reply."""

    def finish(self, reply: Reply, request: Request, target: Target | None) -> Reply: ...


class Door:
    """A `declare.Plane` over one `HttpPlane`."""

    def __init__(self, plane: HttpPlane, *, guard: Guard, clock: Clock) -> None:
        self._plane = plane
        self._guard = guard
        self._clock = clock
        self.routes = RouteTable(plane.routes)

    async def __call__(self, request: Request, address: Address) -> Reply:
        target: Target | None = None
        try:
            target = await self._plane.locate(address.cloud, address.account)
            reply = await self._enter(request, address, target)
        except Unauthenticated as failure:
            if target is None:
                reply = self._plane.dialect.problem(failure, request, None)
            else:
                reply = self._plane.dialect.challenge(failure, request, target)
        except Problem as problem:
            reply = self._plane.dialect.problem(problem, request, target)
        except Exception:
            _log.exception(
                "%s %s %s failed (request %s)", self._plane.service, request.method, request.path, request.request_id
            )
            failure_of_ours = Problem("An internal error occurred. The server's log has it under the request id.")
            reply = self._plane.dialect.problem(failure_of_ours, request, target)
        return self._finish(reply, request, target)

    async def _enter(self, request: Request, address: Address, target: Target) -> Reply:
        route, parameters = self._match(request)
        scope = route.scope(parameters, target) if route.scope else target.resource_id
        now = self._clock.now()
        caller = None
        if not isinstance(route.access, Public):
            caller = await self._admit(request, route, scope, target, now)
        version = self._version(request, route)
        return await route.operation(
            Call(
                request=request,
                parameters=parameters,
                cloud=address.cloud,
                scope=scope,
                caller=caller,
                api_version=version,
                now=now,
                target=target,
            )
        )

    def _match(self, request: Request) -> tuple[Route, Mapping[str, str]]:
        found = self.routes.match(request.method, request.path)
        if found is not None:
            return found
        methods = self.routes.methods(request.path)
        if methods:
            raise MethodNotAllowed(
                f"The method {request.method} is not allowed here.", info={"allowed": tuple(sorted(methods))}
            )
        raise NotFound(f"There is nothing at {request.path}.")

    async def _admit(self, request: Request, route: Route, scope: ResourceId, target: Target, now: float) -> Caller:
        caller = await self._guard.authenticate(
            request.headers.get("authorization"),
            audiences=self._plane.audiences(target),
            tenant_id=target.tenant_id,
            now=now,
        )
        if isinstance(route.access, Action):
            await self._guard.authorize(
                caller,
                route.access,
                scope,
                request_id=request.request_id,
                target=target,
                authorizer=self._plane.authorizer,
                service=self._plane.service,
            )
        return caller

    def _version(self, request: Request, route: Route) -> str:
        version = self._plane.api_version(request)
        if route.api_versions and version not in route.api_versions:
            raise InvalidInput(f"The api-version '{version}' is not supported here.", target="api-version")
        return version

    def _finish(self, reply: Reply, request: Request, target: Target | None) -> Reply:
        if isinstance(self._plane.dialect, Finishing):
            return self._plane.dialect.finish(reply, request, target)
        if any(name.lower() == "x-ms-request-id" for name, _ in reply.headers):
            return reply
        return reply.adding(("x-ms-request-id", request.request_id))
