"""The gate: credentials, decisions as they are committed, principals that are gone."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from keyfob.access.assignments import (
    EVERYBODY,
    DenyAssignment,
    DenyPrincipal,
    assign,
    deny,
    remove_denial,
    unassign,
)
from keyfob.access.guard import Guard, Verifier, bearer
from keyfob.access.log import Question
from keyfob.access.roles import ROLE_DEFINITIONS, Permission, RoleDefinition
from keyfob.clock import CountingIds, FakeClock
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Action, Allowed, Caller, Decision, Denied, Target
from keyfob.directory.principals import delete_principal, remove_member, set_enabled
from keyfob.errors import Conflict, Fault, Forbidden, InvalidInput, Unauthenticated
from keyfob.resource_id import ROOT, ResourceId
from keyfob.store.port import EVERYTHING, Store

TENANT = "11111111-1111-1111-1111-111111111111"
OTHER_TENANT = "22222222-2222-2222-2222-222222222222"
ROBOT = "aaaaaaaa-0000-0000-0000-000000000001"
ANNA = "aaaaaaaa-0000-0000-0000-000000000002"
STAFF = "aaaaaaaa-0000-0000-0000-000000000003"
BOSS = "aaaaaaaa-0000-0000-0000-000000000004"
SUBSCRIPTION = ResourceId.subscription("00000000-0000-0000-0000-000000000001")
GROUP = ResourceId.group("00000000-0000-0000-0000-000000000001", "rg")
VAULT = GROUP.provider("Microsoft.KeyVault/vaults", "v")
SECRET = VAULT.child("secrets", "s")
AUDIENCE = "https://vault.azure.net"
GET = Action("Microsoft.KeyVault/vaults/secrets/getSecret/action", data=True)
READ = Action("Microsoft.KeyVault/vaults/read")
USER = "4633458b-17de-408a-b874-0445c86b69e6"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


async def give(store: Store, role: str, scope: ResourceId, who: str = ROBOT) -> str:
    async with store.transaction() as tx:
        made = await assign(tx, tenant_id=TENANT, scope=scope, principal_id=who, role_definition_id=role, now=1.0)
    return made.id


async def may(guard: Guard, caller: Caller, action: Action = GET, scope: ResourceId = SECRET) -> Decision:
    try:
        return await guard.authorize(caller, action, scope, request_id="r")
    except Forbidden as refused:
        decision = refused.info["decision"]
        assert isinstance(decision, Denied)
        return decision


# --- who is it


@pytest.mark.parametrize("header", [None, "", "   "])
def test_no_credential(header: str | None) -> None:
    with pytest.raises(Unauthenticated) as failure:
        bearer(header)
    assert failure.value.fault is Fault.MISSING


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic YTpi", "robot", "Bearer a b", "PoP x", "Bearerrobot"])
def test_no_bearer_credential(header: str) -> None:
    with pytest.raises(Unauthenticated) as failure:
        bearer(header)
    assert failure.value.fault is Fault.MALFORMED


@pytest.mark.parametrize("header", ["Bearer robot", "bearer robot", "BEARER  robot ", " Bearer robot"])
def test_a_bearer_credential(header: str) -> None:
    assert bearer(header) == "robot"


async def test_a_caller_is_made_of_claims_and_directory(guard: Guard) -> None:
    arguments = {"audiences": frozenset({AUDIENCE}), "tenant_id": TENANT, "now": 1.0}
    robot = await guard.authenticate("Bearer robot", **arguments)  # type: ignore[arg-type]
    assert (robot.principal_id, robot.app_id, robot.name) == (ROBOT, "app-1", "app-1")
    assert robot.roles == {"Directory.Read.All"}
    assert robot.groups == frozenset()
    anna = await guard.authenticate("Bearer anna", **arguments)  # type: ignore[arg-type]
    assert (anna.principal_id, anna.app_id, anna.name) == (ANNA, "cli", "anna@contoso.com")
    assert STAFF in anna.groups
    assert len(anna.groups) == 2
    assert guard.authenticate_now("Bearer anna", **arguments) == anna  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "audience", "tenant", "now", "fault"),
    [
        (None, AUDIENCE, TENANT, 1.0, Fault.MISSING),
        ("Bearer forged", AUDIENCE, TENANT, 1.0, Fault.SIGNATURE),
        ("Bearer robot", "https://management.azure.com/", TENANT, 1.0, Fault.AUDIENCE),
        ("Bearer robot", AUDIENCE, OTHER_TENANT, 1.0, Fault.TENANT),
        ("Bearer robot", AUDIENCE, TENANT, 3e9, Fault.EXPIRED),
    ],
)
async def test_what_proves_nothing_is_refused(
    guard: Guard, header: str | None, audience: str, tenant: str, now: float, fault: Fault
) -> None:
    for _ in range(2):
        with pytest.raises(Unauthenticated) as failure:
            await guard.authenticate(header, audiences=frozenset({audience}), tenant_id=tenant, now=now)
        assert failure.value.fault is fault
    with pytest.raises(Unauthenticated):
        guard.authenticate_now(header, audiences=frozenset({audience}), tenant_id=tenant, now=now)


async def test_memory_alone_does_not_know_strangers(guard: Guard) -> None:
    found = guard.authenticate_now("Bearer robot", audiences=frozenset({AUDIENCE}), tenant_id=TENANT, now=1.0)
    assert found is None


# --- may they


async def test_nothing_is_open_without_an_assignment(guard: Guard, robot: Caller) -> None:
    with pytest.raises(Forbidden) as refused:
        await guard.authorize(robot, GET, SECRET, request_id="r1")
    info = refused.value.info
    assert refused.value.code == "AuthorizationFailed"
    assert (info["principal_id"], info["action"], info["scope"]) == (ROBOT, GET.name, str(SECRET))
    assert "no role assignment of the principal stands at or above this scope" in info["reason"]
    assert refused.value.message == (
        f"The client 'app-1' with object id '{ROBOT}' does not have authorization to perform action '{GET.name}' over "
        f"scope '{SECRET}' or the scope is invalid. If access was recently granted, please refresh your credentials."
    )


async def test_an_assignment_opens_from_the_next_decision_on(guard: Guard, store: Store, robot: Caller) -> None:
    assert not await may(guard, robot)
    version = guard.version
    name = await give(store, USER, VAULT)
    assert guard.version > version
    allowed = await may(guard, robot)
    assert isinstance(allowed, Allowed)
    assert allowed.role == "Key Vault Secrets User"
    assert allowed.by == str(VAULT.provider("Microsoft.Authorization/roleAssignments", name))
    assert not await may(guard, robot, scope=VAULT.parent.provider("Microsoft.KeyVault/vaults", "v2"))
    async with store.transaction() as tx:
        assert await unassign(tx, TENANT, name)
        assert await unassign(tx, TENANT, name) is None
    assert not await may(guard, robot)


async def test_nothing_changes_when_the_transaction_fails(guard: Guard, store: Store, robot: Caller) -> None:
    async def fail() -> None:
        async with store.transaction() as tx:
            await assign(tx, tenant_id=TENANT, scope=VAULT, principal_id=ROBOT, role_definition_id=USER, now=1.0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert not await may(guard, robot)


async def test_a_guard_reads_what_is_there_at_start(
    store: Store, people: None, tokens: Verifier, clock: FakeClock, ids: CountingIds, robot: Caller
) -> None:
    await give(store, USER, VAULT)
    assert await may(Guard(store=store, tokens=tokens, clock=clock, ids=ids), robot)


async def test_lost_notifications_are_made_good(guard: Guard, store: Store, robot: Caller) -> None:
    name = await give(store, USER, VAULT)
    assert await may(guard, robot)
    watchers = guard.memory
    watchers._mark("access.role_assignments", EVERYTHING)
    assert guard.authorize_now(robot, GET, SECRET, request_id="r") is None
    assert await may(guard, robot)
    async with store.transaction() as tx:
        await unassign(tx, TENANT, name)
    watchers._mark("access.role_assignments", EVERYTHING)
    assert not await may(guard, robot)


async def test_what_changes_while_it_is_read_is_read_again(
    store: Store, people: None, tokens: Verifier, clock: FakeClock, ids: CountingIds, robot: Caller
) -> None:
    name = await give(store, USER, VAULT)

    class Slow:
        """A store in which the assignment is removed just after it was read."""

        done = False

        def __getattr__(self, attribute: str) -> Any:
            return getattr(store, attribute)

        async def fetch(self, sql: str, *arguments: Any) -> Any:
            rows = await store.fetch(sql, *arguments)
            if "access.role_assignments" in arguments and not self.done:
                self.done = True
                async with store.transaction() as tx:
                    await unassign(tx, TENANT, name)
            return rows

    guard = Guard(store=cast(Store, Slow()), tokens=tokens, clock=clock, ids=ids)
    assert not await may(guard, robot)
    assert not await may(guard, robot)


async def test_many_may_wait_for_one_reading(guard: Guard, store: Store, robot: Caller, boss: Caller) -> None:
    await give(store, USER, VAULT)
    found = await asyncio.gather(*(may(guard, who) for who in (robot, boss) * 20))
    assert [bool(decision) for decision in found] == [True, False] * 20


async def test_groups_are_the_directorys_of_now(guard: Guard, store: Store, anna: Caller) -> None:
    await give(store, USER, VAULT, STAFF)
    assert await may(guard, anna)
    claims_to_be = replace(anna, principal_id=ROBOT, groups=frozenset({STAFF}))
    assert not await may(guard, claims_to_be)
    async with store.transaction() as tx:
        await remove_member(tx, TENANT, STAFF, "aaaaaaaa-0000-0000-0000-000000000005")
    assert not await may(guard, replace(anna, groups=frozenset({STAFF})))


async def test_a_principal_that_is_gone_may_nothing(guard: Guard, store: Store, robot: Caller) -> None:
    await give(store, USER, VAULT)
    assert await may(guard, robot)
    async with store.transaction() as tx:
        await delete_principal(tx, TENANT, ROBOT)
    refused = await may(guard, robot)
    assert isinstance(refused, Denied)
    assert refused.reason == f"principal {ROBOT} no longer exists in the directory {TENANT}"
    # its token still proves who it was: no 401
    caller = await guard.authenticate("Bearer robot", audiences=frozenset({AUDIENCE}), tenant_id=TENANT, now=1.0)
    assert caller.groups == frozenset()


async def test_a_disabled_principal_may_nothing(guard: Guard, store: Store, robot: Caller) -> None:
    await give(store, USER, VAULT)
    async with store.transaction() as tx:
        await set_enabled(tx, TENANT, ROBOT, False)
    refused = await may(guard, robot)
    assert isinstance(refused, Denied)
    assert "is disabled" in refused.reason
    async with store.transaction() as tx:
        await set_enabled(tx, TENANT, ROBOT, True)
    assert await may(guard, robot)


async def test_a_group_cannot_call(guard: Guard, store: Store, robot: Caller) -> None:
    await give(store, USER, VAULT, STAFF)
    assert not await may(guard, replace(robot, principal_id=STAFF))


async def test_assignments_are_one_tenants_own(guard: Guard, store: Store, boss: Caller) -> None:
    assert await may(guard, boss, READ, VAULT)
    assert not await may(guard, replace(boss, tenant_id=OTHER_TENANT), READ, VAULT)


class Owned:
    """Every scope is the other tenant's."""

    fresh = True

    async def refresh(self) -> None:
        return None

    def watch(self, changed: object) -> None:
        return None

    def above(self, scope: ResourceId, tenant_id: str) -> Sequence[str]:
        return ()

    def tenant_of(self, scope: ResourceId) -> str | None:
        return OTHER_TENANT if scope.subscription_id else None


