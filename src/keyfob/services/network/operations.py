"""What networks compute: ids of inline children, which are resources too; addresses; names.

A child that is given inline is stored both ways: in its parent's list, as replies of the parent have it, and as a
resource of its own. Whoever writes one of the two updates the other in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from keyfob.arm.resources import RESOURCES
from keyfob.arm.shapes import Shaped, held, items, mapping, put_child
from keyfob.declare import Change
from keyfob.errors import InvalidInput
from keyfob.resource_id import ResourceId

_SUFFIXES = {
    "AzureCloud": "cloudapp.azure.com",
    "AzureUSGovernment": "cloudapp.usgovcloudapi.net",
    "AzureChinaCloud": "cloudapp.chinacloudapi.cn",
    "AzureGermanCloud": "cloudapp.azure.de",
}


def inline_operations(members: Mapping[str, str]) -> Shaped:
    """`members`: member of the properties → type word of the children it lists."""

    def compute(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
        result: dict[str, Any] = {"resourceGuid": guid(change.id)}
        for member, kind in members.items():
            listed = given.get(member)
            if listed is None and change.method == "PUT" and member != "virtualNetworkPeerings":
                listed = []  # children that a PUT leaves out are gone, as on Azure
            result[member] = [_entry(change.id, kind, entry) for entry in items(listed)]
        return result

    async def children(change: Change, properties: Mapping[str, Any]) -> None:
        for member, kind in members.items():
            wanted = {str(entry["name"]).lower() for entry in properties[member]}
            for row in await RESOURCES.list(change.transaction, prefix=f"{change.id.key}/{kind.lower()}/"):
                if row.key.rpartition("/")[2] not in wanted and row.value.type.lower().endswith(f"/{kind.lower()}"):
                    await RESOURCES.delete(change.transaction, row.key)
            for entry in properties[member]:
                await put_child(change, kind, entry["name"], entry["properties"])

    return Shaped(compute=compute, children=children)


def child_operations(member: str) -> Shaped:
    async def children(change: Change, properties: Mapping[str, Any]) -> None:
        await _listed(change, member, _entry(change.id.parent, change.id.segments[-2], {
            "name": change.id.name, "properties": properties,
        }))  # fmt: skip

    async def removed(change: Change) -> None:
        await _listed(change, member, None)

    return Shaped(children=children, removed=removed)


async def _listed(change: Change, member: str, entry: dict[str, Any] | None) -> None:
    """Puts the child into its parent's list, or takes it out."""
    row = await RESOURCES.get(change.transaction, change.id.parent.key)
    if row is None:
        return
    name = change.id.name.lower()
    rest = [one for one in items(row.value.properties.get(member)) if str(one.get("name", "")).lower() != name]
    properties = {**row.value.properties, member: [*rest, entry] if entry is not None else rest}
    await RESOURCES.put(change.transaction, row.key, msgspec.structs.replace(row.value, properties=properties))


def _entry(parent: ResourceId, kind: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    name = entry.get("name")
    if not isinstance(name, str) or not name or "/" in name:
        raise InvalidInput(
            f"A member of '{kind}' of '{parent.name}' has no valid name.", code="InvalidRequestFormat", target=kind
        )
    id = parent.child(kind, name)
    return {
        "name": name,
        "id": str(id),
        "type": id.type,
        "properties": {**mapping(entry.get("properties")), "provisioningState": "Succeeded"},
    }


def address_operations() -> Shaped:
    """A public address: from 203.0.113.0/24, which is nobody's (RFC 5737), stable by its id."""

    def compute(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
        method = str(given.get("publicIPAllocationMethod") or "Dynamic")
        result: dict[str, Any] = {
            "resourceGuid": guid(change.id),
            "publicIPAllocationMethod": method,
            "publicIPAddressVersion": given.get("publicIPAddressVersion") or "IPv4",
            "idleTimeoutInMinutes": given.get("idleTimeoutInMinutes") or 4,
            "ipAddress": f"203.0.113.{1 + _seed(change.id)[0] % 254}",
        }
        dns = mapping(given.get("dnsSettings"))
        if label := dns.get("domainNameLabel"):
            suffix = _SUFFIXES.get(change.cloud.name, "cloudapp.azure.com")
            result["dnsSettings"] = {**dns, "fqdn": f"{label}.{change.body.get('location', '')}.{suffix}"}
        return result

    return Shaped(compute=compute)


def interface_operations() -> Shaped:
    def compute(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
        seed = _seed(change.id)
        configurations = []
        for number, entry in enumerate(items(given.get("ipConfigurations"))):
            name = str(entry.get("name") or f"ipconfig{number + 1}")
            inner = dict(mapping(entry.get("properties")))
            inner.setdefault("privateIPAddress", f"10.0.0.{4 + (seed[0] + number) % 250}")
            inner.setdefault("privateIPAllocationMethod", "Dynamic")
            inner.setdefault("primary", number == 0)
            inner["provisioningState"] = "Succeeded"
            id = str(change.id.child("ipConfigurations", name))
            configurations.append({**entry, "name": name, "id": id, "properties": inner})
        machine = held(change, "virtualMachine", None)  # which the machine writes
        return {
            **({"virtualMachine": machine} if machine else {}),
            "resourceGuid": guid(change.id),
            "ipConfigurations": configurations,
            "macAddress": "00-0D-3A-" + "-".join(f"{byte:02X}" for byte in seed[1:4]),
            "enableIPForwarding": bool(given.get("enableIPForwarding", False)),
            "enableAcceleratedNetworking": bool(given.get("enableAcceleratedNetworking", False)),
            "dnsSettings": {"dnsServers": [], "appliedDnsServers": [], **mapping(given.get("dnsSettings"))},
        }

    return Shaped(compute=compute)


def guid(id: ResourceId) -> str:
    return str(uuid5(NAMESPACE_URL, id.key))


def _seed(id: ResourceId) -> bytes:
    return sha256(id.key.encode()).digest()
