"""Tenants, subscriptions and their locations; and who sees which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfob.access.assignments import assignments_of
from keyfob.access.guard import Guard
from keyfob.arm.listing import page
from keyfob.arm.locations import display_name
from keyfob.arm.model import Subscription
from keyfob.arm.resources import SUBSCRIPTIONS, get_subscription
from keyfob.arm.versions import METADATA_VERSIONS, RESOURCES_VERSIONS
from keyfob.clouds.cloud import Cloud
from keyfob.clouds.metadata import API_VERSIONS as SHAPES
from keyfob.clouds.metadata import metadata_endpoints
from keyfob.declare import Action, Call, Caller, Public, Route, SignedIn
from keyfob.directory.tenants import get_tenant
from keyfob.errors import NotFound
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store, Transaction
from keyfob.wire.http import Reply

READ = Action("Microsoft.Resources/subscriptions/read")


async def ensure_subscription(
    tx: Transaction, *, subscription_id: str, tenant_id: str, cloud: str, display_name: str, now: float
) -> Subscription:
    """The subscription, made when it is not there: what a first start does. Raises nothing when it is."""
    known = await get_subscription(tx, subscription_id)
    if known is not None:
        return known
    made = Subscription(
        id=subscription_id.lower(), tenant_id=tenant_id, cloud=cloud, display_name=display_name, created=now
    )
    await SUBSCRIPTIONS.insert(tx, made.id, made)
    return made


def subscription_not_found(subscription_id: str) -> NotFound:
    return NotFound(f"The subscription '{subscription_id}' could not be found.", code="SubscriptionNotFound")


class Subscriptions:
    """The routes that stand above resource groups."""

    def __init__(self, *, store: Store, guard: Guard, clouds: Mapping[str, Cloud]) -> None:
        self._store = store
        self._guard = guard
        self._clouds = clouds

    def routes(self) -> tuple[Route, ...]:
        v = RESOURCES_VERSIONS
        return (
            Route(
                "GET",
                "/metadata/endpoints",
                Public("clients learn from it where to sign in"),
                self.metadata,
                api_versions=METADATA_VERSIONS,
            ),
            Route("GET", "/tenants", SignedIn("shows the caller's own tenant"), self.tenants, api_versions=v),
            Route("GET", "/subscriptions", SignedIn("shows those the caller sees"), self.list, api_versions=v),
            Route(
                "GET",
                "/subscriptions/{subscription}",
                SignedIn("any role at, above or below it lets it be seen"),
                self.get,
                api_versions=v,
            ),
            Route(
                "GET",
                "/subscriptions/{subscription}/locations",
                SignedIn("any role at, above or below it lets it be seen"),
                self.locations,
                api_versions=v,
            ),
        )

    async def sees(self, caller: Caller, scope: ResourceId) -> bool:
        """Whether the caller, or a group of it, has a role at, above or below a scope."""
        memory = self._guard.memory
        standing = await memory.standing(caller.tenant_id, caller.principal_id)
        if standing.refusal:
            return False
        await memory.refresh()
        above = set(memory.above(scope, caller.tenant_id))
        for holder in (caller.principal_id, *standing.person.groups):
            for assignment in await assignments_of(self._store, caller.tenant_id, holder):
                given = ResourceId.parse(assignment.scope)
                if given.contains(scope) or scope.contains(given) or given.key in above:
                    return True
        return False

    async def require_seen(self, call: Call) -> Subscription:
        """The subscription of a route, if the caller sees it. Raises `Forbidden` otherwise."""
        assert call.caller is not None
        scope = ResourceId.subscription(call.parameters["subscription"])
        if not await self.sees(call.caller, scope):
            await self._guard.authorize(call.caller, READ, scope, request_id=call.request.request_id)
        found = await get_subscription(self._store, call.parameters["subscription"])
        if found is None:
            raise subscription_not_found(call.parameters["subscription"])
        return found

    async def metadata(self, call: Call) -> Reply:
        shape = max(version for version in SHAPES if version <= call.api_version)
        return Reply.json(metadata_endpoints(call.cloud, self._clouds, shape))

    async def tenants(self, call: Call) -> Reply:
        assert call.caller is not None
        tenant = await get_tenant(self._store, call.caller.tenant_id)
        value = []
        if tenant is not None:
            shown = {
                "id": f"/tenants/{tenant.id}",
                "tenantId": tenant.id,
                "countryCode": "US",
                "displayName": tenant.display_name,
                "domains": list(tenant.domains),
                "defaultDomain": tenant.domains[0] if tenant.domains else "",
                "tenantCategory": "Home",
                "tenantType": "AAD",
            }
            value.append(shown)
        return Reply.json({"value": value})

    async def list(self, call: Call) -> Reply:
        caller = call.caller
        assert caller is not None

        async def keep(row: Subscription) -> bool:
            return row.cloud == call.cloud.name and await self.sees(caller, ResourceId.subscription(row.id))

        async def show(row: Subscription) -> dict[str, Any]:
            return present_subscription(row)

        rows = await SUBSCRIPTIONS.find(self._store, "tenant", caller.tenant_id)
        found = await page(call.request, [(row.key, row.value) for row in rows], keep=keep, show=show)
        return Reply.json(found | {"count": {"type": "Total", "value": len(found["value"])}})

    async def get(self, call: Call) -> Reply:
        return Reply.json(present_subscription(await self.require_seen(call)))

    async def locations(self, call: Call) -> Reply:
        subscription = await self.require_seen(call)
        return Reply.json(
            {
                "value": [
                    {
                        "id": f"/subscriptions/{subscription.id}/locations/{name}",
                        "name": name,
                        "type": "Region",
                        "displayName": display_name(name),
                        "regionalDisplayName": display_name(name),
                        "metadata": {"regionType": "Physical", "regionCategory": "Other"},
                    }
                    for name in call.cloud.locations
                ]
            }
        )


def present_subscription(subscription: Subscription) -> dict[str, Any]:
    """Every member that azure-cli needs: without `state` or `tenantId` it takes the subscription for disabled."""
    return {
        "id": f"/subscriptions/{subscription.id}",
        "subscriptionId": subscription.id,
        "tenantId": subscription.tenant_id,
        "displayName": subscription.display_name,
        "state": subscription.state,
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
    }
