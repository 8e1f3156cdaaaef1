"""Eight hosts × (system, user, both, one removed, all removed) × ways to say it: what is stored, and whose principals
exist, is the same whichever way was taken; and whoever may not is refused in the same words each way.

The real azure-cli goes through its own commands in tests/clients/az.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from keyfob.app.parts import build
from keyfob.arm.resources import get_resource
from keyfob.clock import SystemClock, SystemIds
from keyfob.directory.principals import get_principal
from keyfob.directory.tenants import get_tenant
from keyfob.resource_id import ResourceId
from keyfob.settings import read_settings
from keyfob.wire.http import Fields, Reply, Request, parse_target

SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
WORKFLOW = "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#"
CONTAINER = {
    "name": "one",
    "properties": {"image": "nginx", "resources": {"requests": {"cpu": 1, "memoryInGB": 1}}},
}
HOSTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "vm": ("Microsoft.Compute/virtualMachines", "2024-11-01", {}),
    "vmss": (
        "Microsoft.Compute/virtualMachineScaleSets",
        "2024-11-01",
        {"sku": {"name": "Standard_DS1_v2", "capacity": 1}},
    ),
    "site": ("Microsoft.Web/sites", "2023-12-01", {"kind": "app"}),
    "function": ("Microsoft.Web/sites", "2023-12-01", {"kind": "functionapp"}),
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
        {"properties": {"osType": "Linux", "containers": [CONTAINER]}},
    ),
}
STEPS = ("system", "user", "both", "one removed", "all removed")
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


class Cloud:
    """An application without sockets, and what is done in it."""

    def __init__(self, runner: asyncio.Runner, data: Any) -> None:
        self.runner = runner
        settings = read_settings({}, data=str(data), port="0")
        self.app = runner.run(build(settings, clock=SystemClock(), ids=SystemIds()))
        self.operator = json.loads(settings.operator_file.read_text())
        self.audience = self.operator["audience"]
        form = {
            "grant_type": "client_credentials",
            "client_id": self.operator["client_id"],
            "client_secret": self.operator["client_secret"],
            "resource": self.audience,
        }
        signed_in = self.send(
            "POST",
            f"{self.operator['login']}/{self.operator['tenant_id']}/oauth2/token",
            urlencode(form).encode(),
            {"content-type": "application/x-www-form-urlencoded"},
        )
        self.token = json.loads(signed_in.body)["access_token"]
        self.subscription = f"/subscriptions/{self.operator['subscription_id']}"
        self.group = f"{self.subscription}/resourceGroups/hosts"
        for name in ("hosts", "identities"):
            self.made("PUT", f"{self.subscription}/resourceGroups/{name}", "2024-11-01", {"location": "westeurope"})
        self.users = [
            self.made(
                "PUT",
                f"{self.subscription}/resourceGroups/identities/providers/Microsoft.ManagedIdentity"
                f"/userAssignedIdentities/{name}",
                "2023-01-31",
                {"location": "westeurope"},
            )
            for name in ("first", "second", "reader", "contributor")
        ]
        self.reader = self._caller(self.users[2], READER, 1)
        self.contributor = self._caller(self.users[3], CONTRIBUTOR, 2)
        """May do everything in the group of hosts, nothing with the identities in the other."""

    def _caller(self, identity: Mapping[str, Any], role: str, number: int) -> str:
        principal_id, tenant_id = identity["properties"]["principalId"], self.operator["tenant_id"]
        self.made(
            "PUT",
            f"{self.group}/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-8000-{number:012d}",
            "2022-04-01",
            {
                "properties": {
                    "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{role}",
                    "principalId": principal_id,
                    "principalType": "ServicePrincipal",
                }
            },
        )

        async def mint() -> str:
            tenant = await get_tenant(self.app.store, tenant_id)
            principal = await get_principal(self.app.store, tenant_id, principal_id)
            minted = self.app.guard._tokens.mint_managed_identity(
                tenant=tenant, principal=principal, audience=self.audience, resource_id=identity["id"], host_id=None
            )
            return str(minted.token)

        return self.runner.run(mint())

    def send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        host, _, target = url.removeprefix("https://").partition("/")
        path, raw, query = parse_target("/" + target)
        fields = Fields([("host", host), *headers.items()])
        return self.runner.run(self.app.front_door(Request(method, path, query, fields, body, host=host, raw_path=raw)))

    def arm(self, method: str, path: str, version: str, body: Any = None, token: str = "") -> Reply:
        return self.send(
            method,
            f"{self.operator['resource_manager']}{path}?api-version={version}",
            b"" if body is None else json.dumps(body).encode(),
            {"authorization": f"Bearer {token or self.token}", "content-type": "application/json"},
        )

    def made(self, *arguments: Any) -> Any:
        reply = self.arm(*arguments)
        assert reply.status in (200, 201, 202), reply.body
        return json.loads(reply.body) if reply.body else None

    # --- ways to say what a host is to have

    def put(self, host: str, name: str, identity: Any, token: str = "") -> Any:
        kind, version, body = HOSTS[host]
        whole = {"location": "westeurope", **body, "identity": identity}
        return self.arm("PUT", f"{self.group}/providers/{kind}/{name}", version, whole, token)

    def patch(self, host: str, name: str, identity: Any, token: str = "") -> Any:
        """What `az … identity assign|remove` and the SDKs' updates send, once the host is there."""
        kind, version, _ = HOSTS[host]
        path = f"{self.group}/providers/{kind}/{name}"
        if self.arm("GET", path, version).status == 404:
            assert self.put(host, name, {"type": "None"}).status in (200, 201)
        shown = json.loads(self.arm("GET", path, version).body).get("identity") or {}
        attached = shown.get("userAssignedIdentities") or {}
        if "userAssignedIdentities" in identity:  # what is to go is sent as null
            gone = {id: None for id in attached if id not in identity["userAssignedIdentities"]}
            identity = identity | {"userAssignedIdentities": {**identity["userAssignedIdentities"], **gone}}
        return self.arm("PATCH", path, version, {"identity": identity}, token)

    def template(self, host: str, name: str, identity: Any, token: str = "") -> Any:
        """As `az deployment group create`: the deployment, waited for."""
        kind, version, body = HOSTS[host]
        resource = {"type": kind, "apiVersion": version, "name": name, "location": "westeurope", **body}
        template = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": [{**resource, "identity": identity}]}
        path = f"{self.group}/providers/Microsoft.Resources/deployments/{name}"
        wanted = {"properties": {"mode": "Incremental", "template": template}}
        reply = self.arm("PUT", path, "2024-11-01", wanted, token)
        while reply.status in (200, 201):
            shown = self.arm("GET", path, "2024-11-01")
            state = json.loads(shown.body)["properties"]
            if state["provisioningState"] == "Succeeded":
                return shown
            if state["provisioningState"] in ("Failed", "Canceled"):
                return Reply.json({"error": state["error"]}, 400)
            self.runner.run(asyncio.sleep(0.002))
        return reply

    # --- what became of it

    def state(self, host: str, name: str) -> tuple[str | None, tuple[str, ...]]:
        """The system identity's principal and the user-assigned ids, as stored; both exist in the directory."""
        kind = HOSTS[host][0]

        async def look() -> tuple[str | None, tuple[str, ...]]:
            stored = await get_resource(self.app.store, ResourceId.parse(f"{self.group}/providers/{kind}/{name}"))
            assert stored is not None
            if not stored.identity:
                return None, ()
            own = stored.identity.system
            if own is not None:
                assert await get_principal(self.app.store, stored.tenant_id, own.principal_id) is not None
            return own.principal_id if own else None, tuple(sorted(stored.identity.user))

        return self.runner.run(look())

    def exists(self, principal_id: str) -> bool:
        found = self.runner.run(get_principal(self.app.store, self.operator["tenant_id"], principal_id))
        return found is not None


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with asyncio.Runner() as runner:
        made = Cloud(runner, tmp_path_factory.mktemp("matrix") / "data")
        yield made
        runner.run(made.app.stop())


