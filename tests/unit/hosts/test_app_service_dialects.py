"""App Service, both api-versions, and Azure ML: what they send, and each refusal in its words."""

from __future__ import annotations

import pytest

from keyfob.hosts.dialects.app_service import APP_SERVICE_2019
from keyfob.hosts.dialects.app_service_2017 import APP_SERVICE_2017, date
from keyfob.hosts.dialects.azure_ml import AZURE_ML
from keyfob.hosts.dialects.dialect import Place
from keyfob.resource_id import ResourceId

GROUP = ResourceId.group("22222222-2222-2222-2222-222222222222", "rg")
SITE = GROUP.provider("Microsoft.Web/sites", "shop")
VAULT = "https://vault.azure.net"
SHOWN = {"X-IDENTITY-HEADER": "the-hosts-own-secret"}
NEW = {"api-version": "2019-08-01", "resource": VAULT}
OLD = {"api-version": "2017-09-01", "resource": VAULT}
NO_IDENTITY = "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."


@pytest.fixture
async def site(house, talk):
    """With a system-assigned identity and two of users."""
    users = (await house.user_identity("u1"), await house.user_identity("u2"))
    await house.host(SITE, user=users, reserved=True)
    return talk(house, SITE, APP_SERVICE_2019, APP_SERVICE_2017)


# --- 2019-08-01


async def test_the_answer(site, house):
    status, said, _ = await site.ask(headers=SHOWN, **NEW)
    assert status == 200
    assert said["client_id"] == house.identities["shop"].app_id.upper()
    assert said["expires_on"] == str(int(said["not_before"]) + 86_700)
    assert said["resource"] == VAULT
    assert said["token_type"] == "Bearer"
    assert set(said) == {"access_token", "client_id", "expires_on", "not_before", "resource", "token_type"}
    claims = house.tokens.verify(
        said["access_token"], audiences=frozenset({VAULT}), tenant_id=None, now=house.clock.now()
    )
    assert claims["xms_mirid"].lower() == SITE.key


@pytest.mark.parametrize("header", ["X-IDENTITY-HEADER", "x-identity-header", "Secret", "secret", "x-ms-identity"])
@pytest.mark.parametrize("version", ["2019-08-01", "2017-09-01"])
async def test_either_header_on_either_version(site, header, version):
    status, _, _ = await site.ask(
        headers={header: "the-hosts-own-secret"}, **{"api-version": version, "resource": VAULT}
    )
    assert status == 200


@pytest.mark.parametrize("path", ["/msi/token", "/MSI/token", "/MSI/token/", "/MSI/token//", "//msi//token"])
async def test_every_spelling_of_the_path(site, path):
    assert (await site.ask(path, SHOWN, **NEW))[0] == 200


async def test_a_user_assigned_identity_by_each_selector(site, house):
    second = house.identities["u2"]
    id = str(GROUP.provider("Microsoft.ManagedIdentity/userAssignedIdentities", "u2"))
    for name, value in (
        ("client_id", second.app_id),
        ("client_id", second.app_id.upper()),
        ("clientid", second.app_id),
        ("principal_id", second.id),
        ("object_id", second.id),
        ("mi_res_id", id),
        ("mi_res_id", id.upper()),
        ("msi_res_id", id),
    ):
        status, said, _ = await site.ask(headers=SHOWN, **NEW, **{name: value})
        assert (status, said.get("client_id")) == (200, second.app_id.upper()), name


async def test_no_selector_is_never_a_lone_user_assigned_identity(house, talk):
    await house.host(SITE, system=False, user=(await house.user_identity("u1"),))
    status, said, _ = await talk(house, SITE, APP_SERVICE_2019).ask(headers=SHOWN, **NEW)
    assert status == 400
    assert said.keys() == {"statusCode", "message", "correlationId"}
    assert (said["statusCode"], said["message"]) == (400, NO_IDENTITY)