async def test_a_root_assignment_ends_at_the_tenant(
    store: Store, people: None, tokens: Verifier, clock: FakeClock, ids: CountingIds, boss: Caller
) -> None:
    guard = Guard(store=store, tokens=tokens, clock=clock, ids=ids, hierarchy=Owned())
    assert await may(guard, boss, READ, ROOT)
    refused = await may(guard, boss, READ, VAULT)
    assert isinstance(refused, Denied)
    assert "belongs to tenant" in refused.reason


async def test_custom_roles_are_followed(guard: Guard, store: Store, robot: Caller) -> None:
    role = RoleDefinition(
        id="cccccccc-0000-0000-0000-000000000001",
        name="Mine",
        custom=True,
        tenant_id=TENANT,
        permissions=(Permission(data_actions=("Microsoft.KeyVault/vaults/secrets/getSecret/action",)),),
        assignable_scopes=(str(SUBSCRIPTION),),
    )
    key = f"{TENANT}/{role.id}"
    await give(store, role.id, VAULT)
    assert not await may(guard, robot)
    async with store.transaction() as tx:
        await ROLE_DEFINITIONS.put(tx, key, role)
    assert await may(guard, robot)
    async with store.transaction() as tx:
        await ROLE_DEFINITIONS.put(tx, key, RoleDefinition(id=role.id, name="Mine", custom=True, tenant_id=TENANT))
    assert not await may(guard, robot)


