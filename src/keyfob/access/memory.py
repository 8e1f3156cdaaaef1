"""What the guard knows without asking the store: assignments, custom roles, deny assignments, who still exists.

The store tells which keys changed; they are marked, and read before the next decision. So a decision that follows a
commit on this node sees it, and one that needs no reading needs no waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from keyfob.access.assignments import DENY_ASSIGNMENTS, ROLE_ASSIGNMENTS
from keyfob.access.decide import Denial, Grant, Person
from keyfob.access.index import Index
from keyfob.access.memo import Memo
from keyfob.access.roles import ROLE_DEFINITIONS, RoleBook
from keyfob.declare import Action, Decision, Denied
from keyfob.directory.model import Group
from keyfob.directory.principals import get_principal, groups_of
from keyfob.directory.records import GROUPS, MEMBERSHIPS, SERVICE_PRINCIPALS, USERS
from keyfob.resource_id import ResourceId
from keyfob.store.port import EVERYTHING, Store

_PAGE = 2000
_Mark = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the directory says of a principal. `refusal` is "" or the sentence why nothing applies to it."""

    person: Person
    refusal: str = ""


class Hierarchy(Protocol):
    """What lies between subscriptions and the root. It answers from memory: `fresh` says whether that is up to date,
    `refresh` makes it so, and `watch` names who is to be told whenever it no longer is."""

    @property
    def fresh(self) -> bool: ...

    async def refresh(self) -> None: ...

    def watch(self, changed: Callable[[], None]) -> None: ...

    def above(self, scope: ResourceId, tenant_id: str) -> Sequence[str]:
        """Keys of the tenant's management groups that hold this scope, nearest first."""
        ...

    def tenant_of(self, scope: ResourceId) -> str | None:
        """The tenant that a scope belongs to; None when it is nobody's in particular, or unknown."""
        ...


class NoHierarchy:
    """Subscriptions stand directly below the root, and whose they are is checked where tokens are."""

    fresh = True

    async def refresh(self) -> None:
        return None

    def watch(self, changed: Callable[[], None]) -> None:
        return None

    def above(self, scope: ResourceId, tenant_id: str) -> Sequence[str]:
        return ()

    def tenant_of(self, scope: ResourceId) -> str | None:
        return None


