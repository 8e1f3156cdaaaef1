"""Types that nobody declares: accepted, stored whole, listed as "kept, does nothing".

A resource of such a type has an id, tags, a location when one is given, both kinds of identity, locks and role
assignments like any other; any well-formed api-version will do. What stands here is which names are Azure's at all:
namespaces that no folder declares are kept whole; of those that a folder does declare, the types in `TYPES`. All else
is unknown, as it was.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyfob.declare import IdentitySupport, Level, ResourceType

NAMESPACES = (
    "Microsoft.AAD",
    "Microsoft.AlertsManagement",
    "Microsoft.AnalysisServices",
    "Microsoft.App",
    "Microsoft.AppConfiguration",
    "Microsoft.AppPlatform",
    "Microsoft.Attestation",
    "Microsoft.Automanage",
    "Microsoft.Automation",
    "Microsoft.AzureActiveDirectory",
    "Microsoft.AzureStackHCI",
    "Microsoft.Batch",
    "Microsoft.BotService",
    "Microsoft.Cache",
    "Microsoft.Cdn",
    "Microsoft.CertificateRegistration",
    "Microsoft.Chaos",
    "Microsoft.ClassicCompute",
    "Microsoft.ClassicNetwork",
    "Microsoft.ClassicStorage",
    "Microsoft.CognitiveServices",
    "Microsoft.Communication",
    "Microsoft.ContainerRegistry",
    "Microsoft.CostManagement",
    "Microsoft.CustomProviders",
    "Microsoft.DBforMariaDB",
    "Microsoft.DBforMySQL",
    "Microsoft.DBforPostgreSQL",
    "Microsoft.Dashboard",
    "Microsoft.DataBox",
    "Microsoft.DataLakeAnalytics",
    "Microsoft.DataMigration",
    "Microsoft.DataProtection",
    "Microsoft.DataShare",
    "Microsoft.Databricks",
    "Microsoft.DesktopVirtualization",
    "Microsoft.DevCenter",
    "Microsoft.DevTestLab",
    "Microsoft.Devices",
    "Microsoft.DigitalTwins",
    "Microsoft.DocumentDB",
    "Microsoft.DomainRegistration",
    "Microsoft.EventGrid",
    "Microsoft.ExtendedLocation",
    "Microsoft.Fabric",
    "Microsoft.GuestConfiguration",
    "Microsoft.HDInsight",
    "Microsoft.HealthcareApis",
    "Microsoft.HybridCompute",
    "Microsoft.Insights",
    "Microsoft.IoTCentral",
    "Microsoft.Kubernetes",
    "Microsoft.KubernetesConfiguration",
    "Microsoft.Kusto",
    "Microsoft.LabServices",
    "Microsoft.LoadTestService",
    "Microsoft.MachineLearning",
    "Microsoft.MachineLearningServices",
    "Microsoft.Maintenance",
    "Microsoft.Maps",
    "Microsoft.Media",
    "Microsoft.Migrate",
    "Microsoft.Monitor",
    "Microsoft.NetApp",
    "Microsoft.Network",
    "Microsoft.NotificationHubs",
    "Microsoft.OperationalInsights",
    "Microsoft.OperationsManagement",
    "Microsoft.PowerBIDedicated",
    "Microsoft.Purview",
    "Microsoft.RecoveryServices",
    "Microsoft.RedHatOpenShift",
    "Microsoft.Relay",
    "Microsoft.ResourceGraph",
    "Microsoft.Scheduler",
    "Microsoft.Search",
    "Microsoft.Security",
    "Microsoft.SecurityInsights",
    "Microsoft.ServiceFabric",
    "Microsoft.ServiceFabricMesh",
    "Microsoft.ServiceLinker",
    "Microsoft.SignalRService",
    "Microsoft.Solutions",
    "Microsoft.SqlVirtualMachine",
    "Microsoft.StorageCache",
    "Microsoft.StorageSync",
    "Microsoft.StreamAnalytics",
    "Microsoft.Synapse",
    "Microsoft.TimeSeriesInsights",
    "Microsoft.VirtualMachineImages",
    "Microsoft.VisualStudio",
    "Microsoft.Workloads",
)
"""Kept whole while no folder declares them. `Microsoft.Resources`, `.Authorization`, `.ManagedIdentity`,
`.Management`, `.Features` are never: what they have and we lack would pretend to do something."""

TYPES: Mapping[str, tuple[str, ...]] = {
    "Microsoft.ApiManagement": ("gateways", "service/*"),
    "Microsoft.Compute": (
        "capacityReservationGroups",
        "cloudServices",
        "diskAccesses",
        "diskEncryptionSets",
        "disks",
        "galleries",
        "hostGroups",
        "images",
        "proximityPlacementGroups",
        "restorePointCollections",
        "snapshots",
        "sshPublicKeys",
        "virtualMachines/runCommands",
    ),
    "Microsoft.ContainerInstance": ("containerGroupProfiles", "ngroups"),
    "Microsoft.ContainerService": ("*",),
    "Microsoft.DataFactory": ("factories/*",),
    "Microsoft.EventHub": ("clusters", "namespaces/*"),
    "Microsoft.Insights": ("*",),
    "Microsoft.KeyVault": ("managedHSMs", "vaults/privateEndpointConnections"),
    "Microsoft.Logic": ("integrationAccounts", "integrationServiceEnvironments"),
    "Microsoft.Network": ("*",),
    "Microsoft.OperationalInsights": ("*",),
    "Microsoft.ServiceBus": ("namespaces/*",),
    "Microsoft.Sql": ("instancePools", "managedInstances", "servers/*", "virtualClusters"),
    "Microsoft.Storage": ("storageAccounts/*", "storageTasks"),
    "Microsoft.Web": (
        "certificates",
        "connections",
        "connectionGateways",
        "customApis",
        "hostingEnvironments",
        "kubeEnvironments",
        "sites/*",
        "staticSites",
    ),
}
"""Of declared namespaces: these types with their children; `x/*` is every child of x that is not declared."""

USUAL: Mapping[str, tuple[str, ...]] = {
    "Microsoft.Compute": ("disks", "galleries", "galleries/images", "images", "snapshots", "sshPublicKeys"),
    "Microsoft.ContainerRegistry": ("registries",),
    "Microsoft.Databricks": ("accessConnectors", "workspaces"),
    "Microsoft.DocumentDB": ("databaseAccounts",),
    "Microsoft.EventGrid": ("topics",),
    "Microsoft.Insights": ("actionGroups", "diagnosticSettings", "metricAlerts"),
    "Microsoft.Web": ("certificates", "connections", "staticSites"),
}
"""What lists of providers name, so that a client that asks for a type's versions finds one."""