async def test_deny_assignments_are_followed_and_named(guard: Guard, store: Store, boss: Caller) -> None:
    locked = DenyAssignment(
        id="dddddddd-0000-0000-0000-000000000001",
        tenant_id=TENANT,
        name="Locked",
        scope=str(GROUP),
        permissions=(Permission(actions=("*/write",)),),
        principals=(DenyPrincipal(EVERYBODY, "SystemDefined"),),
    )
    write = Action("Microsoft.KeyVault/vaults/write")
    assert await may(guard, boss, write, VAULT)
    async with store.transaction() as tx:
        await deny(tx, locked)
    with pytest.raises(Forbidden) as refused:
        await guard.authorize(boss, write, VAULT, request_id="r")
    assert refused.value.code == "DenyAssignmentAuthorizationFailed"
    assert "deny assignment with name 'Locked'" in refused.value.message
    assert refused.value.info["deny_assignment_name"] == "Locked"
    assert refused.value.info["deny_assignment_scope"] == GROUP.key
    assert await may(guard, boss, READ, VAULT)
    async with store.transaction() as tx:
        assert await remove_denial(tx, TENANT, locked.id)
    assert await may(guard, boss, write, VAULT)


# --- the hot way


async def test_the_hot_way_waits_for_nothing_and_knows_only_what_is_read(
    guard: Guard, store: Store, robot: Caller
) -> None:
    assert guard.authorize_now(robot, GET, SECRET, request_id="r") is None
    await give(store, USER, VAULT)
    assert await may(guard, robot)
    assert isinstance(guard.authorize_now(robot, GET, SECRET, request_id="hot", service="key_vault"), Allowed)
    other = guard.authorize_now(robot, GET, GROUP, request_id="hot")
    assert isinstance(other, Denied)
    await give(store, READER, GROUP)
    assert guard.authorize_now(robot, GET, SECRET, request_id="r") is None, "something is to be read"
    assert len(await guard.log.find(Question(request_id="hot"))) == 2


