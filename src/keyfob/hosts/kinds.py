"""What kinds of host there are: which resource types each covers, what it speaks, and whether programs of it run.

Plain data and plain functions of resource ids: the folders of the kinds do not know each other, and this table knows
none of them. The command line reads it too, before a program starts, so it imports next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keyfob.resource_id import ResourceId


class Kind(NamedTuple):
    """A kind of host. The dialects are names in `dialects.DIALECTS`."""

    name: str
    """For people: "virtual machine"."""

    types: tuple[str, ...]
    """As Resource Manager spells them; they compare without case."""

    dialects: tuple[str, ...]
    """What it speaks, the first being its main one."""

    silent: frozenset[str] = frozenset()
    """Of `dialects`, those that no variable leads to: a program finds them by their well-known address."""

    metadata: bool = False
    """Whether `/metadata/instance` and its like are answered, not tokens alone."""

    state: tuple[str, str] = ("", "")
    """The stored property that says whether programs of it run, and what it says when they do."""


VIRTUAL_MACHINE = Kind(
    "virtual machine",
    ("Microsoft.Compute/virtualMachines",),
    ("imds", "vm-extension"),
    silent=frozenset({"vm-extension"}),
    metadata=True,
    state=("keyfob.power", "running"),
)
SCALE_SET_INSTANCE = Kind(
    "scale set instance",
    ("Microsoft.Compute/virtualMachineScaleSets/virtualMachines",),
    ("imds", "vm-extension"),
    silent=frozenset({"vm-extension"}),
    metadata=True,
    state=("keyfob.power", "running"),
)
SITE = Kind(
    "site",
    ("Microsoft.Web/sites", "Microsoft.Web/sites/slots"),
    ("app-service-2019", "app-service-2017"),
    state=("state", "Running"),
)
"""Function apps too: they are sites of that kind."""

CONTAINER_GROUP = Kind(
    "container group",
    ("Microsoft.ContainerInstance/containerGroups",),
    ("imds",),
    state=("keyfob.state", "Running"),
)
SERVICE_FABRIC_APPLICATION = Kind(
    "Service Fabric application",
    ("Microsoft.ServiceFabric/clusters/applications", "Microsoft.ServiceFabric/managedclusters/applications"),
    ("service-fabric",),
)
ARC_MACHINE = Kind("Arc machine", ("Microsoft.HybridCompute/machines",), ("arc",))
CLOUD_SHELL = Kind("Cloud Shell", ("Microsoft.Portal/consoles",), ("cloud-shell",))
MACHINE_LEARNING = Kind(
    "Azure ML compute",
    (
        "Microsoft.MachineLearningServices/workspaces/computes",
        "Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
    ),
    ("azure-ml",),
)
CLUSTER = Kind("Kubernetes cluster", ("Microsoft.ContainerService/managedClusters",), ("workload-identity",))

KINDS = (
    VIRTUAL_MACHINE,
    SCALE_SET_INSTANCE,
    SITE,
    CONTAINER_GROUP,
    SERVICE_FABRIC_APPLICATION,
    ARC_MACHINE,
    CLOUD_SHELL,
    MACHINE_LEARNING,
    CLUSTER,
)

DIALECTS = (
    "imds",
    "vm-extension",
    "app-service-2019",
    "app-service-2017",
    "azure-ml",
    "service-fabric",
    "arc",
    "cloud-shell",
    "workload-identity",
)
"""The names in `dialects.table.DIALECTS`, for who needs no more than names."""

FOLDERS: Mapping[str, str] = {
    "arc": "/var/opt/azcmagent/tokens",
    "workload-identity": "/var/run/secrets/azure/tokens",
}
"""Dialects that come with files → where a program finds them in a sandbox: Arc's clients look nowhere else, and the
other is where the webhook of Kubernetes mounts it."""

CONSOLE = ResourceId(("providers", "Microsoft.Portal", "consoles", "default"))
"""The Cloud Shell of whoever asks: it belongs to no subscription and is stored nowhere."""

_BY_TYPE = {name.lower(): kind for kind in KINDS for name in kind.types}


def kind_of(type_name: str) -> Kind | None:
    """The kind of host that resources of a type are; None for what is no host."""
    return _BY_TYPE.get(type_name.lower())


def runs(kind: Kind, properties: Mapping[str, Any]) -> bool:
    """Whether programs of a stored host run: what was stopped has none, so nobody asks in its name."""
    name, running = kind.state
    return not name or properties.get(name, running) == running


def names_of_hosts() -> str:
    """Every kind, as a sentence lists them."""
    *most, last = (kind.name for kind in KINDS)
    return f"{', '.join(most)} or {last}"
