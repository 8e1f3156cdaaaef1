"""The identity block: every body that azure-cli 2.91 sends, the documented ones, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.declare import IdentitySupport, OnPut
from keyfob.errors import InvalidInput
from keyfob.identities.model import StoredIdentity, SystemIdentity
from keyfob.identities.reconcile import Reconciled, parse_type, reconcile, type_text

BASE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"
U1, U2, U3 = BASE + "u1", BASE + "u2", BASE + "u3"
BOTH = IdentitySupport(system=True, user=True)
JOINED = "SystemAssigned, UserAssigned"


def before(system: bool, *user: str) -> StoredIdentity:
    return StoredIdentity(system=SystemIdentity(principal_id="p", client_id="c") if system else None, user=user)


def names(result: Reconciled) -> tuple[bool, list[str]]:
    return result.system, [id.name for id in result.user]


PATCHES: list[tuple[str, StoredIdentity, Any, tuple[bool, list[str]]]] = [
    ("vm assign", before(False), {"type": "SystemAssigned"}, (True, [])),
    (
        "vm assign beside u1",
        before(False, U1),
        {"userAssignedIdentities": {U1: {}}, "type": "SystemAssigned,UserAssigned"},
        (True, ["u1"]),
    ),
    (
        "vm assign u2",
        before(False, U1),
        {"userAssignedIdentities": {U2: {}, U1: {}}, "type": "UserAssigned"},
        (False, ["u1", "u2"]),
    ),
    (
        "vm assign again",
        before(True, U1, U2),
        {"userAssignedIdentities": {U1: {}, U2: {}}, "type": "SystemAssigned,UserAssigned"},
        (True, ["u1", "u2"]),
    ),
    ("vm remove", before(True), {"userAssignedIdentities": None, "type": "None"}, (False, [])),
    (
        "vm remove beside u1, u2",
        before(True, U1, U2),
        {"userAssignedIdentities": None, "type": "UserAssigned"},
        (False, ["u1", "u2"]),
    ),
    (
        "vm remove u1 of two",
        before(True, U1, U2),
        {"userAssignedIdentities": {U1: None}, "type": "SystemAssigned,UserAssigned"},
        (True, ["u2"]),
    ),
    (
        "vm remove the last",
        before(True, U1),
        {"type": "SystemAssigned", "userAssignedIdentities": None},
        (True, []),
    ),
    ("vm remove the only", before(False, U1), {"userAssignedIdentities": None, "type": "None"}, (False, [])),
    (
        "vm remove u1, no system",
        before(False, U1, U2),
        {"userAssignedIdentities": {U1: None}, "type": "UserAssigned"},
        (False, ["u2"]),
    ),
    (
        "vmss remove",
        before(True, U1, U2),
        {"userAssignedIdentities": {}, "type": "UserAssigned"},
        (False, ["u1", "u2"]),
    ),
    (
        "vmss assign u1",
        before(True),
        {"userAssignedIdentities": {U1: {}}, "type": "SystemAssigned,UserAssigned"},
        (True, ["u1"]),
    ),
    ("documented: only system", before(False, U1, U2), {"type": "SystemAssigned"}, (True, [])),
    ("documented: only user", before(True, U1), {"type": "UserAssigned"}, (False, ["u1"])),
    ("absent", before(True, U1), None, (True, ["u1"])),
    ("array replaces", before(True, U1), {"type": "UserAssigned", "identityIds": [U2]}, (False, ["u2"])),
    ("map without a type", before(True, U1), {"userAssignedIdentities": {U2: {}, U1: None}}, (True, ["u2"])),
    ("last one without a type", before(True, U1), {"userAssignedIdentities": {U1: None}}, (True, [])),
    ("empty block", before(True, U1), {}, (True, ["u1"])),
]

PUTS: list[tuple[str, StoredIdentity, Any, tuple[bool, list[str]]]] = [
    (
        "webapp remove",
        before(True, U1, U2),
        {"type": "UserAssigned", "userAssignedIdentities": {U1.lower(): {}, U2.lower(): {}}},
        (False, ["u1", "u2"]),
    ),
    (
        "webapp remove u1",
        before(True, U1, U2),
        {"type": JOINED, "userAssignedIdentities": {U2: {}}},
        (True, ["u2"]),
    ),
    ("webapp remove the only", before(True), {"type": "None"}, (False, [])),
    ("webapp assign u2", before(True), {"type": JOINED, "userAssignedIdentities": {U2: {}}}, (True, ["u2"])),
    (
        "array of 2017-12-01",
        before(False, U1),
        {"type": "UserAssigned", "identityIds": [U2, U3]},
        (False, ["u2", "u3"]),
    ),
    (
        "echoed values",
        before(False),
        {"type": "userAssigned", "userAssignedIdentities": {U1: {"principalId": "p", "clientId": "c"}}},
        (False, ["u1"]),
    ),
    ("members in any case", before(False), {"Type": "systemassigned"}, (True, [])),
]


@pytest.mark.parametrize(("had", "block", "result"), [row[1:] for row in PATCHES], ids=[row[0] for row in PATCHES])
def test_patch(had: StoredIdentity, block: Any, result: tuple[bool, list[str]]) -> None:
    assert names(reconcile(had, block, replace=False, support=BOTH)) == result


@pytest.mark.parametrize(("had", "block", "result"), [row[1:] for row in PUTS], ids=[row[0] for row in PUTS])
def test_put(had: StoredIdentity, block: Any, result: tuple[bool, list[str]]) -> None:
    assert names(reconcile(had, block, replace=True, support=BOTH)) == result


def test_put_without_a_block_keeps_or_removes_as_the_type_says() -> None:
    removes = IdentitySupport(system=True, user=True, absent_on_put=OnPut.REMOVE)
    assert names(reconcile(before(True, U1), None, replace=True, support=BOTH)) == (True, ["u1"])
    assert names(reconcile(before(True, U1), None, replace=True, support=removes)) == (False, [])
    assert names(reconcile(before(True, U1), None, replace=False, support=removes)) == (True, ["u1"])


def test_one_entry_per_identity_in_the_stored_spelling() -> None:
    block = {"type": "UserAssigned", "userAssignedIdentities": {U1.lower(): {}, U1.upper(): {}, U1: {}}}
    assert [str(id) for id in reconcile(before(False, U1), block, replace=True, support=BOTH).user] == [U1]


def test_a_new_identity_gets_the_canonical_spelling() -> None:
    odd = "/subscriptions/s/resourcegroups/g/providers/microsoft.managedidentity/userassignedidentities/u1"
    block = {"type": "UserAssigned", "userAssignedIdentities": {odd: {}}}
    assert [str(id) for id in reconcile(None, block, replace=False, support=BOTH).user] == [U1]


def test_listed_are_those_the_request_attaches_also_when_already_attached() -> None:
    block = {"type": "UserAssigned", "userAssignedIdentities": {U1: {}, U3: {}, U2: None}}
    result = reconcile(before(False, U1, U2), block, replace=False, support=BOTH)
    assert [id.name for id in result.listed] == ["u1", "u3"]
    assert reconcile(before(False, U1), {"type": "UserAssigned"}, replace=False, support=BOTH).listed == ()
    dropped = reconcile(None, {"type": "None", "userAssignedIdentities": {U1: {}}}, replace=True, support=BOTH)
    assert (dropped.user, dropped.listed) == ((), ())


@pytest.mark.parametrize(
    "spelling", ["SystemAssigned, UserAssigned", "userassigned,SYSTEMASSIGNED", " SystemAssigned ,UserAssigned "]
)
def test_types_in_any_spelling(spelling: str) -> None:
    kinds = parse_type(spelling)
    assert (kinds.system, kinds.user) == (True, True)


def test_the_type_as_replies_spell_it() -> None:
    assert type_text(True, True) == "SystemAssigned, UserAssigned"
    assert type_text(True, True, "SystemAssigned,UserAssigned") == "SystemAssigned,UserAssigned"
    assert [type_text(True, False), type_text(False, True), type_text(False, False)] == [
        "SystemAssigned",
        "UserAssigned",
        "None",
    ]


@pytest.mark.parametrize(
    ("block", "code"),
    [
        ("SystemAssigned", "InvalidRequestContent"),
        ({"type": 1}, "InvalidRequestContent"),
        ({"type": ""}, "InvalidRequestContent"),
        ({}, "InvalidRequestContent"),
        ({"type": "SystemAssigned,None"}, "InvalidIdentityType"),
        ({"type": "System"}, "InvalidIdentityType"),
        ({"type": "SystemAssigned,"}, "InvalidIdentityType"),
        ({"type": "UserAssigned"}, "InvalidParameter"),
        ({"type": JOINED, "userAssignedIdentities": {}}, "InvalidParameter"),
        ({"type": "UserAssigned", "userAssignedIdentities": {U1: None}}, "InvalidParameter"),
        ({"type": "UserAssigned", "userAssignedIdentities": [U1]}, "InvalidRequestContent"),
        ({"type": "UserAssigned", "userAssignedIdentities": {U1: 1}}, "InvalidIdentityValues"),
        ({"type": "UserAssigned", "userAssignedIdentities": {U1: {"name": "x"}}}, "InvalidIdentityValues"),
        ({"type": "UserAssigned", "userAssignedIdentities": {"u1": {}}}, "LinkedInvalidPropertyId"),
        ({"type": "UserAssigned", "userAssignedIdentities": {U1 + "/x/y": {}}}, "LinkedInvalidPropertyId"),
        ({"type": "UserAssigned", "identityIds": {U1: {}}}, "InvalidRequestContent"),
        ({"type": "UserAssigned", "identityIds": [1]}, "LinkedInvalidPropertyId"),
        (
            {
                "type": "UserAssigned",
                "identityIds": ["/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v"],
            },
            "LinkedInvalidPropertyId",
        ),
    ],
)
def test_refused(block: Any, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        reconcile(None, block, replace=True, support=BOTH)
    assert caught.value.code == code
    assert caught.value.status == 400


def test_a_type_that_takes_no_identity_refuses_one() -> None:
    for kind, support in (
        ("SystemAssigned", IdentitySupport(user=True)),
        ("UserAssigned", IdentitySupport(system=True)),
    ):
        block = {"type": kind, "userAssignedIdentities": {U1: {}}}
        with pytest.raises(InvalidInput) as caught:
            reconcile(None, block, replace=True, support=support)
        assert caught.value.code == "IdentityTypeNotSupported"
    assert not reconcile(None, {"type": "None"}, replace=True, support=IdentitySupport()).system


json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=10), st.sampled_from([U1, U2, "UserAssigned"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from(["type", "userAssignedIdentities", "identityIds", U1, U2]), st.text(max_size=5)),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
blocks = st.one_of(
    json,
    st.fixed_dictionaries(
        {"type": st.sampled_from(["None", "SystemAssigned", "UserAssigned", JOINED])},
        optional={
            "userAssignedIdentities": st.dictionaries(st.sampled_from([U1, U2, U3]), st.sampled_from([None, {}]))
        },
    ),
)


@given(blocks, st.booleans(), st.booleans(), st.sets(st.sampled_from([U1, U2])))
def test_any_block_is_a_result_or_a_problem(block: Any, replace: bool, system: bool, user: set[str]) -> None:
    had = before(system, *user)
    try:
        result = reconcile(had, block, replace=replace, support=BOTH)
    except InvalidInput:
        return
    keys = [id.key for id in result.user]
    assert len(keys) == len(set(keys))
    assert {id.key for id in result.listed} <= set(keys)
    if isinstance(block, dict) and isinstance(block.get("type"), str) and block["type"] == "None":
        assert names(result) == (False, [])