class Memory:
    """`version` grows with everything that may change a decision."""

    def __init__(self, store: Store, roles: RoleBook, hierarchy: Hierarchy, *, remembered: int = 65_536) -> None:
        self._store = store
        self._roles = roles
        self._hierarchy = hierarchy
        self._indexes: dict[str, Index] = {}
        self._standings: Memo[tuple[str, str], Standing] = Memo(remembered // 4)
        self._decisions: Memo[tuple[str, str, str, bool, str], Decision] = Memo(remembered)
        self._reading = asyncio.Lock()
        self._marks: dict[_Mark, int] = {}
        self.version = 0
        self._people_version = 0
        hierarchy.watch(self.forget)
        for topic in (ROLE_ASSIGNMENTS.topic, DENY_ASSIGNMENTS.topic, ROLE_DEFINITIONS.topic):
            self._mark(topic, EVERYTHING)
            store.watch(topic, self._marker(topic))
        for topic in (USERS.topic, GROUPS.topic, SERVICE_PRINCIPALS.topic, MEMBERSHIPS.topic):
            store.watch(topic, self._people_changed)

    # --- being told of changes

    def _marker(self, topic: str) -> Callable[[str], None]:
        return lambda key: self._mark(topic, key)

    def _mark(self, topic: str, key: str) -> None:
        self.version += 1
        self._marks[topic, key] = self.version
        self._decisions.clear()

    def _people_changed(self, key: str) -> None:
        self.version += 1
        self._people_version += 1
        self._standings.clear()
        self._decisions.clear()

    def forget(self) -> None:
        """The hierarchy above subscriptions has changed."""
        self.version += 1
        self._decisions.clear()

    # --- reading what changed

    @property
    def fresh(self) -> bool:
        return not self._marks and self._hierarchy.fresh

    async def refresh(self) -> None:
        """Returns with everything read that was committed on this node before the call."""
        if not self._hierarchy.fresh:
            await self._hierarchy.refresh()
        while self._marks:
            async with self._reading:
                marks = dict(self._marks)
                whole = {topic for topic, key in marks if key == EVERYTHING}
                for topic in sorted(whole):
                    await self._read_all(topic)
                for topic, key in marks:
                    if topic not in whole:
                        await self._read_one(topic, key)
                self.version += 1
                self._decisions.clear()
                self._marks = {mark: at for mark, at in self._marks.items() if marks.get(mark) != at}

    async def _read_one(self, topic: str, key: str) -> None:
        tenant_id, _, name = key.partition("/")
        index = self.index(tenant_id)
        if topic == ROLE_ASSIGNMENTS.topic:
            assignment = await ROLE_ASSIGNMENTS.get(self._store, key)
            index.put(key, Grant.of(assignment.value)) if assignment else index.drop(key)
        elif topic == DENY_ASSIGNMENTS.topic:
            denial = await DENY_ASSIGNMENTS.get(self._store, key)
            index.put_denial(key, Denial.of(denial.value)) if denial else index.drop_denial(key)
        else:
            role = await ROLE_DEFINITIONS.get(self._store, key)
            self._roles.put(role.value) if role else self._roles.drop(tenant_id, name)
            index.roles_changed()

    async def _read_all(self, topic: str) -> None:
        """Pages, so that other work gets its turn; what changes meanwhile is marked and read again."""
        if topic == ROLE_DEFINITIONS.topic:
            self._roles.replace([row.value for row in await ROLE_DEFINITIONS.list(self._store)])
            for index in self._indexes.values():
                index.roles_changed()
        elif topic == DENY_ASSIGNMENTS.topic:
            for index in self._indexes.values():
                index.clear_denials()
            for denial in await DENY_ASSIGNMENTS.list(self._store):
                self.index(denial.value.tenant_id).put_denial(denial.key, Denial.of(denial.value))
        else:
            await self._read_assignments()

    async def _read_assignments(self) -> None:
        seen: set[str] = set()
        after = ""
        while True:
            rows = await ROLE_ASSIGNMENTS.list(self._store, after=after, limit=_PAGE)
            for row in rows:
                self.index(row.value.tenant_id).put(row.key, Grant.of(row.value))
            seen.update(row.key for row in rows)
            if len(rows) < _PAGE:
                break
            after = rows[-1].key
            await asyncio.sleep(0)
        for index in self._indexes.values():
            index.keep(seen)

    # --- people

    def standing_now(self, tenant_id: str, principal_id: str) -> Standing | None:
        """None: not remembered, ask `standing`."""
        return self._standings.get((tenant_id, principal_id))

    async def standing(self, tenant_id: str, principal_id: str) -> Standing:
        known = self._standings.get((tenant_id, principal_id))
        while known is None:
            version = self._people_version
            found = await self._look_up(tenant_id, principal_id)
            if version == self._people_version:
                known = found
                self._standings.put((tenant_id, principal_id), found)
        return known

    async def _look_up(self, tenant_id: str, principal_id: str) -> Standing:
        found = await get_principal(self._store, tenant_id, principal_id)
        if found is None or isinstance(found, Group):
            return Standing(
                Person(principal_id), f"principal {principal_id} no longer exists in the directory {tenant_id}"
            )
        if not found.enabled:
            return Standing(Person(principal_id), f"principal {principal_id} is disabled in the directory {tenant_id}")
        return Standing(Person(principal_id, await groups_of(self._store, tenant_id, principal_id)))

    # --- deciding

    def index(self, tenant_id: str) -> Index:
        found = self._indexes.get(tenant_id)
        if found is None:
            found = self._indexes[tenant_id] = Index(tenant_id, self._roles)
        return found

    def above(self, scope: ResourceId, tenant_id: str) -> Sequence[str]:
        return self._hierarchy.above(scope, tenant_id)

    def decide_now(self, tenant_id: str, principal_id: str, action: Action, scope: ResourceId) -> Decision | None:
        """From memory alone. None: something must be read first (`refresh`, `standing`)."""
        key = (tenant_id, principal_id, action.name, action.data, scope.key)
        decision = self._decisions.get(key)
        if decision is not None:
            return decision
        if not self.fresh:
            return None
        standing = self._standings.get((tenant_id, principal_id))
        if standing is None:
            return None
        decision = self._decide(tenant_id, standing, action, scope)
        self._decisions.put(key, decision)
        return decision

    def _decide(self, tenant_id: str, standing: Standing, action: Action, scope: ResourceId) -> Decision:
        if standing.refusal:
            return Denied(standing.refusal)
        owner = self._hierarchy.tenant_of(scope)
        if owner is not None and owner != tenant_id:
            return Denied(f"the scope belongs to tenant {owner}, the caller to tenant {tenant_id}")
        return self.index(tenant_id).decide(standing.person, action, scope, self._hierarchy.above(scope, tenant_id))
