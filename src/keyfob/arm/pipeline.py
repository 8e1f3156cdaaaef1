"""Resource Manager: every request passes the same phases, in this order.

    path → registry → tenant and subscription → authenticate → authorise → registration → group → body → transaction

So a caller without a token learns the tenant to sign in to, one without a role learns nothing of what exists (403
comes before 404), and no type or route can forget a phase.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from keyfob.access.guard import Guard
from keyfob.arm.body import parse_object
from keyfob.arm.checks import Attempt, Bystanders
from keyfob.arm.dialect import Quota, notice_headers, problem_reply, request_headers
from keyfob.arm.engine import Engine, Order, Outcome, canonical, placed
from keyfob.arm.groups import Groups
from keyfob.arm.last_look import asking
from keyfob.arm.listing import page_of
from keyfob.arm.model import Resource, Subscription
from keyfob.arm.moves import MOVE, VALIDATE, Moves
from keyfob.arm.paths import Word, obvious_scope, parse_path
from keyfob.arm.present import present
from keyfob.arm.providers import Providers, require_registered
from keyfob.arm.registry import Registry, listed_version, required_version, version_of
from keyfob.arm.resources import (
    RESOURCES,
    get_group,
    get_subscription,
    group_not_found,
    resource_not_found,
)
from keyfob.arm.statuses import Statuses, status_location
from keyfob.arm.subscriptions import Subscriptions, subscription_not_found
from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.declare import (
    Access,
    Action,
    Address,
    Call,
    Caller,
    Level,
    Provider,
    Public,
    ResourceType,
    Route,
    RouteTable,
)
from keyfob.errors import InvalidInput, MethodNotAllowed, NotFound, Problem
from keyfob.identities.availability import Rules
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store
from keyfob.store.records import Stored
from keyfob.wire.http import Reply, Request

_log = logging.getLogger(__name__)
_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}


@dataclass(slots=True)
class Asked:
    """A request on its way through the phases."""

    request: Request
    cloud: Cloud
    tenant_id: str | None = None
    """Of the subscription it is about, once that is known: a challenge names it."""
    caller: Caller | None = None
    """Who asks, where that was authenticated already: a template deployment's principal."""
    attempt: Attempt | None = None
    """What is about to be done, once it is known by whom."""
    version: int = 0
    """Of the guard, when it decided about the attempt."""


