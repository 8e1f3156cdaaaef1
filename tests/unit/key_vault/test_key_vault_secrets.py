"""The data plane of secrets, through the door: what each call answers, to whom, and with which words."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.access.log import Question
from keyfob.directory.principals import set_enabled
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault import key_vault
from keyfob.services.key_vault.model import SecretVersion
from keyfob.services.key_vault.policies import GET
from keyfob.services.key_vault.records import SECRETS, VERSIONS
from keyfob.services.key_vault.remembered import Remembered
from keyfob.store.port import EVERYTHING
from keyfob.wire.http import Reply

TENANT = "11111111-1111-1111-1111-111111111111"
OTHER_TENANT = "11111111-1111-1111-1111-222222222222"
BASE = "https://shop.vault.azure.net"


def body(reply: Reply) -> Any:
    return json.loads(reply.body)


def error(reply: Reply) -> tuple[int, str, str | None]:
    said = body(reply)["error"]
    return reply.status, said["code"], said.get("innererror", {}).get("code")


def header(reply: Reply, name: str) -> str | None:
    found = [value for key, value in reply.headers if key.lower() == name]
    assert len(found) < 2
    return found[0] if found else None


@pytest.fixture
async def officer(vaults):
    assert (await vaults.make()).status in {200, 201}
    who = await vaults.principal("officer")
    await vaults.give(who, "secrets officer", vaults.scope())
    return who


@pytest.fixture
async def reader(vaults, officer):
    who = await vaults.principal("reader")
    await vaults.give(who, "secrets user", vaults.scope())
    return who


# --- set and get


async def test_what_is_set_can_be_read(vaults, officer, reader):
    made = await vaults.ask("PUT", "/secrets/Greeting", officer, {"value": "hello", "contentType": "text/plain"})
    assert made.status == 200
    said = body(made)
    assert re.fullmatch(BASE + "/secrets/Greeting/[0-9a-f]{32}", said["id"])
    assert said["value"] == "hello"
    assert said["attributes"] == {
        "enabled": True,
        "created": 1_700_000_000,
        "updated": 1_700_000_000,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
    }
    version = said["id"].rpartition("/")[2]
    for path in (
        "/secrets/Greeting",
        "/secrets/greeting/",
        f"/secrets/Greeting/{version}",
        f"//secrets/Greeting/{version}/",
    ):
        read = await vaults.ask("GET", path, reader)
        assert (read.status, body(read)) == (200, said)


async def test_a_new_value_is_a_new_version_and_the_old_one_stays(vaults, officer):
    first = body(await vaults.ask("PUT", "/secrets/n", officer, {"value": "one"}))["id"].rpartition("/")[2]
    second = body(await vaults.ask("PUT", "/secrets/n", officer, {"value": "two"}))["id"].rpartition("/")[2]
    assert body(await vaults.ask("GET", "/secrets/n", officer))["value"] == "two"
    assert body(await vaults.ask("GET", f"/secrets/n/{first}", officer))["value"] == "one"
    assert body(await vaults.ask("GET", f"/secrets/n/{second.upper()}", officer))["value"] == "two"


@pytest.mark.parametrize("version", ["7.0", "7.4", "7.6", "2016-10-01", "2015-06-01", "7.5-preview.1"])
async def test_versions_that_are_taken(vaults, officer, version: str):
    assert (await vaults.ask("PUT", "/secrets/n", officer, {"value": "v"}, version=version)).status == 200


@pytest.mark.parametrize("version", [None, "", "6.0", "8.0", "7", "2018-01-01", "7.4'"])
async def test_versions_that_are_not(vaults, officer, version: str | None):
    assert error(await vaults.ask("GET", "/secrets/n", officer, version=version))[:2] == (400, "BadParameter")


async def test_texts_of_missing_secrets(vaults, officer):
    reply = await vaults.ask("GET", "/secrets/none", officer)
    assert error(reply)[:2] == (404, "SecretNotFound")
    assert body(reply)["error"]["message"].startswith(
        "A secret with (name/id) none was not found in this key vault. If you recently deleted this secret"
    )
    await vaults.ask("PUT", "/secrets/n", officer, {"value": "v"})
    reply = await vaults.ask("GET", "/secrets/n/" + "0" * 32, officer)
    assert body(reply)["error"]["message"].startswith(f"A secret with (name/id) n/{'0' * 32} was not found")


@pytest.mark.parametrize(
    "path", ["/secrets/a_b", "/secrets/" + "a" * 128, "/secrets/%00", "/secrets/a.b", "/secrets/ä"]
)
async def test_names_that_do_not_fit(vaults, officer, path: str):
    for method, content in (("PUT", {"value": "v"}), ("GET", None), ("DELETE", None), ("PATCH", {})):
        assert error(await vaults.ask(method, path, officer, content))[:2] == (400, "BadParameter")


async def test_bodies_that_do_not_fit(vaults, officer):
    for content in (
        b"",
        b"{",
        b"[]",
        {"value": None},
        {"value": 5},
        {"value": "x" * 25_601},
        {"value": "v", "tags": 1},
    ):
        assert error(await vaults.ask("PUT", "/secrets/n", officer, content))[:2] == (400, "BadParameter")
    assert (await vaults.ask("GET", "/secrets/n", officer)).status == 404


async def test_a_disabled_secret_is_not_read(vaults, officer):
    made = body(await vaults.ask("PUT", "/secrets/n", officer, {"value": "v", "attributes": {"enabled": False}}))
    assert made["attributes"]["enabled"] is False
    reply = await vaults.ask("GET", "/secrets/n", officer)
    assert error(reply) == (403, "Forbidden", "SecretDisabled")
    assert body(reply)["error"]["message"] == "Operation get is not allowed on a disabled secret."
    assert (await vaults.ask("PATCH", "/secrets/n", officer, {"attributes": {"enabled": True}})).status == 200
    assert body(await vaults.ask("GET", "/secrets/n", officer))["value"] == "v"


async def test_expiry_and_not_before_only_inform(vaults, officer):
    given = {"value": "v", "attributes": {"nbf": 1_800_000_000, "exp": 1_900_000_000}}
    await vaults.ask("PUT", "/secrets/future", officer, given)
    await vaults.ask("PUT", "/secrets/past", officer, {"value": "v", "attributes": {"exp": 1_000_000_000}})
    for name in ("future", "past"):
        assert (await vaults.ask("GET", f"/secrets/{name}", officer)).status == 200
    refused = {"value": "v", "attributes": {"nbf": 2, "exp": 1}}
    assert (await vaults.ask("PUT", "/secrets/n", officer, refused)).status == 400


async def test_attributes_of_a_version_change_and_the_value_does_not(vaults, officer):
    made = body(await vaults.ask("PUT", "/secrets/n", officer, {"value": "v", "tags": {"a": "1"}}))
    vaults.clock.advance(10)
    given = {"contentType": "x", "tags": {"b": "2"}, "attributes": {"exp": 1_900_000_000}, "value": "ignored"}
    for path in ("/secrets/n", made["id"].removeprefix(BASE)):
        changed = body(await vaults.ask("PATCH", path, officer, given))
        assert "value" not in changed
        assert (changed["contentType"], changed["tags"]) == ("x", {"b": "2"})
        assert changed["attributes"]["exp"] == 1_900_000_000
        assert changed["attributes"]["updated"] == made["attributes"]["updated"] + 10
        assert changed["attributes"]["created"] == made["attributes"]["created"]
    assert body(await vaults.ask("GET", "/secrets/n", officer))["value"] == "v"
    assert (await vaults.ask("PATCH", "/secrets/none", officer, {})).status == 404
    assert (await vaults.ask("PATCH", "/secrets/n", officer, {"attributes": {"nbf": 1_900_000_001}})).status == 400


# --- lists


async def test_paging_through_secrets_and_versions(vaults, officer):
    names = [f"s{n:02}" for n in range(30)]
    for name in names:
        await vaults.ask("PUT", f"/secrets/{name}", officer, {"value": "v"})
    for n in range(4):
        await vaults.ask("PUT", "/secrets/s00", officer, {"value": str(n)})

    async def walk(target: str) -> tuple[list[Any], int]:
        found, pages = [], 0
        link: str | None = target
        while link is not None:
            page = body(await vaults.ask("GET", link, officer, version=None))
            assert len(page["value"]) <= 25
            assert "value" not in (page["value"] or [{}])[0]
            found += page["value"]
            pages += 1
            link = page["nextLink"]
            if link is not None:
                assert link.startswith(BASE + "/")
                link = link.removeprefix(BASE)
        return found, pages

    every, pages = await walk("/secrets?api-version=7.4")
    assert [item["id"] for item in every] == [f"{BASE}/secrets/{name}" for name in names]
    assert pages == 2
    every, pages = await walk("/secrets?api-version=7.4&maxresults=7")
    assert ([item["id"].rpartition("/")[2] for item in every], pages) == (names, 5)
    versions, pages = await walk("/secrets/s00/versions?api-version=7.4&maxresults=2")
    assert (len({item["id"] for item in versions}), pages) == (5, 3)
    assert (await vaults.ask("GET", "/secrets/none/versions", officer)).status == 404


@pytest.mark.parametrize(
    "query",
    ["maxresults=0", "maxresults=26", "maxresults=x", "maxresults=-1", "maxresults=²", "$skiptoken=!", "$skiptoken=AA"],
)
async def test_page_parameters_that_do_not_fit(vaults, officer, query: str):
    assert error(await vaults.ask("GET", "/secrets?" + query, officer))[:2] == (400, "BadParameter")


async def test_a_page_token_cannot_leave_its_vault(vaults, officer):
    await vaults.make("zoo")
    await vaults.give(officer, "secrets officer", vaults.scope("zoo"))
    await vaults.ask("PUT", "/secrets/mine", officer, {"value": "v"})
    await vaults.ask("PUT", "/secrets/hidden", officer, {"value": "v"}, vault="zoo")
    for after in ("0", "zzz", "../zoo/secrets/a"):
        import base64

        token = base64.urlsafe_b64encode(after.encode()).decode()
        reply = await vaults.ask("GET", f"/secrets?$skiptoken={token}", officer)
        assert b"hidden" not in reply.body


# --- deleting


async def test_deleting_recovering_purging(vaults, officer):
    made = body(await vaults.ask("PUT", "/secrets/n", officer, {"value": "v"}))
    gone = body(await vaults.ask("DELETE", "/secrets/n", officer))
    assert gone["recoveryId"] == BASE + "/deletedsecrets/n"
    assert gone["id"] == made["id"]
    assert gone["scheduledPurgeDate"] - gone["deletedDate"] == 90 * 86_400
    assert "value" not in gone
    assert (await vaults.ask("GET", "/secrets/n", officer)).status == 404
    assert (await vaults.ask("DELETE", "/secrets/n", officer)).status == 404
    assert body(await vaults.ask("GET", "/deletedsecrets/n", officer)) == gone
    assert [item["recoveryId"] for item in body(await vaults.ask("GET", "/deletedsecrets", officer))["value"]] == [
        gone["recoveryId"]
    ]
    reply = await vaults.ask("PUT", "/secrets/N", officer, {"value": "w"})
    assert error(reply) == (409, "Conflict", "ObjectIsDeletedButRecoverable")
    assert body(reply)["error"]["message"] == (
        "Secret n is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the "
        "secret can only be recovered or purged."
    )
    assert body(await vaults.ask("POST", "/deletedsecrets/n/recover", officer))["id"] == made["id"]
    assert body(await vaults.ask("GET", "/secrets/n", officer))["value"] == "v"
    reply = await vaults.ask("POST", "/deletedsecrets/n/recover", officer)
    assert error(reply)[:2] == (400, "MethodNotAllowed")
    reply = await vaults.ask("GET", "/deletedsecrets/n", officer)
    assert error(reply)[:2] == (404, "SecretNotFound")
    assert body(reply)["error"]["message"] == "Deleted Secret not found: n"
    await vaults.ask("DELETE", "/secrets/n", officer)
    owner = await vaults.principal("an owner")
    await vaults.give(owner, "owner", vaults.scope())
    assert (await vaults.ask("DELETE", "/deletedsecrets/n", owner)).status == 403  # a data action, not a control one
    assert (await vaults.ask("DELETE", "/deletedsecrets/n", officer)).status == 204


async def _admin(vaults, name: str = "shop"):
    """Somebody who may do everything with secrets, through an access policy."""
    who = await vaults.principal("admin")
    policy = {"tenantId": TENANT, "objectId": who.id, "permissions": {"secrets": ["all"]}}
    reply = await vaults.make(name, enableRbacAuthorization=False, accessPolicies=[policy])
    assert reply.status in {200, 201}, reply.body
    return who


async def test_purging_is_for_good(vaults):
    admin = await _admin(vaults)
    await vaults.ask("PUT", "/secrets/n", admin, {"value": "one"})
    await vaults.ask("PUT", "/secrets/n", admin, {"value": "two"})
    await vaults.ask("DELETE", "/secrets/n", admin)
    reply = await vaults.ask("DELETE", "/deletedsecrets/n", admin)
    assert (reply.status, reply.body) == (204, b"")
    for path in ("/secrets/n", "/deletedsecrets/n"):
        assert (await vaults.ask("GET", path, admin)).status == 404
    assert await VERSIONS.list(vaults.store) == []
    assert (await vaults.ask("PUT", "/secrets/n", admin, {"value": "new"})).status == 200
    assert len(body(await vaults.ask("GET", "/secrets/n/versions", admin))["value"]) == 1
    assert (await vaults.ask("DELETE", "/deletedsecrets/none", admin)).status == 404


async def test_a_deleted_secret_disappears_when_its_time_is_over(vaults):
    admin = await _admin(vaults)
    await vaults.ask("PUT", "/secrets/n", admin, {"value": "one"})
    await vaults.ask("DELETE", "/secrets/n", admin)
    vaults.clock.advance(90 * 86_400 - 5)
    token_reply = await vaults.ask("GET", "/deletedsecrets/n", admin)
    assert token_reply.status == 200
    vaults.clock.advance(10)
    assert (await vaults.ask("GET", "/deletedsecrets/n", admin)).status == 404
    assert body(await vaults.ask("GET", "/deletedsecrets", admin))["value"] == []
    assert (await vaults.ask("POST", "/deletedsecrets/n/recover", admin)).status == 404
    assert (await vaults.ask("PUT", "/secrets/n", admin, {"value": "new"})).status == 200
    assert len(body(await vaults.ask("GET", "/secrets/n/versions", admin))["value"]) == 1


async def test_purge_protection(vaults):
    admin = await _admin(vaults)
    policy = {"tenantId": TENANT, "objectId": admin.id, "permissions": {"secrets": ["all"]}}
    await vaults.make(enableRbacAuthorization=False, accessPolicies=[policy], enablePurgeProtection=True)
    made = body(await vaults.ask("PUT", "/secrets/n", admin, {"value": "v"}))
    assert made["attributes"]["recoveryLevel"] == "Recoverable"
    await vaults.ask("DELETE", "/secrets/n", admin)
    assert error(await vaults.ask("DELETE", "/deletedsecrets/n", admin)) == (403, "Forbidden", "ForbiddenByPolicy")


async def test_without_soft_delete_deleting_is_for_good(vaults):
    who = await vaults.principal("admin")
    policy = {"tenantId": TENANT, "objectId": who.id, "permissions": {"secrets": ["all"]}}
    await vaults.make(enableRbacAuthorization=False, accessPolicies=[policy], enableSoftDelete=False)
    made = body(await vaults.ask("PUT", "/secrets/n", who, {"value": "v"}))
    assert made["attributes"]["recoveryLevel"] == "Purgeable"
    gone = await vaults.ask("DELETE", "/secrets/n", who)
    assert gone.status == 200
    assert "recoveryId" not in body(gone)
    assert (await vaults.ask("GET", "/deletedsecrets/n", who)).status == 404
    assert await VERSIONS.list(vaults.store) == []


# --- backups


async def test_backup_and_restore(vaults):
    admin = await _admin(vaults)
    await vaults.ask("PUT", "/secrets/Key", admin, {"value": "one", "tags": {"a": "1"}})
    made = body(await vaults.ask("PUT", "/secrets/Key", admin, {"value": "two"}))
    blob = body(await vaults.ask("POST", "/secrets/key/backup", admin))["value"]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", blob)
    for wrong in (blob[:-4] + "AAAA", "x", "", None, "ä", blob[4:], blob + "A"):
        assert error(await vaults.ask("POST", "/secrets/restore", admin, {"value": wrong}))[:2] == (400, "BadParameter")
    assert (await vaults.ask("POST", "/secrets/restore", admin, {"value": blob})).status == 409
    await vaults.ask("DELETE", "/secrets/Key", admin)
    assert (await vaults.ask("POST", "/secrets/restore", admin, {"value": blob})).status == 409
    other = await _admin(vaults, "other")
    restored = body(await vaults.ask("POST", "/secrets/restore", other, {"value": blob}, vault="other"))
    assert restored["id"] == made["id"].replace("shop", "other")
    assert "value" not in restored
    assert body(await vaults.ask("GET", "/secrets/Key", other, vault="other"))["value"] == "two"
    assert len(body(await vaults.ask("GET", "/secrets/Key/versions", other, vault="other"))["value"]) == 2
    assert (await vaults.ask("POST", "/secrets/none/backup", admin)).status == 404


# --- who may


async def test_nobody_is_challenged_before_anything_is_looked_at(vaults, officer):
    for method, target, version in (
        ("GET", "/secrets/n", "7.4"),
        ("PUT", "/secrets/n", "7.4"),
        ("PUT", "/secrets/a_b", None),
        ("GET", "/secrets?maxresults=999", "1.0"),
    ):
        reply = await vaults.ask(method, target, None, version=version)
        assert reply.status == 401
        assert body(reply) == {
            "error": {"code": "Unauthorized", "message": "AKV10000: Request is missing a Bearer or PoP token."}
        }
        challenge = header(reply, "www-authenticate")
        assert challenge == (
            f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="https://vault.azure.net"'
        )
        assert all(part.count("=") == 1 for part in challenge.removeprefix("Bearer ").split(","))


async def test_tokens_that_prove_nothing(vaults, officer, reader):
    await vaults.ask("PUT", "/secrets/n", officer, {"value": "v"})
    good = vaults.token(reader)
    head, claims, signature = good.split(".")
    stranger = await vaults.principal("stranger", OTHER_TENANT)
    wrong = {
        "AKV10022: Invalid audience. Expected https://vault.azure.net, found: https://management.azure.com/.": (
            vaults.token(reader, "https://management.azure.com/")
        ),
        f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{TENANT}/, found "
        f"https://sts.windows.net/{OTHER_TENANT}/.": vaults.token(stranger, tenant=OTHER_TENANT),
        "AKV10005": f"{head}.{claims}.{signature[:-8]}AAAAAAAA",
        "AKV10000": "nonsense",
    }
    for message, token in wrong.items():
        reply = await vaults.ask("GET", "/secrets/n", token)
        assert reply.status == 401
        assert body(reply)["error"]["message"].startswith(message)
        assert 'error="invalid_token"' in (header(reply, "www-authenticate") or "")
    assert (await vaults.ask("GET", "/secrets/n", good)).status == 200
    vaults.clock.advance(2 * 86_400)
    reply = await vaults.ask("GET", "/secrets/n", good)
    assert (reply.status, body(reply)["error"]["message"][:8]) == (401, "AKV10013")


@pytest.mark.parametrize("audience", ["https://vault.azure.net", "https://vault.azure.net/"])
async def test_both_spellings_of_the_audience(vaults, officer, audience: str):
    assert (await vaults.ask("GET", "/secrets", vaults.token(officer, audience))).status == 200


async def test_the_refusal_of_role_assignments(vaults, officer):
    nobody = await vaults.principal("nobody")
    reply = await vaults.ask("GET", "/secrets/n", nobody)
    assert error(reply) == (403, "Forbidden", "ForbiddenByRbac")
    group = "/subscriptions/22222222-2222-2222-2222-222222222222/resourcegroups/rg/providers"
    machine = f"{group}/Microsoft.Compute/virtualMachines/web"
    lines = body(reply)["error"]["message"].split("\r\n")
    assert lines[0] == "Caller is not authorized to perform action on resource."
    assert lines[2].startswith(
        f"Caller: appid={nobody.app_id};oid={nobody.id};iss=https://sts.windows.net/{TENANT}/;xms_mirid={machine}"
    )
    assert lines[3:] == [
        "Action: 'Microsoft.KeyVault/vaults/secrets/getSecret/action'",
        f"Resource: '{group}/microsoft.keyvault/vaults/shop/secrets/n'",
        "Assignment: (not found)",
        "DenyAssignmentId: null",
        "DecisionReason: 'DeniedWithNoValidRBAC' ",
        "Vault: shop;location=westus",
        "",
    ]


async def test_the_refusal_of_access_policies(vaults):
    await _admin(vaults)
    nobody = await vaults.principal("nobody")
    for target, wanted in (("/secrets", "list"), ("/secrets/n", "get"), ("/deletedsecrets/n", "get")):
        reply = await vaults.ask("GET", target, nobody)
        assert error(reply) == (403, "Forbidden", "AccessDenied")
        assert body(reply)["error"]["message"] == (
            f"The user, group or application 'appid={nobody.app_id};oid={nobody.id};iss=https://sts.windows.net/"
            f"{TENANT}/' does not have secrets {wanted} permission on key vault 'shop;location=westus'. For help "
            "resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287"
        )


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("owner", set()),  # control plane roles open nothing here
        ("contributor", set()),
        ("reader", {"list"}),
        ("secrets user", {"get", "list"}),
        ("secrets officer", {"get", "list", "set", "delete"}),
    ],
)
async def test_what_each_role_opens(vaults, officer, role: str, allowed: set[str]):
    await vaults.ask("PUT", "/secrets/n", officer, {"value": "v"})
    who = await vaults.principal(role)
    await vaults.give(who, role, vaults.scope())
    calls = {
        "list": ("GET", "/secrets", None),
        "get": ("GET", "/secrets/n", None),
        "set": ("PUT", "/secrets/m", {"value": "v"}),
        "delete": ("DELETE", "/secrets/n", None),
    }
    done = {name for name, call in calls.items() if (await vaults.ask(call[0], call[1], who, call[2])).status == 200}
    assert done == allowed


async def test_a_role_on_one_secret_opens_that_one_only(vaults, officer):
    for name in ("n", "n2"):
        await vaults.ask("PUT", f"/secrets/{name}", officer, {"value": "v"})
    who = await vaults.principal()
    await vaults.give(who, "secrets user", vaults.scope().child("secrets", "n"))
    assert (await vaults.ask("GET", "/secrets/n", who)).status == 200
    assert (await vaults.ask("GET", "/secrets/N", who)).status == 200
    assert (await vaults.ask("GET", "/secrets/n2", who)).status == 403
    assert (await vaults.ask("GET", "/secrets", who)).status == 403


async def test_a_role_on_one_vault_opens_no_other(vaults, officer):
    await vaults.make("shop2")
    assert (await vaults.ask("GET", "/secrets", officer, vault="shop2")).status == 403


async def test_policies_that_are_there_do_nothing_where_roles_decide(vaults):
    admin = await _admin(vaults)
    assert (await vaults.ask("GET", "/secrets", admin)).status == 200
    policy = {"tenantId": TENANT, "objectId": admin.id, "permissions": {"secrets": ["all"]}}
    await vaults.make(enableRbacAuthorization=True, accessPolicies=[policy])
    assert error(await vaults.ask("GET", "/secrets", admin))[2] == "ForbiddenByRbac"


async def test_roles_do_nothing_where_policies_decide(vaults):
    await _admin(vaults)
    who = await vaults.principal()
    await vaults.give(who, "secrets officer", vaults.scope())
    assert error(await vaults.ask("GET", "/secrets", who))[2] == "AccessDenied"


# --- the rest of the wire


async def test_headers_of_every_reply(vaults, officer):
    for reply in (
        await vaults.ask("GET", "/secrets", officer, x_ms_client_request_id="abc"),
        await vaults.ask("GET", "/secrets/none", officer, x_ms_client_request_id="abc"),
        await vaults.ask("GET", "/secrets", None, x_ms_client_request_id="abc"),
        await vaults.ask("GET", "/nothing", officer, x_ms_client_request_id="abc"),
    ):
        assert header(reply, "x-ms-keyvault-region") == "westus"
        assert (header(reply, "x-ms-request-id") or "").startswith("request-")
        assert header(reply, "x-ms-client-request-id") == "abc"
        assert header(reply, "strict-transport-security")
        assert header(reply, "x-ms-keyvault-service-version")
    reply = await vaults.ask("GET", "/secrets", officer, x_ms_client_request_id="a\r\nSet-Cookie: b")
    assert header(reply, "x-ms-client-request-id") is None


async def test_keys_and_certificates_are_not_there(vaults, officer):
    assert error(await vaults.ask("GET", "/keys/k", officer))[:2] == (404, "KeyNotFound")
    assert error(await vaults.ask("GET", "/certificates/c", officer))[:2] == (404, "CertificateNotFound")
    assert (await vaults.ask("POST", "/keys/k/create", officer)).status == 404
    assert (await vaults.ask("PUT", "/secrets", officer)).status == 405


async def test_an_unknown_vault(vaults):
    reply = await vaults.ask("GET", "/secrets", None, vault="nobodys")
    assert error(reply)[:2] == (404, "VaultNotFound")


async def test_a_vault_of_another_cloud_is_not_found_here(vaults, officer):
    from keyfob.declare import Address
    from keyfob.wire.http import Fields, Request

    request = Request("GET", "/secrets", Fields(), Fields(), host="shop.vault.azure.cn")
    reply = await vaults.door(request, Address(vaults.clouds["AzureChinaCloud"], "key_vault", "shop"))
    assert reply.status == 404


# --- at rest


async def test_no_value_stands_in_the_database(vaults, officer):
    canary = "correct-horse-battery-staple"
    await vaults.ask("PUT", "/secrets/n", officer, {"value": canary})
    await vaults.ask("PUT", "/secrets/n", officer, {"value": canary + "2", "contentType": "seen-in-the-clear"})
    await vaults.ask("DELETE", "/secrets/n", officer)
    files = list(vaults.database.parent.glob("keyfob.db*"))
    written = b"".join(path.read_bytes() for path in files)
    assert b"seen-in-the-clear" in written  # we do look at the right bytes
    assert canary.encode() not in written
    import base64

    assert base64.b64encode(canary.encode())[:30] not in written


async def test_rows_cannot_be_swapped(vaults, officer):
    await vaults.ask("PUT", "/secrets/mine", officer, {"value": "cheap"})
    await vaults.ask("PUT", "/secrets/theirs", officer, {"value": "precious"})
    import msgspec

    rows = {row.value.name: row for row in await VERSIONS.list(vaults.store)}
    forged = msgspec.structs.replace(rows["mine"].value, sealed=rows["theirs"].value.sealed)
    async with vaults.store.transaction() as tx:
        await VERSIONS.put(tx, rows["mine"].key, forged)
    reply = await vaults.ask("GET", "/secrets/mine", officer)
    assert reply.status == 500
    assert b"precious" not in reply.body
    assert error(reply)[1] == "InternalServerError"


async def test_another_master_key_opens_nothing(vaults, officer):
    from keyfob.access.door import Door

    await vaults.ask("PUT", "/secrets/n", officer, {"value": "v"})
    other = key_vault(
        store=vaults.store,
        guard=vaults.guard,
        clouds=vaults.clouds,
        clock=vaults.clock,
        ids=vaults.ids,
        master_key=b"z" * 32,
    )
    vaults.door = Door(other.plane, guard=vaults.guard, clock=vaults.clock)
    assert (await vaults.ask("GET", "/secrets/n", officer)).status == 500


async def test_decisions_are_logged_without_values_or_tokens(vaults, officer):
    await vaults.ask("PUT", "/secrets/n", officer, {"value": "hush"})
    nobody = await vaults.principal()
    await vaults.ask("GET", "/secrets/n", nobody)
    entries = list(await _entries(vaults))
    assert {(entry.action.rpartition("secrets/")[2], entry.allowed) for entry in entries} >= {
        ("setSecret/action", True),
        ("getSecret/action", False),
    }
    assert "hush" not in repr(entries)
    assert vaults.token(nobody)[:40] not in repr(entries)


async def _entries(vaults) -> Any:
    found = vaults.guard.log.find(Question(tenant_id=TENANT))
    return await found if hasattr(found, "__await__") else found


# --- the hot path


def _hot_headers(vaults, who: Any, host: str = "shop.vault.azure.net") -> list[tuple[bytes, bytes]]:
    token = who if isinstance(who, str) else vaults.token(who)
    return [(b"host", host.encode()), (b"authorization", b"Bearer " + token.encode()), (b"accept", b"*/*")]


def _hot_body(answer: bytes | None) -> Any:
    assert answer is not None
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert f"Content-Length: {len(rest)}".encode() in head
    assert b"x-ms-keyvault-region: westus" in head
    return json.loads(rest)


async def test_the_hot_path_answers_what_the_slow_way_answers(vaults, officer, reader):
    version = body(await vaults.ask("PUT", "/secrets/n", officer, {"value": "v", "tags": {"a": "b"}}))["id"][-32:]
    for path in ("/secrets/n", f"/secrets/n/{version}", "/secrets/n/", "/secrets/N"):
        target, headers = f"{path}?api-version=7.4".encode(), _hot_headers(vaults, reader)
        assert path in {"/secrets/N", "/secrets/n/"} or vaults.service.hot(target, headers) is None
        slow = body(await vaults.ask("GET", path, reader))
        assert _hot_body(vaults.service.hot(target, headers)) == slow
        assert _hot_body(vaults.service.hot(target, _hot_headers(vaults, reader, "SHOP.vault.azure.net:443"))) == slow


async def test_the_hot_path_logs_its_decisions(vaults, officer, reader):
    await vaults.ask("PUT", "/secrets/n", officer, {"value": "v"})
    await vaults.ask("GET", "/secrets/n", reader)
    before = len(list(await _entries(vaults)))
    assert vaults.service.hot(b"/secrets/n?api-version=7.4", _hot_headers(vaults, reader)) is not None
    after = list(await _entries(vaults))
    assert len(after) == before + 1
    logged = [e for e in after if e.principal_id == reader.id and e.service == "key_vault"]
    assert len({(e.action, e.scope.lower(), e.allowed, e.by) for e in logged}) == 1  # as the slow way says it


async def test_the_hot_path_opens_nothing_by_itself(vaults, officer, reader):
    await vaults.ask("PUT", "/secrets/n", officer, {"value": "v"})
    await vaults.ask("PUT", "/secrets/off", officer, {"value": "v", "attributes": {"enabled": False}})
    nobody = await vaults.principal("nobody")
    await vaults.make("policy", enableRbacAuthorization=False)
    for who in (officer, reader, nobody):
        for path in ("/secrets/n", "/secrets/off", "/secrets"):
            await vaults.ask("GET", path, who)
    hot, good = vaults.service.hot, _hot_headers(vaults, reader)
    target = b"/secrets/n?api-version=7.4"
    assert hot(target, good) is not None
    stranger = await vaults.principal("stranger", OTHER_TENANT)
    token = vaults.token(reader)
    for headers in (
        _hot_headers(vaults, nobody),
        _hot_headers(vaults, vaults.token(reader, "https://management.azure.com/")),
        _hot_headers(vaults, vaults.token(stranger, tenant=OTHER_TENANT)),
        _hot_headers(vaults, token[:-8] + "AAAAAAAA"),
        _hot_headers(vaults, ""),
        _hot_headers(vaults, reader, "policy.vault.azure.net"),
        _hot_headers(vaults, reader, "shop.vault.azure.cn"),
        _hot_headers(vaults, reader, "shop.vault.azure.net:8443"),
        _hot_headers(vaults, reader, "vault.azure.net"),
        good[:1],
        good[1:],
        [*good, good[1]],
    ):
        assert hot(target, headers) is None
    for other in (
        b"/secrets/off?api-version=7.4",
        b"/secrets/none?api-version=7.4",
        b"/secrets/n?api-version=1.0",
        b"/secrets/n",
        b"/secrets?api-version=7.4",
        b"/secrets/n/versions?api-version=7.4",
        b"/deletedsecrets/n?api-version=7.4",
        b"/secrets/n?api-version=7.4&api-version=7.4",
        b"/secrets/n/\xff?api-version=7.4",
    ):
        assert hot(other, good) is None


async def test_every_change_is_seen_by_the_next_hot_request(vaults, officer, reader):
    await vaults.ask("PUT", "/secrets/n", officer, {"value": "one"})
    target, headers = b"/secrets/n?api-version=7.4", _hot_headers(vaults, reader)

    async def warm() -> Any:
        assert (await vaults.ask("GET", "/secrets/n", reader)).status == 200
        return _hot_body(vaults.service.hot(target, headers))["value"]

    assert await warm() == "one"
    await vaults.ask("PUT", "/secrets/n", officer, {"value": "two"})
    assert vaults.service.hot(target, headers) is None
    assert await warm() == "two"
    await vaults.ask("PATCH", "/secrets/n", officer, {"attributes": {"enabled": False}})
    assert vaults.service.hot(target, headers) is None
    await vaults.ask("PATCH", "/secrets/n", officer, {"attributes": {"enabled": True}})
    assert await warm() == "two"
    async with vaults.store.transaction() as tx:
        await set_enabled(tx, TENANT, reader.id, False)
    assert vaults.service.hot(target, headers) is None
    async with vaults.store.transaction() as tx:
        await set_enabled(tx, TENANT, reader.id, True)
    assert await warm() == "two"
    await vaults.make(enableRbacAuthorization=False)
    assert vaults.service.hot(target, headers) is None
    await vaults.make(enableRbacAuthorization=True)
    assert await warm() == "two"
    vaults.clock.advance(2 * 86_400)
    assert vaults.service.hot(target, headers) is None  # the token is dead
    headers = _hot_headers(vaults, reader)
    assert await warm() == "two"
    async with vaults.store.transaction() as tx:
        from keyfob.access.assignments import ROLE_ASSIGNMENTS

        for row in await ROLE_ASSIGNMENTS.list(tx):
            if row.value.principal_id == reader.id:
                await ROLE_ASSIGNMENTS.delete(tx, row.key)
    assert vaults.service.hot(target, headers) is None
    await vaults.give(reader, "secrets user", vaults.scope())
    assert await warm() == "two"
    await vaults.ask("DELETE", "/secrets/n", officer)
    assert vaults.service.hot(target, headers) is None
    await vaults.ask("POST", "/deletedsecrets/n/recover", officer)
    assert await warm() == "two"
    assert (await vaults.arm("DELETE", str(vaults.scope()))).status == 200
    assert vaults.service.hot(target, headers) is None


async def test_the_hot_path_leaves_access_policies_alone(vaults):
    """Roles say yes and the vault's policies say no: the vault uses policies, so nothing may come from memory."""
    admin = await _admin(vaults)
    outsider = await vaults.principal("outsider")
    await vaults.give(outsider, "secrets user", vaults.scope())
    await vaults.ask("PUT", "/secrets/n", admin, {"value": "v"})
    assert (await vaults.ask("GET", "/secrets/n", admin)).status == 200
    assert (await vaults.ask("GET", "/secrets/n", outsider)).status == 403
    caller = await vaults.guard.authenticate(
        "Bearer " + vaults.token(outsider),
        audiences=frozenset({"https://vault.azure.net"}),
        tenant_id=TENANT,
        now=vaults.clock.now(),
    )
    assert await vaults.guard.allows(caller, GET, vaults.scope().child("secrets", "n"))  # and it is in memory now
    assert vaults.service.hot(b"/secrets/n?api-version=7.4", _hot_headers(vaults, outsider)) is None
    assert vaults.service.hot(b"/secrets/n?api-version=7.4", _hot_headers(vaults, admin)) is None


