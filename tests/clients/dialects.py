"""Every token endpoint's dialect with a host that speaks it, for the tests of clients: what to make, how to ask.

A `World` is a running server with one host of each kind, each once with identities (its own, and `one` and `two`) and
once bare. `world.variables(case)` are what `keyfob env` gives a program, `world.run(case, …)` runs one in a sandbox.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ALL = frozenset({"client_id", "object_id", "resource_id"})
VAULT = "https://vault.azure.net"
ISSUED_TO = "system:serviceaccount:shop:cart"


@dataclass(frozen=True)
class Case:
    """A host, and the dialect it is asked in. `body` has all but the identity."""

    name: str
    dialect: str
    type: str
    api_version: str
    names: tuple[str, ...]
    """`{}` is the host's name."""
    body: Mapping[str, Any] = field(default_factory=dict)
    selectors: frozenset[str] = ALL
    """What the dialect can choose an identity by."""
    lone: bool = True
    """Whether a lone user-assigned identity is meant when none is named."""
    options: tuple[str, ...] = ()
    """Of `keyfob run`, `env` and `token`."""
    instance: str = ""
    """What is put behind the name: the instance of a scale set."""
    outside: bool = True
    """Whether `keyfob env` leads there on a machine where we may write in our own folder only."""


_CONTAINER = {
    "osType": "Linux",
    "containers": [
        {"name": "main", "properties": {"image": "none", "resources": {"requests": {"cpu": 1, "memoryInGB": 1}}}}
    ],
}

MACHINE = ("Microsoft.Compute/virtualMachines", "2024-07-01", ("{}",))
SITE = ("Microsoft.Web/sites", "2024-04-01", ("{}",))
CASES = (
    Case("machine", "imds", *MACHINE),
    Case(
        "set",
        "imds",
        "Microsoft.Compute/virtualMachineScaleSets",
        "2024-07-01",
        ("{}",),
        {"sku": {"name": "Standard_B1s", "capacity": 2}, "properties": {"virtualMachineProfile": {}}},
        instance="/1",
    ),
    Case(
        "group",
        "imds",
        "Microsoft.ContainerInstance/containerGroups",
        "2023-05-01",
        ("{}",),
        {"properties": _CONTAINER},
    ),
    Case("extension", "vm-extension", *MACHINE, options=("--dialect", "vm-extension")),
    Case("site-2019", "app-service-2019", *SITE, {"kind": "app,linux", "properties": {"reserved": True}}, lone=False),
    Case("app-2019", "app-service-2019", *SITE, {"kind": "functionapp"}, lone=False),
    Case(
        "site-2017",
        "app-service-2017",
        *SITE,
        {"kind": "app,linux", "properties": {"reserved": True}},
        frozenset({"client_id"}),
        lone=False,
        options=("--dialect", "app-service-2017"),
    ),
    Case(
        "windows-2017",
        "app-service-2017",
        *SITE,
        {"kind": "app"},
        frozenset({"client_id"}),
        lone=False,
        options=("--dialect", "app-service-2017"),
    ),
    Case(
        "compute",
        "azure-ml",
        "Microsoft.MachineLearningServices/workspaces/computes",
        "2024-04-01",
        ("workspace", "{}"),
        selectors=frozenset({"client_id"}),
    ),
    Case(
        "fabric",
        "service-fabric",
        "Microsoft.ServiceFabric/clusters/applications",
        "2021-06-01",
        ("cluster", "{}"),
        selectors=frozenset(),
    ),
    Case("arc", "arc", "Microsoft.HybridCompute/machines", "2024-07-10", ("{}",), outside=False),
    Case("cloud-shell", "cloud-shell", "", "", (), selectors=frozenset()),
    Case(
        "kubernetes",
        "workload-identity",
        "Microsoft.ContainerService/managedClusters",
        "2024-09-01",
        ("{}",),
        {"properties": {"oidcIssuerProfile": {"enabled": True}}},
        frozenset({"client_id"}),
        options=("--service-account", "shop/cart"),
    ),
)
"""Kubernetes: identity `one` trusts the service account, so it is the one that is meant when none is named."""

PARENTS = (
    ("Microsoft.MachineLearningServices/workspaces", "2024-04-01", "workspace"),
    ("Microsoft.ServiceFabric/clusters", "2021-06-01", "cluster"),
)


