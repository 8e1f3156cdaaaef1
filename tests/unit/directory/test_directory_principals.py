"""Tenants and principals: made, found, nested, removed; the first start; what is kept of secrets and keys."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyfob.clock import FakeClock, SystemIds
from keyfob.clouds.table import load_clouds
from keyfob.directory import applications, principals, tenants
from keyfob.directory.cache import Directory
from keyfob.directory.first_party import AZURE_CLI, load_first_party, object_id
from keyfob.directory.keys import KeyRing
from keyfob.directory.model import (
    Application,
    FederatedCredential,
    Group,
    ServicePrincipal,
    Tenant,
    User,
)
from keyfob.directory.resources import UnknownResource, find_resource, resource_audience
from keyfob.directory.seal import Seal, WrongMasterKey
from keyfob.directory.secrets import SecretChecker, check_secret, hash_secret, new_secret
from keyfob.directory.tenants import ensure_first_start, get_tenant
from keyfob.errors import Conflict, InvalidInput, NotFound
from keyfob.store.port import Store

T = "11111111-1111-4111-8111-111111111111"


async def first_start(store: Store, clock: FakeClock, **more: Any) -> Any:
    async with store.transaction() as tx:
        return await ensure_first_start(
            tx, clouds=load_clouds(), first_party=load_first_party(), clock=clock, ids=SystemIds(), **more
        )


# --- first start -----------------------------------------------------------------------------------------------


async def test_the_first_start_makes_a_tenant_and_an_operator_once(both_stores: Store, clock: FakeClock) -> None:
    tenant, operator = await first_start(both_stores, clock)
    again, nobody = await first_start(both_stores, clock, tenant_id=T)
    assert operator is not None
    assert nobody is None
    assert again == tenant
    assert (tenant.default, tenant.cloud, tenant.password_grant) == (True, "AzureCloud", False)
    found = await principals.find_service_principal(both_stores, tenant.id, operator.app_id)
    assert found is not None
    assert (found.id, found.display_name) == (operator.object_id, "Keyfob operator")
    application = await applications.find_application(both_stores, operator.app_id)
    assert application is not None
    assert check_secret(operator.secret, application.secrets[0].hash)
    assert operator.secret not in repr(operator)


async def test_a_given_tenant_id_is_kept_and_gives_the_same_first_party_ids(store: Store, clock: FakeClock) -> None:
    tenant, _ = await first_start(store, clock, tenant_id=T.upper(), domain="acme.example", password_grant=True)
    assert (tenant.id, tenant.domains, tenant.password_grant) == (T, ("acme.example",), True)
    found = await principals.find_service_principal(store, T, "https://vault.azure.net/")
    assert found is not None
    assert found.id == object_id(T, "cfa8b339-82a2-471a-a3c9-0fc0be7a4093")
    assert (found.kind, await principals.find_service_principal(store, T, AZURE_CLI) is not None) == (
        "FirstParty",
        True,
    )


@pytest.mark.parametrize(
    ("cloud", "mine", "foreign"),
    [
        ("AzureCloud", "https://management.azure.com/", "https://management.chinacloudapi.cn"),
        ("AzureUSGovernment", "https://vault.usgovcloudapi.net", "https://vault.azure.net"),
        ("AzureChinaCloud", "https://vault.azure.cn", "https://vault.azure.net"),
        ("AzureGermanCloud", "https://management.microsoftazure.de/", "https://management.azure.com/"),
    ],
)
async def test_a_tenant_knows_the_resources_of_its_cloud(
    store: Store, clock: FakeClock, cloud: str, mine: str, foreign: str
) -> None:
    tenant, _ = await first_start(store, clock, cloud=cloud)
    assert await resource_audience(store, tenant, mine) == mine
    with pytest.raises(UnknownResource):
        await resource_audience(store, tenant, foreign)


# --- resources -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource", "app_id"),
    [
        ("https://management.azure.com/", "797f4846-ba00-4fd7-ba43-dac1f8f63013"),
        ("https://management.azure.com", "797f4846-ba00-4fd7-ba43-dac1f8f63013"),
        ("https://MANAGEMENT.core.windows.net/", "797f4846-ba00-4fd7-ba43-dac1f8f63013"),
        ("https://vault.azure.net", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"),
        ("cfa8b339-82a2-471a-a3c9-0fc0be7a4093", "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"),
        ("https://acct.blob.core.windows.net", "e406a681-f3d4-42a8-90b6-c2b029497af1"),
        ("https://ns.servicebus.windows.net/", "80369ed6-5f11-4dd9-bef3-692475845e77"),
    ],
)
async def test_a_resource_is_found_and_kept_as_asked(world: Any, resource: str, app_id: str) -> None:
    found = await find_resource(world.store, world.tenant, resource)
    assert (found.audience, found.principal.app_id) == (resource, app_id)


@pytest.mark.parametrize(
    "resource",
    [
        "",
        "/",
        "\0",
        "x" * 600,
        "https://nobody.example",
        "https://*.blob.core.windows.net",
        "https://a.b.blob.core.windows.net",
        "https://vault.azure.net.evil.example",
        "https://vault.azure.net/x",
    ],
)
async def test_an_unknown_resource(world: Any, resource: str) -> None:
    with pytest.raises(UnknownResource) as caught:
        await resource_audience(world.store, world.tenant, resource)
    assert (caught.value.status, caught.value.code, caught.value.aadsts) == (400, "invalid_resource", 500011)
    assert caught.value.message.startswith("AADSTS500011: The resource principal named ")


# --- tenants ---------------------------------------------------------------------------------------------------


async def test_tenants_are_found_by_id_and_domain_and_never_share_one(world: Any) -> None:
    assert await get_tenant(world.store, "CONTOSO.example") == world.tenant
    assert await get_tenant(world.store, world.tenant.id.upper()) == world.tenant
    assert await get_tenant(world.store, "nowhere.example") is None
    more: dict[str, Any] = {"clouds": world.clouds, "first_party": ()}
    for tenant, problem in (
        (Tenant(id=SystemIds().guid(), domains=("Contoso.example",)), Conflict),
        (Tenant(id=world.tenant.id), Conflict),
        (Tenant(id="not-a-guid"), InvalidInput),
        (Tenant(id=SystemIds().guid(), cloud="Moon"), InvalidInput),
        (Tenant(id=SystemIds().guid(), domains=("no domain",)), InvalidInput),
    ):
        with pytest.raises(problem):
            async with world.store.transaction() as tx:
                await tenants.create_tenant(tx, tenant, **more)


# --- principals ------------------------------------------------------------------------------------------------


async def test_groups_nest(both_stores: Store) -> None:
    ids = SystemIds()
    user = User(id=ids.guid(), tenant_id=T, principal_name="a@x.example")
    inner, outer, apart = (Group(id=ids.guid(), tenant_id=T) for _ in range(3))
    async with both_stores.transaction() as tx:
        await principals.create_user(tx, user)
        for group in (inner, outer, apart):
            await principals.create_group(tx, group)
        await principals.add_member(tx, T, inner.id, user.id)
        await principals.add_member(tx, T, outer.id, inner.id)
    directory = Directory(both_stores)
    assert await directory.groups_of(T, user.id) == {inner.id, outer.id}
    assert await principals.groups_of(both_stores, T, user.id) == {inner.id, outer.id}
    assert await principals.groups_of(both_stores, "another-tenant", user.id) == frozenset()
    assert await principals.members_of(both_stores, T, outer.id) == [inner.id]
    for group_id, member_id, problem in (
        (inner.id, outer.id, InvalidInput),
        (inner.id, inner.id, InvalidInput),
        (inner.id, user.id, Conflict),
        (inner.id, "nobody", NotFound),
        ("nowhere", user.id, NotFound),
    ):
        with pytest.raises(problem):
            async with both_stores.transaction() as tx:
                await principals.add_member(tx, T, group_id, member_id)
    async with both_stores.transaction() as tx:
        assert await principals.remove_member(tx, T, outer.id, inner.id)
        assert not await principals.remove_member(tx, T, outer.id, inner.id)
    assert await directory.groups_of(T, user.id) == {inner.id}  # the memory heard of it
    async with both_stores.transaction() as tx:
        assert await principals.delete_principal(tx, T, inner.id)
    assert await directory.groups_of(T, user.id) == frozenset()
    assert await principals.get_principal(both_stores, T, user.id) == user


async def test_a_deleted_principal_takes_its_own_with_it(world: Any) -> None:
    credential = FederatedCredential(name="one", issuer="https://i.example", subject="s")
    async with world.store.transaction() as tx:
        await applications.add_federated_credential(tx, world.tenant.id, world.principal.id, credential)
        assert await principals.delete_principal(tx, world.tenant.id, world.principal.id)
        assert not await principals.delete_principal(tx, world.tenant.id, world.principal.id)
    assert await applications.list_federated_credentials(world.store, world.tenant.id, world.principal.id) == []
    assert await principals.get_principal(world.store, world.tenant.id, world.principal.id) is None
    with pytest.raises(NotFound):
        async with world.store.transaction() as tx:
            await principals.set_enabled(tx, world.tenant.id, world.principal.id, True)


async def test_one_service_principal_per_application_and_tenant(world: Any) -> None:
    twin = msgspec.structs.replace(world.principal, id=SystemIds().guid())
    with pytest.raises(Conflict):
        async with world.store.transaction() as tx:
            await principals.create_service_principal(tx, twin)
    elsewhere = msgspec.structs.replace(twin, tenant_id=world.other.id)
    async with world.store.transaction() as tx:
        await principals.create_service_principal(tx, elsewhere)
    assert await principals.find_service_principal(world.store, world.other.id, world.app.app_id) == elsewhere
    assert await principals.find_service_principal(world.store, world.tenant.id, "API://payroll/") == world.principal


async def test_user_names_are_unique_without_regard_to_case(world: Any) -> None:
    for name, problem in (("ALICE@contoso.onmicrosoft.com", Conflict), ("alice", InvalidInput)):
        with pytest.raises(problem):
            async with world.store.transaction() as tx:
                await principals.create_user(
                    tx, User(id=SystemIds().guid(), tenant_id=world.tenant.id, principal_name=name)
                )


async def test_applications_are_unique_by_id_and_uri(world: Any) -> None:
    for app in (
        Application(id="a", tenant_id=world.tenant.id, app_id=world.app.app_id),
        Application(id="b", tenant_id=world.tenant.id, app_id=SystemIds().guid(), identifier_uris=("API://Payroll/",)),
        Application(id="c", tenant_id=world.tenant.id, app_id="c", identifier_uris=("https://VAULT.azure.net/",)),
    ):
        with pytest.raises(Conflict):
            async with world.store.transaction() as tx:
                await applications.create_application(tx, app, principal_id=SystemIds().guid())


async def test_an_application_cannot_take_the_name_of_an_azure_service_later(world: Any) -> None:
    with pytest.raises(Conflict):
        await world.change(msgspec.structs.replace(world.app, identifier_uris=("https://vault.azure.net",)))
    with pytest.raises(InvalidInput):
        await world.change(msgspec.structs.replace(world.app, identifier_uris=("https://*.blob.core.windows.net",)))
    found = await find_resource(world.store, world.tenant, "https://vault.azure.net")
    assert found.principal.kind == "FirstParty"


async def test_the_principal_follows_its_application(world: Any) -> None:
    await world.change(msgspec.structs.replace(world.app, display_name="New", identifier_uris=("api://new",)))
    found = await principals.find_service_principal(world.store, world.tenant.id, "api://new")
    assert found is not None
    assert (found.id, found.display_name) == (world.principal.id, "New")
    assert await principals.find_service_principal(world.store, world.tenant.id, "api://payroll") is None


# --- federated credentials -------------------------------------------------------------------------------------


async def test_federated_credentials_are_added_replaced_listed_deleted(both_stores: Store) -> None:
    first = FederatedCredential(name="one", issuer="https://i.example", subject="s", audiences=("a",))

    async def add(credential: FederatedCredential) -> FederatedCredential:
        async with both_stores.transaction() as tx:
            return await applications.add_federated_credential(tx, T, "owner", credential)

    stored = await add(first)
    assert (stored.tenant_id, stored.owner_id) == (T, "owner")
    assert await add(msgspec.structs.replace(first, subject="S")) != stored  # subjects compare with case
    with pytest.raises(Conflict):
        await add(msgspec.structs.replace(first, name="two", subject="S"))
    assert [each.subject for each in await applications.list_federated_credentials(both_stores, T, "owner")] == ["S"]
    assert await applications.list_federated_credentials(both_stores, T, "own") == []
    for wrong in (
        {"name": "x"},
        {"name": "-xyz"},
        {"name": "a/b"},
        {"audiences": ()},
        {"audiences": ("a", "b")},
        {"subject": ""},
        {"subject": "s" * 601},
        {"issuer": "i.example"},
        {"issuer": "ftp://i.example"},
        {"issuer": "https://i.example?x=1"},
    ):
        with pytest.raises(InvalidInput):
            await add(msgspec.structs.replace(first, **({"name": "bad"} | wrong)))
    for number in range(19):
        await add(msgspec.structs.replace(first, name=f"more-{number}", subject=f"s{number}"))
    with pytest.raises(InvalidInput, match="at most 20"):
        await add(msgspec.structs.replace(first, name="too-many", subject="one more"))
    async with both_stores.transaction() as tx:
        assert await applications.delete_federated_credential(tx, T, "owner", "one")
        assert not await applications.delete_federated_credential(tx, T, "owner", "one")
    assert await applications.get_federated_credential(both_stores, T, "owner", "one") is None


# --- secrets ---------------------------------------------------------------------------------------------------


def test_a_secret_is_kept_as_a_salted_hash() -> None:
    secret = new_secret()
    one, two = hash_secret(secret), hash_secret(secret)
    assert len(secret) == 40
    assert secret != new_secret()
    assert all(new_secret()[0].isalnum() for _ in range(500))
    assert one != two
    assert secret not in one
    assert check_secret(secret, one)
    assert check_secret(secret, two)
    for wrong in ("", secret[:-1], secret + "x", secret.swapcase(), one):
        assert not check_secret(wrong, one)
    assert not check_secret(secret, "")
    assert not check_secret(secret, "plain$" + secret)
    assert not check_secret("x" * 2000, hash_secret("x" * 2000))


async def test_only_what_was_right_is_remembered_and_only_for_a_while(clock: FakeClock) -> None:
    checker = SecretChecker(clock=clock)
    stored = hash_secret("s3cret")
    assert not await checker.client_secret("wrong", stored)
    assert not checker.remembers("wrong", stored)
    assert await checker.client_secret("s3cret", stored)
    assert checker.remembers("s3cret", stored)
    assert not checker.remembers("s3cret", hash_secret("s3cret"))  # tied to this very hash
    clock.advance(601)
    assert not checker.remembers("s3cret", stored)
    assert await checker.password("s3cret", stored)
    assert not await checker.password("s3cret", "")
    assert not await checker.password("nobody", "")


async def test_no_secret_reaches_the_disk(world: Any, tmp_path: Path) -> None:
    await world.keys.rotate()
    assert (await world.token(grant_type="client_credentials", client_id=world.app.app_id, client_secret="x"))[0] == 401
    rows = sqlite3.connect(tmp_path / "keyfob.db").execute("SELECT value FROM records").fetchall()
    text = b"".join(row[0] if isinstance(row[0], bytes) else row[0].encode() for row in rows)
    assert b"scrypt$" in text
    for secret in (world.secret.encode(), b"correct horse battery", b"PRIVATE KEY"):
        assert secret not in text


# --- keys at rest ----------------------------------------------------------------------------------------------


async def test_keys_survive_a_restart_and_need_the_master_key(both_stores: Store, clock: FakeClock) -> None:
    ring = KeyRing(store=both_stores, seal=Seal(b"m" * 32), clock=clock)
    await ring.load()
    first = ring.current.kid
    again = KeyRing(store=both_stores, seal=Seal(b"m" * 32), clock=clock)
    await again.load()
    assert again.current.kid == first
    clock.advance(1)
    await again.rotate()
    await ring.settled()
    stranger = KeyRing(store=both_stores, seal=Seal(b"w" * 32), clock=clock)
    with pytest.raises(WrongMasterKey):
        await stranger.load()


def test_a_seal_binds_what_it_is_about() -> None:
    seal = Seal(b"m" * 32)
    closed = seal.close(b"private", about="k1")
    assert seal.open(closed, about="k1") == b"private"
    assert closed != seal.close(b"private", about="k1")
    for sealed, about in ((closed, "k2"), (closed[:-1], "k1"), (b"", "k1"), (closed[:20] + b"x" + closed[21:], "k1")):
        with pytest.raises(WrongMasterKey):
            seal.open(sealed, about=about)
    with pytest.raises(ValueError, match="32 bytes"):
        Seal(b"short")
    assert seal.derive("a") != seal.derive("b")
    assert repr(seal) == "Seal(***)"


async def test_the_cache_hears_of_changes_but_keeps_no_answer_that_began_before_one(world: Any) -> None:
    directory = world.endpoint.parts.directory
    assert (await directory.tenant("contoso.example")).display_name == "Contoso"
    async with world.store.transaction() as tx:
        await tenants.update_tenant(tx, msgspec.structs.replace(world.tenant, display_name="Renamed"))
    assert (await directory.tenant("contoso.example")).display_name == "Renamed"
    assert await directory.service_principal(world.tenant.id, "nobody") is None
    async with world.store.transaction() as tx:
        made = ServicePrincipal(id="o", tenant_id=world.tenant.id, app_id="nobody")
        await principals.create_service_principal(tx, made)
    assert await directory.service_principal(world.tenant.id, "nobody") == made
