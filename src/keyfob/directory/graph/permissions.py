"""What Microsoft Graph's permissions allow: one table of needs, one pure decision with its reason.

Three kinds of callers, as on Graph:
- an application with application permissions (`roles` of its token);
- an application or managed identity with a directory role, which needs no permission;
- a user through a client: the client's delegated permission (`scp`) AND what the user may do. Every member may read the
  directory and register applications and security groups (Entra's default user permissions); the rest is for owners
  and for holders of directory roles. `Directory.AccessAsUser.All` stands for every delegated permission.

The permissions are those of the reference page of each operation; the least privileged one comes first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from keyfob.declare import Allowed, Decision, Denied
from keyfob.directory.principals import GLOBAL_ADMINISTRATOR

Area = Literal["read", "users", "groups", "applications", "consent", "roles"]
Who = Literal["member", "owner", "administrator"]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """`name` is the action in the decision log. Each text in the tuples is one alternative; words in it are needed
    together. `owned`: application permissions that count only for objects the caller owns."""

    name: str
    application: tuple[str, ...]
    delegated: tuple[str, ...]
    area: Area
    user: Who = "administrator"
    owned: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    """Delegated permissions that count only for the user itself: `User.Read`."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Who asks, and how it stands to what is asked for."""

    application: bool
    roles: frozenset[str]
    scopes: frozenset[str]
    directory_roles: frozenset[str]
    myself: bool = False
    owner: bool = False


_EVERYTHING = frozenset({GLOBAL_ADMINISTRATOR})
_READERS = frozenset({"88d8e3e3-8f55-4a1e-953a-9b9898b8876b", "f2ef992c-3afb-46b9-b7cf-a126ee74c451"})
_WRITERS = frozenset({"9360feb5-f418-4baa-8175-e2a00bac4301"})
_USERS = frozenset({"fe930be7-5e62-47db-91af-98c3a49a38b1"})
_GROUPS = frozenset({"fdd7a751-b60b-444a-984c-02652fe8fa1c"})
_APPLICATIONS = frozenset({"9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", "158c047a-c907-4556-b7ef-446551a6b5f7"})
_PRIVILEGED = frozenset({"e8611ab8-c189-46e8-94e1-60213ab1f814"})

ADMINISTRATORS: Mapping[Area, frozenset[str]] = {
    "read": _EVERYTHING | _READERS | _WRITERS | _USERS | _GROUPS | _APPLICATIONS | _PRIVILEGED,
    "users": _EVERYTHING | _USERS,
    "groups": _EVERYTHING | _GROUPS | _USERS | _WRITERS,
    "applications": _EVERYTHING | _APPLICATIONS,
    "consent": _EVERYTHING | _PRIVILEGED,
    "roles": _EVERYTHING | _PRIVILEGED,
}
"""Area → role templates whose holders may do everything in it (Microsoft Entra built-in roles page)."""

ROLE_NAMES: Mapping[str, str] = {
    GLOBAL_ADMINISTRATOR: "Global Administrator",
    "88d8e3e3-8f55-4a1e-953a-9b9898b8876b": "Directory Readers",
    "f2ef992c-3afb-46b9-b7cf-a126ee74c451": "Global Reader",
    "9360feb5-f418-4baa-8175-e2a00bac4301": "Directory Writers",
    "fe930be7-5e62-47db-91af-98c3a49a38b1": "User Administrator",
    "fdd7a751-b60b-444a-984c-02652fe8fa1c": "Groups Administrator",
    "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3": "Application Administrator",
    "158c047a-c907-4556-b7ef-446551a6b5f7": "Cloud Application Administrator",
    "e8611ab8-c189-46e8-94e1-60213ab1f814": "Privileged Role Administrator",
}


def decide(needs: Needs, facts: Facts) -> Decision:
    held = facts.directory_roles & ADMINISTRATORS[needs.area]
    role = f"directory role {ROLE_NAMES.get(min(held), min(held))}" if held else ""
    if facts.application:
        return _application(needs, facts, role)
    scopes = _with_implied(facts.scopes)
    alternatives = (*needs.delegated, *needs.own) if facts.myself else needs.delegated
    through = next((one for one in alternatives if scopes.issuperset(one.split())), "")
    if not through and "Directory.AccessAsUser.All" in scopes:
        through = "Directory.AccessAsUser.All"
    if not through:
        return Denied(
            f"The token's delegated permissions ({', '.join(sorted(facts.scopes)) or 'none'}) hold none of "
            f"{', '.join(needs.delegated) or 'those'} that the operation needs."
        )
    why = (
        (needs.user == "member" and "every member may")
        or (needs.user == "owner" and facts.owner and "the user owns it")
        or role
    )
    if not why:
        return Denied(
            f"The client holds {through}, but the user holds no directory role that allows {needs.name}"
            + (" and does not own the object." if needs.user == "owner" else ".")
        )
    return Allowed(by=f"delegated permission {through}", role=f"{through}; {why}")


def _application(needs: Needs, facts: Facts, role: str) -> Decision:
    roles = _with_implied(facts.roles)
    for one in needs.application:
        if roles.issuperset(one.split()):
            return Allowed(by=f"application permission {one}", role=one)
    for one in needs.owned:
        if one in roles and facts.owner:
            return Allowed(by=f"application permission {one}", role=f"{one}; the application owns it")
    if role:
        return Allowed(by=role, role=role)
    return Denied(
        f"The token's application permissions ({', '.join(sorted(facts.roles)) or 'none'}) hold none of "
        f"{', '.join((*needs.application, *needs.owned)) or 'those'} that the operation needs"
        + (", and it does not own the object." if needs.owned else ".")
    )


def _with_implied(permissions: Collection[str]) -> frozenset[str]:
    """Who may write may read; the whole group includes its membership, full profiles the basic ones."""
    found = set(permissions)
    for one in permissions:
        if ".ReadWrite." in one and not one.endswith(".OwnedBy"):
            found.add(one.replace(".ReadWrite.", ".Read."))
        elif one.endswith(".ReadWrite"):
            found.add(one.removesuffix("Write"))
    for one in tuple(found):
        if one.startswith("Group.Read"):
            found.add(one.replace("Group.", "GroupMember.", 1))
    if "User.Read.All" in found:
        found |= {"User.ReadBasic.All", "User.Read"}
    return frozenset(found)