NAMED_VERSIONS = ("2024-05-01", "2018-10-01")
"""The versions those lists name; any other is taken too."""


def kept_type(name: str) -> ResourceType:
    """The declaration of `name` (`Microsoft.Databricks/workspaces`) that stores it and does nothing."""
    return ResourceType(
        name=name,
        api_versions=NAMED_VERSIONS,
        any_version=True,
        identity=IdentitySupport(system=True, user=True),
        level=Level.ANYWHERE,
        tracked=False,
        location_kept=True,
        movable=True,
        note="kept, does nothing",
    )


def kept_namespaces() -> Mapping[str, str]:
    """Namespaces that are kept whole, lower-case → as Azure spells them."""
    return {name.lower(): name for name in NAMESPACES}


def is_kept(namespace: str, rest: str) -> bool:
    """Whether a namespace that a folder declares also has this undeclared type, to be kept. `rest` is the part after
    the namespace, in any case."""
    rest = rest.lower()
    for pattern in next((kinds for known, kinds in TYPES.items() if known.lower() == namespace.lower()), ()):
        wanted = pattern.lower()
        if wanted == "*":
            return True
        if wanted.endswith("/*"):
            if rest.startswith(wanted[:-1]):
                return True
        elif rest == wanted or rest.startswith(wanted + "/"):
            return True
    return False


def usual_types(namespace: str) -> tuple[ResourceType, ...]:
    """The kept types of a namespace that are worth naming."""
    return tuple(kept_type(f"{namespace}/{rest}") for rest in USUAL.get(namespace, ()))
