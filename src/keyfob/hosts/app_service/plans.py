"""Plans (`serverfarms`), what they say of the sites on them, and the lists that clients ask before they make one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from keyfob.access.assignments import assignments_within, unassign
from keyfob.arm.locations import display_name
from keyfob.arm.model import DELETING, Resource
from keyfob.arm.resources import RESOURCES, get_group, get_resource
from keyfob.arm.shapes import held, mapping, subscription_scope
from keyfob.declare import Action, Call, Change, Route
from keyfob.errors import Conflict, InvalidInput
from keyfob.hosts.app_service.model import API_VERSIONS, KINDS, MOST_WORKERS, PLAN, SITE, TIERS
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply

_IMPLIED = "keyfob.implied"
"""Of a plan that nobody made: it came with a site."""
_SIZE = re.compile(r"(?P<family>[A-Za-z]+)(?P<number>\d*)(?P<edition>[vV]\d+)?(?P<rest>.*)")


def sku(given: Any) -> dict[str, Any]:
    """A full SKU of what the body has: `{"name": "p1v2"}` → tier, size, family, capacity."""
    asked = mapping(given)
    name = str(asked.get("name") or "F1")
    parts = _SIZE.fullmatch(name)
    if parts is None or len(name) > 20:
        raise InvalidInput(f"The sku '{name[:40]}' is not known.", code="BadRequest", target="sku")
    family = (parts["family"] + (parts["edition"] or "")).upper()
    family = {"PV2": "Pv2", "PV3": "Pv3", "IV2": "Iv2"}.get(family, family)
    size = parts["family"].upper() + parts["number"] + (parts["edition"] or "").lower() + parts["rest"]
    known = (TIERS.get(one) for one in (size.upper(), family.upper(), parts["family"].upper()))
    tier = next(filter(None, known), None) or asked.get("tier") or "Standard"
    capacity = asked.get("capacity")
    if capacity is not None and (isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 0):
        raise InvalidInput("The capacity of a plan is a whole number.", code="BadRequest", target="sku.capacity")
    default = 0 if tier in ("Dynamic", "FlexConsumption") else 1
    return {
        "name": size,
        "tier": str(tier),
        "size": size,
        "family": family,
        "capacity": default if capacity is None else capacity,
    }


def accept(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    wanted = sku(change.body.get("sku"))
    kind = str(change.body.get("kind") or "app").lower()
    location = str(change.body.get("location") or "")
    return {
        "status": "Ready",
        "workerTierName": given.get("workerTierName"),
        "subscription": change.id.subscription_id,
        "maximumNumberOfWorkers": MOST_WORKERS.get(wanted["tier"], 30),
        "geoRegion": display_name(location),
        "numberOfWorkers": wanted["capacity"],
        "numberOfSites": held(change, "numberOfSites", 0),
        "perSiteScaling": bool(given.get("perSiteScaling", False)),
        "isSpot": False,
        "reserved": given.get("reserved") is True or "linux" in kind,
        "isXenon": False,
        "hyperV": False,
        "targetWorkerCount": given.get("targetWorkerCount") or 0,
        "targetWorkerSizeId": given.get("targetWorkerSizeId") or 0,
        "elasticScaleEnabled": bool(given.get("elasticScaleEnabled", False)),
        "maximumElasticWorkerCount": given.get("maximumElasticWorkerCount") or 1,
        "zoneRedundant": bool(given.get("zoneRedundant", False)),
        "resourceGroup": change.id.resource_group,
    }


def finished(resource: Any, document: dict[str, Any], api_version: str) -> dict[str, Any]:
    document["sku"] = sku(resource.sku)
    document["kind"] = resource.kind or KINDS.get(document["sku"]["tier"], "linux" if _linux(resource) else "app")
    return document


def _linux(resource: Resource) -> bool:
    return resource.properties.get("reserved") is True


async def tell_sites(change: Change, properties: Mapping[str, Any]) -> None:
    """Sites show the tier that their plan has now."""
    tier = sku(change.body.get("sku"))["tier"]
    if change.before is None or sku(change.before.sku)["tier"] == tier:
        return
    for row in await RESOURCES.find(change.transaction, "type", SITE.lower()):
        if str(row.value.properties.get("serverFarmId") or "").lower() == change.id.key:
            moved = msgspec.structs.replace(row.value, properties={**row.value.properties, "sku": tier})
            await RESOURCES.put(change.transaction, row.key, moved)


# --- a site and its plan


async def stand_on(change: Change, properties: dict[str, Any]) -> None:
    """Sets what the plan decides of a site, and counts the site there. A function app that names no plan gets the
    consumption plan of its region, made when it is the first: so does Azure."""
    if not properties.get("serverFarmId") and "functionapp" in kind_of(change):
        properties["serverFarmId"] = await _consumption_plan(change, linux=properties["reserved"])
    plan = await _plan(change, properties.get("serverFarmId"))
    if plan is None:
        properties.pop("sku", None)
    else:
        properties |= {"sku": sku(plan.sku)["tier"], "reserved": properties["reserved"] or _linux(plan)}
    before = str(held(change, "serverFarmId", "") or "")
    if before.lower() != str(properties.get("serverFarmId") or "").lower():
        await _count(change, before, -1)
        await _count(change, properties.get("serverFarmId"), 1)


async def leave(change: Change) -> None:
    """The plan of a site that is deleted carries one less. A plan that came with its first site goes with the last,
    unless its group goes anyway."""
    plan = await _count(change, change.before.properties.get("serverFarmId"), -1)
    if plan is None or not plan.properties.get(_IMPLIED) or plan.properties["numberOfSites"]:
        return
    id = ResourceId.parse(plan.id)
    group = await get_group(change.transaction, id)
    if group is not None and group.provisioning_state != DELETING:
        await RESOURCES.delete(change.transaction, id.key)
        for assignment in await assignments_within(change.transaction, plan.tenant_id, id):
            await unassign(change.transaction, plan.tenant_id, assignment.id)


def kind_of(change: Change) -> str:
    """The kind of site: of the request, else of what is there."""
    return str(change.body.get("kind") or (change.before.kind if change.before else None) or "app").lower()


async def _plan(change: Change, farm: Any) -> Resource | None:
    """None: none is named, it is not there, or what is named is no plan of this tenant."""
    if not farm:
        return None
    try:
        found = await get_resource(change.transaction, ResourceId.parse(str(farm)))
    except InvalidInput:
        return None
    own = found is not None and found.type.lower() == PLAN.lower() and found.tenant_id == change.tenant_id
    return found if own else None


async def _count(change: Change, farm: Any, by: int) -> Resource | None:
    """The plan, with so many sites more."""
    plan = await _plan(change, farm)
    if plan is None:
        return None
    number = max(0, int(plan.properties.get("numberOfSites") or 0) + by)
    counted = msgspec.structs.replace(plan, properties={**plan.properties, "numberOfSites": number})
    await RESOURCES.put(change.transaction, ResourceId.parse(plan.id).key, counted)
    return counted


async def _consumption_plan(change: Change, *, linux: bool) -> str:
    """`WestEuropePlan`, or `WestEuropeLinuxDynamicPlan`, in the group of the site; its id."""
    location = str(change.body.get("location") or "").replace(" ", "").lower()
    name = display_name(location).replace(" ", "") + ("LinuxDynamicPlan" if linux else "Plan")
    id = ResourceId(change.id.segments[:4]).provider(PLAN, name)
    if await RESOURCES.get(change.transaction, id.key) is None:
        size = {"name": "Y1", "tier": "Dynamic"}
        body = {"location": location, "sku": size, "kind": "functionapp"}
        made = accept(replace(change, id=id, before=None, body=body), {"reserved": linux})
        await RESOURCES.insert(
            change.transaction,
            id.key,
            Resource(
                id=str(id),
                type=PLAN,
                name=name,
                tenant_id=change.tenant_id,
                location=location,
                sku=size,
                kind="functionapp",
                properties={**made, _IMPLIED: True},
                created=change.now,
                changed=change.now,
                created_by=change.caller.principal_id,
                changed_by=change.caller.principal_id,
            ),
        )
    return str(id)


async def refuse_in_use(change: Change) -> None:
    """A plan with sites stays; when its group goes, they go too and do not hold it."""
    group = await get_group(change.transaction, change.id)
    if group is None or group.provisioning_state == DELETING:
        return
    for row in await RESOURCES.find(change.transaction, "type", SITE.lower()):
        farm = str(row.value.properties.get("serverFarmId") or "")
        if farm.lower() == change.id.key:
            raise Conflict(
                f"Server farm '{change.id.name}' cannot be deleted because it has web app(s) "
                f"{row.value.name} assigned to it.",
                code="Conflict",
            )


def routes() -> tuple[Route, ...]:
    path = "/subscriptions/{subscriptionId}/providers/Microsoft.Web/geoRegions"
    return (Route("GET", path, Action("Microsoft.Web/geoRegions/read"), _regions, subscription_scope, API_VERSIONS),)


async def _regions(call: Call) -> Reply:
    base = f"/subscriptions/{call.parameters['subscriptionId']}/providers/Microsoft.Web/geoRegions"
    rows = [
        {
            "id": f"{base}/{display_name(name)}",
            "name": display_name(name),
            "type": "Microsoft.Web/geoRegions",
            "properties": {"name": display_name(name), "displayName": display_name(name), "orgDomain": "PUBLIC"},
        }
        for name in call.cloud.locations
    ]
    return Reply.json({"value": rows})
