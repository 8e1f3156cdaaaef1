"""Settings that stand for a secret of a vault: fetched as the site, told when they cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from keyfob.hosts.app_service.references import parse_reference

from .conftest import Place, server

USER = "/providers/Microsoft.Authorization/roleDefinitions/4633458b-17de-408a-b874-0445c86b69e6"
OFFICER = "/providers/Microsoft.Authorization/roleDefinitions/b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
VALUE = "what only the right identity sees"


async def vault(place: Place) -> str:
    id = f"{place.group}/providers/Microsoft.KeyVault/vaults/web-vault"
    properties = {
        "tenantId": place.client.operator["tenant_id"],
        "sku": {"family": "A", "name": "standard"},
        "enableRbacAuthorization": True,
    }
    await place.ok("PUT", id, {"location": "westeurope", "properties": properties}, "2023-07-01")
    await grant(place, id, OFFICER, place.client.operator["object_id"])
    await secret(place, "one", VALUE)
    return id


async def secret(place: Place, name: str, value: str) -> str:
    import asyncio
    import json

    token = await asyncio.to_thread(place.client.token, "https://vault.azure.net")
    answer = await place.send(
        "PUT",
        f"https://web-vault.vault.azure.net/secrets/{name}?api-version=7.4",
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        json.dumps({"value": value}).encode(),
    )
    assert answer.status == 200, answer.body
    return str(answer.json()["id"])


async def grant(place: Place, scope: str, role: str, principal: str) -> None:
    import uuid

    await place.ok(
        "PUT",
        f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}",
        {"properties": {"roleDefinitionId": role, "principalId": principal, "principalType": "ServicePrincipal"}},
        "2022-04-01",
    )


async def statuses(place: Place, site: str, holder: str = "appsettings") -> Mapping[str, Any]:
    listed = await place.ok("GET", f"{site}/config/configreferences/{holder}")
    return {row["name"]: row["properties"] for row in listed["value"]}


BY_URI = "@Microsoft.KeyVault(SecretUri=https://web-vault.vault.azure.net/secrets/one)"
BY_NAME = "@Microsoft.KeyVault(VaultName=web-vault;SecretName=one)"


@pytest.mark.sandbox
async def test_program_gets_secrets_and_versions_and_the_decision_is_logged_as_the_sites(place: Place) -> None:
    scope = await vault(place)
    made = await place.site("shop", identity={"type": "SystemAssigned"})
    await grant(place, scope, USER, made["identity"]["principalId"])
    first = await secret(place, "two", "old")
    await secret(place, "two", "new")
    settings = {
        "URI": BY_URI,
        "NAME": BY_NAME,
        "OLD": f"@Microsoft.KeyVault(SecretUri={first})",
        "OLD_TOO": f"@Microsoft.KeyVault(VaultName=web-vault;SecretName=two;SecretVersion={first.rpartition('/')[2]})",
        "NEW": "@Microsoft.KeyVault(SecretUri=https://web-vault.vault.azure.net/secrets/two/)",
        "PLAIN": f"no reference: {BY_URI}",
    }
    await place.settings(place.id("shop"), settings)
    strings = {"db": {"value": BY_NAME, "type": "SQLAzure"}}
    await place.ok("PUT", f"{place.id('shop')}/config/connectionstrings", {"properties": strings})
    await place.deploy("shop", {"main.py": server()})
    seen = (await place.get("shop"))["environment"]
    assert {name: seen[name] for name in (*settings, "SQLAZURECONNSTR_db")} == {
        "URI": VALUE,
        "NAME": VALUE,
        "OLD": "old",
        "OLD_TOO": "old",
        "NEW": "new",
        "PLAIN": settings["PLAIN"],
        "SQLAZURECONNSTR_db": VALUE,
    }
    told = await statuses(place, place.id("shop"))
    assert {name: row["status"] for name, row in told.items()} == dict.fromkeys(
        ("URI", "NAME", "OLD", "OLD_TOO", "NEW"), "Resolved"
    )
    assert told["OLD"]["activeVersion"] == first.rpartition("/")[2]
    assert told["URI"]["identityType"] == {"type": "SystemAssigned"}
    assert (await statuses(place, place.id("shop"), "connectionstrings"))["db"]["status"] == "Resolved"
    listed = await place.ok("POST", f"{place.id('shop')}/config/appsettings/list")
    assert listed["properties"] == settings
    await place.app.guard.log.flush()
    decisions = await place.ok("GET", "/providers/Keyfob.Access/decisions", version="2026-11-01")
    mine = [one for one in decisions["value"] if made["identity"]["principalId"] in str(one)]
    assert mine
    assert VALUE not in str(mine)


@pytest.mark.sandbox
async def test_what_cannot_be_fetched_stays_the_text_and_says_why(place: Place) -> None:
    scope = await vault(place)
    made = await place.site("shop", identity={"type": "SystemAssigned"})
    await place.settings(
        place.id("shop"),
        {
            "DENIED": BY_URI,
            "NO_VAULT": "@Microsoft.KeyVault(VaultName=nowhere;SecretName=one)",
            "NO_SECRET": "@Microsoft.KeyVault(VaultName=web-vault;SecretName=nothing)",
            "NO_VERSION": f"@Microsoft.KeyVault(VaultName=web-vault;SecretName=one;SecretVersion={'0' * 32})",
            "BAD": "@Microsoft.KeyVault(SecretUri=nothing)",
            "ELSEWHERE": "@Microsoft.KeyVault(SecretUri=https://web-vault.evil.example/secrets/one)",
            "OTHER_CLOUD": "@Microsoft.KeyVault(SecretUri=https://web-vault.vault.azure.cn/secrets/one)",
        },
    )
    await place.deploy("shop", {"main.py": server()})
    seen = (await place.get("shop"))["environment"]
    assert (seen["DENIED"], seen["BAD"]) == (BY_URI, "@Microsoft.KeyVault(SecretUri=nothing)")
    told = await statuses(place, place.id("shop"))
    assert told["DENIED"]["status"] == "AccessToKeyVaultDenied"
    assert "the reference of DENIED is not resolved: AccessToKeyVaultDenied." in place.log(place.id("shop"))
    assert (
        "does not have secrets get permission" in told["DENIED"]["details"] or "Forbidden" in told["DENIED"]["details"]
    )
    await grant(place, scope, USER, made["identity"]["principalId"])
    await place.ok("POST", f"{place.id('shop')}/restart")
    import asyncio

    async with asyncio.timeout(90):
        while (await place.get("shop"))["environment"]["DENIED"] != VALUE:
            await asyncio.sleep(0.05)
    told = await statuses(place, place.id("shop"))
    assert {name: row["status"] for name, row in told.items()} == {
        "DENIED": "Resolved",
        "NO_VAULT": "VaultNotFound",
        "NO_SECRET": "SecretNotFound",
        "NO_VERSION": "SecretVersionNotFound",
        "BAD": "InvalidSyntax",
        "ELSEWHERE": "InvalidSyntax",
        "OTHER_CLOUD": "InvalidSyntax",
    }


@pytest.mark.sandbox
async def test_identity_that_is_named_fetches_and_a_site_without_one_does_not(place: Place) -> None:
    scope = await vault(place)
    user = await place.ok(
        "PUT",
        f"{place.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/reader",
        {"location": "westeurope"},
        "2023-01-31",
    )
    await grant(place, scope, USER, user["properties"]["principalId"])
    attached = {"type": "UserAssigned", "userAssignedIdentities": {user["id"]: {}}}
    await place.site("shop", identity=attached)
    await place.settings(place.id("shop"), {"A": BY_URI})
    assert (await statuses(place, place.id("shop")))["A"]["status"] == "MSINotEnabled"  # the system's own is meant
    await place.site("shop", identity=attached, keyVaultReferenceIdentity=user["id"])
    told = (await statuses(place, place.id("shop")))["A"]
    assert (told["status"], told["identityType"]["type"]) == ("Resolved", "UserAssigned")
    await place.site("bare")
    await place.settings(place.id("bare"), {"A": BY_URI})
    assert (await statuses(place, place.id("bare")))["A"]["status"] == "MSINotEnabled"


def test_references_are_read_in_both_forms() -> None:
    assert parse_reference("SecretUri=https://v.vault.azure.net/secrets/s/1") == {
        "vaultName": "v",
        "secretName": "s",
        "secretVersion": "1",
    }
    assert parse_reference("vaultname=v; secretname=s") == {"vaultName": "v", "secretName": "s"}
    for text in ("", "x", "SecretUri=http://v.vault.azure.net/secrets/s", "SecretUri=https://[", "VaultName=v"):
        assert parse_reference(text) == {}
