"""Scale sets: `Microsoft.Compute/virtualMachineScaleSets` and the instances in them."""

from __future__ import annotations

from keyfob.arm.shapes import Shaped, posting, reading
from keyfob.clock import Ids, iso
from keyfob.declare import IdentitySupport, PostAction, Provider, ResourceType, Route
from keyfob.hosts.scale_sets import operations
from keyfob.hosts.scale_sets.inherited import Inherited
from keyfob.hosts.scale_sets.model import (
    API_VERSIONS,
    ARRAY_VERSIONS,
    INSTANCE,
    POWERS,
    TYPE,
    WRITE_ONLY,
    instance_view,
)
from keyfob.hosts.workloads.run_command import RunCommands
from keyfob.store.port import Store

__all__ = ["Inherited", "scale_sets"]


def scale_sets(*, store: Store, ids: Ids, commands: RunCommands | None = None) -> Provider:
    """Without `commands` no scripts are run on instances."""
    work = operations.ScaleSets(ids)
    sets: dict[str, PostAction] = {
        name: posting(TYPE, name, operations.switching_all(power), long_running=True) for name, power in POWERS.items()
    }
    sets["delete"] = posting(TYPE, "delete", operations.delete_some, long_running=True)
    sets["manualupgrade"] = posting(TYPE, "manualUpgrade", operations.upgrade_some, long_running=True)
    machines: dict[str, PostAction] = {
        name: posting(INSTANCE, name, operations.switching(power), long_running=True) for name, power in POWERS.items()
    }
    if commands is not None:
        machines["runCommand"] = commands.action(INSTANCE)
    types = (
        ResourceType(
            name=TYPE,
            api_versions=API_VERSIONS,
            operations=Shaped(compute=work.accept, children=work.fill, write_only=WRITE_ONLY),
            identity=IdentitySupport(system=True, user=True, array_versions=ARRAY_VERSIONS),
            long_running=frozenset({"PUT", "PATCH", "DELETE"}),
            actions=sets,
            name_pattern=r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?",
            note="Nothing is booted. Instances have the set's identities, of the model that was applied to them.",
        ),
        ResourceType(
            name=INSTANCE,
            api_versions=API_VERSIONS,
            operations=operations.Instances(),
            tracked=False,
            location_kept=True,
            long_running=frozenset({"PUT", "DELETE"}),
            actions=machines,
            finish=operations.numbered,
            note="Made and taken away by the capacity of their set.",
        ),
        ResourceType(name=f"{TYPE}/extensions", api_versions=API_VERSIONS, operations=Shaped(), tracked=False),
        *([commands.type(INSTANCE, API_VERSIONS)] if commands is not None else []),
    )
    routes: tuple[Route, ...] = (
        reading(
            store,
            INSTANCE,
            "instanceView",
            lambda machine, call: instance_view(machine, iso(machine.changed)),
            API_VERSIONS,
            f"{INSTANCE}/instanceView/read",
        ),
        *operations.routes(store),
    )
    return Provider(namespace="Microsoft.Compute", types=types, routes=routes, registered=True)
