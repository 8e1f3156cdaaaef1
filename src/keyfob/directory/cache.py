"""What requests look up again and again, remembered until the store says that it changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from keyfob.directory.applications import find_application
from keyfob.directory.model import Application, ServicePrincipal, Tenant
from keyfob.directory.offered import NOT_OFFERED
from keyfob.directory.principals import find_service_principal, groups_of
from keyfob.directory.records import APPLICATIONS, GROUPS, MEMBERSHIPS, SERVICE_PRINCIPALS, TENANTS
from keyfob.directory.resources import Resource, find_resource
from keyfob.directory.tenants import get_tenant
from keyfob.store.port import Store

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_MOST = 4_096


class Memo(Generic[K, V]):
    """Answers by key, forgotten all at once. An answer whose reading began before a change is not kept."""

    def __init__(self, read: Callable[[K], Awaitable[V]]) -> None:
        self._read = read
        self._known: dict[K, V] = {}
        self.changes = 0

    def forget(self, _key: str = "") -> None:
        self._known.clear()
        self.changes += 1

    def now(self, key: K) -> V | None:
        """What is known without reading; None may mean either."""
        return self._known.get(key)

    async def get(self, key: K) -> V:
        if key in self._known:
            return self._known[key]
        changes = self.changes
        value = await self._read(key)
        if changes == self.changes:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = value
        return value


class Directory:
    """Remembered readings of one store."""

    def __init__(self, store: Store, closed: frozenset[tuple[str, str]] = NOT_OFFERED) -> None:
        """`closed`: what `find_resource` takes."""
        self._tenants: Memo[str, Tenant | None] = Memo(lambda name: get_tenant(store, name))
        self._principals: Memo[tuple[str, str], ServicePrincipal | None] = Memo(
            lambda key: find_service_principal(store, *key)
        )
        self._applications: Memo[str, Application | None] = Memo(lambda app_id: find_application(store, app_id))
        self._groups: Memo[tuple[str, str], frozenset[str]] = Memo(lambda key: groups_of(store, *key))
        self._resources: Memo[tuple[Tenant, str], Resource] = Memo(lambda key: find_resource(store, *key, closed))
        for topic, memos in (
            (TENANTS.topic, (self._tenants, self._resources)),
            (SERVICE_PRINCIPALS.topic, (self._principals, self._resources)),
            (APPLICATIONS.topic, (self._applications,)),
            (MEMBERSHIPS.topic, (self._groups,)),
            (GROUPS.topic, (self._groups,)),
        ):
            for memo in memos:
                store.watch(topic, memo.forget)

    async def tenant(self, id_or_domain: str) -> Tenant | None:
        return await self._tenants.get(id_or_domain.lower())

    def tenant_now(self, id_or_domain: str) -> Tenant | None:
        """From memory; None: unknown, or not read yet."""
        return self._tenants.now(id_or_domain.lower())

    @property
    def tenant_changes(self) -> int:
        """Grows whenever a tenant changes."""
        return self._tenants.changes

    async def service_principal(self, tenant_id: str, app_id_or_name: str) -> ServicePrincipal | None:
        return await self._principals.get((tenant_id, app_id_or_name))

    async def application(self, app_id: str) -> Application | None:
        return await self._applications.get(app_id.lower())

    async def groups_of(self, tenant_id: str, object_id: str) -> frozenset[str]:
        return await self._groups.get((tenant_id, object_id))

    async def resource(self, tenant: Tenant, requested: str) -> Resource:
        """Raises `UnknownResource`, which is not remembered."""
        return await self._resources.get((tenant, requested))
