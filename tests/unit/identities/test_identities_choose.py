"""Which identity a token request means: every rule, and the wrong request beside it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import Problem
from keyfob.identities.choose import ConflictingSelectors, IdentityNotFound, MultipleIdentities, choose
from keyfob.identities.model import Attached, HostIdentities, Selector

T = "11111111-1111-1111-1111-111111111111"
BASE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"
SYSTEM = Attached(None, "p-system", "c-system", T)
U1 = Attached(BASE + "u1", "p-u1", "c-u1", T)
U2 = Attached(BASE + "u2", "p-u2", "c-u2", T)


def host(*user: Attached, system: Attached | None = None) -> HostIdentities:
    return HostIdentities("/subscriptions/s/resourceGroups/g/providers/A/b/h", T, system, user)


@pytest.mark.parametrize(
    ("where", "asked", "expected"),
    [
        (host(system=SYSTEM), Selector(), SYSTEM),
        (host(U1, U2, system=SYSTEM), Selector(), SYSTEM),
        (host(U1), Selector(), U1),
        (host(U1, U2), Selector(client_id="c-u2"), U2),
        (host(U1, U2), Selector(client_id="C-U2"), U2),
        (host(U1, U2), Selector(object_id="p-u1"), U1),
        (host(U1, U2), Selector(resource_id=BASE.lower().replace("/subscriptions", "//subscriptions") + "U1/"), U1),
        (host(U1, system=SYSTEM), Selector(client_id="c-system"), SYSTEM),
        (host(U1, system=SYSTEM), Selector(object_id="p-system"), SYSTEM),
        (host(U1, U2), Selector(client_id="", object_id="p-u2", resource_id=""), U2),
    ],
)
def test_the_identity_meant(where: HostIdentities, asked: Selector, expected: Attached) -> None:
    assert choose(where, asked) is expected


@pytest.mark.parametrize(
    ("where", "asked", "problem"),
    [
        (host(), Selector(), IdentityNotFound),
        (host(U1, U2), Selector(), MultipleIdentities),
        (host(U1), Selector(client_id="c-u2"), IdentityNotFound),
        (host(U1), Selector(client_id="p-u1"), IdentityNotFound),
        (host(U1), Selector(object_id="c-u1"), IdentityNotFound),
        (host(U1, system=SYSTEM), Selector(resource_id=BASE + "u2"), IdentityNotFound),
        (host(U1), Selector(resource_id=BASE + "u"), IdentityNotFound),
        (host(U1), Selector(client_id="c-u1", object_id="p-u1"), ConflictingSelectors),
        (host(U1), Selector(client_id="c-u1", resource_id=BASE + "u1"), ConflictingSelectors),
    ],
)
def test_no_identity_is_meant(where: HostIdentities, asked: Selector, problem: type[Problem]) -> None:
    with pytest.raises(problem) as caught:
        choose(where, asked)
    assert caught.value.status == 400
    assert caught.value.code == "invalid_request"


def test_app_service_has_no_fallback_to_a_lone_user_identity() -> None:
    with pytest.raises(IdentityNotFound):
        choose(host(U1), Selector(), lone_user_identity=False)
    assert choose(host(U1), Selector(client_id="c-u1"), lone_user_identity=False) is U1


def test_the_texts_clients_look_for() -> None:
    assert IdentityNotFound().message == "Identity not found"
    assert MultipleIdentities().message.startswith("Multiple user assigned identities exist, please specify")


selectors = st.one_of(st.none(), st.sampled_from(["", "c-u1", "p-u2", BASE + "u1"]), st.text(max_size=20))


@given(selectors, selectors, selectors, st.booleans(), st.sets(st.sampled_from([U1, U2])), st.booleans())
def test_it_answers_with_an_attached_identity_or_a_problem(
    client: str | None, object_: str | None, resource: str | None, system: bool, user: set[Attached], lone: bool
) -> None:
    where = host(*user, system=SYSTEM if system else None)
    try:
        found = choose(where, Selector(client, object_, resource), lone_user_identity=lone)
    except Problem:
        return
    assert found in (*user, SYSTEM)
    assert found is not SYSTEM or system
