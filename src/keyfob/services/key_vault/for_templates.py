"""A secret for a template deployment. Resource Manager reads it as itself, having asked whether the vault and whoever
deploys allow that: access policies and data actions have no say in it, as on Azure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keyfob.arm.resources import get_resource
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault.model import Recovery
from keyfob.services.key_vault.secrets import Secrets, Vault, missing
from keyfob.store.port import Store

ReadSecret = Callable[[ResourceId, str, str], Awaitable[str]]


def secrets_for_templates(*, store: Store, secrets: Secrets) -> ReadSecret:
    """Vault, name, version ("": the current one) → the value. Raises `NotFound`, `Forbidden`, `InvalidInput`."""

    async def read(vault: ResourceId, name: str, version: str) -> str:
        resource = await get_resource(store, vault)
        if resource is None:
            raise missing(name)
        id = ResourceId.parse(resource.id)
        found = await secrets.find(store, Vault(id, "", Recovery.of(resource.properties)), name, version)
        return secrets.open(id, found)

    return read
