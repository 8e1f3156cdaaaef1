"""Replays the official examples of data planes: Key Vault's secrets, and the instance metadata service."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from conformance_documents import REAL, Documents, Operation
from conformance_replay import Result, Server
from conformance_schema import Checker

from keyfob.resource_id import ResourceId
from keyfob.wire.http import Fields, Reply, Request

_POLICY = {"secrets": ["get", "list", "set", "delete", "backup", "restore", "recover", "purge"]}
_VAULT_ROUTES = re.compile(r"/(secrets|deletedsecrets)(/|$)")


class VaultReplay:
    """A vault with an access policy for the operator; each example finds the secrets it needs."""

    def __init__(self, server: Server, documents: Documents) -> None:
        self._server, self._documents = server, documents
        self._checker = Checker(documents, reply=True)

    async def run(self, document: str) -> AsyncIterator[Result]:
        for operation in self._documents.operations(self._documents.root / document):
            if not _VAULT_ROUTES.match(operation.path):
                continue
            for name, key in operation.examples.items():
                example = self._documents.example(operation, key)
                result = Result(operation, name, REAL)
                if example is None:
                    result.problems.append("the example is not among the files")
                    yield result
                    continue
                try:
                    await self._vault()
                    await self._one(operation, result, example["parameters"])
                finally:
                    await self._server.forget()
                yield result

    async def _vault(self) -> None:
        operator = self._server.operator
        group = f"/subscriptions/{self._server.subscription}/resourceGroups/conformance"
        version = [("api-version", "2023-07-01")]
        await self._server.arm("PUT", group, {"location": "westus"}, [("api-version", "2024-11-01")])
        policy = {"tenantId": operator["tenant_id"], "objectId": operator["object_id"], "permissions": _POLICY}
        sku = {"family": "A", "name": "standard"}
        properties = {"tenantId": operator["tenant_id"], "sku": sku, "accessPolicies": [policy]}
        body = {"location": "westus", "properties": properties}
        made = await self._server.arm("PUT", f"{group}/providers/Microsoft.KeyVault/vaults/myvault", body, version)
        assert made.status in (200, 201), made.body

    async def _call(self, method: str, path: str, version: str, body: Any = None, **query: Any) -> Reply:
        token = await self._server.token("https://vault.azure.net")
        asked = urlencode({"api-version": version, **query})
        return await self._server.send(method, f"https://myvault.vault.azure.net{path}?{asked}", body, token=token)

    async def _one(self, operation: Operation, result: Result, given: dict[str, Any]) -> None:
        version = operation.version.removesuffix("-preview")
        name = given.get("secret-name", "mysecret")
        id, body = (
            "",
            next((given[p["name"]] for p in operation.parameters if p["in"] == "body" and p["name"] in given), None),
        )
        if operation.id != "SetSecret":
            made = await self._call("PUT", f"/secrets/{name}", version, {"value": "v"})
            assert made.status == 200, made.body
            id = json.loads(made.body)["id"].rpartition("/")[2]
        if operation.id == "RestoreSecret":
            backup = await self._call("POST", f"/secrets/{name}/backup", version)
            body = json.loads(backup.body)
        if "deleted" in operation.path or operation.id == "RestoreSecret":
            await self._call("DELETE", f"/secrets/{name}", version)
        if operation.id == "RestoreSecret":
            await self._call("DELETE", f"/deletedsecrets/{name}", version)
        path = operation.path.replace("{secret-name}", name).replace("{secret-version}", id)
        query = {"maxresults": given["maxresults"]} if "maxresults" in given else {}
        reply = await self._call(operation.method, path, version, body, **query)
        judge(self._documents, self._checker, operation, result, reply)


class MetadataReplay:
    """A virtual machine with a system-assigned identity asks for its own metadata."""

    def __init__(self, server: Server, documents: Documents) -> None:
        self._server, self._documents = server, documents
        self._checker = Checker(documents, reply=True, strict=False)

    async def run(self, document: str) -> AsyncIterator[Result]:
        group = f"/subscriptions/{self._server.subscription}/resourceGroups/conformance"
        machine = f"{group}/providers/Microsoft.Compute/virtualMachines/examplevmname"
        await self._server.arm("PUT", group, {"location": "westus"}, [("api-version", "2024-11-01")])
        body = {"location": "westus", "identity": {"type": "SystemAssigned"}, "properties": {}}
        made = await self._server.arm("PUT", machine, body, [("api-version", "2024-03-01")])
        assert made.status in (200, 201), made.body
        await self._server.arm("GET", machine, None, [("api-version", "2024-03-01")])  # the next request finds it done
        metadata = self._server.app.hosts._metadata
        for operation in self._documents.operations(self._documents.root / document):
            for name, key in operation.examples.items():
                example = self._documents.example(operation, key)
                result = Result(operation, name, REAL)
                given = example["parameters"] if example else {}
                query = [
                    (p["name"], str(given[p["name"]]))
                    for p in operation.parameters
                    if p["in"] == "query" and p["name"] in given and p["name"] != "api-version"
                ]
                reply = await metadata(
                    Request(
                        "GET",
                        operation.path,
                        Fields([("api-version", operation.version), *query]),
                        Fields([("Metadata", "true")]),
                        host="169.254.169.254",
                        scheme="http",
                        listener=machine,
                    ),
                    ResourceId.parse(machine),
                )
                judge(self._documents, self._checker, operation, result, reply)
                yield result
        await self._server.forget()


def judge(documents: Documents, checker: Checker, operation: Operation, result: Result, reply: Reply) -> None:
    """The status is declared and the body is as the document has it."""
    result.status = reply.status
    declared = operation.responses.get(str(reply.status))
    if declared is None or reply.status >= 400:
        result.problems.append(f"status {reply.status} is not declared: {reply.body[:300].decode()}")
        return
    declared, file = documents.follow(declared, operation.file)
    if "schema" in declared:
        result.problems += checker.problems(json.loads(reply.body), declared["schema"], file)
    elif reply.body:
        result.problems.append(f"a body with status {reply.status}: {reply.body[:100]!r}")
