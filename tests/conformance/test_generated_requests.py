"""Requests that schemathesis makes from the official documents, right ones and wrong ones, in the same order each time.

Whatever comes: no failure of the server, refusals in Azure's form that change nothing, and what was accepted is there.
That accepted requests and their replies are as their document says, every test here is watched for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode

from keyfob.app.parts import build
from keyfob.clock import SystemClock, SystemIds
from keyfob.settings import read_settings
from keyfob.wire.http import Reply

NOTES = ("access.", "arm.activity", "activity", "extras.activity")
"""Kinds of records that note what was asked: a refusal may add to them."""
VAULT = "https://generated.vault.azure.net"
READER = "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
ASSIGNMENT = "00000000-0000-4000-8000-00000000000a"
DOCUMENTS = {
    "identities": ("msi/resource-manager/Microsoft.ManagedIdentity/stable/2023-01-31/ManagedIdentity.json", ""),
    "role assignments": (
        "authorization/resource-manager/Microsoft.Authorization/stable/2022-04-01/"
        "authorization-RoleAssignmentsCalls.json",
        "",
    ),
    "groups": ("resources/resource-manager/Microsoft.Resources/stable/2024-03-01/resources.json", "ResourceGroups_"),
    "secrets": ("keyvault/data-plane/Microsoft.KeyVault/stable/7.5/secrets.json", ""),
}
GENERATED = settings(
    max_examples=12,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


class Generated:
    """An application in this process, and generated requests to it as its operator."""

    def __init__(self, server: Any, runner: asyncio.Runner) -> None:
        self.server, self.runner = server, runner
        self.group = f"/subscriptions/{server.subscription}/resourceGroups/generated"
        self.accepted = 0

    async def world(self) -> None:
        operator = self.server.operator
        version = [("api-version", "2023-07-01")]
        await self.server.arm("PUT", self.group, {"location": "westus"}, [("api-version", "2024-03-01")])
        secrets = ["get", "list", "set", "delete", "backup", "restore", "recover", "purge"]
        policy = {
            "tenantId": operator["tenant_id"],
            "objectId": operator["object_id"],
            "permissions": {"secrets": secrets},
        }
        sku = {"family": "A", "name": "standard"}
        properties = {"tenantId": operator["tenant_id"], "sku": sku, "accessPolicies": [policy]}
        body = {"location": "westus", "properties": properties}
        path = f"{self.group}/providers/Microsoft.KeyVault/vaults/generated"
        made = await self.server.arm("PUT", path, body, version)
        assert made.status in (200, 201), made.body
        await self.server.token("https://vault.azure.net")

    def meant(self, case: Case, vault: bool) -> None:
        """Most names are as generated; those without which nothing is ever found are ours."""
        names = case.path_parameters
        for name in names:
            low = name.lower()
            if low == "subscriptionid":
                names[name] = self.server.subscription
            elif low == "scope":
                names[name] = self.group[1:]
            elif low == "roleassignmentid":
                names[name] = f"{self.group[1:]}/providers/Microsoft.Authorization/roleAssignments/{ASSIGNMENT}"
            elif low == "roleassignmentname":
                names[name] = ASSIGNMENT
            elif low == "resourcegroupname" and not case.operation.definition.raw["operationId"].startswith("Resource"):
                names[name] = "generated"
        properties = case.body.get("properties") if isinstance(case.body, dict) else None
        if isinstance(properties, dict) and "roleDefinitionId" in properties:
            properties |= {"roleDefinitionId": READER, "principalId": self.server.operator["object_id"]}
        if not vault and isinstance(case.body, dict) and isinstance(case.body.get("location"), str):
            case.body["location"] = "westus"

    async def send(self, sent: requests.PreparedRequest, vault: bool) -> Reply:
        token = await self.server.token("https://vault.azure.net" if vault else self.server.operator["audience"])
        url = urlsplit(str(sent.url))
        body = sent.body.encode() if isinstance(sent.body, str) else sent.body
        target = f"{url.scheme}://{url.netloc}{url.path}?{url.query}"
        kind = {"Content-Type": sent.headers["Content-Type"]} if "Content-Type" in sent.headers else {}
        return await self.server.send(str(sent.method), target, body, kind, token=token)

    async def stored(self) -> dict[tuple[str, str], Any]:
        rows = await self.server.app.store.fetch("SELECT kind, key, value FROM records")
        return {(kind, key): value for kind, key, value in rows if not kind.startswith(NOTES)}

    def try_one(self, case: Case, version: str, vault: bool) -> None:
        self.meant(case, vault)
        case.query["api-version"] = version
        base = VAULT if vault else self.server.operator["resource_manager"]
        sent = requests.Request(**case.as_transport_kwargs(base_url=base)).prepare()
        what = f"{sent.method} {sent.url} {sent.body!r:.300}"

        async def work() -> None:
            before = await self.stored()
            reply = await self.send(sent, vault)
            assert reply.status < 500, (what, reply.body)
            if reply.status >= 400:
                assert await self.stored() == before, what
                if sent.method != "HEAD":
                    error = json.loads(reply.body)["error"]
                    assert error["code"], what
                    assert error["message"], what
                return
            self.accepted += 1
            if sent.method == "PUT" and reply.status in (200, 201) and not vault:
                again = requests.Request("GET", str(sent.url)).prepare()
                found = await self.send(again, vault)
                assert found.status == 200, (what, found.body)
                shown = json.loads(found.body)
                assert shown["id"] == json.loads(reply.body)["id"], what

        self.runner.run(work())


@pytest.fixture(scope="module")
def generated(documents: Any, watch: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generated]:
    from conformance_replay import Server

    with asyncio.Runner() as runner:
        chosen = read_settings({}, data=str(tmp_path_factory.mktemp("generated") / "data"))
        app = runner.run(build(chosen, clock=SystemClock(), ids=SystemIds()))
        made = Generated(Server(app, json.loads(chosen.operator_file.read_text())), runner)
        runner.run(made.world())
        yield made
        runner.run(app.stop())


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("subject", DOCUMENTS)
def test_generated_requests(subject: str, mode: GenerationMode, documents: Any, generated: Generated) -> None:
    document, start = DOCUMENTS[subject]
    file: Path = documents.root / document
    version = json.loads(file.read_text())["info"]["version"]
    tried, generated.accepted = 0, 0
    for found in schemathesis.openapi.from_path(file).get_all_operations():
        operation = found.ok()
        assert operation is not None
        if not operation.definition.raw["operationId"].startswith(start):
            continue
        tried += 1

        @GENERATED
        @given(case=operation.as_strategy(generation_mode=mode))
        def each(case: Case) -> None:
            generated.try_one(case, version, subject == "secrets")

        each()
    assert tried
    if mode is GenerationMode.POSITIVE:
        assert generated.accepted, "nothing was accepted: nothing was tried"
