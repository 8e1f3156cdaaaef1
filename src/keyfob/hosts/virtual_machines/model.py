"""A virtual machine as it is stored and shown.

Beside what the request gave, three members are ours: `vmId` and `timeCreated`, shown, and the power state, not shown
but in the instance view. Passwords and custom data are write-only and are not even stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

API_VERSIONS = (
    "2015-06-15",
    "2016-03-30",
    "2016-04-30-preview",
    "2017-03-30",
    "2017-12-01",
    "2018-04-01",
    "2018-06-01",
    "2018-10-01",
    "2019-03-01",
    "2019-07-01",
    "2019-12-01",
    "2020-06-01",
    "2020-12-01",
    "2021-03-01",
    "2021-04-01",
    "2021-07-01",
    "2021-11-01",
    "2022-03-01",
    "2022-08-01",
    "2022-11-01",
    "2023-03-01",
    "2023-07-01",
    "2023-09-01",
    "2024-03-01",
    "2024-07-01",
    "2024-11-01",
    "2025-04-01",
    "2025-11-01",  # azure-cli 2.91: deallocate
    "2026-04-01",
)
ARRAY_VERSIONS = frozenset({"2016-04-30-preview", "2017-03-30", "2017-12-01"})
"""Those whose user-assigned identities are the array `identityIds`; the map came with 2018-06-01."""

POWER = "keyfob.power"
"""Where the power state is kept among the stored properties."""
RUNNING, STOPPED, DEALLOCATED = "running", "stopped", "deallocated"
_SAID = {RUNNING: "VM running", STOPPED: "VM stopped", DEALLOCATED: "VM deallocated"}

_OURS = frozenset({POWER, "vmId", "timeCreated", "instanceView", "provisioningState"})
_WRITE_ONLY = {"osProfile": ("adminPassword", "customData")}


def power_of(machine: Any) -> str:
    return str(machine.properties.get(POWER, RUNNING))


def stored(given: Mapping[str, Any], *, vm_id: str, created: str, power: str) -> dict[str, Any]:
    """What is kept of a body's properties. What is write-only is dropped here, so that it never reaches a disk."""
    kept = {name: value for name, value in given.items() if name not in _OURS}
    for part, names in _WRITE_ONLY.items():
        if isinstance(kept.get(part), Mapping):
            kept[part] = {name: value for name, value in kept[part].items() if name not in names}
    profile = kept.get("osProfile")
    if isinstance(profile, Mapping) and isinstance(windows := profile.get("windowsConfiguration"), Mapping):
        # unattended-setup content carries passwords
        quiet = {name: value for name, value in windows.items() if name != "additionalUnattendContent"}
        kept["osProfile"] = {**profile, "windowsConfiguration": quiet}
    return {"vmId": vm_id, **kept, "timeCreated": created, POWER: power}


def shown(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a reply; `userData` comes only to those who ask (`$expand=userData`)."""
    return {name: value for name, value in properties.items() if name not in {POWER, "userData"}}


def instance_view(machine: Any, when: str) -> dict[str, Any]:
    """`when` is the time of the last change, in Resource Manager's form."""
    power = power_of(machine)
    view: dict[str, Any] = {
        "statuses": [
            {
                "code": "ProvisioningState/succeeded",
                "level": "Info",
                "displayStatus": "Provisioning succeeded",
                "time": when,
            },
            {"code": f"PowerState/{power}", "level": "Info", "displayStatus": _SAID[power]},
        ],
    }
    if power == RUNNING:
        profile = machine.properties.get("osProfile")
        name = profile.get("computerName") if isinstance(profile, Mapping) else None
        view = {"computerName": str(name or machine.name), "hyperVGeneration": "V1", **view}
    return view
