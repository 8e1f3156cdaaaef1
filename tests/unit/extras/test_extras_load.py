"""`keyfob load` and `keyfob export` against a whole application."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.client import Failure
from keyfob.cli.export import Export, Ties
from keyfob.cli.load import in_order, load_file, read_document

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
MACHINE = "Microsoft.Compute/virtualMachines"
SEED: dict[str, Any] = {
    "resourceGroups": [
        {
            "name": "seeded",
            "location": "northeurope",
            "tags": {"made": "by a seed"},
            "resources": [
                {
                    "type": MACHINE,
                    "name": "web",
                    "identity": {
                        "type": "SystemAssigned, UserAssigned",
                        "userAssignedIdentities": {
                            "/subscriptions/{subscription}/resourceGroups/seeded/providers/" + IDENTITY + "/shop": {}
                        },
                    },
                },
                {"type": IDENTITY, "name": "shop"},
                {
                    "type": "Microsoft.KeyVault/vaults",
                    "name": "seeded-vault",
                    "properties": {
                        "tenantId": "{tenant}",
                        "sku": {"family": "A", "name": "standard"},
                        "enableRbacAuthorization": True,
                    },
                },
            ],
        }
    ],
    "roleAssignments": [
        {
            "principal": "/subscriptions/{subscription}/resourceGroups/seeded/providers/" + MACHINE + "/web",
            "role": "Key Vault Secrets User",
            "scope": "/subscriptions/{subscription}/resourceGroups/seeded",
        },
        {
            "principal": "/subscriptions/{subscription}/resourceGroups/seeded/providers/" + IDENTITY + "/shop",
            "role": "acdd72a7-3385-48ef-bd42-f606fba81ae7",
            "scope": "/subscriptions/{subscription}/resourceGroups/seeded/providers/" + MACHINE + "/web",
        },
    ],
}


PLACE = {"location": "westeurope"}
SUBNET = {"name": "one", "properties": {"addressPrefix": "10.0.0.0/24"}}


def written(tmp_path: Path, document: Any, world: Any = None) -> Path:
    file = tmp_path / "world.json"
    file.write_text(json.dumps(document).replace("{tenant}", world.tenant if world else ""))
    return file


async def state(world: Any) -> list[str]:
    rows = await world.app.store.fetch("SELECT kind, key FROM records WHERE kind IN (?, ?) ORDER BY kind, key",
                                       "arm.resources", "access.role_assignments")  # fmt: skip
    return [f"{kind} {key}" for kind, key in rows]


async def test_a_seed_is_made_and_the_second_time_changes_nothing(served: Any, tmp_path: Path, capsys: Any) -> None:
    world, client = served
    seed = json.loads(json.dumps(SEED))
    seed["secrets"] = [{"vault": "seeded-vault", "name": "greeting", "value": "hello"}]
    seed["roleAssignments"].append(
        {
            "principal": world.boss.id,
            "role": "Key Vault Secrets Officer",
            "scope": "/subscriptions/{subscription}/resourceGroups/seeded",
        }
    )
    file = written(tmp_path, seed, world)
    await asyncio.to_thread(load_file, file, client)
    said = capsys.readouterr().out
    assert f"made {IDENTITY}/shop" in said
    assert "made secret seeded-vault/greeting" in said
    assert "hello" not in said
    before = await state(world)
    assert len(before) == 3 + 1 + 3
    await asyncio.to_thread(load_file, file, client)
    assert "made" not in capsys.readouterr().out
    assert await state(world) == before


async def test_what_was_made_is_exported_with_its_ties(served: Any, tmp_path: Path) -> None:
    world, client = served
    await asyncio.to_thread(load_file, written(tmp_path, SEED, world), client)
    lock = f"{world.subscription}/resourceGroups/seeded/providers/Microsoft.Authorization/locks/keep"
    await world.good("PUT", lock, {"properties": {"level": "CanNotDelete"}}, version="2020-05-01")
    template = await asyncio.to_thread(Export(client).template, "seeded")
    assert world.subscription_id not in json.dumps(template)
    parts = {part["name"]: part for part in template["resources"]}
    identity = "[concat(subscription().id, '/resourceGroups/seeded/providers/" + IDENTITY + "/shop')]"
    assert parts["web"]["identity"]["userAssignedIdentities"] == {identity: {}}
    assert parts["web"]["dependsOn"] == [identity]
    assert "properties" in parts["shop"]
    assert "principalId" not in parts["shop"]["properties"]
    assert len(parts["keep"]["dependsOn"]) == 3
    principals = sorted(
        part["properties"]["principalId"]
        for part in template["resources"]
        if part["type"] == "Microsoft.Authorization/roleAssignments"
    )
    assert [text.rpartition(".")[2] for text in principals] == ["principalId]", "principalId]"]
    assert any("'Full').identity.principalId" in text for text in principals)
    assert parts["seeded-vault"]["properties"]["tenantId"] == "[subscription().tenantId]"
    everything = await asyncio.to_thread(Export(client).template, None)
    kinds = [(part["type"].rpartition("/")[2], part["name"]) for part in everything["resources"]]
    assert ("resourceGroups", "extras") in kinds
    assert ("deployments", "group-seeded") in kinds


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"resourcegroups": []}, "resourcegroups"),
        ({"resourceGroups": {}}, "must be a list"),
        ({"resourceGroups": [{"location": "x"}]}, "no 'name'"),
        ({"resources": [{"type": MACHINE, "name": "web"}]}, "needs an id"),
        (
            {"roleAssignments": [{"scope": "/subscriptions/{subscription}", "role": "Nobody", "principal": "x"}]},
            "Nobody",
        ),
        ({"resourceGroups": [{"name": "g", "location": "mars"}]}, "LocationNotAvailable"),
    ],
)
async def test_a_bad_seed_says_what_is_wrong(served: Any, tmp_path: Path, document: Any, word: str) -> None:
    _, client = served
    with pytest.raises(Failure) as failed:
        await asyncio.to_thread(load_file, written(tmp_path, document), client)
    assert word in failed.value.message


def test_yaml_without_its_package_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    file = tmp_path / "world.yaml"
    file.write_text("resourceGroups: []")
    with pytest.raises(Failure, match=r"keyfob\[yaml\]"):
        read_document(file)


def test_what_is_no_object_is_refused(tmp_path: Path) -> None:
    for text in ("[]", "{", "7"):
        file = tmp_path / "x.json"
        file.write_text(text)
        with pytest.raises(Failure):
            read_document(file)


def one(id: str, body: Any = None) -> dict[str, Any]:
    return {"id": f"/subscriptions/s/resourceGroups/g/providers/A.B/{id}", "apiVersion": None, "body": body or {}}


def test_parents_and_what_is_named_come_first() -> None:
    named = {"x": ["/subscriptions/S/resourceGroups/G/providers/a.b/c/two"]}
    order = [entry["id"][-7:] for entry in in_order([one("c/one/d/x"), one("c/one", named), one("c/two")])]
    assert order == ["B/c/two", "B/c/one", "one/d/x"]
    with pytest.raises(Failure, match="need each other"):
        in_order([one("c/one", {"x": one("c/two")["id"]}), one("c/two", {"x": one("c/one")["id"]})])


def test_texts_that_look_like_expressions_stay_texts() -> None:
    ties = Ties("/subscriptions/s", "t", [], lambda kind: "1")
    assert ties.text("[x]") == "[[x]"
    assert ties.text("/subscriptions/S/it's") == "[concat(subscription().id, '/it''s')]"
    assert ties.text("T") == "[subscription().tenantId]"
    assert ties.text("/subscriptions/other/x") == "/subscriptions/other/x"


async def test_a_machine_and_its_interface_do_not_wait_for_each_other(served: Any, tmp_path: Path) -> None:
    """What `az vm create` makes: the interface shows the machine that names it."""
    world, client = served
    group = f"{world.subscription}/resourceGroups/seeded"
    await world.good("PUT", group, {"location": "westeurope"}, version="2024-11-01")
    network = f"{group}/providers/Microsoft.Network"
    inside = {"properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": [SUBNET]}}
    await world.good("PUT", f"{network}/virtualNetworks/net", PLACE | inside, version="2024-05-01")
    subnet = {"id": f"{network}/virtualNetworks/net/subnets/one"}
    card = {"properties": {"ipConfigurations": [{"name": "ip", "properties": {"subnet": subnet}}]}}
    await world.good("PUT", f"{network}/networkInterfaces/card", PLACE | card, version="2024-05-01")
    cards = {"properties": {"networkProfile": {"networkInterfaces": [{"id": f"{network}/networkInterfaces/card"}]}}}
    await world.good("PUT", f"{group}/providers/{MACHINE}/web", PLACE | cards, version="2024-07-01")
    template = await asyncio.to_thread(Export(client).template, "seeded")
    parts = {part["name"]: part for part in template["resources"]}
    assert any("networkInterfaces/card" in one for one in parts["web"]["dependsOn"])
    assert not any(MACHINE in one for one in parts["card"]["dependsOn"])
    file = tmp_path / "again.json"
    file.write_text(json.dumps(template))
    await asyncio.to_thread(load_file, file, client, group="seeded")


async def test_what_was_exported_is_made_again_elsewhere(served: Any, tmp_path: Path) -> None:
    world, client = served
    users = [{"userPrincipalName": "ann@keyfob.onmicrosoft.com"}]
    groups = [{"displayName": "staff", "members": ["ann@keyfob.onmicrosoft.com"]}]
    seed = json.loads(json.dumps({**SEED, "users": users, "groups": groups}))
    del seed["resourceGroups"][0]["resources"][2]  # a deleted vault's name is not free at once
    await asyncio.to_thread(load_file, written(tmp_path, seed, world), client)
    before = await state(world)
    template = await asyncio.to_thread(Export(client).template, "seeded")
    old = (await world.good("GET", machine(world), version="2024-03-01"))["identity"]["principalId"]
    for one in (await world.good("GET", assigned(world), version="2022-04-01"))["value"]:
        if "/seeded" in one["properties"]["scope"]:
            await world.good("DELETE", one["id"], version="2022-04-01")
    await world.good("DELETE", f"{world.subscription}/resourceGroups/seeded")
    await world.app.resource_manager.engine.operations.settle()
    assert len(await state(world)) < len(before)
    file = written(tmp_path, template)
    with pytest.raises(Failure, match="--group"):
        await asyncio.to_thread(load_file, file, client)
    await asyncio.to_thread(load_file, file, client, group="seeded")
    assert await state(world) == before
    new = (await world.good("GET", machine(world), version="2024-03-01"))["identity"]["principalId"]
    assert new != old
    holders = {
        one["properties"]["principalId"]
        for one in (await world.good("GET", assigned(world), version="2022-04-01"))["value"]
    }
    assert new in holders
    assert old not in holders


def machine(world: Any) -> str:
    return f"{world.subscription}/resourceGroups/seeded/providers/{MACHINE}/web"


def assigned(world: Any) -> str:
    return f"{world.subscription}/providers/Microsoft.Authorization/roleAssignments"
