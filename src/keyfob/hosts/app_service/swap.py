"""`…/slotsswap`: two slots exchange what they run.

Content, settings and the general configuration go over; what belongs to the place stays: its name, its identity, what
`slotConfigNames` makes stick to it, Always On, access restrictions, CORS and TLS (learn.microsoft.com, "Set up staging
environments", which settings are swapped). The settings change in one transaction; the files follow it at once, before
either program is started again (`Contents.exchange`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from keyfob.access.guard import Guard
from keyfob.arm.model import Resource
from keyfob.arm.resources import RESOURCES, get_resource, resource_not_found
from keyfob.clock import Ids
from keyfob.declare import Action, Change
from keyfob.errors import Conflict, InvalidInput
from keyfob.hosts.app_service.model import SWAPPED
from keyfob.hosts.app_service.settings import Settings
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply

PRODUCTION = "production"
STAY = frozenset(
    name.lower()
    for name in (
        "alwaysOn",
        "autoSwapSlotName",
        "cors",
        "ipSecurityRestrictions",
        "ipSecurityRestrictionsDefaultAction",
        "scmIpSecurityRestrictions",
        "scmIpSecurityRestrictionsDefaultAction",
        "scmIpSecurityRestrictionsUseMain",
        "minTlsVersion",
        "scmMinTlsVersion",
        "minTlsCipherSuite",
        "ftpsState",
        "vnetName",
        "vnetRouteAllEnabled",
    )
)
"""Of `config/web`."""

_STICKY = {"appsettings": "appSettingNames", "connectionstrings": "connectionStringNames"}

Pending = Callable[[Resource], bool]
"""Whether the files of a site's last swap have not followed yet."""


class Swap:
    """`POST {site or slot}/slotsswap`. The engine has asked about the slot that is addressed; the other one is written
    as well, so it is asked about too: who may only touch a slot cannot put anything into production."""

    def __init__(self, settings: Settings, pending: Pending, *, guard: Guard, ids: Ids) -> None:
        self._settings = settings
        self._pending = pending
        self._guard = guard
        self._ids = ids

    async def __call__(self, change: Change) -> Reply:
        ours = change.id
        theirs = _target(ours, change.body.get("targetSlot"))
        action = Action(f"{theirs.type}/slotsswap/Action")
        await self._guard.authorize(change.caller, action, theirs, request_id=self._ids.guid(), service="app_service")
        rows = [await _stored(change, id) for id in (ours, theirs)]
        if any(self._pending(row) for row in rows):
            raise Conflict("Another swap of these slots is not finished yet.", code="Conflict")
        await self._swap_settings(change, ours, theirs)
        await self._swap_web(change, ours, theirs)
        generation = secrets.token_hex(8)
        for row, other in zip(rows, reversed(rows), strict=True):
            mine, its = row.properties.get("siteConfig") or {}, other.properties.get("siteConfig") or {}
            properties = {
                **row.properties,
                "siteConfig": _mixed(mine, its, STAY),
                SWAPPED: {"generation": generation, "with": ResourceId.parse(other.id).key},
            }
            await _put(change, row, properties)
        return Reply(200)

    async def _swap_settings(self, change: Change, ours: ResourceId, theirs: ResourceId) -> None:
        site = ResourceId(ours.segments[:8])
        named = await get_resource(change.transaction, site.child("config", "slotConfigNames"))
        for name, member in _STICKY.items():
            sticky = frozenset(str(one).lower() for one in _names((named.properties if named else {}).get(member)))
            values = [await self._settings.read(change.transaction, id, name) for id in (ours, theirs)]
            for id, mine, its in ((ours, values[0], values[1]), (theirs, values[1], values[0])):
                row = await get_resource(change.transaction, id.child("config", name))
                if row is not None:
                    mixed = _mixed(mine, its, sticky)
                    await _put(change, row, self._settings.close(id.child("config", name), mixed))

    async def _swap_web(self, change: Change, ours: ResourceId, theirs: ResourceId) -> None:
        rows = [await get_resource(change.transaction, id.child("config", "web")) for id in (ours, theirs)]
        for row, other in zip(rows, reversed(rows), strict=True):
            if row is not None and other is not None:
                await _put(change, row, _mixed(row.properties, other.properties, STAY))


def _target(ours: ResourceId, given: Any) -> ResourceId:
    """The other side: a slot by its name, or the site itself. Raises `InvalidInput`."""
    if not isinstance(given, str) or not given or "/" in given:
        raise InvalidInput("The parameter 'targetSlot' is the name of a slot, or 'production'.", code="BadRequest")
    site = ResourceId(ours.segments[:8])
    theirs = site if given.lower() == PRODUCTION else site.child("slots", given)
    if theirs == ours:
        raise InvalidInput("A slot cannot be swapped with itself.", code="BadRequest")
    return theirs


def _mixed(mine: Mapping[str, Any], its: Mapping[str, Any], stay: frozenset[str]) -> dict[str, Any]:
    """What I have after the swap: of mine what stays, of the other's all else."""
    kept = {name: value for name, value in mine.items() if name.lower() in stay}
    return {**{name: value for name, value in its.items() if name.lower() not in stay}, **kept}


def _names(given: Any) -> Iterable[Any]:
    return given if isinstance(given, list) else ()


async def _stored(change: Change, id: ResourceId) -> Resource:
    found = await get_resource(change.transaction, id)
    if found is None:
        raise resource_not_found(id)
    return found


async def _put(change: Change, row: Resource, properties: Mapping[str, Any]) -> None:
    changed = msgspec.structs.replace(row, properties=dict(properties), changed=change.now)
    await RESOURCES.put(change.transaction, ResourceId.parse(row.id).key, changed)
