"""A scale set and its instances as they are stored and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.identities.model import StoredIdentity

TYPE = "Microsoft.Compute/virtualMachineScaleSets"
INSTANCE = f"{TYPE}/virtualMachines"
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
    "2026-04-01",
)
ARRAY_VERSIONS = frozenset({"2016-04-30-preview", "2017-03-30", "2017-12-01"})
"""Those whose user-assigned identities are the array `identityIds`."""
MODES = ("Automatic", "Manual", "Rolling")
"""Of upgrades."""
MOST = 1000
"""Instances that Azure lets a set have."""

POWER = "keyfob.power"
NEXT = "keyfob.next"
"""The instance id that comes next: ids are not used twice."""
IDENTITY = "keyfob.identity"
"""Of an instance that the set's latest model was not applied to: the identities of the model that was. Absent: the
set's own, as they are."""
LATEST = "latestModelApplied"
RUNNING, STOPPED, DEALLOCATED = "running", "stopped", "deallocated"
SAID = {RUNNING: "VM running", STOPPED: "VM stopped", DEALLOCATED: "VM deallocated"}
POWERS = {
    "start": RUNNING,
    "restart": RUNNING,
    "redeploy": RUNNING,
    "reimage": RUNNING,
    "reimageall": RUNNING,
    "powerOff": STOPPED,
    "deallocate": DEALLOCATED,
}
WRITE_ONLY = (
    "virtualMachineProfile.osProfile.adminPassword",
    "virtualMachineProfile.osProfile.customData",
    "virtualMachineProfile.osProfile.windowsConfiguration.additionalUnattendContent",
    "virtualMachineProfile.userData",
    "virtualMachineProfile.extensionProfile.extensions.*.properties.protectedSettings",
)


def power_of(machine: Any) -> str:
    return str(machine.properties.get(POWER, RUNNING))


def instance_view(machine: Any, when: str) -> dict[str, Any]:
    power = power_of(machine)
    return {
        "platformUpdateDomain": 0,
        "platformFaultDomain": 0,
        "statuses": [
            {
                "code": "ProvisioningState/succeeded",
                "level": "Info",
                "displayStatus": "Provisioning succeeded",
                "time": when,
            },
            {"code": f"PowerState/{power}", "level": "Info", "displayStatus": SAID[power]},
        ],
    }


def is_latest(machine: Any) -> bool:
    return machine.properties.get(LATEST) is not False


def outdated(machine: Any, identity: StoredIdentity | None) -> dict[str, Any]:
    """The properties of an instance whose set has changed: it stays what it was, with these identities."""
    return {**machine.properties, LATEST: False, IDENTITY: msgspec.to_builtins(identity) if identity else {}}


def updated(machine: Any, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of an instance once the set's model, which is in `properties`, is applied to it."""
    kept = {name: value for name, value in machine.properties.items() if name != IDENTITY}
    own = kept.get("osProfile")
    name = own.get("computerName") if isinstance(own, Mapping) else None
    applied = applied_model(properties)
    applied["osProfile"] = {**applied["osProfile"], "computerName": name}
    return {**kept, **applied, LATEST: True}


def applied_model(properties: Mapping[str, Any]) -> dict[str, Any]:
    """What instances have of their set's model."""
    profile = profile_of(properties)
    system = {name: value for name, value in _part(profile, "osProfile").items() if name != "computerNamePrefix"}
    return {
        "storageProfile": dict(_part(profile, "storageProfile")),
        "osProfile": system,
        "networkProfileConfiguration": dict(_part(profile, "networkProfile")),
    }


def _part(profile: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = profile.get(name)
    return found if isinstance(found, Mapping) else {}


def profile_of(properties: Mapping[str, Any]) -> Mapping[str, Any]:
    found = properties.get("virtualMachineProfile")
    return found if isinstance(found, Mapping) else {}
