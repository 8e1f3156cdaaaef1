"""The az column of tests/trips/test_identity_matrix.py for hosts whose identities azure-cli itself has no commands for:
`az rest` sets them. The other four are in test_az_identities.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-matrix"
WORKFLOW = "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#"
HOSTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "workflow": (
        "Microsoft.Logic/workflows",
        "2019-05-01",
        {"properties": {"definition": {"$schema": WORKFLOW, "contentVersion": "1.0.0.0", "actions": {}}}},
    ),
    "factory": ("Microsoft.DataFactory/factories", "2018-06-01", {}),
    "gateway": (
        "Microsoft.ApiManagement/service",
        "2022-08-01",
        {
            "sku": {"name": "Developer", "capacity": 1},
            "properties": {"publisherEmail": "a@example.com", "publisherName": "A"},
        },
    ),
    "containers": (
        "Microsoft.ContainerInstance/containerGroups",
        "2023-05-01",
        {
            "properties": {
                "osType": "Linux",
                "containers": [
                    {
                        "name": "one",
                        "properties": {"image": "nginx", "resources": {"requests": {"cpu": 1, "memoryInGB": 1}}},
                    }
                ],
            }
        },
    ),
}


@pytest.fixture(scope="module")
def users(az) -> list[str]:
    az(f"group create -n {GROUP} -l westeurope")
    return [az(f"identity create -g {GROUP} -n matrix-{name}")["id"] for name in ("first", "second")]


class Host:
    def __init__(self, server: Any, name: str, kind: str, version: str, body: dict[str, Any]) -> None:
        self._server = server
        self.path = f"/subscriptions/{{subscription}}/resourceGroups/{GROUP}/providers/{kind}/{name}"
        self.version = version
        made = {"location": "westeurope", **body}
        self._server.rest("PUT", f"{self.path}?api-version={version}", made)

    def has(self) -> tuple[str | None, list[str]]:
        shown = self._server.rest("GET", f"{self.path}?api-version={self.version}").get("identity") or {}
        attached = sorted(id.rpartition("/")[2] for id in shown.get("userAssignedIdentities") or ())
        return shown.get("principalId"), attached


@pytest.mark.parametrize("host", list(HOSTS))
def test_az_rest(az, az_server, users, host):
    there = Host(az_server, f"matrix-{host}", *HOSTS[host])
    _, version, body = HOSTS[host]
    first, second = users
    path = there.path.replace("{subscription}", az_server.operator()["subscription_id"])

    def put(type: str, *ids: str) -> None:
        identity = {"type": type, **({"userAssignedIdentities": {id: {} for id in ids}} if ids else {})}
        wanted = json.dumps({"location": "westeurope", **body, "identity": identity})
        az(f"rest --method put --url {path}?api-version={version} --body '{wanted}'")

    put("SystemAssigned")
    own, _ = there.has()
    put("UserAssigned", first)
    assert there.has() == (None, ["matrix-first"])
    put("SystemAssigned,UserAssigned", first, second)
    again, attached = there.has()
    assert again not in (None, own)
    assert attached == ["matrix-first", "matrix-second"]
    put("SystemAssigned,UserAssigned", second)
    assert there.has() == (again, ["matrix-second"])
    put("None")
    assert there.has() == (None, [])
