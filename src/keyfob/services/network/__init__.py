"""Networks as far as a machine's template needs them: `Microsoft.Network` types that compute something."""

from __future__ import annotations

from keyfob.declare import Provider, ResourceType
from keyfob.services.network.operations import (
    address_operations,
    child_operations,
    inline_operations,
    interface_operations,
)

__all__ = ["network"]

_VERSIONS = ("2024-07-01", "2024-05-01", "2022-01-01", "2018-08-01", "2015-06-15")
_NOTE = "No packet passes: ids, addresses and children are computed, the rest is kept."

INLINE = {
    "virtualNetworks": {"subnets": "subnets", "virtualNetworkPeerings": "virtualNetworkPeerings"},
    "networkSecurityGroups": {"securityRules": "securityRules"},
    "routeTables": {"routes": "routes"},
    "loadBalancers": {
        "frontendIPConfigurations": "frontendIPConfigurations",
        "backendAddressPools": "backendAddressPools",
        "inboundNatRules": "inboundNatRules",
        "loadBalancingRules": "loadBalancingRules",
        "probes": "probes",
    },
}
"""Type → member of its properties that lists children → their type's last word."""


def network() -> Provider:
    types = []
    for parent, members in INLINE.items():
        types.append(_type(parent, inline_operations(members)))
        for member, kind in members.items():
            types.append(_type(f"{parent}/{kind}", child_operations(member), tracked=False))
    types.append(_type("publicIPAddresses", address_operations()))
    types.append(_type("networkInterfaces", interface_operations()))
    return Provider(namespace="Microsoft.Network", types=tuple(types), registered=True)


def _type(name: str, operations: object, *, tracked: bool = True) -> ResourceType:
    return ResourceType(
        name=f"Microsoft.Network/{name}",
        api_versions=_VERSIONS,
        any_version=True,
        operations=operations,  # type: ignore[arg-type]
        tracked=tracked,
        name_pattern=r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,78}[A-Za-z0-9_])?",
        note=_NOTE,
        movable=True,
    )
