"""What a deployment stands in: its scope, its cloud, who deploys, when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyfob.clouds.cloud import Cloud
from keyfob.clouds.metadata import metadata_endpoints
from keyfob.resource_id import ROOT, ResourceId

GROUP, SUBSCRIPTION, MANAGEMENT_GROUP, TENANT = "resourceGroup", "subscription", "managementGroup", "tenant"
_MANAGEMENT = "microsoft.management/managementgroups"


def kind_of(scope: ResourceId) -> str:
    """Of a deployment's scope."""
    if scope.resource_group is not None:
        return GROUP
    if scope.subscription_id is not None:
        return SUBSCRIPTION
    return MANAGEMENT_GROUP if scope.type.lower() == _MANAGEMENT else TENANT


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The values of `deployment()`, `resourceGroup()`, `subscription()`, … of one deployment."""

    scope: ResourceId
    deployment: Mapping[str, Any] = field(default_factory=dict)
    group: Mapping[str, Any] | None = None
    subscription: Mapping[str, Any] | None = None
    management_group: Mapping[str, Any] | None = None
    tenant: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    deployer: Mapping[str, Any] = field(default_factory=dict)
    now: float = 0.0
    guid: Callable[[], str] = lambda: "00000000-0000-0000-0000-000000000000"
    providers: Callable[[str, str | None], Any] = lambda namespace, kind: None

    @property
    def kind(self) -> str:
        return kind_of(self.scope)


NOWHERE = Facts(scope=ROOT)


def environment_of(cloud: Cloud, clouds: Mapping[str, Cloud]) -> dict[str, Any]:
    """What `environment()` gives, in the casing of Resource Manager's own documentation."""
    body = metadata_endpoints(cloud, clouds, "2019-05-01")
    one = next((row for row in body if row["name"] == cloud.name), {}) if isinstance(body, list) else dict(body or {})
    suffixes = dict(one.get("suffixes", {}))
    renamed = {
        "azureDataLakeAnalyticsCatalogAndJob": "azureDatalakeAnalyticsCatalogAndJob",
        "azureDataLakeStoreFileSystem": "azureDatalakeStoreFileSystem",
        "keyVaultDns": "keyvaultDns",
    }
    shown = {**one, "resourceManager": f"{cloud.resource_manager}/"}
    shown["suffixes"] = {
        renamed.get(name, name): f".{value}" if name in ("keyVaultDns", "sqlServerHostname") else value
        for name, value in suffixes.items()
        if name != "azureFrontDoorEndpointSuffix"
    }
    return shown