class ResourceManager:
    """The plane of service `resource_manager`. `engine.operations.run()` is its background task."""

    def __init__(
        self,
        *,
        store: Store,
        guard: Guard,
        clouds: Mapping[str, Cloud],
        providers: Sequence[Provider],
        clock: Clock,
        ids: Ids,
        operation_seconds: float = 0.0,
        bystanders: Bystanders | None = None,
        availability: Rules | None = None,
        alone: bool = False,
    ) -> None:
        store = self._store = asking(store)
        bystanders = bystanders or Bystanders()
        self._guard = guard
        self._clock = clock
        self._ids = ids
        self._quota = Quota()
        self.registry = Registry(providers)
        self.engine = Engine(
            store=store,
            registry=self.registry,
            guard=guard,
            clock=clock,
            ids=ids,
            clouds=clouds,
            operation_seconds=operation_seconds,
            availability=availability,
            alone=alone,
        )
        moves = Moves(
            store=store,
            guard=guard,
            registry=self.registry,
            operations=self.engine.operations,
            bystanders=bystanders,
        )
        self.engine.performers |= {MOVE: moves.perform, VALIDATE: moves.perform}
        self.bystanders = replace(bystanders, checks=(*bystanders.checks, moves.check))
        self.subscriptions = Subscriptions(store=store, guard=guard, clouds=clouds)
        self.own = RouteTable(
            [
                *self.subscriptions.routes(),
                *Groups(store=store, guard=guard, clock=clock, engine=self.engine).routes(),
                *Providers(store=store, registry=self.registry, subscriptions=self.subscriptions).routes(),
                *moves.routes(),
                *Statuses(store=store, guard=guard, engine=self.engine).routes(),
            ]
        )

    # --- the front

    async def __call__(self, request: Request, address: Address) -> Reply:
        now = self._clock.now()
        request_id = request.request_id or self._ids.guid()
        request = replace(request, request_id=request_id)
        asked = Asked(request, address.cloud)
        try:
            await self.engine.operations.settle()
            reply = await self._answer(asked)
        except Problem as problem:
            reply = problem_reply(problem, cloud=address.cloud, tenant_id=asked.tenant_id, now=now)
        except Exception:
            _log.exception("request %s failed: %s %s", request_id, request.method, request.path)
            unknown = Problem("The server was unable to complete the request because of an unexpected error.")
            reply = problem_reply(unknown, cloud=address.cloud, tenant_id=None, now=now)
        if request.method == "HEAD":
            reply = Reply(reply.status, b"", reply.headers)
        segments = request.path.split("/")
        where = segments[2].lower() if len(segments) > 2 and segments[1].lower() == "subscriptions" else None
        return reply.adding(
            *request_headers(request, request_id=request_id, cloud=address.cloud, now=now),
            self._quota.header(request.method, where, now),
        )

    async def _answer(self, asked: Asked) -> Reply:
        """And tells the witnesses how it ended."""
        try:
            with self._store.asking(lambda tx: self._still(asked, tx)):
                reply = await self._dispatch(asked)
        except Exception as error:
            if asked.attempt is not None:
                problem = error if isinstance(error, Problem) else Problem("unexpected")
                self.bystanders.tell(asked.attempt, problem.status, problem)
            raise
        if asked.attempt is not None:
            self.bystanders.tell(asked.attempt, reply.status)
        return reply

    async def _dispatch(self, asked: Asked) -> Reply:
        for table, own in ((self.own, True), (self.registry.routes, False)):
            if found := table.match(asked.request.method, asked.request.path):
                return await self._route(asked, *found, own=own)
        if (allowed := self._methods(asked.request.path)) and not self._declares(asked.request.path):
            raise MethodNotAllowed(
                f"The requested resource does not support http method '{asked.request.method}', only {sorted(allowed)}."
            )
        place = parse_path(asked.request.path)
        if isinstance(place, ResourceId):
            return await self._resource(asked, place)
        if asked.request.method == "GET":
            return await self._list(asked, place)
        if asked.request.method == "POST":
            return await self._act(asked, place)
        raise MethodNotAllowed(f"The requested resource does not support http method '{asked.request.method}'.")

    def _methods(self, path: str) -> frozenset[str]:
        return self.own.methods(path) | self.registry.routes.methods(path)

    def _declares(self, path: str) -> bool:
        """Whether a path is a resource's, so that a route on it for one method leaves the engine the others."""
        try:
            kind = self.registry.find(ResourceId.parse(path).type)
        except InvalidInput:
            return False
        return kind is not None and not kind.any_version

    # --- the phases

    async def _enter(
        self, asked: Asked, access: Access, scope: ResourceId
    ) -> tuple[Caller | None, Subscription | None]:
        """Tenant and subscription, then who is asking, then whether they may."""
        subscription = None
        if scope.subscription_id is not None:
            subscription = await get_subscription(self._store, scope.subscription_id)
            if subscription is None or subscription.cloud != asked.cloud.name:
                raise subscription_not_found(scope.subscription_id)
            asked.tenant_id = subscription.tenant_id
        if isinstance(access, Public):
            return None, subscription
        caller = asked.caller
        if caller is None:
            caller = await self._guard.authenticate(
                asked.request.headers.get("authorization"),
                audiences=frozenset(asked.cloud.audiences["resource_manager"]),
                tenant_id=subscription.tenant_id if subscription else None,
                now=self._clock.now(),
            )
        elif subscription is not None and subscription.tenant_id != caller.tenant_id:
            raise subscription_not_found(subscription.id)
        if isinstance(access, Action):
            asked.attempt = self._attempt(asked, access, scope, caller)
            await self._may(asked)
        return caller, subscription

    async def _may(self, asked: Asked) -> None:
        attempt = asked.attempt
        assert attempt is not None
        asked.version = self._guard.version
        await self._guard.authorize(
            attempt.caller,
            attempt.action,
            attempt.scope,
            request_id=attempt.request_id,
            service="resource_manager",
        )
        await self.bystanders.check(attempt, self._store)

    async def _still(self, asked: Asked, session: Session) -> None:
        """The same again as the write begins, before anything is written. What the guard knows is what this node has
        heard of; it is asked again only when that has changed, and only a refusal is logged again."""
        attempt = asked.attempt
        if attempt is None or attempt.reads:
            return
        changed = self._guard.version != asked.version
        if changed and not await self._guard.allows(attempt.caller, attempt.action, attempt.scope):
            await self._may(asked)
        await self.bystanders.check(attempt, session)

    def _attempt(self, asked: Asked, action: Action, scope: ResourceId, caller: Caller) -> Attempt:
        headers = asked.request.headers
        return Attempt(
            action=action,
            scope=scope,
            caller=caller,
            cloud=asked.cloud,
            method=asked.request.method,
            request_id=asked.request.request_id,
            correlation_id=headers.get("x-ms-correlation-request-id") or asked.request.request_id,
            client_request_id=headers.get("x-ms-client-request-id") or "",
            began=self._clock.now(),
        )

    async def _place(self, subscription: Subscription | None, namespace: str, scope: ResourceId) -> None:
        """The subscription is registered for the namespace, and the group is there."""
        if subscription is not None:
            require_registered(subscription, self.registry.namespace(namespace))
        if scope.resource_group is not None and await get_group(self._store, scope) is None:
            raise group_not_found(scope.resource_group)

    def _kind(self, asked: Asked, type_name: str) -> tuple[ResourceType, str]:
        version = required_version(asked.request.query.get("api-version"))
        kind = self.registry.type(type_name, version)
        return kind, version_of(kind, version, locations=asked.cloud.locations)

    # --- declared routes

    async def _route(
        self,
        asked: Asked,
        route: Route,
        parameters: dict[str, str],
        *,
        own: bool,
    ) -> Reply:
        version = listed_version(asked.request.query.get("api-version"), route.api_versions)
        if route.scope is not None:
            scope = route.scope(parameters, None)
        else:
            scope = obvious_scope(asked.request.path, parameters.get("scope"))
        caller, subscription = await self._enter(asked, route.access, scope)
        if not own:
            await self._place(subscription, self.registry.owner(route), scope)
        return await route.operation(
            Call(
                request=asked.request,
                parameters=parameters,
                cloud=asked.cloud,
                scope=scope,
                caller=caller,
                api_version=version,
                now=self._clock.now(),
            )
        )

    # --- resources

    async def _resource(self, asked: Asked, id: ResourceId) -> Reply:
        kind, version = self._kind(asked, id.type)
        verb = _VERBS.get(asked.request.method)
        if verb is None:
            raise MethodNotAllowed(f"The requested resource does not support http method '{asked.request.method}'.")
        if not placed(kind, id):
            raise NotFound(
                f"The resource type '{kind.name}' cannot be at '{id}': it belongs to a {kind.level}.",
                code="InvalidResourceType",
            )
        id = canonical(id, kind)
        access = Action(f"{kind.name}/{verb}")
        caller, subscription = await self._enter(asked, access, id)
        assert caller is not None
        await self._place(subscription, kind.name.partition("/")[0], id)
        if verb == "read":
            return await self._get(asked.request, id, kind, version)
        order = self._order(asked, id, kind, version, caller)
        if asked.request.method == "DELETE":
            return await self._deleted(asked.request, order, await self.engine.delete(order))
        return await self._written(asked.request, order, await self.engine.write(order))

    def _order(
        self,
        asked: Asked,
        id: ResourceId,
        kind: ResourceType,
        version: str,
        caller: Caller,
    ) -> Order:
        body: dict[str, Any] = {}
        if asked.request.method != "DELETE":
            method = asked.request.method
            empty = method == "POST" or not kind.tracked or method in kind.bodiless
            body = parse_object(asked.request.body, empty=empty)
        return Order(
            id=id,
            kind=kind,
            method=asked.request.method,
            caller=caller,
            cloud=asked.cloud,
            tenant_id=caller.tenant_id,
            api_version=version,
            request_id=asked.request.request_id,
            body=body,
            if_match=asked.request.headers.get("if-match"),
            if_none_match=asked.request.headers.get("if-none-match"),
            query={name: asked.request.query[name] for name in asked.request.query},
            url=asked.request.url,
        )

    async def ask(self, request: Request, *, caller: Caller, cloud: Cloud) -> Reply:
        """What a request of this caller, authenticated before, gets: every phase but that one, and no headers of the
        front. Raises the `Problem` where a client would get a refusal."""
        await self.engine.operations.settle()
        return await self._answer(Asked(request, cloud, caller=caller))

    async def _get(self, request: Request, id: ResourceId, kind: ResourceType, version: str) -> Reply:
        row = await RESOURCES.get(self._store, id.key)
        if row is None:
            raise resource_not_found(id)
        if request.method == "HEAD":
            return Reply(204) if kind.head == 204 else Reply(kind.head, b"", (("ETag", f'"{row.etag}"'),))
        expand = request.query.get("$expand") or ""
        shown = await present(self._store, row.value, kind, version, expand)
        return Reply.json(shown, 200, (("ETag", f'"{row.etag}"'),))

    async def _written(self, request: Request, order: Order, outcome: Outcome) -> Reply:
        shown = await present(self._store, outcome.stored.value, order.kind, order.api_version)
        headers = [("ETag", f'"{outcome.stored.etag}"'), *notice_headers(outcome.notices)]
        if outcome.operation is not None:
            headers += [
                ("Azure-AsyncOperation", status_location(request, outcome.operation)),
                ("Retry-After", str(self.engine.operations.retry_after)),
            ]
        return Reply.json(shown, order.kind.created if outcome.created else 200, headers)

    async def _deleted(self, request: Request, order: Order, outcome: Outcome | None) -> Reply:
        if outcome is None:
            return Reply(204)
        if outcome.operation is None and order.kind.deleted_shown:
            return Reply.json(await present(self._store, outcome.stored.value, order.kind, order.api_version))
        if outcome.operation is None:
            return Reply(order.kind.deleted)
        return Reply(
            202,
            headers=(
                ("Azure-AsyncOperation", status_location(request, outcome.operation)),
                ("Location", status_location(request, outcome.operation, "operationResults")),
                ("Retry-After", str(self.engine.operations.retry_after)),
            ),
        )

    async def _list(self, asked: Asked, word: Word) -> Reply:
        kind, version = self._kind(asked, word.type)
        parent = word.parent
        own_type = kind.name.count("/") == 1
        if kind.level is not Level.EXTENSION and parent.subscription_id is None:
            raise _no_list(kind, parent)
        if own_type:
            if parent.namespace is not None and kind.level not in (Level.EXTENSION, Level.ANYWHERE):
                raise _no_list(kind, parent)
        elif parent.type.lower() != kind.name.rpartition("/")[0].lower():
            raise _no_list(kind, parent)
        access = Action(f"{kind.name}/read")
        caller, subscription = await self._enter(asked, access, parent)
        await self._place(subscription, kind.name.partition("/")[0], parent)
        if not own_type and await RESOURCES.get(self._store, parent.key) is None:
            raise resource_not_found(parent)
        expand = asked.request.query.get("$expand") or ""
        tenant_id = caller.tenant_id if caller else ""

        async def keep(row: Resource) -> bool:
            return row.tenant_id == tenant_id

        async def show(row: Resource) -> dict[str, Any]:
            shown = await present(self._store, row, kind, version, expand)
            return kind.in_lists(shown) if kind.in_lists is not None else shown

        prefix = f"{parent.key}/" if parent.segments else ""

        async def rows(after: str, limit: int) -> Sequence[Stored[Resource]]:
            return await RESOURCES.find(self._store, "type", kind.name.lower(), prefix=prefix, after=after, limit=limit)

        return Reply.json(await page_of(asked.request, rows, keep=keep, show=show))

    async def _act(self, asked: Asked, word: Word) -> Reply:
        id = word.parent
        if id.namespace is None:
            raise NotFound(
                f"No HTTP resource was found that matches the request URI '{asked.request.path[:200]}'.",
                code="NotFound",
            )
        kind, version = self._kind(asked, id.type)
        name = next((known for known in kind.actions if known.lower() == word.word.lower()), None)
        if name is None or not placed(kind, id):
            raise NotFound(
                f"The resource type '{kind.name.partition('/')[2]}' has no action '{word.word[:100]}'.",
                code="InvalidResourceType",
            )
        id = canonical(id, kind)
        action = kind.actions[name].action
        caller, subscription = await self._enter(asked, action, id)
        assert caller is not None
        await self._place(subscription, kind.name.partition("/")[0], id)
        order = self._order(asked, id, kind, version, caller)
        reply, operation = await self.engine.act(order, name)
        if operation is None:
            return reply
        return Reply(
            202,
            reply.body,
            (
                *reply.headers,
                ("Azure-AsyncOperation", status_location(asked.request, operation)),
                ("Location", status_location(asked.request, operation, "operationResults")),
                ("Retry-After", str(self.engine.operations.retry_after)),
            ),
            reply.content_type,
        )


def _no_list(kind: ResourceType, parent: ResourceId) -> Problem:
    return NotFound(f"Resources of type '{kind.name}' are not below '{parent}'.", code="InvalidResourceType")
