"""Key Vault: vaults through Resource Manager, secrets through their own door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyfob.access.guard import Guard
from keyfob.clock import Clock, Ids
from keyfob.clouds.cloud import Cloud
from keyfob.declare import HttpPlane, Provider, ResourceType
from keyfob.services.key_vault.children import SecretChildren
from keyfob.services.key_vault.control import VaultRoutes
from keyfob.services.key_vault.dialect import KeyVaultDialect
from keyfob.services.key_vault.for_templates import ReadSecret, secrets_for_templates
from keyfob.services.key_vault.hot import HotSecrets
from keyfob.services.key_vault.locate import Locator, audiences_of
from keyfob.services.key_vault.policies import authorize
from keyfob.services.key_vault.remembered import Remembered
from keyfob.services.key_vault.routes import SecretRoutes, api_version
from keyfob.services.key_vault.sealing import Sealing
from keyfob.services.key_vault.secrets import Secrets
from keyfob.services.key_vault.vaults import API_VERSIONS, NAME, TYPE, VaultOperations
from keyfob.store.port import Store

__all__ = ["KeyVault", "key_vault"]

Hot = Callable[[bytes, list[tuple[bytes, bytes]]], bytes | None]


@dataclass(frozen=True, slots=True)
class KeyVault:
    """The service's two declarations, and its fast way for reading secrets."""

    provider: Provider
    plane: HttpPlane
    hot: Hot
    """For the front door: raw target and headers of a GET → the whole answer, or None for the slow way."""
    read: ReadSecret
    """For template deployments."""


def key_vault(
    *, store: Store, guard: Guard, clouds: Mapping[str, Cloud], clock: Clock, ids: Ids, master_key: bytes
) -> KeyVault:
    """`master_key` has at least 32 bytes and is kept apart from the database."""
    secrets = Secrets(sealing=Sealing(master_key), ids=ids)
    vaults = VaultOperations(secrets)
    children = SecretChildren(store=store, secrets=secrets)
    locator = Locator(store=store, clouds=clouds, vaults=vaults)
    remembered = Remembered(store)
    provider = Provider(
        namespace="Microsoft.KeyVault",
        types=(
            ResourceType(
                name=TYPE,
                api_versions=API_VERSIONS,
                operations=vaults,
                name_pattern=NAME,
                note="Network rules are kept, not enforced. Keys, certificates and managed HSMs are absent.",
            ),
            *children.types(),
        ),
        routes=(*VaultRoutes(store=store, vaults=vaults).rows(), *children.routes()),
        registered=True,
    )
    plane = HttpPlane(
        service="key_vault",
        routes=SecretRoutes(store=store, secrets=secrets, remembered=remembered).rows(),
        dialect=KeyVaultDialect(),
        audiences=audiences_of,
        locate=locator,
        api_version=api_version,
        authorizer=authorize,
    )
    hot = HotSecrets(guard=guard, secrets=secrets, remembered=remembered, locator=locator, clock=clock, ids=ids)
    return KeyVault(provider, plane, hot, secrets_for_templates(store=store, secrets=secrets))
