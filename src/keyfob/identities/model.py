"""What is known about a resource's identities: stored, resolved, and asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from keyfob.resource_id import ResourceId
from keyfob.store.port import Session

USER_ASSIGNED = "Microsoft.ManagedIdentity/userAssignedIdentities"
"""The type whose resources are user-assigned identities."""


class SystemIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The identity that lives and dies with its resource."""

    principal_id: str = ""
    client_id: str = ""


class StoredIdentity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is stored with a resource. Neither member set: no identity."""

    system: SystemIdentity | None = None
    user: tuple[str, ...] = ()
    """Resource ids of user-assigned identities, in their canonical spelling, once each. They may dangle: deleting an
    identity leaves the references on its hosts, as Azure does."""
    principals: dict[str, str] = {}
    """Key of a user-assigned identity → its principal when it was assigned. One that was made again under the same name
    has another, and was assigned by nobody."""

    def means(self, id: ResourceId, principal_id: str) -> bool:
        """Whether the identity that has this id now is the one that was assigned."""
        return self.principals.get(id.key, principal_id) == principal_id

    def __bool__(self) -> bool:
        return self.system is not None or bool(self.user)


@dataclass(frozen=True, slots=True)
class Attached:
    """One identity that a host can take tokens of."""

    resource_id: str | None
    """Of the user-assigned identity; None is the host's own."""
    principal_id: str
    client_id: str
    tenant_id: str
    enabled: bool = True
    """Whether its service principal may sign in. A disabled one is still meant, and then refused: no request falls
    through to another identity because of it."""


@dataclass(frozen=True, slots=True)
class HostIdentities:
    """A host and the identities that exist and are attached to it right now."""

    host_id: str
    tenant_id: str
    system: Attached | None = None
    user: tuple[Attached, ...] = ()


@dataclass(frozen=True, slots=True)
class Selector:
    """Which of its identities a program asked for; all None when it named none."""

    client_id: str | None = None
    object_id: str | None = None
    resource_id: str | None = None


# --- what this layer needs to know of resources, which the engine above it stores ---------------------------------


class Identified(Protocol):
    """A stored resource, as far as identities care. `arm.model.Resource` is one."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def location(self) -> str: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def identity(self) -> StoredIdentity | None: ...
    @property
    def properties(self) -> Mapping[str, Any]: ...
    @property
    def provisioning_state(self) -> str: ...


class ResourceReader(Protocol):
    """Reading resources. `arm.resources.Resources` is one; the composition root hands it over."""

    @property
    def topic(self) -> str:
        """What `store.watch` calls a change of any resource; keys are `ResourceId.key`."""
        ...

    async def get(self, session: Session, id: ResourceId) -> Identified | None: ...

    async def using(self, session: Session, identity: ResourceId) -> Sequence[Identified]:
        """Every resource that has this user-assigned identity attached."""
        ...

    async def subscription_name(self, session: Session, subscription_id: str) -> str:
        """Its display name; "" when there is no such subscription."""
        ...


def user_assigned_id(id: ResourceId) -> ResourceId | None:
    """The id in the spelling that is stored and shown, or None when it names no user-assigned identity."""
    if id.type.lower() != USER_ASSIGNED.lower() or not id.subscription_id or not id.resource_group:
        return None
    if len(id.segments) != 8:
        return None
    return ResourceId.group(id.subscription_id, id.resource_group).provider(USER_ASSIGNED, id.name)
