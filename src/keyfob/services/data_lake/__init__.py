"""Data Lake Store (generation 1) accounts through Resource Manager."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from keyfob.arm.resources import RESOURCES
from keyfob.arm.shapes import (
    Shaped,
    answering,
    check_name_route,
    held,
    items,
    mapping,
    posting,
    put_child,
    unique,
)
from keyfob.clock import iso
from keyfob.declare import Change, IdentitySupport, Provider, ResourceType
from keyfob.errors import Conflict, InvalidInput
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store

__all__ = ["data_lake"]

TYPE = "Microsoft.DataLakeStore/accounts"
API_VERSIONS = ("2015-10-01-preview", "2016-11-01")
_NAME = r"[a-z0-9]{3,24}"


_LISTED = {
    "firewallRules": ("startIpAddress", "endIpAddress"),
    "virtualNetworkRules": ("subnetId",),
    "trustedIdProviders": ("idProvider",),
}
"""Children that an account shows in its own document, and what each must have."""
_BASIC = ("accountId", "provisioningState", "state", "creationTime", "lastModifiedTime", "endpoint")


def data_lake(*, store: Store) -> Provider:
    accounts = ResourceType(
        name=TYPE,
        api_versions=API_VERSIONS,
        operations=Shaped(compute=_accept, claim=unique((TYPE,), _taken), children=_with_account),
        identity=IdentitySupport(system=True),
        long_running=frozenset({"PUT", "PATCH", "DELETE"}),
        actions={"enableKeyVault": posting(TYPE, "enableKeyVault", answering(200))},
        name_pattern=_NAME,
        updating="Patching",
        ignored=frozenset({"sku", "kind", "plan", "zones"}),
        in_lists=_basic,
        note="The control plane. Encryption, trusted providers and firewall rules are kept, not enforced.",
    )
    below = [
        ResourceType(
            name=f"{TYPE}/{kind}",
            api_versions=API_VERSIONS,
            operations=Shaped(required=required, children=_told(kind), removed=_told(kind)),
            tracked=False,
            provisioning_state=False,
            created=200,
        )
        for kind, required in _LISTED.items()
    ]
    check = check_name_route(
        store,
        "/subscriptions/{subscriptionId}/providers/Microsoft.DataLakeStore/locations/{location}/checkNameAvailability",
        "Microsoft.DataLakeStore/locations/checkNameAvailability/action",
        types=(TYPE,),
        pattern=_NAME,
        api_versions=API_VERSIONS,
        invalid="An account's name has 3 to 24 lower-case letters and digits.",
        in_use=lambda name: f"An account named '{name}' already exists.",
        asked=(TYPE,),
    )
    return Provider(namespace="Microsoft.DataLakeStore", types=(accounts, *below), routes=(check,), registered=True)


def _accept(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    suffix = change.cloud.suffixes.get("data_lake")
    if not suffix:
        raise InvalidInput(
            f"{change.cloud.name} has no Data Lake Store.",
            code="LocationNotAvailableForResourceType",
            target="location",
        )
    return {
        "accountId": str(uuid5(NAMESPACE_URL, change.id.key)),
        "creationTime": held(change, "creationTime", iso(change.now)),
        "lastModifiedTime": iso(change.now),
        "endpoint": f"{change.id.name.lower()}.{suffix}",
        "state": "Active",
        "encryptionState": given.get("encryptionState") or "Enabled",
        "encryptionProvisioningState": "Succeeded",
        "encryptionConfig": given.get("encryptionConfig") or {"type": "ServiceManaged"},
        "firewallState": given.get("firewallState") or "Disabled",
        "firewallAllowAzureIps": given.get("firewallAllowAzureIps") or "Disabled",
        "trustedIdProviderState": given.get("trustedIdProviderState") or "Disabled",
        "currentTier": given.get("newTier") or "Consumption",
        "newTier": given.get("newTier") or "Consumption",
        **{kind: _listed(change, kind, given.get(kind)) for kind in _LISTED},
    }


def _listed(change: Change, kind: str, given: Any) -> list[dict[str, Any]]:
    """The account's children of that kind: those it has, and those that a body brings."""
    rows = {row["name"].lower(): row for row in held(change, kind, [])}
    for one in items(given):
        name, inner = one.get("name"), mapping(one.get("properties"))
        missing = next((member for member in _LISTED[kind] if not isinstance(inner.get(member), str)), None)
        if not isinstance(name, str) or not re.fullmatch(r"[^/\x00-\x1f]{1,128}", name) or missing is not None:
            raise InvalidInput(
                f"Each of {kind} has a 'name' and the properties {', '.join(_LISTED[kind])}.",
                code="InvalidParameter",
                target=kind,
            )
        rows[name.lower()] = _row(change.id.child(kind, name), inner)
    return list(rows.values())


def _row(id: ResourceId, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": str(id), "name": id.name, "type": id.type, "properties": dict(properties)}


async def _with_account(change: Change, properties: Mapping[str, Any]) -> None:
    for kind in _LISTED:
        for row in properties[kind]:
            await put_child(change, kind, row["name"], row["properties"])


def _told(kind: str) -> Callable[..., Awaitable[None]]:
    """After a child was written or removed, its account lists it so."""

    async def tell(change: Change, properties: Mapping[str, Any] | None = None) -> None:
        stored = await RESOURCES.get(change.transaction, change.id.parent.key)
        if stored is None:  # it goes, too
            return
        account = stored.value
        rows = [row for row in account.properties.get(kind, ()) if row["name"].lower() != change.id.name.lower()]
        if properties is not None:
            rows.append(_row(change.id, properties))
        changed = msgspec.structs.replace(account, properties={**account.properties, kind: rows})
        await RESOURCES.put(change.transaction, stored.key, changed)

    return tell


def _basic(document: dict[str, Any]) -> dict[str, Any]:
    """`DataLakeStoreAccountBasic`."""
    shown = {name: document[name] for name in ("id", "name", "type", "location", "tags")}
    return shown | {"properties": {name: document["properties"][name] for name in _BASIC}}


def _taken(name: str) -> Conflict:
    return Conflict(f"The Data Lake Store account name '{name}' is already in use.", code="AccountAlreadyExists")
