"""The collections a vault keeps in the store. Keys begin with the vault's id in its comparing form."""

from __future__ import annotations

from keyfob.resource_id import ResourceId
from keyfob.services.key_vault.model import DeletedVault, Secret, SecretVersion
from keyfob.store.records import Records

SECRETS = Records("key_vault.secret", Secret)
DELETED_SECRETS = Records("key_vault.deleted_secret", Secret)
VERSIONS = Records("key_vault.version", SecretVersion)
DELETED_VAULTS = Records("key_vault.deleted_vault", DeletedVault)


def within(vault: ResourceId) -> str:
    """What the keys of everything in a vault begin with."""
    return vault.key + "/secrets/"


def key_of(vault: ResourceId, name: str) -> str:
    return within(vault) + name.lower()


def version_key(vault: ResourceId, name: str, version: str) -> str:
    return f"{within(vault)}{name.lower()}/{version}"


def deleted_vault_key(cloud: str, name: str) -> str:
    """A vault's name is unique in its cloud, deleted ones included."""
    return f"{cloud}/{name.lower()}"
