"""Which identities a host has right now: remembered, and forgotten the moment anything it depends on changes."""

from __future__ import annotations

from keyfob.directory.model import ServicePrincipal
from keyfob.directory.principals import get_principal
from keyfob.directory.records import SERVICE_PRINCIPALS
from keyfob.errors import NotFound
from keyfob.identities.model import Attached, HostIdentities, Identified, ResourceReader
from keyfob.resource_id import ResourceId
from keyfob.store.port import EVERYTHING, Store

_BEING_DELETED = "Deleting"


class Attachments:
    """The view that token endpoints ask.

    `version` grows with every change of a resource or service principal, so a caller that keeps something derived
    from an answer compares one integer to know whether to ask again.
    """

    def __init__(self, *, store: Store, resources: ResourceReader, size: int = 20_000) -> None:
        self.version = 0
        self._store = store
        self._resources = resources
        self._size = size
        self._known: dict[str, HostIdentities] = {}
        self._hosts_of: dict[str, set[str]] = {}
        """Key of a user-assigned identity → keys of remembered hosts that refer to it, dangling or not; of a scale set
        those of its instances."""
        store.watch(resources.topic, self._resource_changed)
        store.watch(SERVICE_PRINCIPALS.topic, self._principal_changed)

    def cached(self, host_key: str) -> HostIdentities | None:
        """From memory; None when it must be looked up with `of`."""
        return self._known.get(host_key)

    async def of(self, host_id: ResourceId) -> HostIdentities:
        """Raises `NotFound` when there is no such resource (any more), or it is being deleted."""
        if known := self._known.get(host_id.key):
            return known
        version = self.version
        host = await self._resources.get(self._store, host_id)
        if host is None or host.provisioning_state == _BEING_DELETED:
            raise NotFound(f"The host '{host_id}' was not found.", code="ResourceNotFound")
        found = await self._resolve(host)
        if version == self.version:  # else something changed while we read: right or wrong, do not keep it
            self._remember(host_id.key, found, host)
        return found

    async def _resolve(self, host: Identified) -> HostIdentities:
        identity = host.identity
        system = None
        if identity and identity.system:
            system = await self._attached(None, host.tenant_id, identity.system.principal_id, identity.system.client_id)
        user = []
        for text in identity.user if identity else ():
            id = ResourceId.parse(text)
            resource = await self._resources.get(self._store, id)
            if resource is None:
                continue  # it was deleted; its hosts keep the reference
            properties = resource.properties
            if identity and not identity.means(id, str(properties.get("principalId", ""))):
                continue  # made again since: nobody assigned that one
            found = await self._attached(
                resource.id,
                resource.tenant_id,
                str(properties.get("principalId", "")),
                str(properties.get("clientId", "")),
            )
            if found is not None:
                user.append(found)
        return HostIdentities(host.id, host.tenant_id, system, tuple(user))

    async def _attached(
        self, resource_id: str | None, tenant_id: str, principal_id: str, client_id: str
    ) -> Attached | None:
        principal = await get_principal(self._store, tenant_id, principal_id)
        if not isinstance(principal, ServicePrincipal):
            return None
        return Attached(resource_id, principal_id, client_id, tenant_id, enabled=principal.enabled)

    def _remember(self, key: str, found: HostIdentities, host: Identified) -> None:
        if len(self._known) >= self._size:
            self._forget_all()
        self._known[key] = found
        owner = ResourceId.parse(host.id).key
        if owner != key:  # it has the identities of something else
            self._hosts_of.setdefault(owner, set()).add(key)
        for text in host.identity.user if host.identity else ():
            self._hosts_of.setdefault(ResourceId.parse(text).key, set()).add(key)

    def _forget_all(self) -> None:
        self._known.clear()
        self._hosts_of.clear()

    def _resource_changed(self, key: str) -> None:
        self.version += 1
        if key == EVERYTHING:
            self._forget_all()
            return
        self._known.pop(key, None)
        for host in self._hosts_of.pop(key, ()):
            self._known.pop(host, None)

    def _principal_changed(self, key: str) -> None:
        self.version += 1
        self._forget_all()
