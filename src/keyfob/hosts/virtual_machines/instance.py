"""What a virtual machine reads about itself: the `compute` and `network` documents, and walking them.

Plain functions of the stored resource. Every leaf is a string and what is not known is "" (azure-docs,
instance-metadata-service). Addresses are made from the vmId, so that they are stable and need no network resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from keyfob.errors import InvalidInput, NotFound

SINCE = {
    "azEnvironment": "2018-10-01",
    "additionalCapabilities": "2021-12-13",
    "customData": "2019-02-01",
    "evictionPolicy": "2020-12-01",
    "extendedLocation": "2021-03-01",
    "isHostCompatibilityLayerVm": "2020-06-01",
    "licenseType": "2020-09-01",
    "location": "2017-04-02",
    "name": "2017-04-02",
    "offer": "2017-04-02",
    "osProfile": "2020-07-15",
    "osType": "2017-04-02",
    "placementGroupId": "2017-08-01",
    "plan": "2018-04-02",
    "platformFaultDomain": "2017-04-02",
    "platformUpdateDomain": "2017-04-02",
    "priority": "2020-12-01",
    "provider": "2018-10-01",
    "publicKeys": "2018-04-02",
    "publisher": "2017-04-02",
    "resourceGroupName": "2017-08-01",
    "resourceId": "2019-03-11",
    "securityProfile": "2020-06-01",
    "sku": "2017-04-02",
    "storageProfile": "2019-06-01",
    "subscriptionId": "2017-08-01",
    "tags": "2017-08-01",
    "tagsList": "2019-06-04",
    "userData": "2021-01-01",
    "version": "2017-04-02",
    "virtualMachineScaleSet": "2021-03-01",
    "vmId": "2017-04-02",
    "vmScaleSetName": "2017-12-01",
    "vmSize": "2017-04-02",
    "zone": "2017-12-01",
}
"""Member of `compute` → the api-version that brought it (the page's own table)."""


def document(resource: Any, *, azure_environment: str, version: str) -> dict[str, Any]:
    """`{"compute": …, "network": …}` of a stored resource as `version` shows it."""
    full = compute(resource, azure_environment=azure_environment)
    return {
        "compute": {name: value for name, value in full.items() if SINCE[name] <= version},
        "network": network(resource),
    }


def compute(resource: Any, *, azure_environment: str) -> dict[str, Any]:
    properties: Mapping[str, Any] = resource.properties
    image = _part(properties, "storageProfile", "imageReference")
    disk = _part(properties, "storageProfile", "osDisk")
    profile = _part(properties, "osProfile")
    linux = _part(profile, "linuxConfiguration")
    security = _part(properties, "securityProfile")
    uefi = _part(security, "uefiSettings")
    tags = resource.tags or {}
    segments = resource.id.split("/")
    scale_set = _scale_set(resource)
    return {
        "azEnvironment": azure_environment,
        "additionalCapabilities": {
            "hibernationEnabled": _text(_part(properties, "additionalCapabilities").get("hibernationEnabled", False))
        },
        "customData": "",
        "evictionPolicy": _text(properties.get("evictionPolicy")),
        "extendedLocation": {"name": "", "type": ""},
        "isHostCompatibilityLayerVm": "false",
        "licenseType": _text(properties.get("licenseType")),
        "location": resource.location or "",
        "name": resource.name if not _is_instance(resource) else f"{scale_set.rpartition('/')[2]}_{resource.name}",
        "offer": _text(image.get("offer")),
        "osProfile": {
            "adminUsername": _text(profile.get("adminUsername")),
            "computerName": _text(profile.get("computerName") or resource.name),
            "disablePasswordAuthentication": _text(linux.get("disablePasswordAuthentication")),
        },
        "osType": _text(disk.get("osType") or ("Windows" if "windowsConfiguration" in profile else "Linux")),
        "placementGroupId": "",
        "plan": {key: _text(_mapping(resource.plan).get(key)) for key in ("name", "product", "publisher")},
        "platformFaultDomain": "0",
        "platformUpdateDomain": "0",
        "priority": _text(properties.get("priority")),
        "provider": "Microsoft.Compute",
        "publicKeys": [
            {"keyData": _text(key.get("keyData")), "path": _text(key.get("path"))}
            for key in _list(_part(linux, "ssh").get("publicKeys"))
        ],
        "publisher": _text(image.get("publisher")),
        "resourceGroupName": segments[4] if len(segments) > 4 else "",
        "resourceId": resource.id,
        "securityProfile": {
            "encryptionAtHost": _text(security.get("encryptionAtHost", False)),
            "secureBootEnabled": _text(uefi.get("secureBootEnabled", False)),
            "securityType": _text(security.get("securityType")),
            "virtualTpmEnabled": _text(uefi.get("vTpmEnabled", False)),
        },
        "sku": _text(image.get("sku")),
        "storageProfile": _storage(_part(properties, "storageProfile")),
        "subscriptionId": segments[2] if len(segments) > 2 else "",
        "tags": ";".join(f"{name}:{value}" for name, value in sorted(tags.items())),
        "tagsList": [{"name": name, "value": str(value)} for name, value in sorted(tags.items())],
        "userData": _text(properties.get("userData")),
        "version": _text(image.get("version")),
        "virtualMachineScaleSet": {"id": scale_set},
        "vmId": _text(properties.get("vmId")),
        "vmScaleSetName": scale_set.rpartition("/")[2],
        "vmSize": _text(_part(properties, "hardwareProfile").get("vmSize") or _mapping(resource.sku).get("name")),
        "zone": _text(next(iter(resource.zones or ()), "")),
    }


def _is_instance(resource: Any) -> bool:
    """Whether it is one of a scale set's: there the set stands in the id, and the name is a number."""
    return str(resource.type).lower() == "microsoft.compute/virtualmachinescalesets/virtualmachines"


def _scale_set(resource: Any) -> str:
    """The id of the set that a machine belongs to, or ""."""
    if _is_instance(resource):
        return str(resource.id).rsplit("/", 2)[0]
    return _text(_part(resource.properties, "virtualMachineScaleSet").get("id"))


def _storage(profile: Mapping[str, Any]) -> dict[str, Any]:
    image, disk = _part(profile, "imageReference"), _part(profile, "osDisk")
    return {
        "dataDisks": [
            _disk(data) | {"lun": _text(data.get("lun"))} for data in _list(profile.get("dataDisks")) if data
        ],
        "imageReference": {key: _text(image.get(key)) for key in ("id", "offer", "publisher", "sku", "version")},
        "osDisk": _disk(disk) | {"osType": _text(disk.get("osType"))},
        "resourceDisk": {"size": "0"},
    }


def _disk(disk: Mapping[str, Any]) -> dict[str, Any]:
    managed = _part(disk, "managedDisk")
    return {
        "caching": _text(disk.get("caching")),
        "createOption": _text(disk.get("createOption")),
        "diskSizeGB": _text(disk.get("diskSizeGB")),
        "image": {"uri": _text(_part(disk, "image").get("uri"))},
        "managedDisk": {"id": _text(managed.get("id")), "storageAccountType": _text(managed.get("storageAccountType"))},
        "name": _text(disk.get("name")),
        "vhd": {"uri": _text(_part(disk, "vhd").get("uri"))},
        "writeAcceleratorEnabled": _text(disk.get("writeAcceleratorEnabled", False)),
    }


def network(resource: Any) -> dict[str, Any]:
    """One interface in 10.0.0.0/24; address and MAC come from the vmId."""
    seed = sha256(str(resource.properties.get("vmId", resource.id)).encode()).digest()
    return {
        "interface": [
            {
                "ipv4": {
                    "ipAddress": [{"privateIpAddress": f"10.0.0.{4 + seed[0] % 250}", "publicIpAddress": ""}],
                    "subnet": [{"address": "10.0.0.0", "prefix": "24"}],
                },
                "ipv6": {"ipAddress": []},
                "macAddress": "000D3A" + seed[1:4].hex().upper(),  # the vendor's own prefix
            }
        ]
    }


def walk(tree: Any, path: Sequence[str]) -> Any:
    """The node at `path`, names without regard to case. Raises `NotFound`."""
    node = tree
    for part in path:
        if isinstance(node, Mapping):
            found = next((value for name, value in node.items() if name.lower() == part.lower()), None)
        elif isinstance(node, list) and part.isascii() and part.isdigit() and int(part) < len(node):
            found = node[int(part)]
        else:
            found = None
        if found is None:
            raise NotFound(f"Not found: {part}")
        node = found
    return node


def as_text(node: Any) -> str:
    """`format=text`: a leaf as it is; a container as its keys, containers among them with a slash behind."""
    if isinstance(node, str):
        return node
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    return "\n".join(f"{name}/" if isinstance(value, Mapping | list) else str(name) for name, value in items)


def as_json(node: Any) -> Any:
    """A container. Raises `InvalidInput` for a leaf, which needs `format=text`."""
    if isinstance(node, str):
        raise InvalidInput("Bad request. The requested node is a leaf: use the format=text query parameter.")
    return node


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _part(value: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        value = _mapping(value.get(name))
    return value


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None or isinstance(value, Mapping | list) else str(value)