def block(cloud: Cloud, step: str) -> dict[str, Any]:
    first, second = (user["id"] for user in cloud.users[:2])
    return {
        "system": {"type": "SystemAssigned"},
        "user": {"type": "UserAssigned", "userAssignedIdentities": {first: {}}},
        "both": {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {first: {}, second: {}}},
        "one removed": {"type": "SystemAssigned, UserAssigned", "userAssignedIdentities": {second: {}}},
        "all removed": {"type": "None"},
    }[step]


@pytest.mark.parametrize("way", ["put", "patch", "template"])
@pytest.mark.parametrize("host", list(HOSTS))
def test_every_way_ends_in_the_same_state(cloud, host, way):
    name = f"{host}-{way}"
    first, second = (user["id"] for user in cloud.users[:2])
    principals = {}
    for step in STEPS:
        reply = getattr(cloud, way)(host, name, block(cloud, step))
        assert reply.status in (200, 201), (step, reply.body)
        principals[step], attached = cloud.state(host, name)
        assert attached == {"user": (first,), "both": (first, second), "one removed": (second,)}.get(step, ())
    assert principals["system"]
    assert principals["user"] is None
    assert not cloud.exists(principals["system"])
    assert principals["both"] not in (None, principals["system"])  # asked for again: a new one
    assert principals["one removed"] == principals["both"]
    assert principals["all removed"] is None
    assert not cloud.exists(principals["both"])
    assert all(cloud.exists(user["properties"]["principalId"]) for user in cloud.users)


def codes(error: Any) -> set[str]:
    found = {error.get("code", "")}
    for inner in error.get("details") or ():
        found |= codes(inner)
    if "{" in str(error.get("message", "")):
        text = error["message"]
        try:
            inner = json.loads(text[text.index("{") :])
            found |= codes(inner.get("error", inner))
        except ValueError:
            pass
    return found


@pytest.mark.parametrize("way", ["put", "patch", "template"])
@pytest.mark.parametrize("host", list(HOSTS))
def test_who_may_not_is_refused_each_way(cloud, host, way):
    name = f"{host}-{way}-no"
    if way == "patch":
        assert cloud.put(host, name, {"type": "None"}).status in (200, 201)
    reader = getattr(cloud, way)(host, name, block(cloud, "system"), cloud.reader)
    assert reader.status == 403
    assert "AuthorizationFailed" in codes(json.loads(reader.body)["error"])
    linked = getattr(cloud, way)(host, name, block(cloud, "user"), cloud.contributor)
    assert linked.status in (400, 403)
    assert "LinkedAuthorizationFailed" in codes(json.loads(linked.body)["error"]), linked.body
    if way == "patch":
        assert cloud.state(host, name) == (None, ())
    else:
        kind, version, _ = HOSTS[host]
        assert cloud.arm("GET", f"{cloud.group}/providers/{kind}/{name}", version).status == 404
    allowed = getattr(cloud, way)(host, name, block(cloud, "system"), cloud.contributor)
    assert allowed.status in (200, 201), allowed.body