@pytest.mark.parametrize(
    ("headers", "query", "status", "message"),
    [
        ({}, NEW, 401, "The identity header is missing or is not that of this site."),
        ({"X-IDENTITY-HEADER": "wrong"}, NEW, 401, "The identity header is missing or is not that of this site."),
        ({"X-IDENTITY-HEADER": ""}, NEW, 401, "The identity header is missing or is not that of this site."),
        (SHOWN, {"resource": VAULT}, 400, "The api-version '' is not supported."),
        (SHOWN, NEW | {"api-version": "2018-02-01"}, 400, "The api-version '2018-02-01' is not supported."),
        (SHOWN, {"api-version": "2019-08-01"}, 400, "The parameter 'resource' is missing."),
        (SHOWN, NEW | {"client_id": "11111111-1111-1111-1111-111111111111"}, 400, NO_IDENTITY),
        (SHOWN, NEW | {"principal_id": "x"}, 400, NO_IDENTITY),
        (SHOWN, NEW | {"mi_res_id": "/x"}, 400, NO_IDENTITY),
        (SHOWN, NEW | {"client_id": "a", "principal_id": "b"}, 400, "Only one of client_id, principal_id"),
        (SHOWN, NEW | {"resource": "https://unknown.example"}, 500, "AADSTS500011: "),
    ],
)
async def test_refusals(site, headers, query, status, message):
    got, said, _ = await site.ask(headers=headers, **query)
    assert got == status
    assert set(said) == {"statusCode", "message", "correlationId"}
    assert said["statusCode"] == status
    assert said["message"].startswith(message)
    assert len(said["correlationId"]) == 36


async def test_other_methods_paths_and_doubled_parameters(site):
    assert (await site.ask(headers=SHOWN, method="POST", **NEW))[0] == 405
    assert (await site.ask("/msi/other", SHOWN, **NEW))[0] == 404
    assert (await site.ask(headers=SHOWN, more="&resource=x", **NEW))[0] == 400


async def test_a_refused_token_is_replaced_and_no_other_is(site, house):
    import hashlib

    first = (await site.ask(headers=SHOWN, **NEW))[1]["access_token"]
    assert (await site.ask(headers=SHOWN, **NEW))[1]["access_token"] == first
    bad = hashlib.sha256(first.encode()).hexdigest()
    second = (await site.ask(headers=SHOWN, token_sha256_to_refresh=bad.upper(), **NEW))[1]["access_token"]
    assert second != first
    assert (await site.ask(headers=SHOWN, token_sha256_to_refresh=bad, **NEW))[1]["access_token"] == second


async def test_a_stopped_site_a_deleted_one_and_one_without_endpoint(site, house):
    config = SITE.child("config", "appsettings")
    for value, status in (("true", 404), ("True", 404), ("1", 404), ("false", 200), ("", 200)):
        await house.host(config, system=False, website_disable_msi=value)
        assert (await site.ask(headers=SHOWN, **NEW))[0] == status, value
    users = tuple(
        str(GROUP.provider("Microsoft.ManagedIdentity/userAssignedIdentities", name)) for name in ("u1", "u2")
    )
    await house.host(SITE, user=users, state="Stopped")
    assert (await site.ask(headers=SHOWN, **NEW))[1]["message"] == "The site 'shop' is not running."
    await house.remove(SITE)
    assert (await site.ask(headers=SHOWN, **NEW))[0] == 400


# --- 2017-09-01


async def test_the_older_answer(site, house, talk):
    status, said, _ = await site.ask(headers=SHOWN, **OLD)
    assert status == 200
    assert set(said) == {"access_token", "expires_on", "resource", "token_type"}
    assert said["expires_on"] == date(int(house.clock.now()) + 86_400, windows=False)
    windows = talk(house, SITE, APP_SERVICE_2019, APP_SERVICE_2017, windows=True)
    assert (await windows.ask(headers=SHOWN, **OLD))[1]["expires_on"].endswith("M +00:00")


def test_dates_as_clients_parse_them():
    """azure-identity for Python, azure_ml.py: `%m/%d/%Y %I:%M:%S %p` and `%m/%d/%Y %H:%M:%S`."""
    assert date(1579134252, windows=True) == "1/16/2020 12:24:12 AM +00:00"
    assert date(1579134252 + 12 * 3600, windows=True) == "1/16/2020 12:24:12 PM +00:00"
    assert date(1579134252 + 13 * 3600, windows=True) == "1/16/2020 1:24:12 PM +00:00"
    assert date(1560999478, windows=False) == "06/20/2019 02:57:58 +00:00"


