"""The facts of one deployment, gathered: its scope as it is, its tenant, its cloud, who deploys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keyfob.arm.present import present_group
from keyfob.arm.resources import get_group, get_subscription
from keyfob.arm.templates.facts import GROUP, MANAGEMENT_GROUP, SUBSCRIPTION, Facts, environment_of, kind_of
from keyfob.arm.templates.records import RUNNING
from keyfob.arm.templates.request import Wanted, template_hash
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Caller
from keyfob.directory.tenants import get_tenant
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store


async def facts_of(
    store: Store,
    id: ResourceId,
    wanted: Wanted,
    caller: Caller,
    cloud: Cloud,
    *,
    clouds: Mapping[str, Cloud],
    now: float,
    guid: Callable[[], str],
) -> Facts:
    """What a deployment of this id finds."""
    scope = id.parent
    kind = kind_of(scope)
    properties: dict[str, Any] = {
        "template": wanted.template if isinstance(wanted.template, dict) else {},
        "templateHash": template_hash(wanted.template),
        "parameters": {},
        "mode": wanted.mode,
        "provisioningState": RUNNING,
    }
    if wanted.template_link is not None:
        properties["templateLink"] = dict(wanted.template_link)
    deployment: dict[str, Any] = {"name": id.name, "properties": properties}
    group = subscription = None
    if kind in (GROUP, SUBSCRIPTION):
        known = await get_subscription(store, scope.subscription_id or "")
        subscription = {
            "id": f"/subscriptions/{scope.subscription_id}",
            "subscriptionId": scope.subscription_id,
            "tenantId": caller.tenant_id,
            "displayName": known.display_name if known else "",
        }
    if kind == GROUP:
        found = await get_group(store, scope)
        group = present_group(found) if found else {"id": str(scope), "name": scope.resource_group}
    else:
        deployment["location"] = wanted.location
    tenant = await get_tenant(store, caller.tenant_id)
    management = None
    if kind == MANAGEMENT_GROUP:
        properties_of = {"displayName": scope.name, "tenantId": caller.tenant_id}
        management = {"id": str(scope), "name": scope.name, "type": scope.type, "properties": properties_of}
    return Facts(
        scope=scope,
        deployment=deployment,
        group=group,
        subscription=subscription,
        management_group=management,
        tenant={
            "id": f"/tenants/{caller.tenant_id}",
            "tenantId": caller.tenant_id,
            "displayName": tenant.display_name if tenant else "",
            "countryCode": "US",
        },
        environment=environment_of(cloud, clouds),
        deployer={
            "objectId": caller.principal_id,
            "tenantId": caller.tenant_id,
            "userPrincipalName": caller.name if "@" in caller.name else "",
        },
        now=now,
        guid=guid,
        providers=_no_providers,
    )


def _no_providers(namespace: str, kind: str | None) -> Any:
    """`providers()` is long deprecated: it gives what templates ask it for, an api-version."""
    row = {"resourceType": kind or "", "locations": [], "apiVersions": ["2021-04-01"]}
    return row if kind else {"namespace": namespace, "resourceTypes": []}
