"""Resource providers: what each offers, and whether a subscription is registered for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from keyfob.arm.locations import display_name
from keyfob.arm.model import Subscription
from keyfob.arm.registry import Namespace, Registry, newest_first, with_usual
from keyfob.arm.resources import SUBSCRIPTIONS, get_subscription
from keyfob.arm.subscriptions import Subscriptions, subscription_not_found
from keyfob.arm.versions import RESOURCES_VERSIONS
from keyfob.declare import Action, Call, ResourceType, Route, SignedIn
from keyfob.errors import Conflict
from keyfob.store.port import Store
from keyfob.wire.http import Reply

_FREE = frozenset({"Microsoft.Authorization", "Microsoft.Features", "Microsoft.Resources", "Microsoft.Support"})
"""Namespaces that no subscription needs to register, as Azure lists them."""


def is_registered(subscription: Subscription, namespace: Namespace) -> bool:
    return subscription.registrations.get(namespace.name.lower(), namespace.registered)


def require_registered(subscription: Subscription, namespace: Namespace) -> None:
    """Raises `Conflict`. azure-mgmt-core finds the namespace in the quotes, registers it and tries again."""
    if not is_registered(subscription, namespace):
        raise Conflict(
            f"The subscription is not registered to use namespace '{namespace.name}'. See "
            "https://aka.ms/rps-not-found for how to register subscriptions.",
            code="MissingSubscriptionRegistration",
            target=namespace.name,
        )


class Providers:
    def __init__(self, *, store: Store, registry: Registry, subscriptions: Subscriptions) -> None:
        self._store = store
        self._registry = registry
        self._subscriptions = subscriptions

    def routes(self) -> tuple[Route, ...]:
        here = "/subscriptions/{subscription}/providers"
        seen = SignedIn("any role at, above or below the subscription lets it be seen")
        nobodys = SignedIn("what exists here is no secret to who signs in")
        v = RESOURCES_VERSIONS
        routes = [
            Route("GET", "/providers", nobodys, self.everywhere, api_versions=v),
            Route("GET", "/providers/{namespace}", nobodys, self.one_everywhere, api_versions=v),
            Route("GET", here, seen, self.list, api_versions=v),
            Route("GET", f"{here}/{{namespace}}", seen, self.get, api_versions=v),
            Route("GET", f"{here}/{{namespace}}/resourceTypes", seen, self.types, api_versions=v),
        ]
        for namespace in self._registry.offered:
            for word, value in (("register", True), ("unregister", False)):
                action = Action(f"{namespace.name}/{word}/action")
                path = f"{here}/{namespace.name}/{word}"
                routes.append(Route("POST", path, action, self._switch(namespace, value), api_versions=v))
        return tuple(routes)

    def _switch(self, namespace: Namespace, value: bool) -> Callable[[Call], Awaitable[Reply]]:
        async def switch(call: Call) -> Reply:
            key = call.parameters["subscription"].lower()
            async with self._store.transaction() as tx:
                subscription = await get_subscription(tx, key)
                if subscription is None:
                    raise subscription_not_found(key)
                registrations = {**subscription.registrations, namespace.name.lower(): value}
                changed = msgspec.structs.replace(subscription, registrations=registrations)
                await SUBSCRIPTIONS.put(tx, key, changed)
            return Reply.json(_present(namespace, call.cloud.locations, changed))

        return switch

    async def everywhere(self, call: Call) -> Reply:
        return Reply.json({"value": [_present(n, call.cloud.locations, None) for n in self._registry.offered]})

    async def one_everywhere(self, call: Call) -> Reply:
        namespace = with_usual(self._registry.namespace(call.parameters["namespace"]))
        return Reply.json(_present(namespace, call.cloud.locations, None))

    async def list(self, call: Call) -> Reply:
        subscription = await self._subscriptions.require_seen(call)
        rows = [_present(namespace, call.cloud.locations, subscription) for namespace in self._registry.offered]
        return Reply.json({"value": rows})

    async def get(self, call: Call) -> Reply:
        subscription = await self._subscriptions.require_seen(call)
        namespace = with_usual(self._registry.namespace(call.parameters["namespace"]))
        return Reply.json(_present(namespace, call.cloud.locations, subscription))

    async def types(self, call: Call) -> Reply:
        await self._subscriptions.require_seen(call)
        namespace = with_usual(self._registry.namespace(call.parameters["namespace"]))
        return Reply.json({"value": _types(namespace, call.cloud.locations)})


def _present(namespace: Namespace, locations: Sequence[str], subscription: Subscription | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"namespace": namespace.name, "resourceTypes": _types(namespace, locations)}
    if subscription is not None:
        shown["id"] = f"/subscriptions/{subscription.id}/providers/{namespace.name}"
        shown["registrationState"] = "Registered" if is_registered(subscription, namespace) else "NotRegistered"
        shown["registrationPolicy"] = "RegistrationFree" if namespace.name in _FREE else "RegistrationRequired"
    return shown


def _types(namespace: Namespace, locations: Sequence[str]) -> list[dict[str, Any]]:
    """Newest version first: azure-cli takes the first that is no preview."""
    return [
        {
            "resourceType": kind.name.partition("/")[2],
            "locations": [display_name(name) for name in locations] if kind.tracked or kind.location_kept else [],
            "apiVersions": newest_first(kind),
            "capabilities": _capabilities(kind),
        }
        for kind in namespace.types.values()
    ]


def _capabilities(kind: ResourceType) -> str:
    words = ["CrossResourceGroupResourceMove", "CrossSubscriptionResourceMove"] if kind.movable else []
    words += ["SupportsTags", "SupportsLocation"] if kind.tracked or kind.location_kept else []
    return ", ".join(words) or "None"
