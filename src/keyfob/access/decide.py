"""The decision, as a plain function: deny assignments first, then role assignments at or above the scope.

`decide` here walks over everything it is given and is the meaning; `index.py` gives the same answers from memory,
fast. Both word a refusal with `refusal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from keyfob.access.assignments import EVERYBODY, DenyAssignment, RoleAssignment
from keyfob.access.roles import Grants, RoleDefinition
from keyfob.declare import Action, Allowed, Decision, Denied
from keyfob.resource_id import ResourceId

MOST_TOLD = 12
"""Assignments that a refusal describes one by one."""

FindRole = Callable[[str], RoleDefinition | None]
"""By lower-case GUID, in the tenant that is asked about."""
Shortfall = Callable[[str, Action], tuple[str, str]]
"""Role GUID and action → the role's name, and why it does not grant the action (`Grants.shortfall`)."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: object id and, transitively, groups."""

    id: str
    groups: frozenset[str] = frozenset()

    def is_one_of(self, ids: frozenset[str]) -> bool:
        return self.id in ids or not self.groups.isdisjoint(ids)


@dataclass(frozen=True, slots=True)
class Grant:
    """A role assignment, reduced to what deciding needs. `scope` is a `ResourceId.key`."""

    id: str
    principal_id: str
    role_id: str
    scope: str

    @classmethod
    def of(cls, assignment: RoleAssignment) -> Grant:
        scope = ResourceId.parse(assignment.scope)
        full = scope.provider("Microsoft.Authorization/roleAssignments", assignment.id)
        return cls(str(full), assignment.principal_id.lower(), assignment.role_id.lower(), scope.key)


@dataclass(frozen=True, slots=True)
class Denial:
    """A deny assignment, reduced likewise."""

    id: str
    name: str
    scope: str
    this_scope_only: bool
    everybody: bool
    principals: frozenset[str]
    excluded: frozenset[str]
    grants: Grants

    @classmethod
    def of(cls, assignment: DenyAssignment) -> Denial:
        scope = ResourceId.parse(assignment.scope)
        principals = frozenset(p.id.lower() for p in assignment.principals)
        return cls(
            id=str(scope.provider("Microsoft.Authorization/denyAssignments", assignment.id)),
            name=assignment.name,
            scope=scope.key,
            this_scope_only=assignment.this_scope_only,
            everybody=any(p.id == EVERYBODY and p.type == "SystemDefined" for p in assignment.principals),
            principals=principals - {EVERYBODY},
            excluded=frozenset(p.id.lower() for p in assignment.exclude_principals),
            grants=Grants(assignment.permissions),
        )

    def forbids(self, person: Person, action: str, data: bool, scope: str) -> bool:
        """Of a scope at or below its own. `action` in lower case."""
        return (
            (not self.this_scope_only or scope == self.scope)
            and (self.everybody or person.is_one_of(self.principals))
            and not person.is_one_of(self.excluded)
            and self.grants.grant(action, data)
        )


class Ungranted(Denied):
    """Denied because no assignment grants it: giving a role would help, which is not so of other refusals."""

    __slots__ = ()


def scopes_of(scope: ResourceId, above: Sequence[str] = ()) -> list[str]:
    """The keys of every scope that contains this one, nearest first. `above`: management groups, nearest first."""
    *inner, root = scope.chain()
    return [*inner, *above, root]


def decide(
    person: Person,
    action: Action,
    scope: ResourceId,
    *,
    grants: Iterable[Grant],
    denials: Iterable[Denial],
    role: FindRole,
    above: Sequence[str] = (),
) -> Decision:
    """Whether `person` may do `action` at `scope`, and why.

    `grants` and `denials` are all there are in the tenant, of whatever principal and scope. The nearest grant is named.
    """
    rank = {key: place for place, key in enumerate(scopes_of(scope, above))}
    name = action.name.lower()
    for denial in sorted((d for d in denials if d.scope in rank), key=lambda d: (rank[d.scope], d.id)):
        if denial.forbids(person, name, action.data, scope.key):
            return forbidden(denial, action)
    mine = [grant for grant in grants if grant.principal_id == person.id or grant.principal_id in person.groups]
    near = sorted((g for g in mine if g.scope in rank), key=lambda g: (rank[g.scope], g.id))
    for grant in near:
        found = role(grant.role_id)
        if found is not None and Grants(found.permissions).grant(name, action.data):
            return Allowed(by=grant.id, role=found.name, scope=grant.scope)
    return refusal(person, action, near, elsewhere=len(mine) - len(near), shortfall=partial(_shortfall, role))


def shortfall_of(role: RoleDefinition | None, role_id: str, grants: Grants, action: Action) -> tuple[str, str]:
    """`grants` are the role's."""
    if role is None:
        return f"role {role_id}", "is not defined"
    return role.name, grants.shortfall(action.name.lower(), action.data)


def _shortfall(role: FindRole, role_id: str, action: Action) -> tuple[str, str]:
    found = role(role_id)
    return shortfall_of(found, role_id, Grants(found.permissions if found else ()), action)


def forbidden(denial: Denial, action: Action) -> Denied:
    return Denied(
        f"deny assignment '{denial.name}' at {denial.scope} forbids {_kind(action)} {action.name}",
        deny_assignment=denial.id,
    )


def refusal(
    person: Person, action: Action, near: Sequence[Grant], *, elsewhere: int, shortfall: Shortfall
) -> Ungranted:
    """What was looked at, in a sentence. `near`: the principal's assignments at or above the scope, nearest first."""
    groups = len(person.groups)
    whose = "the principal"
    if groups:
        whose = f"the principal or its {groups} groups" if groups > 1 else "the principal or its group"
    if not near:
        rest = f"; {_count(elsewhere)} elsewhere" if elsewhere else ""
        return Ungranted(f"no role assignment of {whose} stands at or above this scope{rest}")
    none = "its role does not grant" if len(near) == 1 else "none of their roles grants"
    reason = f"{_count(len(near))} of {whose} at or above this scope, {none} {_kind(action)} {action.name}"
    told = []
    hints: dict[str, None] = {}
    for grant in near[:MOST_TOLD]:
        name, short = shortfall(grant.role_id, action)
        if short:
            hints[f"; {name} {short}"] = None
        through = "" if grant.principal_id == person.id else f" through group {grant.principal_id}"
        told.append(f"{name} at {grant.scope}{through}: {short or 'does not grant it'}")
    return Ungranted(reason + "".join(hints) if hints else reason, looked_at=tuple(told))


def _kind(action: Action) -> str:
    return "data action" if action.data else "action"


def _count(number: int) -> str:
    return f"{number} role assignment{'' if number == 1 else 's'}"
