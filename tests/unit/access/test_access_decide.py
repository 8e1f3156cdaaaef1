"""Decisions: by hand, and the index held against the plain function on random worlds."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.access.assignments import EVERYBODY, DenyAssignment, DenyPrincipal
from keyfob.access.decide import Denial, Grant, Person, Ungranted, decide, scopes_of
from keyfob.access.index import Index
from keyfob.access.roles import Permission, RoleBook, RoleDefinition
from keyfob.declare import Action, Allowed, Denied
from keyfob.resource_id import ResourceId

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000001"
GROUP = f"{SUBSCRIPTION}/resourceGroups/rg"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/v"
SECRET = f"{VAULT}/secrets/s"
MANAGEMENT = "/providers/Microsoft.Management/managementGroups/m"
READ = Action("Microsoft.KeyVault/vaults/read")
GET = Action("Microsoft.KeyVault/vaults/secrets/getSecret/action", data=True)
WRITE = Action("Microsoft.Authorization/roleAssignments/write")
BOOK = RoleBook()
ANNA = Person("anna")
BEN = Person("ben", frozenset({"staff", "admins"}))


def role_id(name: str) -> str:
    role = BOOK.named(name)
    assert role is not None
    return role.id


def grant(name: str, scope: str, who: str = "anna", number: int = 1) -> Grant:
    return Grant(f"ra{number}", who, role_id(name), ResourceId.parse(scope).key)


def ask(person: Person, action: Action, scope: str, *grants: Grant, denials: Sequence[Denial] = (), above: str = ""):
    up = (ResourceId.parse(above).key,) if above else ()
    place = ResourceId.parse(scope)
    plain = decide(person, action, place, grants=grants, denials=denials, role=BOOK.get, above=up)
    index = Index("", BOOK)
    for number, one in enumerate(grants):
        index.put(str(number), one)
    for number, denial in enumerate(denials):
        index.put_denial(str(number), denial)
    assert index.decide(person, action, place, up) == plain
    return plain


@pytest.mark.parametrize(
    ("granted_at", "asked_at", "allowed"),
    [
        ("/", VAULT, True),
        ("/", "/", True),
        (SUBSCRIPTION, VAULT, True),
        (SUBSCRIPTION.upper().replace("SUBSCRIPTIONS", "subscriptions"), VAULT, True),
        (GROUP, VAULT, True),
        (GROUP.replace("/rg", "/RG"), VAULT, True),
        (GROUP, GROUP, True),
        (VAULT, VAULT, True),
        (VAULT, f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/x", True),
        (GROUP, f"{SUBSCRIPTION}/resourceGroups/rg2", False),
        (GROUP, f"{SUBSCRIPTION}/resourceGroups/rg2/providers/Microsoft.KeyVault/vaults/v", False),
        (GROUP, f"{SUBSCRIPTION}/resourceGroups/r", False),
        (GROUP, SUBSCRIPTION, False),
        (GROUP, "/", False),
        (VAULT, GROUP, False),
        (VAULT, f"{VAULT}2", False),
        (VAULT, VAULT.replace("KeyVault", "KeyVaults"), False),
        (SUBSCRIPTION, SUBSCRIPTION[:-1] + "2", False),
        (SECRET, VAULT, False),
        (MANAGEMENT, VAULT, False),
    ],
)
def test_scopes_contain_by_segments(granted_at: str, asked_at: str, allowed: bool) -> None:
    assert bool(ask(ANNA, READ, asked_at, grant("Reader", granted_at))) is allowed


def test_management_groups_stand_between_subscription_and_root() -> None:
    assert ask(ANNA, READ, VAULT, grant("Reader", MANAGEMENT), above=MANAGEMENT)
    assert not ask(ANNA, READ, VAULT, grant("Reader", MANAGEMENT + "2"), above=MANAGEMENT)
    assert scopes_of(ResourceId.parse(GROUP), ["m"]) == [GROUP.lower(), SUBSCRIPTION, "m", "/"]


def test_the_nearest_assignment_is_named() -> None:
    found = ask(ANNA, READ, VAULT, grant("Reader", "/", number=1), grant("Owner", GROUP, number=2))
    assert found == Allowed(by="ra2", role="Owner", scope=GROUP.lower())


def test_somebody_elses_assignment_gives_nothing() -> None:
    found = ask(ANNA, READ, VAULT, grant("Owner", "/", who="ben"))
    assert found == Ungranted("no role assignment of the principal stands at or above this scope")


def test_groups_count() -> None:
    assert ask(BEN, READ, VAULT, grant("Reader", GROUP, who="staff"))
    assert not ask(ANNA, READ, VAULT, grant("Reader", GROUP, who="staff"))
    refused = ask(BEN, GET, SECRET, grant("Reader", GROUP, who="staff"))
    assert isinstance(refused, Denied)
    assert "of the principal or its 2 groups" in refused.reason
    assert refused.looked_at == (f"Reader at {GROUP.lower()} through group staff: does not grant it",)


def test_one_roles_exclusions_do_not_bind_another() -> None:
    contributor = grant("Contributor", "/", number=1)
    refused = ask(ANNA, WRITE, GROUP, contributor)
    assert isinstance(refused, Denied)
    assert "Contributor excludes it by its notActions" in refused.reason
    assert ask(ANNA, WRITE, GROUP, contributor, grant("User Access Administrator", GROUP, number=2))


def test_control_plane_roles_open_no_data() -> None:
    refused = ask(ANNA, GET, SECRET, grant("Owner", "/", number=1), grant("Reader", GROUP, number=2))
    assert isinstance(refused, Denied)
    assert refused.reason == (
        "2 role assignments of the principal at or above this scope, none of their roles grants data action "
        "Microsoft.KeyVault/vaults/secrets/getSecret/action; Owner grants it only as a control-plane action"
    )
    assert len(refused.looked_at) == 2


def test_assignments_elsewhere_are_mentioned() -> None:
    refused = ask(ANNA, GET, SECRET, grant("Key Vault Secrets User", f"{GROUP}2"))
    assert isinstance(refused, Denied)
    assert refused.reason.endswith("; 1 role assignment elsewhere")


def test_a_role_that_is_gone_grants_nothing() -> None:
    gone = Grant("ra", "anna", "00000000-0000-0000-0000-00000000dead", "/")
    refused = ask(ANNA, READ, VAULT, gone)
    assert isinstance(refused, Denied)
    assert "is not defined" in refused.reason


def denial(scope: str = GROUP, **more: object) -> Denial:
    values: dict[str, object] = {
        "permissions": (Permission(actions=("*/write", "*/read"), not_actions=("*/vaults/read",)),),
        "principals": (DenyPrincipal("anna", "User"),),
    }
    return Denial.of(DenyAssignment(id="d1", name="Locked", scope=scope, **(values | more)))  # type: ignore[arg-type]


EVERYONE = (DenyPrincipal(EVERYBODY, "SystemDefined"),)
GROUP_READ = Action("Microsoft.Resources/subscriptions/resourceGroups/read")


@pytest.mark.parametrize(
    ("person", "action", "scope", "denied_by", "forbidden"),
    [
        (ANNA, GROUP_READ, GROUP, denial(), True),
        (BEN, GROUP_READ, GROUP, denial(), False),
        (ANNA, READ, VAULT, denial(), False),  # its own notActions
        (ANNA, WRITE, VAULT, denial(), True),
        (ANNA, WRITE, SUBSCRIPTION, denial(), False),
        (ANNA, WRITE, f"{GROUP}2", denial(), False),
        (ANNA, WRITE, VAULT, denial(this_scope_only=True), False),
        (ANNA, WRITE, GROUP, denial(this_scope_only=True), True),
        (BEN, WRITE, VAULT, denial(principals=(DenyPrincipal("staff", "Group"),)), True),
        (BEN, WRITE, VAULT, denial(principals=EVERYONE), True),
        (BEN, WRITE, VAULT, denial(principals=EVERYONE, exclude_principals=(DenyPrincipal("ben"),)), False),
        (BEN, WRITE, VAULT, denial(principals=EVERYONE, exclude_principals=(DenyPrincipal("admins"),)), False),
        (ANNA, WRITE, VAULT, denial(principals=EVERYONE, exclude_principals=(DenyPrincipal("admins"),)), True),
        (ANNA, WRITE, VAULT, denial(principals=(DenyPrincipal(EVERYBODY, "User"),)), False),
        (ANNA, WRITE, VAULT, denial(scope="/"), True),
    ],
)
def test_deny_assignments_come_first(
    person: Person, action: Action, scope: str, denied_by: Denial, forbidden: bool
) -> None:
    found = ask(person, action, scope, grant("Owner", "/", who=person.id), denials=(denied_by,))
    assert isinstance(found, Denied) is forbidden
    if isinstance(found, Denied):
        assert found.deny_assignment == denied_by.id
        assert "deny assignment 'Locked'" in found.reason


def test_data_is_denied_apart() -> None:
    locked = denial(permissions=(Permission(data_actions=("*",)),))
    user = grant("Key Vault Secrets User", "/", number=1)
    assert not ask(ANNA, GET, SECRET, user, denials=(locked,))
    assert ask(ANNA, READ, VAULT, grant("Reader", "/"), denials=(locked,))


# --- the index against the plain function, on random worlds

PLACES = [
    "/",
    MANAGEMENT,
    SUBSCRIPTION,
    SUBSCRIPTION[:-1] + "2",
    GROUP,
    f"{SUBSCRIPTION}/resourcegroups/RG2",
    VAULT,
    SECRET,
    f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/x",
    f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/y",
]
NAMES = ["anna", "ben", "g1", "g2", "g3"]
WORDS = ["*", "a/*", "*/read", "a/read", "a/*/write", "A/b/Write", "b/*", "c"]
ACTIONS = [Action(name, data) for name in ("a/read", "a/b/write", "b/x", "C") for data in (False, True)]

patterns = st.lists(st.sampled_from(WORDS), max_size=2).map(tuple)
permissions = st.lists(
    st.builds(
        Permission,
        actions=patterns,
        not_actions=patterns,
        data_actions=patterns,
        not_data_actions=patterns,
        condition=st.sampled_from([None, None, None, "x"]),
    ),
    max_size=2,
).map(tuple)
roles = st.lists(permissions, min_size=1, max_size=4).map(
    lambda found: {str(n): RoleDefinition(id=str(n), name=f"R{n}", permissions=p) for n, p in enumerate(found)}
)
grants = st.lists(
    st.builds(
        lambda n, who, role, at: Grant(f"ra{n}", who, str(role), ResourceId.parse(at).key),
        st.integers(0, 99),
        st.sampled_from(NAMES),
        st.integers(0, 4),
        st.sampled_from(PLACES),
    ),
    max_size=12,
    unique_by=lambda g: g.id,
)
principals = st.lists(st.sampled_from([*(DenyPrincipal(n, "User") for n in NAMES), *EVERYONE]), max_size=2).map(tuple)
denials = st.lists(
    st.builds(
        lambda n, at, only, who, but, what: Denial.of(
            DenyAssignment(
                id=f"d{n}",
                name=f"D{n}",
                scope=at,
                this_scope_only=only,
                principals=who,
                exclude_principals=but,
                permissions=what,
            )
        ),
        st.integers(0, 99),
        st.sampled_from(PLACES),
        st.booleans(),
        principals,
        principals,
        permissions,
    ),
    max_size=3,
    unique_by=lambda d: d.id,
)
people = st.builds(Person, st.sampled_from(["anna", "ben"]), st.frozensets(st.sampled_from(["g1", "g2", "g3"])))


class Book(RoleBook):
    """Roles with short ids."""

    def __init__(self, found: Mapping[str, RoleDefinition]) -> None:
        super().__init__(lambda: found)

    def get(self, reference: str, tenant_id: str = "") -> RoleDefinition | None:
        return self.built_in.get(reference)


@settings(max_examples=300, deadline=None)
@given(roles, grants, denials, st.data())
def test_the_index_answers_as_the_plain_function(
    found: Mapping[str, RoleDefinition], world: list[Grant], locks: list[Denial], data: st.DataObject
) -> None:
    book = Book(found)
    index = Index("t", book)
    for one in world:
        index.put(one.id, one)
    for lock in locks:
        index.put_denial(lock.id, lock)
    for _ in range(4):
        person = data.draw(people)
        action = data.draw(st.sampled_from(ACTIONS))
        scope = ResourceId.parse(data.draw(st.sampled_from([*PLACES, f"{SECRET}/versions/1", f"{GROUP}x"])))
        under = () if scope.subscription_id is None else (ResourceId.parse(MANAGEMENT).key,)
        plain = decide(person, action, scope, grants=world, denials=locks, role=book.get, above=under)
        assert index.decide(person, action, scope, under) == plain
        if world and data.draw(st.booleans()):  # and again when the world has changed
            gone = world.pop(data.draw(st.integers(0, len(world) - 1)))
            index.drop(gone.id)
        elif locks:
            index.drop_denial(locks.pop().id)
        plain = decide(person, action, scope, grants=world, denials=locks, role=book.get, above=under)
        assert index.decide(person, action, scope, under) == plain
    index.keep(set())
    assert len(index) == 0


def test_a_changed_role_is_seen() -> None:
    before = {"0": RoleDefinition(id="0", name="R", permissions=(Permission(actions=("a/read",)),))}
    book = Book(before)
    index = Index("t", book)
    index.put("k", Grant("ra", "anna", "0", "/"))
    where = ResourceId.parse(VAULT)
    assert index.decide(ANNA, Action("a/read"), where)
    before["0"] = RoleDefinition(id="0", name="R", permissions=(Permission(actions=("a/write",)),))
    index.roles_changed()
    assert not index.decide(ANNA, Action("a/read"), where)
    assert index.decide(ANNA, Action("a/write"), where)