@dataclass
class World:
    data: Path
    principals: dict[str, str] = field(default_factory=dict)
    """`one`, `two` and each host's name → the object id in the tokens of that identity."""
    client_ids: dict[str, str] = field(default_factory=dict)
    """`one`, `two`."""
    ids: dict[str, str] = field(default_factory=dict)
    """`one`, `two` and each host's name → resource id."""

    # --- the server

    def start(self) -> World:
        self.keyfob("up", "--detach", "--port", "0")
        self._group = f"/subscriptions/{self.operator['subscription_id']}/resourceGroups/dialects"
        self.rest("PUT", f"{self._group}?api-version=2024-11-01", {"location": "westus"})
        for name in ("one", "two"):
            made = self._put("Microsoft.ManagedIdentity/userAssignedIdentities", "2023-01-31", (f"{name}-identity",))
            self._know(name, made["id"], made["properties"]["principalId"], made["properties"]["clientId"])
        for kind, version, name in PARENTS:
            self._put(kind, version, (name,), {"properties": {}})
        for case in CASES:
            self._make(case)
        return self

    def close(self) -> None:
        self.keyfob("down", check=False)

    @property
    def operator(self) -> dict[str, str]:
        known: dict[str, str] = json.loads((self.data / "operator.json").read_text())
        return known

    def keyfob(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "keyfob", *arguments],
            env={**os.environ, "KEYFOB_DATA": str(self.data)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"keyfob {' '.join(arguments)} failed: {done.stdout}{done.stderr}")
        return done

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        given = ("--body", json.dumps(body)) if body is not None else ()
        printed = self.keyfob("rest", method, path, *given).stdout
        return json.loads(printed) if printed.strip() else None

    # --- being a host

    def options(self, case: Case, *, bare: bool = False) -> tuple[str, ...]:
        """`--as` and what goes with it. A bare Cloud Shell there is not: everybody is somebody."""
        name = case.name if case.dialect == "cloud-shell" else f"{self.host(case, bare=bare)}{case.instance}"
        return ("--as", name, *case.options)

    @staticmethod
    def host(case: Case, *, bare: bool = False) -> str:
        return f"{case.name}-bare" if bare else f"{case.name}-host"

    def variables(self, case: Case, *, bare: bool = False) -> dict[str, str]:
        """What a program outside of a sandbox gets. Its secrets are good until the server ends."""
        printed = self.keyfob("env", *self.options(case, bare=bare), "--output", "json").stdout
        told: dict[str, str] = json.loads(printed)
        return told

    def run(self, case: Case, *command: str, bare: bool = False) -> subprocess.CompletedProcess[str]:
        """A program in the sandbox of the case's host."""
        return self.keyfob("run", *self.options(case, bare=bare), "--", *command, check=False)

    def selector(self, kind: str, name: str) -> str:
        """What `kind` ("client_id", …) is for an identity."""
        return {"client_id": self.client_ids, "object_id": self.principals, "resource_id": self.ids}[kind][name]

    def meant(self, case: Case) -> str:
        """The object id of the identity that is meant when none is named."""
        if case.dialect == "cloud-shell":
            return self.operator["object_id"]
        return self.principals["one" if case.dialect == "workload-identity" else case.name]

    # --- making it

    def _make(self, case: Case) -> None:
        if not case.type:
            return
        users = {self.ids[name]: {} for name in ("one", "two")}
        for bare in (False, True):
            host = self.host(case, bare=bare)
            body = dict(case.body)
            if not bare:
                body["identity"] = {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": users}
            made = self._put(case.type, case.api_version, tuple(name.format(host) for name in case.names), body)
            if not bare:
                self._know(case.name, made["id"], made["identity"]["principalId"])
        if case.dialect == "workload-identity":
            trusted = self.rest("GET", f"{self.ids[case.name]}?api-version={case.api_version}")
            self.rest(
                "PUT",
                f"{self.ids['one']}/federatedIdentityCredentials/cart?api-version=2023-01-31",
                {
                    "properties": {
                        "issuer": trusted["properties"]["oidcIssuerProfile"]["issuerURL"],
                        "subject": ISSUED_TO,
                        "audiences": ["api://AzureADTokenExchange"],
                    }
                },
            )

    def _put(self, kind: str, version: str, names: tuple[str, ...], body: Mapping[str, Any] | None = None) -> Any:
        namespace, *types = kind.split("/")
        path = "".join(f"/{one}/{name}" for one, name in zip(types, names, strict=True))
        whole = {"location": "westus", "properties": {}, **(body or {})}
        return self.rest("PUT", f"{self._group}/providers/{namespace}{path}?api-version={version}", whole)

    def _know(self, name: str, id: str, principal: str, client_id: str = "") -> None:
        self.ids[name], self.principals[name] = id, principal
        if client_id:
            self.client_ids[name] = client_id
