"""Vaults as Resource Manager sees them: what a body makes of one, deleting and recovering, names that are unique.

A vault's name is a DNS name, so it is unique in its cloud, deleted vaults included. Deleting keeps the vault (and what
is in it) for its retention period, unless it was made with `enableSoftDelete: false`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from keyfob.arm.model import DELETING, Resource
from keyfob.arm.resources import RESOURCES, get_subscription
from keyfob.clouds.cloud import Cloud
from keyfob.declare import Change
from keyfob.errors import Conflict, InvalidInput, NotFound
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault import policies
from keyfob.services.key_vault.model import DeletedVault, Recovery
from keyfob.services.key_vault.records import DELETED_VAULTS, deleted_vault_key
from keyfob.services.key_vault.secrets import DAY, Secrets
from keyfob.store.port import Session, Transaction

TYPE = "Microsoft.KeyVault/vaults"
API_VERSIONS = (
    "2015-06-01",
    "2016-10-01",
    "2018-02-14-preview",
    "2018-02-14",
    "2019-09-01",
    "2020-04-01-preview",
    "2021-04-01-preview",
    "2021-06-01-preview",
    "2021-10-01",
    "2021-11-01-preview",
    "2022-02-01-preview",
    "2022-07-01",
    "2022-11-01",
    "2023-02-01",
    "2023-07-01",
    "2024-04-01-preview",
    "2024-11-01",
    "2024-12-01-preview",
    "2025-05-01",
    "2026-02-01",
    "2026-05-15",  # azure-mgmt-keyvault 14.1
)
ROLES_BY_DEFAULT_SINCE = "2026-02-01"
"""From here on `enableRbacAuthorization` is true when it is not given; before, access policies were the default."""

NAME = r"(?=.{3,24}$)[A-Za-z](?:-?[A-Za-z0-9])+"
_name = re.compile(NAME)

_KEPT = (
    "enabledForDeployment",
    "enabledForDiskEncryption",
    "enabledForTemplateDeployment",
    "networkAcls",
    "publicNetworkAccess",
)
_FLAGS = (
    "enabledForDeployment",
    "enabledForDiskEncryption",
    "enabledForTemplateDeployment",
    "enableRbacAuthorization",
    "enableSoftDelete",
    "enablePurgeProtection",
)


def is_name(name: str) -> bool:
    """3 to 24 letters, digits and single hyphens, a letter first, no hyphen last."""
    return _name.fullmatch(name) is not None


class VaultOperations:
    """A `declare.ResourceOperations`."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def accept(self, change: Change) -> Mapping[str, Any]:
        given = change.body.get("properties")
        if not isinstance(given, Mapping):
            raise _bad("The parameter 'properties' is required.")
        if change.before is None:
            if not is_name(change.id.name):
                raise InvalidInput(
                    f"The vault name '{change.id.name}' is invalid. A vault's name must be between 3-24 alphanumeric "
                    "characters. The name must begin with a letter, end with a letter or digit, and not contain "
                    "consecutive hyphens.",
                    code="VaultNameNotValid",
                )
            recovered = await self._claim_name(change, given)
            if recovered is not None:
                return recovered
        before = change.before.properties if change.before is not None else None
        return _accepted(change, given, before)

    async def remove(self, change: Change) -> None:
        vault: Resource = change.before
        recovery = Recovery.of(vault.properties)
        if not recovery.soft_delete:
            await self._secrets.purge_all(change.transaction, change.id)
            return
        gone = DeletedVault(
            name=vault.name,
            vault_id=vault.id,
            cloud=change.cloud.name,
            subscription_id=change.id.subscription_id or "",
            location=vault.location,
            tags=dict(vault.tags),
            properties=dict(vault.properties),
            deleted=change.now,
            purge=change.now + recovery.days * DAY,
        )
        await DELETED_VAULTS.put(change.transaction, deleted_vault_key(gone.cloud, gone.name), gone)

    def present(self, resource: Any, api_version: str, expand: str) -> Mapping[str, Any]:
        return dict(resource.properties)

    # --- names

    async def _claim_name(self, change: Change, given: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Makes sure that the name is free. Gives the properties of a deleted vault that is to be recovered."""
        if await self.find(change.transaction, change.cloud, change.id.name) is not None:
            raise Conflict(in_use(change.id.name), code="VaultAlreadyExists")
        waiting = await self.find_deleted(change.transaction, change.cloud.name, change.id.name, change.now)
        recover = str(given.get("createMode") or "default").lower() == "recover"
        if waiting is None:
            if recover:
                raise NotFound(f"There is no deleted vault '{change.id.name}' to recover.", code="VaultNotFound")
            return None
        if ResourceId.parse(waiting.vault_id) != change.id:
            raise Conflict(in_use(change.id.name), code="VaultAlreadyExists")
        if not recover:
            raise Conflict(
                "A vault with the same name already exists in deleted state. You need to either recover or purge "
                "existing key vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more "
                "information on soft delete.",
                code="ConflictError",
            )
        await DELETED_VAULTS.delete(change.transaction, deleted_vault_key(waiting.cloud, waiting.name))
        return waiting.properties

    async def find(self, session: Session, cloud: Cloud, name: str) -> Resource | None:
        """The vault of that name in the cloud."""
        for row in await RESOURCES.find(session, "name", f"{TYPE}/{name}".lower()):
            subscription = await get_subscription(session, ResourceId.parse(row.value.id).subscription_id or "")
            if (
                subscription is not None
                and subscription.cloud == cloud.name
                and row.value.provisioning_state != DELETING
            ):
                return row.value
        return None

    async def find_deleted(self, tx: Transaction, cloud: str, name: str, now: float) -> DeletedVault | None:
        """A deleted vault that can still be recovered; one whose time is over is purged here."""
        row = await DELETED_VAULTS.get(tx, deleted_vault_key(cloud, name))
        if row is None:
            return None
        if now >= row.value.purge:
            await self.erase(tx, row.value)
            return None
        return row.value

    async def erase(self, tx: Transaction, vault: DeletedVault) -> None:
        """For good, with all that was in it."""
        await self._secrets.purge_all(tx, ResourceId.parse(vault.vault_id))
        await DELETED_VAULTS.delete(tx, deleted_vault_key(vault.cloud, vault.name))


def in_use(name: str) -> str:
    return (
        f"The vault name '{name}' is already in use. Vault names are globally unique so it is possible that the name "
        "is already taken. If you are sure that the vault name was not taken then it is possible that a vault with "
        "the same name was recently deleted but not purged after being placed in a recoverable state. If the vault is "
        "in a recoverable state then the vault will need to be purged before reusing the name."
    )


def _accepted(change: Change, given: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    for name in _FLAGS:
        if given.get(name) is not None and not isinstance(given[name], bool):
            raise _bad(f"An invalid value was provided for '{name}'.")
    tenant = given.get("tenantId")
    try:
        tenant = str(uuid.UUID(tenant))
    except (ValueError, TypeError, AttributeError):
        raise _bad("An invalid value was provided for 'tenantId'.") from None
    known = before or {}
    listed = given.get("accessPolicies")
    result: dict[str, Any] = {
        "sku": _sku(given.get("sku") or change.body.get("sku")),
        "tenantId": tenant,
        "accessPolicies": policies.check([] if listed is None else listed, tenant),
    }
    for name in _KEPT:
        value = given.get(name, known.get(name))
        if value is not None:
            result[name] = value
    result.setdefault("enabledForDeployment", False)
    roles = given.get("enableRbacAuthorization")
    if roles is None:
        roles = known.get("enableRbacAuthorization", change.api_version >= ROLES_BY_DEFAULT_SINCE)
    result["enableRbacAuthorization"] = roles
    result |= _recovery(given, before)
    host = f"{change.id.name.lower()}.{change.cloud.suffixes['key_vault']}"
    return result | {"vaultUri": f"https://{host}/"}


def _sku(value: Any) -> dict[str, str]:
    family = value.get("family") if isinstance(value, Mapping) else None
    name = value.get("name") if isinstance(value, Mapping) else None
    if not isinstance(name, str) or name.lower() not in {"standard", "premium"} or str(family or "A").upper() != "A":
        raise _bad("An invalid value was provided for 'sku'.")
    return {"family": "A", "name": name.lower()}


def _recovery(given: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The three members about deleting, each of which only ever gets stricter."""
    held = Recovery.of(before) if before is not None else None
    soft = given.get("enableSoftDelete")
    if soft is False and held is not None and held.soft_delete:
        raise _bad(
            'The property "enableSoftDelete" can be set to false only for creating new vault. Enabling the '
            "'soft delete' functionality is an irreversible action."
        )
    result: dict[str, Any] = {"enableSoftDelete": (held is None or held.soft_delete) if soft is None else soft}
    days = given.get("softDeleteRetentionInDays")
    if days is not None and (isinstance(days, bool) or not isinstance(days, int) or not 7 <= days <= 90):
        raise _bad("An invalid value was provided for 'softDeleteRetentionInDays': it is between 7 and 90.")
    if held is not None and held.soft_delete and days is not None and days != held.days:
        raise _bad('The property "softDeleteRetentionInDays" has been set already and it can\'t be modified.')
    if result["enableSoftDelete"]:
        result["softDeleteRetentionInDays"] = (held.days if held else 90) if days is None else days
    protect = given.get("enablePurgeProtection")
    if protect is False:
        raise _bad(
            'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault '
            "is an irreversible action."
        )
    if protect and not result["enableSoftDelete"]:
        raise _bad('The property "enablePurgeProtection" needs "enableSoftDelete".')
    if protect or (held is not None and held.protected):
        result["enablePurgeProtection"] = True
    return result


def _bad(message: str) -> InvalidInput:
    return InvalidInput(message, code="BadRequest")