async def test_msrestazures_spelling(site):
    """`{MSI_ENDPOINT}/?resource=…`, unescaped, behind a URL that ends with a slash."""
    told = APP_SERVICE_2017.variables(Place("http://127.0.0.1:41741", "the-hosts-own-secret"))
    path = told["MSI_ENDPOINT"].removeprefix("http://127.0.0.1:41741") + "/"
    assert path == "/msi/token//"
    assert (await site.ask(path, {"Secret": told["MSI_SECRET"]}, more=f"resource={VAULT}&api-version=2017-09-01"))[
        0
    ] == 200


async def test_the_older_version_knows_clientid_only(site, house):
    second = house.identities["u2"]
    for name, expected in (("clientid", "u2"), ("client_id", "shop"), ("object_id", "shop")):
        value = second.id if name == "object_id" else second.app_id
        _, said, _ = await site.ask(headers=SHOWN, **OLD, **{name: value})
        claims = house.tokens.verify(
            said["access_token"], audiences=frozenset({VAULT}), tenant_id=None, now=house.clock.now()
        )
        assert claims["appid"] == house.identities[expected].app_id


@pytest.mark.parametrize(
    ("headers", "query", "status", "message"),
    [
        ({}, OLD, 401, "The identity header is missing"),
        ({"Secret": "wrong"}, OLD, 401, "The identity header is missing"),
        (SHOWN, {"api-version": "2017-09-01"}, 400, "The parameter 'resource' is missing."),
        (SHOWN, OLD | {"clientid": "x"}, 400, "No MSI found for specified ClientId/ResourceId."),
        (SHOWN, OLD | {"resource": "https://unknown.example"}, 500, "AADSTS500011: "),
    ],
)
async def test_older_refusals(site, headers, query, status, message):
    got, said, _ = await site.ask(headers=headers, **query)
    assert got == status
    assert set(said) == {"StatusCode", "Message", "CorrelationId"}
    assert said["StatusCode"] == status
    assert said["Message"].startswith(message)


async def test_the_variables():
    place = Place("http://169.254.129.2:8081", "s", real=False)
    assert APP_SERVICE_2019.variables(place) == {
        "IDENTITY_ENDPOINT": "http://169.254.129.2:8081/msi/token",
        "IDENTITY_HEADER": "s",
    }
    assert APP_SERVICE_2017.variables(place) == {
        "MSI_ENDPOINT": "http://169.254.129.2:8081/msi/token/",
        "MSI_SECRET": "s",
    }


# --- Azure ML


async def test_azure_ml(house, talk):
    compute = GROUP.provider("Microsoft.MachineLearningServices/workspaces/computes", "ws", "c1")
    await house.host(compute, system=False, user=(await house.user_identity("u1"),))
    ml = talk(house, compute, AZURE_ML)
    own = house.identities["u1"].app_id
    for more in ({"clientid": own}, {}):
        status, said, _ = await ml.ask("/MSI/auth", SHOWN, **OLD, **more)
        assert status == 200
        assert said["expires_on"] == int(house.clock.now()) + 86_400
    status, said, _ = await ml.ask(headers=SHOWN, **OLD, clientid="x")
    assert (status, said["Message"]) == (400, "No MSI found for specified ClientId/ResourceId.")
    assert (await ml.ask(headers={"secret": "wrong"}, **OLD))[0] == 401
    assert (await ml.ask(headers=SHOWN, **NEW))[0] == 400
    told = AZURE_ML.variables(Place("http://h:1", "s", client_id=own))
    assert told == {"MSI_ENDPOINT": "http://h:1/msi/auth", "MSI_SECRET": "s", "DEFAULT_IDENTITY_CLIENT_ID": own}
    assert "DEFAULT_IDENTITY_CLIENT_ID" not in AZURE_ML.variables(Place("http://h:1", "s"))
