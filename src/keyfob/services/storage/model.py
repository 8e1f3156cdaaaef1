"""A storage account as it is stored and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfob.arm.shapes import mapping
from keyfob.clouds.cloud import Cloud

TYPE = "Microsoft.Storage/storageAccounts"
NAME = r"[a-z0-9]{3,24}"
API_VERSIONS = (
    "2015-05-01-preview",
    "2015-06-15",
    "2016-01-01",
    "2016-05-01",
    "2016-12-01",
    "2017-06-01",
    "2017-10-01",
    "2018-02-01",
    "2018-03-01-preview",
    "2018-07-01",
    "2018-11-01",
    "2019-04-01",
    "2019-06-01",
    "2020-08-01-preview",
    "2021-01-01",
    "2021-02-01",
    "2021-04-01",
    "2021-05-01",
    "2021-06-01",
    "2021-08-01",
    "2021-09-01",
    "2022-05-01",
    "2022-09-01",
    "2023-01-01",
    "2023-04-01",
    "2023-05-01",
    "2024-01-01",
    "2025-01-01",
    "2025-06-01",
    "2025-08-01",
)
KINDS = ("Storage", "StorageV2", "BlobStorage", "FileStorage", "BlockBlobStorage")
SKUS = (
    "Standard_LRS",
    "Standard_GRS",
    "Standard_RAGRS",
    "Standard_ZRS",
    "Premium_LRS",
    "Premium_ZRS",
    "Standard_GZRS",
    "Standard_RAGZRS",
)
_PARTS = {
    "Storage": ("blob", "queue", "table", "file"),
    "StorageV2": ("dfs", "web", "blob", "queue", "table", "file"),
    "BlobStorage": ("dfs", "blob", "table"),
    "FileStorage": ("file",),
    "BlockBlobStorage": ("dfs", "web", "blob"),
}
_REPLICATED = {"Standard_GRS", "Standard_RAGRS", "Standard_GZRS", "Standard_RAGZRS"}
_READABLE = {"Standard_RAGRS", "Standard_RAGZRS"}
_WEB_ZONE = "z6"
"""Real accounts have one of many zones in the address of their static site."""


def endpoints(name: str, kind: str, cloud: Cloud, *, secondary: bool = False) -> dict[str, str]:
    suffix = cloud.suffixes["storage"]
    name += "-secondary" if secondary else ""
    found = {}
    for part in _PARTS[kind]:
        if secondary and part == "file":
            continue
        host = f"{name}.{_WEB_ZONE}.web.{suffix}" if part == "web" else f"{name}.{part}.{suffix}"
        found[part] = f"https://{host}/"
    return found


def computed(name: str, kind: str, sku: str, location: str, cloud: Cloud, created: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "creationTime": created,
        "primaryEndpoints": endpoints(name, kind, cloud),
        "primaryLocation": location,
        "statusOfPrimary": "available",
        "keyCreationTime": {"key1": created, "key2": created},
    }
    if sku in _REPLICATED:
        result |= {"secondaryLocation": _pair(location, cloud), "statusOfSecondary": "available"}
    if sku in _READABLE:
        result["secondaryEndpoints"] = endpoints(name, kind, cloud, secondary=True)
    return result


def _pair(location: str, cloud: Cloud) -> str:
    """Another region of the cloud: which one Azure pairs it with is nobody's business here."""
    return next((other for other in cloud.locations if other != location), location)


def defaults(given: Mapping[str, Any], kind: str, created: str) -> dict[str, Any]:
    """What an account has that the body does not say."""
    rule = {"bypass": "AzureServices", "virtualNetworkRules": [], "ipRules": [], "defaultAction": "Allow"}
    enabled = {"keyType": "Account", "enabled": True, "lastEnabledTime": created}
    result: dict[str, Any] = {
        "privateEndpointConnections": [],
        "minimumTlsVersion": "TLS1_0",
        "allowBlobPublicAccess": False,
        "networkAcls": rule,
        "supportsHttpsTrafficOnly": True,
        "encryption": {"services": {"file": enabled, "blob": enabled}, "keySource": "Microsoft.Storage"},
    }
    if kind in ("StorageV2", "BlobStorage"):
        result["accessTier"] = "Hot"
    result |= {name: value for name, value in given.items() if value is not None}
    rules = mapping(result["networkAcls"])  # azure-cli leaves out what it has no option for
    result["networkAcls"] = rule | {name: value for name, value in rules.items() if value is not None}
    encryption = result["encryption"]
    if isinstance(encryption, Mapping):
        services = mapping(encryption.get("services"))
        result["encryption"] = {
            "keySource": "Microsoft.Storage",
            **encryption,
            "services": {
                name: {"keyType": "Account", "enabled": True, "lastEnabledTime": created, **value}
                for name, value in services.items()
                if isinstance(value, Mapping)
            }
            or {"file": enabled, "blob": enabled},
        }
    return result


def shown(resource: Any, properties: dict[str, Any], expand: str) -> dict[str, Any]:
    return properties


def finished(resource: Any, document: dict[str, Any], api_version: str) -> dict[str, Any]:
    name = str((resource.sku or {}).get("name", "Standard_LRS"))
    canonical = next((known for known in SKUS if known.lower() == name.lower()), name)
    document["sku"] = {"name": canonical, "tier": canonical.partition("_")[0]}
    document["kind"] = resource.kind or "Storage"
    return document


def in_use(name: str) -> str:
    return f"The storage account named {name} is already taken."
