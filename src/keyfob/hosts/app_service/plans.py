"""Plans (`serverfarms`), and the lists that clients ask before they make one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from keyfob.arm.locations import display_name
from keyfob.arm.resources import RESOURCES
from keyfob.arm.shapes import mapping, subscription_scope
from keyfob.declare import Action, Call, Change, Route
from keyfob.errors import Conflict, InvalidInput
from keyfob.hosts.app_service.model import API_VERSIONS, MOST_WORKERS, SITE, TIERS
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply

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
    tier = asked.get("tier") or TIERS.get(family.upper()) or TIERS.get(parts["family"].upper()) or "Standard"
    capacity = asked.get("capacity")
    size = parts["family"].upper() + parts["number"] + (parts["edition"] or "").lower() + parts["rest"]
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
        "numberOfSites": 0,
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
    document["kind"] = resource.kind or "app"
    return document


async def refuse_in_use(change: Change) -> None:
    """A plan with sites stays; when its group goes, the sites that go too do not hold it."""
    group = ResourceId(change.id.segments[:4])
    for row in await RESOURCES.find(change.transaction, "type", SITE.lower()):
        farm = str(row.value.properties.get("serverFarmId") or "")
        if farm.lower() == change.id.key and not group.contains(ResourceId.parse(row.value.id)):
            raise Conflict(
                f"Server farm '{change.id.name}' cannot be deleted because it has web app(s) assigned to it.",
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
