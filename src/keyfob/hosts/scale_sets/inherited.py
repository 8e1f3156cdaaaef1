"""Whose identities an instance has: the set's, as they were in the model that was last applied to it.

An instance that the latest model was applied to has what the set has at this moment; one that was not has what the
set had before the change. Either way what is gone is gone: principals and user-assigned identities are looked up when
they are asked for, and of a set that is being deleted nothing is left.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from keyfob.arm.model import DELETING, Resource
from keyfob.arm.resources import Resources
from keyfob.hosts.scale_sets.model import IDENTITY, INSTANCE
from keyfob.identities.model import StoredIdentity
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session


class Inherited:
    """An `identities.model.ResourceReader` for `identities.attached`: of an instance it shows the set."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @property
    def topic(self) -> str:
        return self._resources.topic

    async def get(self, session: Session, id: ResourceId) -> Resource | None:
        found = await self._resources.get(session, id)
        if found is None or id.type.lower() != INSTANCE.lower():
            return found
        owner = await self._resources.get(session, id.parent)
        again = await self._resources.get(session, id)
        while again is not None and again.properties != found.properties:
            # a commit came in between, and with it what the instance had before would be taken from the new set
            found = again
            owner = await self._resources.get(session, id.parent)
            again = await self._resources.get(session, id)
        if owner is None or again is None:
            return None
        applied = found.properties.get(IDENTITY)
        identity = owner.identity if applied is None else msgspec.convert(applied, StoredIdentity)
        state = (
            DELETING if DELETING in (owner.provisioning_state, found.provisioning_state) else owner.provisioning_state
        )
        return msgspec.structs.replace(owner, identity=identity, provisioning_state=state)

    async def using(self, session: Session, identity: ResourceId) -> Sequence[Resource]:
        return await self._resources.using(session, identity)

    async def subscription_name(self, session: Session, subscription_id: str) -> str:
        return await self._resources.subscription_name(session, subscription_id)
