"""Data Lake Store (generation 1) accounts through Resource Manager."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from keyfob.arm.shapes import Shaped, answering, check_name_route, held, posting, unique
from keyfob.clock import iso
from keyfob.declare import Change, IdentitySupport, Provider, ResourceType
from keyfob.errors import Conflict, InvalidInput
from keyfob.store.port import Store

__all__ = ["data_lake"]

TYPE = "Microsoft.DataLakeStore/accounts"
API_VERSIONS = ("2015-10-01-preview", "2016-11-01")
_NAME = r"[a-z0-9]{3,24}"


def data_lake(*, store: Store) -> Provider:
    accounts = ResourceType(
        name=TYPE,
        api_versions=API_VERSIONS,
        operations=Shaped(compute=_accept, claim=unique((TYPE,), _taken)),
        identity=IdentitySupport(system=True),
        long_running=frozenset({"PUT", "PATCH", "DELETE"}),
        actions={"enableKeyVault": posting(TYPE, "enableKeyVault", answering(200))},
        name_pattern=_NAME,
        note="The control plane. Encryption, trusted providers and firewall rules are kept, not enforced.",
    )
    below = [
        ResourceType(
            name=f"{TYPE}/{kind}",
            api_versions=API_VERSIONS,
            operations=Shaped(required=required),
            tracked=False,
            provisioning_state=False,
            created=200,
        )
        for kind, required in (
            ("firewallRules", ("startIpAddress", "endIpAddress")),
            ("virtualNetworkRules", ("subnetId",)),
            ("trustedIdProviders", ("idProvider",)),
        )
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
        "firewallRules": [],
        "virtualNetworkRules": [],
        "trustedIdProviders": [],
    }


def _taken(name: str) -> Conflict:
    return Conflict(f"The Data Lake Store account name '{name}' is already in use.", code="AccountAlreadyExists")
