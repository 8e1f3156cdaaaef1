"""What clients look up before they make a machine: images, sizes, SKUs. A short honest table, not Azure's market.

`GET …/locations/{l}/publishers/{p}/artifacttypes/vmimage/offers/{o}/skus/{s}/versions[/{v}]`, each list on the way
there, `vmSizes`, `usages`, `skus`. Images are those that azure-cli's aliases name (`az vm image list`), today's and
those of 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from keyfob.arm.shapes import subscription_scope
from keyfob.declare import Action, Call, Route
from keyfob.errors import InvalidInput, NotFound
from keyfob.hosts.virtual_machines.model import API_VERSIONS
from keyfob.wire.http import Reply

_HERE = "/subscriptions/{subscriptionId}/providers/Microsoft.Compute"
_IMAGES = _HERE + "/locations/{location}/publishers"

IMAGES: tuple[tuple[str, str, str, str, str], ...] = (
    ("Canonical", "ubuntu-24_04-lts", "server", "24.04.202411030", "V2"),
    ("Canonical", "ubuntu-24_04-lts", "server-gen1", "24.04.202411030", "V1"),
    ("Canonical", "ubuntu-24_04-lts", "ubuntu-pro", "24.04.202411030", "V2"),
    ("Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts", "22.04.202410020", "V1"),
    ("Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2", "22.04.202410020", "V2"),
    ("Canonical", "0001-com-ubuntu-server-focal", "20_04-lts-gen2", "20.04.202410030", "V2"),
    ("Canonical", "UbuntuServer", "18.04-LTS", "18.04.202306070", "V1"),
    ("Canonical", "UbuntuServer", "16.04-LTS", "16.04.202109280", "V1"),
    ("Debian", "debian-12", "12", "0.20240901.1857", "V1"),
    ("Debian", "debian-12", "12-gen2", "0.20240901.1857", "V2"),
    ("Debian", "debian-11", "11-backports-gen2", "0.20240813.1838", "V2"),
    ("credativ", "Debian", "8", "8.0.201901221", "V1"),
    ("kinvolk", "flatcar-container-linux-free", "stable-gen2", "3975.2.2", "V2"),
    ("OpenLogic", "CentOS", "7.5", "7.5.201808150", "V1"),
    ("OpenLogic", "CentOS", "8_5-gen2", "8.5.2022012101", "V2"),
    ("SUSE", "openSUSE-leap-15-4", "gen2", "2023.10.09", "V2"),
    ("SUSE", "sles-15-sp5", "gen2", "2024.08.06", "V2"),
    ("RedHat", "rhel-raw", "8-lvm-gen2", "8.9.2023112911", "V2"),
    ("RedHat", "RHEL", "7-RAW", "7.7.2019090316", "V1"),
    ("MicrosoftWindowsServer", "WindowsServer", "2022-Datacenter", "20348.2762.241006", "V1"),
    ("MicrosoftWindowsServer", "WindowsServer", "2022-datacenter-g2", "20348.2762.241006", "V2"),
    ("MicrosoftWindowsServer", "WindowsServer", "2022-datacenter-azure-edition", "20348.2762.241006", "V2"),
    ("MicrosoftWindowsServer", "WindowsServer", "2022-datacenter-azure-edition-core", "20348.2762.241006", "V2"),
    ("MicrosoftWindowsServer", "WindowsServer", "2019-Datacenter", "17763.6414.241006", "V1"),
    ("MicrosoftWindowsServer", "WindowsServer", "2016-Datacenter", "14393.7428.241006", "V1"),
    ("MicrosoftWindowsServer", "WindowsServer", "2012-R2-Datacenter", "9600.22175.241006", "V1"),
    ("MicrosoftWindowsServer", "WindowsServer", "2012-Datacenter", "9200.25031.240905", "V1"),
)
"""Publisher, offer, SKU, newest version, generation."""
SIZES: tuple[tuple[str, str, int, float, int], ...] = (
    ("Standard_B1s", "standardBSFamily", 1, 1, 2),
    ("Standard_B1ms", "standardBSFamily", 1, 2, 2),
    ("Standard_B2s", "standardBSFamily", 2, 4, 4),
    ("Standard_B2ms", "standardBSFamily", 2, 8, 4),
    ("Standard_A1_v2", "standardAv2Family", 1, 2, 2),
    ("Standard_DS1_v2", "standardDSv2Family", 1, 3.5, 4),
    ("Standard_DS2_v2", "standardDSv2Family", 2, 7, 8),
    ("Standard_D2s_v3", "standardDSv3Family", 2, 8, 4),
    ("Standard_D4s_v3", "standardDSv3Family", 4, 16, 8),
    ("Standard_D2s_v5", "standardDSv5Family", 2, 8, 4),
    ("Standard_D2ds_v5", "standardDDSv5Family", 2, 8, 4),
    ("Standard_D4s_v5", "standardDSv5Family", 4, 16, 8),
    ("Standard_D8s_v5", "standardDSv5Family", 8, 32, 16),
    ("Standard_E2s_v5", "standardESv5Family", 2, 16, 4),
    ("Standard_F2s_v2", "standardFSv2Family", 2, 4, 4),
)
"""Name, family, processors, memory in GB, data disks at most."""


def routes() -> tuple[Route, ...]:
    def row(path: str, action: str, operation: Any) -> Route:
        return Route("GET", path, Action(f"Microsoft.Compute/{action}"), operation, subscription_scope, API_VERSIONS)

    offers = _IMAGES + "/{publisher}/artifacttypes/vmimage/offers"
    skus = offers + "/{offer}/skus"
    versions = skus + "/{sku}/versions"
    return (
        row(_IMAGES, "locations/publishers/read", _listing(0)),
        row(offers, "locations/publishers/artifacttypes/offers/read", _listing(1)),
        row(skus, "locations/publishers/artifacttypes/offers/skus/read", _listing(2)),
        row(versions, "locations/publishers/artifacttypes/offers/skus/versions/read", _listing(3)),
        row(versions + "/{version}", "locations/publishers/artifacttypes/offers/skus/versions/read", _image),
        row(_HERE + "/locations/{location}/vmSizes", "locations/vmSizes/read", _sizes),
        row(_HERE + "/locations/{location}/usages", "locations/usages/read", _usages),
        _any_version(_HERE + "/skus", "skus/read", _skus),
    )


def _any_version(path: str, action: str, operation: Any) -> Route:
    """The list of SKUs has api-versions of its own (2017-09-01, 2019-04-01, 2021-07-01)."""
    return Route("GET", path, Action(f"Microsoft.Compute/{action}"), operation, subscription_scope)


_LEVELS = ("publisher", "offer", "sku", "version")


def _matching(call: Call) -> Iterable[tuple[str, str, str, str, str]]:
    wanted = [call.parameters.get(level, "").lower() for level in _LEVELS[:3]]
    for image in IMAGES:
        if all(not one or one == part.lower() for one, part in zip(wanted, image, strict=False)):
            yield image


def _location(call: Call) -> str:
    location = call.parameters["location"].replace(" ", "").lower()
    if location not in call.cloud.locations:
        raise InvalidInput(
            f"The provided location '{call.parameters['location'][:60]}' is not available for resource type "
            "'locations/publishers'.",
            code="NoRegisteredProviderFound",
        )
    return location


def _missing(call: Call) -> NotFound:
    said = ", ".join(f"{level} '{call.parameters[level][:80]}'" for level in _LEVELS if level in call.parameters)
    return NotFound(f"Artifact: VMImage was not found: {said}.", code="NotFound")


def _listing(level: int) -> Callable[[Call], Any]:
    async def show(call: Call) -> Reply:
        location = _location(call)
        names = list(dict.fromkeys(image[level] for image in _matching(call)))
        if not names and level:
            raise _missing(call)
        size = call.request.query.get("$top")
        if size and size.isdigit():
            names = names[: int(size)]
        base = call.request.path.rstrip("/")
        return Reply.json([{"location": location, "name": name, "id": f"{base}/{name}"} for name in names])

    return show


async def _image(call: Call) -> Reply:
    location, wanted = _location(call), call.parameters["version"].lower()
    found = next((image for image in _matching(call) if wanted in (image[3].lower(), "latest")), None)
    if found is None:
        raise _missing(call)
    system = "Windows" if found[0].startswith("MicrosoftWindows") else "Linux"
    shown = {
        "location": location,
        "name": found[3],
        "id": call.request.path.rstrip("/").rpartition("/")[0] + f"/{found[3]}",
        "properties": {
            "osDiskImage": {"operatingSystem": system, "sizeInGb": 31, "sizeInBytes": 32213303808},
            "dataDiskImages": [],
            "automaticOSUpgradeProperties": {"automaticOSUpgradeSupported": True},
            "hyperVGeneration": found[4],
            "architecture": "x64",
            "imageDeprecationStatus": {"imageState": "Active"},
            "features": [],
            "disallowed": {"vmDiskType": "None"},
        },
    }
    return Reply.json(shown)


def size_rows() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "numberOfCores": cores,
            "osDiskSizeInMB": 1047552,
            "resourceDiskSizeInMB": 4096 * cores,
            "memoryInMB": int(memory * 1024),
            "maxDataDiskCount": disks,
        }
        for name, _, cores, memory, disks in SIZES
    ]


async def _sizes(call: Call) -> Reply:
    _location(call)
    return Reply.json({"value": size_rows()})


async def _usages(call: Call) -> Reply:
    """Nothing is counted: every quota is far away."""
    _location(call)

    def row(name: str, text: str) -> Mapping[str, Any]:
        said = {"value": name, "localizedValue": text}
        return {"limit": 100000, "unit": "Count", "currentValue": 0, "name": said}

    families = dict.fromkeys(size[1] for size in SIZES)
    rows = [row("cores", "Total Regional vCPUs"), row("virtualMachines", "Virtual Machines")]
    return Reply.json({"value": [*rows, *(row(family, family) for family in families)]})


async def _skus(call: Call) -> Reply:
    """`$filter=location eq 'westeurope'`."""
    asked = (call.request.query.get("$filter") or "").partition("'")[2].partition("'")[0].replace(" ", "").lower()
    places = [place for place in call.cloud.locations if not asked or place == asked]
    rows = []
    for name, family, cores, memory, disks in SIZES:
        capabilities = {
            "vCPUs": cores,
            "vCPUsAvailable": cores,
            "MemoryGB": memory,
            "MaxDataDiskCount": disks,
            "OSVhdSizeMB": 1047552,
            "HyperVGenerations": "V1,V2",
            "CpuArchitectureType": "x64",
            "PremiumIO": name != "Standard_A1_v2",
            "AcceleratedNetworkingEnabled": cores > 1,
            "EncryptionAtHostSupported": True,
            "LowPriorityCapable": True,
        }
        for place in places:
            rows.append(
                {
                    "resourceType": "virtualMachines",
                    "name": name,
                    "tier": "Standard",
                    "size": name.removeprefix("Standard_"),
                    "family": family,
                    "locations": [place],
                    "locationInfo": [{"location": place, "zones": ["1", "2", "3"], "zoneDetails": []}],
                    "capabilities": [{"name": one, "value": str(value)} for one, value in capabilities.items()],
                    "restrictions": [],
                }
            )
    return Reply.json({"value": rows})
