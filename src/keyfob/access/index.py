"""Everything that deciding needs of one tenant, in memory: the same answers as `decide.decide`, fast.

Per principal the grants by scope key; per person (a principal with its groups) these merged; per action the roles in
use that grant it. A decision then walks up the scope's key, one dictionary look-up a step.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from operator import attrgetter

from keyfob.access.decide import Denial, Grant, Person, forbidden, refusal, shortfall_of
from keyfob.access.memo import Memo
from keyfob.access.roles import Grants, RoleBook, RoleDefinition
from keyfob.declare import Action, Allowed, Decision
from keyfob.resource_id import ResourceId

ByScope = dict[str, tuple[Grant, ...]]
_ROOT = "/"
_BY_ID = attrgetter("id")


class Index:
    def __init__(self, tenant_id: str, roles: RoleBook, *, remembered: int = 8192) -> None:
        self._tenant_id = tenant_id
        self._roles = roles
        self._grants: dict[str, Grant] = {}
        self._by_principal: dict[str, ByScope] = {}
        self._in_use: dict[str, int] = {}
        self._denials: dict[str, Denial] = {}
        self._denials_at: dict[str, tuple[Denial, ...]] = {}
        self._compiled: dict[str, Grants] = {}
        self._merged: Memo[tuple[str, frozenset[str]], tuple[ByScope, int]] = Memo(remembered)
        self._granting: Memo[tuple[str, bool], frozenset[str]] = Memo(remembered)
        self._shortfalls: Memo[tuple[str, str, bool], tuple[str, str]] = Memo(remembered * 4)

    # --- keeping it up to date

    def put(self, name: str, grant: Grant) -> None:
        """`name` is the assignment's key in the store."""
        self.drop(name)
        self._grants[name] = grant
        here = self._by_principal.setdefault(grant.principal_id, {})
        here[grant.scope] = tuple(sorted((*here.get(grant.scope, ()), grant), key=_BY_ID))
        if grant.role_id not in self._in_use:
            self._granting.clear()
        self._count(grant, 1)
        self._merged.clear()

    def drop(self, name: str) -> None:
        grant = self._grants.pop(name, None)
        if grant is None:
            return
        here = self._by_principal[grant.principal_id]
        left = tuple(g for g in here[grant.scope] if g is not grant)
        if left:
            here[grant.scope] = left
        else:
            del here[grant.scope]
        if not here:
            del self._by_principal[grant.principal_id]
        self._count(grant, -1)
        self._merged.clear()

    def put_denial(self, name: str, denial: Denial) -> None:
        self._denials[name] = denial
        self._sort_denials()

    def drop_denial(self, name: str) -> None:
        self._denials.pop(name, None)
        self._sort_denials()

    def clear_denials(self) -> None:
        self._denials.clear()
        self._denials_at = {}

    def keep(self, names: Set[str]) -> None:
        """Drops every role assignment that is not among these."""
        for name in [name for name in self._grants if name not in names]:
            self.drop(name)

    def roles_changed(self) -> None:
        self._compiled.clear()
        self._granting.clear()
        self._shortfalls.clear()

    def _sort_denials(self) -> None:
        at: dict[str, list[Denial]] = {}
        for denial in sorted(self._denials.values(), key=_BY_ID):
            at.setdefault(denial.scope, []).append(denial)
        self._denials_at = {scope: tuple(found) for scope, found in at.items()}

    def _count(self, grant: Grant, step: int) -> None:
        count = self._in_use.get(grant.role_id, 0) + step
        if count:
            self._in_use[grant.role_id] = count
        else:
            del self._in_use[grant.role_id]

    # --- asking

    def __len__(self) -> int:
        return len(self._grants)

    def role(self, role_id: str) -> RoleDefinition | None:
        return self._roles.get(role_id, self._tenant_id)

    def denial(self, full_id: str) -> Denial | None:
        """By its full id."""
        return next((denial for denial in self._denials.values() if denial.id == full_id), None)

    def grants_of(self, person: Person, scope: ResourceId, above: Sequence[str] = ()) -> list[Grant]:
        """The person's grants at or above a scope, nearest first."""
        held, _ = self._of(person)
        return [grant for place in _upwards(scope.key, above) for grant in held.get(place, ())]

    def decide(self, person: Person, action: Action, scope: ResourceId, above: Sequence[str] = ()) -> Decision:
        """`decide.decide` over everything in this tenant."""
        key = scope.key
        if self._denials_at and (denial := self._forbidding(person, action, key, above)):
            return forbidden(denial, action)
        held, count = self._of(person)
        near: list[Grant] = []
        if held:
            granting = self._granting.get((action.name, action.data))
            if granting is None:
                granting = self._find_granting(action)
            for place in _upwards(key, above):
                if place in held:
                    for grant in held[place]:
                        if grant.role_id in granting:
                            return self._allowed(grant)
                        near.append(grant)
        return refusal(person, action, near, elsewhere=count - len(near), shortfall=self._shortfall)

    def _forbidding(self, person: Person, action: Action, key: str, above: Sequence[str]) -> Denial | None:
        name = action.name.lower()
        for place in _upwards(key, above):
            for denial in self._denials_at.get(place, ()):
                if denial.forbids(person, name, action.data, key):
                    return denial
        return None

    def _allowed(self, grant: Grant) -> Allowed:
        role = self.role(grant.role_id)
        return Allowed(by=grant.id, role=role.name if role else "", scope=grant.scope)

    def _of(self, person: Person) -> tuple[ByScope, int]:
        """The person's grants, its groups' among them, and their number."""
        key = (person.id, person.groups)
        known = self._merged.get(key)
        if known is None:
            merged = self._by_principal.get(person.id, {})
            for group in person.groups:
                theirs = self._by_principal.get(group)
                if not theirs:
                    continue
                both = merged.keys() & theirs.keys()
                merged, own = theirs | merged, merged
                for scope in both:
                    merged[scope] = tuple(sorted((*own[scope], *theirs[scope]), key=_BY_ID))
            known = (merged, sum(map(len, merged.values())))
            self._merged.put(key, known)
        return known

    def _find_granting(self, action: Action) -> frozenset[str]:
        name = action.name.lower()
        found = frozenset(role_id for role_id in self._in_use if self._grants_of_role(role_id).grant(name, action.data))
        self._granting.put((action.name, action.data), found)
        return found

    def _shortfall(self, role_id: str, action: Action) -> tuple[str, str]:
        key = (role_id, action.name, action.data)
        known = self._shortfalls.get(key)
        if known is None:
            role = self.role(role_id)
            grants = self._grants_of_role(role_id)
            known = shortfall_of(role, role_id, grants, action)
            self._shortfalls.put(key, known)
        return known

    def _grants_of_role(self, role_id: str) -> Grants:
        known = self._compiled.get(role_id)
        if known is None:
            role = self.role(role_id)
            known = self._compiled[role_id] = Grants(role.permissions if role else ())
        return known


def _upwards(key: str, above: Sequence[str]) -> list[str]:
    """The prefixes of a scope's key that can be scopes, longest first; then `above`; then the root.

    Every id has an even number of segments (a keyword and a name, a type and a name, `providers` with its namespace,
    type and name), so two are taken off at a time. What is no id by itself (`…/providers/Namespace`) is harmless.
    """
    if key == _ROOT:
        return [_ROOT]
    places = [key]
    cut = key.rfind("/", 0, key.rfind("/"))
    while cut > 0:
        key = key[:cut]
        places.append(key)
        cut = key.rfind("/", 0, key.rfind("/"))
    places += above
    places.append(_ROOT)
    return places