async def test_allows_is_not_logged(guard: Guard, boss: Caller, robot: Caller) -> None:
    assert await guard.allows(boss, READ, VAULT)
    assert not await guard.allows(robot, READ, VAULT)
    assert await guard.log.find(Question()) == []


# --- a service that decides for itself


def target() -> Target:
    return Target(Cloud.__new__(Cloud), TENANT, VAULT, "v")


async def test_a_services_own_authorizer_comes_first(guard: Guard, store: Store, robot: Caller) -> None:
    asked: list[Caller] = []
    answer: Decision | None = Allowed(by="access policy")

    def authorizer(caller: Caller, action: Action, scope: ResourceId, where: Target) -> Decision | None:
        asked.append(caller)
        return answer

    async def ask() -> Allowed:
        return await guard.authorize(robot, GET, SECRET, request_id="r", target=target(), authorizer=authorizer)

    assert (await ask()).by == "access policy"
    answer = Denied("not in any access policy")
    with pytest.raises(Forbidden) as refused:
        await ask()
    assert refused.value.info["reason"] == "not in any access policy"
    answer = None
    with pytest.raises(Forbidden):
        await ask()
    await give(store, USER, VAULT)
    assert (await ask()).role == "Key Vault Secrets User"
    answer = Allowed(by="access policy")
    count = len(asked)
    async with store.transaction() as tx:
        await delete_principal(tx, TENANT, ROBOT)
    with pytest.raises(Forbidden, match="does not have authorization"):
        await ask()
    assert len(asked) == count, "nobody is asked about a principal that is gone"
    with pytest.raises(ValueError, match="target"):
        await guard.authorize(robot, GET, SECRET, request_id="r", authorizer=authorizer)


# --- assigning


async def test_assigning_again_changes_nothing(store: Store, people: None) -> None:
    assert await give(store, USER, VAULT) == await give(store, f"/providers/x/roleDefinitions/{USER.upper()}", VAULT)
    async with store.transaction() as tx:
        with pytest.raises(Conflict) as exists:
            await assign(
                tx,
                tenant_id=TENANT,
                scope=ResourceId.parse(str(VAULT).upper().replace("SUBSCRIPTIONS", "subscriptions")),
                principal_id=ROBOT.upper(),
                role_definition_id=USER,
                name="eeeeeeee-0000-0000-0000-000000000001",
                now=1.0,
            )
        assert exists.value.code == "RoleAssignmentExists"


@pytest.mark.parametrize(
    "changed",
    [
        {"principal_id": BOSS},
        {"role_definition_id": READER},
        {"scope": GROUP},
    ],
)
async def test_a_name_stays_with_its_assignment(store: Store, people: None, changed: dict[str, object]) -> None:
    name = await give(store, USER, VAULT)
    same: dict[str, object] = {"scope": VAULT, "principal_id": ROBOT, "role_definition_id": USER}
    async with store.transaction() as tx:
        with pytest.raises(InvalidInput) as refused:
            await assign(tx, tenant_id=TENANT, name=name, now=2.0, **(same | changed))  # type: ignore[arg-type]
    assert refused.value.code == "RoleAssignmentUpdateNotPermitted"


async def test_both_databases_hold_assignments(both_stores: Store) -> None:
    name = await give(both_stores, USER, VAULT)
    assert await give(both_stores, USER, VAULT) == name
    async with both_stores.transaction() as tx:
        assert (await unassign(tx, TENANT, name)) is not None
