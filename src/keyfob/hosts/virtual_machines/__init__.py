"""Virtual machines: the resource type `Microsoft.Compute/virtualMachines`, and the metadata each of them reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfob.arm.shapes import Shaped, answering
from keyfob.clock import Ids
from keyfob.declare import (
    Action,
    Call,
    Change,
    IdentitySupport,
    PostAction,
    Provider,
    ResourceType,
    Route,
    Target,
)
from keyfob.errors import InvalidInput
from keyfob.hosts.virtual_machines import catalog
from keyfob.hosts.virtual_machines.attested import Signer, SigningCertificate
from keyfob.hosts.virtual_machines.metadata import InstanceMetadata
from keyfob.hosts.virtual_machines.model import (
    API_VERSIONS,
    ARRAY_VERSIONS,
    DEALLOCATED,
    RUNNING,
    STOPPED,
)
from keyfob.hosts.virtual_machines.operations import VirtualMachineOperations, switching, viewing
from keyfob.hosts.workloads import run_command
from keyfob.hosts.workloads.run_command import RunCommands
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply

__all__ = ["InstanceMetadata", "Signer", "SigningCertificate", "virtual_machines"]

TYPE = "Microsoft.Compute/virtualMachines"
_PATH = "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroup}/providers/" + TYPE + "/{name}"
_AFTER = {"start": RUNNING, "restart": RUNNING, "powerOff": STOPPED, "deallocate": DEALLOCATED}


def virtual_machines(*, store: Store, ids: Ids, commands: RunCommands | None = None) -> Provider:
    """The declaration of `Microsoft.Compute` as far as virtual machines go. Without `commands` no scripts are run."""
    actions = {
        name: PostAction(action=Action(f"{TYPE}/{name}/action"), operation=switching(power), long_running=True)
        for name, power in _AFTER.items()
    }
    for name in ("redeploy", "reapply", "generalize"):
        actions[name] = PostAction(
            action=Action(f"{TYPE}/{name}/action"), operation=answering(200), long_running=name != "generalize"
        )
    if commands is not None:
        actions["runCommand"] = commands.action(TYPE)
    machines = ResourceType(
        name=TYPE,
        api_versions=API_VERSIONS,
        operations=VirtualMachineOperations(ids),
        identity=IdentitySupport(system=True, user=True, array_versions=ARRAY_VERSIONS),
        long_running=frozenset({"PUT", "PATCH", "DELETE"}),
        actions=actions,
        name_pattern=r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?",
        note="Nothing is booted: a program that runs as the machine is its software. Disks and networks are names.",
        movable=True,
    )
    view = Route("GET", _PATH + "/instanceView", Action(f"{TYPE}/instanceView/read"), viewing(store), _machine)
    sizes = Route("GET", _PATH + "/vmSizes", Action(f"{TYPE}/vmSizes/read"), _machine_sizes, _machine, API_VERSIONS)
    extensions = ResourceType(
        name=f"{TYPE}/extensions",
        api_versions=API_VERSIONS,
        operations=Shaped(compute=_extension, write_only=("protectedSettings",)),
        note="Kept; nothing is installed. Protected settings are stored nowhere.",
    )
    sets = ResourceType(
        name="Microsoft.Compute/availabilitySets",
        api_versions=API_VERSIONS,
        operations=Shaped(compute=_availability_set),
        created=200,
        note="A name for machines to refer to.",
        movable=True,
    )
    return Provider(
        namespace="Microsoft.Compute",
        types=(machines, extensions, sets, *([commands.type(TYPE, API_VERSIONS)] if commands is not None else [])),
        routes=(view, sizes, *catalog.routes(), *run_command.routes(API_VERSIONS)),
        registered=True,
    )


def _extension(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"autoUpgradeMinorVersion": given.get("autoUpgradeMinorVersion", False)}


def _availability_set(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    sku = change.body.get("sku") or {}
    if sku and str(sku.get("name", "")).lower() not in ("aligned", "classic"):
        raise InvalidInput(
            "The sku's name of an availability set is 'Aligned' or 'Classic'.",
            code="InvalidParameter",
            target="sku.name",
        )
    return {
        "platformUpdateDomainCount": given.get("platformUpdateDomainCount") or 5,
        "platformFaultDomainCount": given.get("platformFaultDomainCount") or 3,
        "virtualMachines": given.get("virtualMachines") or [],
    }


async def _machine_sizes(call: Call) -> Reply:
    return Reply.json({"value": catalog.size_rows()})


def _machine(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    group = ResourceId.group(parameters["subscriptionId"], parameters["resourceGroup"])
    return group.provider(TYPE, parameters["name"])
