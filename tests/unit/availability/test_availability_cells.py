"""Each cell of each availability table, on a server that runs by it.

The expectation is computed from the package data here, not by the code under test: what the edition says, and the
newer list of names where it has one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

TABLES: dict[str, Any] = json.loads(files("keyfob.clouds").joinpath("data/availability.json").read_text())
CLOUDS = ("AzureCloud", "AzureUSGovernment", "AzureChinaCloud", "AzureGermanCloud")
DEFINITION = {
    "$schema": "https://schema.management.azure.com/providers/Microsoft.Logic/schemas/2016-06-01/workflowdefinition.json#",
    "contentVersion": "1.0.0.0",
    "triggers": {},
    "actions": {},
}
BODIES: dict[str, dict[str, Any]] = {
    "virtual-machines": {},
    "virtual-machine-scale-sets": {"sku": {"name": "Standard_DS1_v2", "capacity": 1}},
    "app-service": {"kind": "app"},
    "functions": {"kind": "functionapp,linux"},
    "logic-apps": {"properties": {"definition": DEFINITION}},
    "data-factory-v2": {},
    "api-management": {
        "sku": {"name": "Developer", "capacity": 1},
        "properties": {"publisherEmail": "a@example.com", "publisherName": "A"},
    },
    "container-instances": {
        "properties": {
            "containers": [
                {
                    "name": "one",
                    "properties": {"image": "nginx", "resources": {"requests": {"cpu": 1, "memoryInGB": 1}}},
                }
            ]
        }
    },
}
"""The least that each host type takes."""
APPS = {
    "azure-resource-manager": "797f4846-ba00-4fd7-ba43-dac1f8f63013",
    "key-vault": "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",
    "data-lake": "e9f49c6b-5ce5-44c8-925d-015017e9f7ad",
    "sql": "022907d3-0f1b-48f7-badc-1ba6abab6d66",
    "event-hubs": "80369ed6-5f11-4dd9-bef3-692475845e77",
    "service-bus": "80a10ef9-8168-493d-abf9-3297c4ef6e3c",
    "storage": "e406a681-f3d4-42a8-90b6-c2b029497af1",
}
RESOURCES = {
    "data-lake": "https://datalake.azure.net/",
    "event-hubs": "https://eventhubs.azure.net",
    "service-bus": "https://servicebus.azure.net",
}
"""What clients ask for where the page gives no resource id."""


def outcome(edition: dict[str, Any], part: str, key: str, cloud: str, status: str) -> str:
    """accepted, preview or refused."""
    listed = edition.get("newer_list") or {part: []}
    if status == "Not available" and (cloud == "AzureGermanCloud" or key not in listed[part]):
        return "refused"
    return "preview" if status == "Preview" else "accepted"


def host_cells() -> Iterator[Any]:
    for name, edition in TABLES.items():
        for key, host in edition["hosts"].items():
            for kind, row in host["identities"].items():
                for cloud in CLOUDS:
                    cell = row[cloud]
                    systems = cell if isinstance(cell, dict) else {None: cell}
                    for system, status in systems.items():
                        expected = outcome(edition, "hosts", key, cloud, status)
                        title = "-".join(filter(None, (name, key, system, kind, cloud)))
                        yield pytest.param(name, cloud, key, host["types"][0], system, kind, expected, id=title)


def target_cells() -> Iterator[Any]:
    for name, edition in TABLES.items():
        for key, target in edition["targets"].items():
            for cloud in CLOUDS:
                cell = target["clouds"].get(cloud, {"status": "Unknown", "resource_ids": []})
                expected = outcome(edition, "targets", key, cloud, cell["status"])
                if key == "data-lake" and cloud != "AzureCloud":
                    expected = "refused"  # there never was one
                ids = [id for id in cell["resource_ids"] if "<" not in id]
                if cloud == "AzureCloud" or cell["status"] == "Not available" or ids:
                    yield pytest.param(
                        name, cloud, key, ids or [RESOURCES[key]], expected, id="-".join((name, key, cloud))
                    )


def body_of(world: Any, key: str, system: str | None, identity: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps({"location": world.location, "properties": {}, **BODIES[key]}))
    if system or key == "container-instances":
        body["properties"]["osType"] = system or "Linux"
    return body | {"identity": identity}


@pytest.mark.parametrize(("edition", "cloud", "key", "type", "system", "kind", "expected"), list(host_cells()))
def test_a_host_gets_the_identity_that_its_cloud_offers(worlds, edition, cloud, key, type, system, kind, expected):
    world = worlds(edition, cloud)
    version = world.version(type)
    identity: dict[str, Any] = {"type": kind}
    if kind == "UserAssigned":
        identity["userAssignedIdentities"] = {world.identity: {}}
    path = f"{world.group}/providers/{type}/{world.name()}"
    reply = world.arm("PUT", path, version, body_of(world, key, system, identity))
    headers = dict(reply.headers)
    shown = json.loads(reply.body)
    if expected == "refused":
        assert reply.status == 400, shown
        assert shown["error"]["code"] == "IdentityTypeNotSupported"
        sentence = shown["error"]["message"]
        assert TABLES[edition]["hosts"][key]["name"] in sentence
        assert f"'{kind}'" in sentence
        assert cloud in sentence
        assert f"'{edition}'" in sentence
        assert world.arm("GET", path, version).status == 404
        return
    assert reply.status in (200, 201), shown
    assert shown["identity"]["type"] == kind
    if expected == "preview":
        assert headers["x-ms-keyfob-availability"].startswith("preview")
        assert headers["Warning"].startswith('299 - "')
        assert kind in headers["Warning"]
    else:
        assert not {"x-ms-keyfob-availability", "Warning"} & set(headers)


@pytest.mark.parametrize(("edition", "cloud", "key", "resources", "expected"), list(target_cells()))
def test_a_service_gets_tokens_where_its_cloud_offers_it(worlds, edition, cloud, key, resources, expected):
    world = worlds(edition, cloud)
    asked = [{"resource": id} for id in (*resources, APPS[key])]
    answers = [world.token(**one) for one in asked]
    answers += [world.token(v2=True, scope=f"{id.rstrip('/')}/.default") for id in resources]
    for status, body in answers:
        if expected == "refused":
            assert status == 400
            assert body["error"] == "invalid_resource"
            assert body["error_description"].startswith("AADSTS500011")
        else:
            assert status == 200, body
            assert body["access_token"]
