"""The wire values of a vault's secrets, its access policies, and what is sealed at rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.declare import Action, Allowed, Caller, Denied, Target
from keyfob.errors import InvalidInput
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault import model, policies
from keyfob.services.key_vault.sealing import CannotOpen, Sealing

TENANT = "11111111-1111-1111-1111-111111111111"
ALICE = "aaaaaaaa-0000-0000-0000-000000000001"
GROUP = "bbbbbbbb-0000-0000-0000-000000000001"
APP = "cccccccc-0000-0000-0000-000000000001"
VAULT = ResourceId.parse("/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/shop")
SHARED = Path(__file__).parents[4] / "shared/azure/openapi/specification/keyvault"


def test_a_name_has_letters_digits_and_hyphens_only():
    assert model.check_name("Abc-09") == "Abc-09"
    assert model.check_name("a" * 127)
    for name in ("", "a" * 128, "a_b", "a.b", "a b", "ä", "a\n", "a/b"):
        with pytest.raises(InvalidInput) as refused:
            model.check_name(name)
        assert refused.value.code == "BadParameter"
        assert refused.value.message == f"The request URI contains an invalid name: {name}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe",
        b'{"value":1}',
        b'{"value":null}',
        b'{"value":"v","attributes":[]}',
        b'{"value":"v","attributes":{"enabled":"yes"}}',
        b'{"value":"v","attributes":{"exp":"soon"}}',
        b'{"value":"v","attributes":{"exp":-1}}',
        b'{"value":"v","attributes":{"nbf":true}}',
        b'{"value":"v","attributes":{"exp":1e99}}',
        b'{"value":"v","tags":[]}',
        b'{"value":"v","tags":{"a":1}}',
        b'{"value":"v","contentType":5}',
        b'{"value":"v","contentType":"' + b"x" * 256 + b'"}',
        b'{"value":"' + b"x" * (25 * 1024 + 1) + b'"}',
        b"[" * 5000,
        json.dumps({"value": "v", "tags": {str(n): "" for n in range(16)}}).encode(),
    ],
)
def test_a_body_that_does_not_fit_is_a_bad_parameter(body: bytes):
    with pytest.raises(InvalidInput) as refused:
        model.from_wire(body, value_required=True)
    assert refused.value.code == "BadParameter"


def test_a_value_of_exactly_the_limit_is_taken():
    body = json.dumps({"value": "x" * 25 * 1024}).encode()
    assert len(model.from_wire(body, value_required=True).value or "") == 25 * 1024


def test_the_limit_counts_bytes_not_characters():
    with pytest.raises(InvalidInput):
        model.from_wire(json.dumps({"value": "ä" * 13_000}, ensure_ascii=False).encode(), value_required=True)


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_body_is_read_or_refused(body: bytes):
    code = "BadParameter"
    try:
        model.from_wire(body, value_required=False)
    except InvalidInput as refused:
        code = refused.code
    assert code == "BadParameter"


def test_expiry_must_follow_not_before():
    model.check_times(1, 2)
    model.check_times(None, 2)
    for nbf, exp in ((2, 2), (3, 2)):
        with pytest.raises(InvalidInput):
            model.check_times(nbf, exp)


def _version(**more: object) -> model.SecretVersion:
    return model.SecretVersion(name="n", version="0" * 32, created=1, updated=2, **more)  # type: ignore[arg-type]


def test_attributes_by_api_version():
    recovery = model.Recovery()
    assert model.attributes(_version(), recovery, "2015-06-01") == {"enabled": True, "created": 1, "updated": 2}
    assert model.attributes(_version(), recovery, "7.0")["recoveryLevel"] == "Recoverable+Purgeable"
    assert "recoverableDays" not in model.attributes(_version(), recovery, "7.0")
    assert model.attributes(_version(nbf=5, exp=6), recovery, "7.4") == {
        "enabled": True,
        "nbf": 5,
        "exp": 6,
        "created": 1,
        "updated": 2,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": 90,
    }


@pytest.mark.parametrize(
    ("properties", "level"),
    [
        ({}, "Recoverable+Purgeable"),
        ({"enableSoftDelete": False}, "Purgeable"),
        ({"softDeleteRetentionInDays": 7}, "CustomizedRecoverable+Purgeable"),
        ({"softDeleteRetentionInDays": 7, "enablePurgeProtection": True}, "CustomizedRecoverable"),
        ({"enablePurgeProtection": True}, "Recoverable"),
    ],
)
def test_recovery_level(properties: dict[str, object], level: str):
    assert model.Recovery.of(properties).level == level


def test_bundles_have_the_members_of_the_openapi_examples():
    path = SHARED / "data-plane/Microsoft.KeyVault/stable/7.5/examples.json"
    if not path.exists():
        pytest.skip("the shared OpenAPI examples are not beside this checkout")
    example = json.loads(path.read_text())["GetSecret-example.json"]["responses"]["200"]["body"]
    name, version = example["id"].split("/")[-2:]
    held = model.SecretVersion(
        name=name, version=version, created=example["attributes"]["created"], updated=example["attributes"]["updated"]
    )
    shown = model.bundle(
        held,
        base="https://myvault.vault.azure.net",
        recovery=model.Recovery(),
        api_version="7.0",
        value=example["value"],
    )
    assert shown == example


# --- sealing


def test_what_is_sealed_opens_only_as_itself():
    sealing = Sealing(b"m" * 32)
    sealed = sealing.close(b"plain", vault=VAULT.key, name="n", version="v")
    assert b"plain" not in sealed
    assert sealing.open(sealed, vault=VAULT.key, name="N", version="v") == b"plain"
    for place in (
        {"vault": VAULT.key + "2", "name": "n", "version": "v"},
        {"vault": VAULT.key, "name": "n2", "version": "v"},
        {"vault": VAULT.key, "name": "n", "version": "w"},
        {"vault": VAULT.key, "name": "nv", "version": ""},
    ):
        with pytest.raises(CannotOpen):
            sealing.open(sealed, **place)
    with pytest.raises(CannotOpen):
        sealing.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), vault=VAULT.key, name="n", version="v")
    with pytest.raises(CannotOpen):
        sealing.open(b"short", vault=VAULT.key, name="n", version="v")
    with pytest.raises(CannotOpen):
        Sealing(b"n" * 32).open(sealed, vault=VAULT.key, name="n", version="v")


def test_the_same_plain_text_is_sealed_differently_each_time():
    sealing = Sealing(b"m" * 32)
    place = {"vault": "v", "name": "n", "version": "1"}
    assert sealing.close(b"x", **place) != sealing.close(b"x", **place)


def test_a_backup_opens_only_in_its_cloud_and_subscription():
    sealing = Sealing(b"m" * 32)
    sealed = sealing.close_backup(b"b", cloud="AzureCloud", subscription="s")
    assert sealing.open_backup(sealed, cloud="AzureCloud", subscription="S") == b"b"
    for cloud, subscription in (("AzureChinaCloud", "s"), ("AzureCloud", "t")):
        with pytest.raises(CannotOpen):
            sealing.open_backup(sealed, cloud=cloud, subscription=subscription)


def test_the_key_never_shows():
    assert "m" * 8 not in repr(Sealing(b"m" * 32))
    with pytest.raises(ValueError):
        Sealing(b"short")


# --- access policies


def _target(*given: dict[str, object], roles: bool | None = False) -> Target:
    properties = {"accessPolicies": list(given), "enableRbacAuthorization": roles}
    return Target(None, TENANT, VAULT, "shop", "westus", properties)  # type: ignore[arg-type]


def _policy(who: str = ALICE, *names: str, tenant: str = TENANT, app: str | None = None) -> dict[str, object]:
    made: dict[str, object] = {"tenantId": tenant, "objectId": who, "permissions": {"secrets": list(names)}}
    return made | ({"applicationId": app} if app else {})


def _caller(**more: object) -> Caller:
    return Caller(TENANT, ALICE, **more)  # type: ignore[arg-type]


NAMED = VAULT.child("secrets", "n")


@pytest.mark.parametrize(
    ("action", "permission"),
    [
        (policies.GET, "Get"),
        (policies.SET, "SET"),
        (policies.UPDATE, "set"),
        (policies.LIST, "list"),
        (policies.DELETE, "delete"),
        (policies.BACKUP, "backup"),
        (policies.RESTORE, "restore"),
        (policies.RECOVER, "recover"),
        (policies.PURGE, "purge"),
    ],
)
def test_each_action_needs_its_permission_and_no_other_gives_it(action: Action, permission: str):
    assert isinstance(policies.authorize(_caller(), action, NAMED, _target(_policy(ALICE, permission))), Allowed)
    assert policies.authorize(_caller(), action, NAMED, _target(_policy(ALICE, "all")))
    others = sorted(policies.PERMISSIONS["secrets"] - {permission.lower(), "all"})
    refused = policies.authorize(_caller(), action, NAMED, _target(_policy(ALICE, *others)))
    assert isinstance(refused, Denied)
    assert permission.lower() in refused.reason


def test_reading_a_deleted_secret_needs_get():
    scope = VAULT.child("deletedsecrets", "n")
    assert policies.authorize(_caller(), policies.LIST, scope, _target(_policy(ALICE, "get")))
    assert not policies.authorize(_caller(), policies.LIST, scope, _target(_policy(ALICE, "list")))


@pytest.mark.parametrize(
    ("policy", "caller", "allowed"),
    [
        (_policy(ALICE, "get"), _caller(), True),
        (_policy(ALICE.upper(), "get"), _caller(), True),
        (_policy(GROUP, "get"), _caller(groups=frozenset({GROUP})), True),
        (_policy(GROUP, "get"), _caller(), False),
        (_policy(APP, "get"), _caller(app_id=APP), False),  # policies name object ids, not application ids
        (_policy(ALICE, "get", tenant=GROUP), _caller(), False),
        (_policy(ALICE, "get", app=APP), _caller(app_id=APP), True),
        (_policy(ALICE, "get", app=APP), _caller(), False),
        (_policy(ALICE), _caller(), False),
        ({"objectId": ALICE, "tenantId": TENANT}, _caller(), False),
        ({}, _caller(), False),
    ],
)
def test_who_a_policy_is_for(policy: dict[str, object], caller: Caller, allowed: bool):
    assert bool(policies.authorize(caller, policies.GET, NAMED, _target(policy))) is allowed


def test_no_policy_means_no():
    assert isinstance(policies.authorize(_caller(), policies.GET, NAMED, _target()), Denied)


def test_keys_permissions_give_nothing_on_secrets():
    policy = {"tenantId": TENANT, "objectId": ALICE, "permissions": {"keys": ["get", "all"], "secrets": []}}
    assert not policies.authorize(_caller(), policies.GET, NAMED, _target(policy))


def test_a_vault_with_role_assignments_leaves_its_policies_alone():
    assert policies.authorize(_caller(), policies.GET, NAMED, _target(_policy(ALICE, "get"), roles=True)) is None


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        [1],
        [{}],
        [_policy("not a guid", "get")],
        [_policy(ALICE, "get", tenant=GROUP)],
        [_policy(ALICE, "fly")],
        [_policy(ALICE, "get", app="x")],
        [{"tenantId": TENANT, "objectId": ALICE}],
        [{"tenantId": TENANT, "objectId": ALICE, "permissions": {"secrets": "get"}}],
        [_policy()] * 1025,
    ],
)
def test_policies_that_do_not_fit_are_refused(given: object):
    with pytest.raises(InvalidInput):
        policies.check(given, TENANT)


def test_combining_policies():
    held = policies.check([_policy(ALICE, "get"), _policy(GROUP, "list")], TENANT)

    def secrets(kind: str, *given: dict[str, object]) -> dict[str, list[str]]:
        made = policies.combine(kind, held, policies.check(list(given), TENANT))
        return {policy["objectId"]: policy["permissions"].get("secrets", []) for policy in made}

    assert secrets("add", _policy(ALICE, "GET", "set")) == {ALICE: ["get", "set"], GROUP: ["list"]}
    assert secrets("add", _policy(APP, "get"))[APP] == ["get"]
    assert secrets("replace", _policy(ALICE, "set")) == {ALICE: ["set"], GROUP: ["list"]}
    assert secrets("remove", _policy(ALICE, "Get")) == {GROUP: ["list"]}
    assert secrets("remove", _policy(APP, "get")) == {ALICE: ["get"], GROUP: ["list"]}