async def test_what_changed_while_it_was_read_is_not_kept(store):
    remembered, old = Remembered(store), SecretVersion(name="n", version="1")
    changes = remembered.changes
    async with store.transaction() as tx:
        tx.changed(SECRETS.topic, "/vault/secrets/n")
    remembered.keep("/vault/secrets/n", "", old, changes)
    assert remembered.get("/vault/secrets/n", "") is None
    remembered.keep("/vault/secrets/n", "", old, remembered.changes)
    assert remembered.get("/vault/secrets/n", "") is old
    async with store.transaction() as tx:
        tx.changed(VERSIONS.topic, "/vault/secrets/n/1")
    assert remembered.get("/vault/secrets/n", "") is None


async def test_lost_notifications_make_everything_forgotten(vaults, officer, reader):
    await vaults.ask("PUT", "/secrets/n", officer, {"value": "v"})
    await vaults.ask("GET", "/secrets/n", reader)
    target, headers = b"/secrets/n?api-version=7.4", _hot_headers(vaults, reader)
    assert vaults.service.hot(target, headers) is not None
    async with vaults.store.transaction() as tx:
        tx.changed(VERSIONS.topic, EVERYTHING)
    assert vaults.service.hot(target, headers) is None


# --- anything at all


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "PUT", "PATCH", "DELETE", "POST", "HEAD", "OPTIONS"]),
    parts=st.lists(
        st.sampled_from(["secrets", "deletedsecrets", "restore", "versions", "backup", "recover", "n", "0" * 32])
        | st.text(max_size=8),
        max_size=4,
    ),
    query=st.text(max_size=12) | st.sampled_from(["maxresults=5", "$skiptoken=bg", "$skiptoken=\0"]),
    content=st.binary(max_size=30)
    | st.sampled_from([b'{"value":"v"}', b'{"value":"v","tags":{"a":"b"}}', b'{"attributes":{"enabled":false}}']),
    version=st.sampled_from(["7.4", "7.0", "2015-06-01"]),
)
async def test_nothing_that_is_sent_is_an_internal_error(vaults, method, parts, query, content, version):
    if (await vaults.arm("GET", str(vaults.scope()))).status == 404:
        await vaults.make()
    who = await vaults.principal()
    await vaults.give(who, "secrets officer", ResourceId.parse("/subscriptions/22222222-2222-2222-2222-222222222222"))
    target = "/" + "/".join(quote(part, safe="") for part in parts) + "?" + query
    reply = await vaults.ask(method, target, who, content, version=version)
    assert reply.status < 500
    if reply.body:
        json.loads(reply.body)
