"""Management groups as the guard sees them: which of them hold a subscription, and whose a subscription is.

Every tenant has a root group, named by the tenant's id, that holds all of its subscriptions; it needs no record. A
role or deny assignment at a group holds for everything below it, in its own tenant only: names of groups are unique
in a tenant, not among tenants.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from keyfob.arm.resources import SUBSCRIPTIONS
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store
from keyfob.store.records import Records

TYPE = "Microsoft.Management/managementGroups"
DEEPEST = 6
"""Levels below the root, as on Azure."""


class ManagementGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Key: `tenant/name`, in lower case."""

    name: str
    tenant_id: str = ""
    display_name: str = ""
    parent: str = ""
    """The name of the group above, lower-case; "" is the root group."""
    version: int = 1
    updated: float = 0.0
    updated_by: str = ""


class Placement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which group a subscription stands in. Key: the subscription's GUID. Without one it is the root group."""

    subscription_id: str
    tenant_id: str = ""
    group: str = ""
    """Lower-case."""


MANAGEMENT_GROUPS = Records("arm.management_groups", ManagementGroup, index=lambda g: {"tenant": g.tenant_id})
PLACEMENTS = Records("arm.management_group_subscriptions", Placement, index=lambda p: {"tenant": p.tenant_id})


def group_scope(name: str) -> ResourceId:
    """`/providers/Microsoft.Management/managementGroups/{name}`."""
    return ResourceId(("providers", "Microsoft.Management", "managementGroups", name))


class Tree:
    """The groups of one tenant, by lower-case name: pure."""

    def __init__(self, tenant_id: str, groups: Mapping[str, ManagementGroup]) -> None:
        self.tenant_id = tenant_id
        self.groups = groups

    def upwards(self, name: str) -> list[str]:
        """The group and those above it, nearest first, the root group last. A name nobody has stands below the root."""
        root = self.tenant_id.lower()
        names: list[str] = []
        here = name.lower()
        while here and here != root and here not in names:
            names.append(here)
            known = self.groups.get(here)
            here = known.parent if known else ""
        return [*names, root]

    def children(self, name: str) -> list[ManagementGroup]:
        root = self.tenant_id.lower()
        wanted = name.lower()
        found = [g for g in self.groups.values() if (g.parent or root) == wanted]
        return sorted(found, key=lambda g: g.name.lower())

    def below(self, name: str) -> list[ManagementGroup]:
        """Every group under this one, breadth first."""
        found = self.children(name)
        for group in found:  # grows while it is walked
            found.extend(self.children(group.name))
        return found


async def read_tree(session: Session, tenant_id: str) -> Tree:
    rows = await MANAGEMENT_GROUPS.find(session, "tenant", tenant_id)
    return Tree(tenant_id, {row.value.name.lower(): row.value for row in rows})


class Hierarchy:
    """`access.memory.Hierarchy` over the store: all of it in memory, read again after each change."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._reading = asyncio.Lock()
        self._changes = 1
        self._read = 0
        self._told: list[Callable[[], None]] = []
        self._tenants: dict[str, str] = {}
        self._placed: dict[str, str] = {}
        self._trees: dict[str, Tree] = {}
        self._over: dict[str, tuple[str, ...]] = {}
        """Subscription → what `above` gives for it."""
        for topic in (MANAGEMENT_GROUPS.topic, PLACEMENTS.topic, SUBSCRIPTIONS.topic):
            store.watch(topic, self._changed)

    def _changed(self, key: str) -> None:
        self._changes += 1
        for tell in self._told:
            tell()

    def watch(self, changed: Callable[[], None]) -> None:
        self._told.append(changed)

    @property
    def fresh(self) -> bool:
        return self._read == self._changes

    async def refresh(self) -> None:
        async with self._reading:
            while not self.fresh:
                seen = self._changes
                tenants = {row.value.id.lower(): row.value.tenant_id for row in await SUBSCRIPTIONS.list(self._store)}
                placed = {row.key: row.value.group for row in await PLACEMENTS.list(self._store)}
                by_tenant: dict[str, dict[str, ManagementGroup]] = {}
                for row in await MANAGEMENT_GROUPS.list(self._store):
                    by_tenant.setdefault(row.value.tenant_id, {})[row.value.name.lower()] = row.value
                self._trees = {tenant: Tree(tenant, groups) for tenant, groups in by_tenant.items()}
                self._tenants, self._placed, self._read = tenants, placed, seen
                self._over = {}

    def above(self, scope: ResourceId, tenant_id: str) -> Sequence[str]:
        subscription = scope.subscription_id
        if subscription is not None:
            return self._above_subscription(subscription.lower(), tenant_id)
        tree = self._trees.get(tenant_id) or Tree(tenant_id, {})
        if is_group(scope):
            names = tree.upwards(scope.segments[3])
            if names[0] == scope.segments[3].lower():
                names = names[1:]
        else:
            return ()
        return [group_scope(name).key for name in names]

    def _above_subscription(self, subscription: str, tenant_id: str) -> tuple[str, ...]:
        """In every decision: remembered."""
        if self._tenants.get(subscription) != tenant_id:
            return ()
        known = self._over.get(subscription)
        if known is None:
            tree = self._trees.get(tenant_id) or Tree(tenant_id, {})
            names = tree.upwards(self._placed.get(subscription, ""))
            known = self._over[subscription] = tuple(group_scope(name).key for name in names)
        return known

    def tenant_of(self, scope: ResourceId) -> str | None:
        return self._tenants.get(scope.subscription_id.lower()) if scope.subscription_id else None


def is_group(scope: ResourceId) -> bool:
    """At a management group, or at something that extends one."""
    parts = [part.lower() for part in scope.segments[:3]]
    return len(scope.segments) >= 4 and parts == ["providers", "microsoft.management", "managementgroups"]
