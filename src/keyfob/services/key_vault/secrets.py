"""What can be done with a vault's secrets: the store and values in, values or a Problem out. No HTTP.

`exp` and `nbf` only inform: the service lets a secret be read before and after (about-secrets, "Date-time controlled
operations"). `enabled` is enforced.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from keyfob.clock import Ids
from keyfob.errors import Conflict, Forbidden, InvalidInput, NotFound
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault.model import (
    Given,
    Recovery,
    Secret,
    SecretVersion,
    bad,
    check_name,
    check_times,
    check_version,
)
from keyfob.services.key_vault.records import DELETED_SECRETS, SECRETS, VERSIONS, key_of, version_key, within
from keyfob.services.key_vault.sealing import CannotOpen, Sealing
from keyfob.store.port import Session, Transaction

DAY = 86_400


@dataclass(frozen=True, slots=True)
class Vault:
    """The vault an operation is about."""

    id: ResourceId
    cloud: str
    recovery: Recovery


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list; `after` continues behind it, "" when it was the last."""

    items: Sequence[tuple[Secret, SecretVersion]]
    after: str


class _Backup(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    current: str
    versions: list[tuple[SecretVersion, bytes]]


class Secrets:
    def __init__(self, *, sealing: Sealing, ids: Ids) -> None:
        self._sealing = sealing
        self._ids = ids

    # --- reading

    async def find(self, session: Session, vault: Vault, name: str, version: str = "") -> SecretVersion:
        """Raises `NotFound`."""
        check_name(name)
        secret = await SECRETS.get(session, key_of(vault.id, name))
        wanted = check_version(version) if version else secret.value.current if secret else ""
        row = await VERSIONS.get(session, version_key(vault.id, name, wanted)) if secret and wanted else None
        if row is None:
            raise missing(f"{name}/{version}" if version else name)
        return row.value

    def open(self, vault: ResourceId, version: SecretVersion) -> str:
        """The value. Raises `Forbidden` when the version is disabled."""
        return self.opener(vault, version)()

    def opener(self, vault: ResourceId, version: SecretVersion) -> Callable[[], str]:
        """What opens the value again and again. Raises `Forbidden` when the version is disabled."""
        if not version.enabled:
            raise Forbidden("Operation get is not allowed on a disabled secret.", info={"inner": "SecretDisabled"})
        plain = self._sealing.opener(version.sealed, vault=vault.key, name=version.name, version=version.version)
        return lambda: plain().decode("utf-8", "surrogatepass")

    async def list(self, session: Session, vault: Vault, *, after: str, most: int) -> Page:
        rows = await SECRETS.list(session, prefix=within(vault.id), after=_key(vault, after), limit=most + 1)
        return await self._page(session, vault, [row.value for row in rows], most)

    async def list_versions(self, session: Session, vault: Vault, name: str, *, after: str, most: int) -> Page:
        """Raises `NotFound` when there is no such secret."""
        check_name(name)
        secret = await SECRETS.get(session, key_of(vault.id, name))
        if secret is None:
            raise missing(name)
        prefix = version_key(vault.id, name, "")
        rows = await VERSIONS.list(session, prefix=prefix, after=prefix + after if after else "", limit=most + 1)
        items = [(secret.value, row.value) for row in rows[:most]]
        return Page(items, items[-1][1].version if len(rows) > most else "")

    async def list_deleted(self, session: Session, vault: Vault, *, after: str, most: int, now: float) -> Page:
        found: list[Secret] = []
        at = _key(vault, after)
        while len(found) <= most:
            rows = await DELETED_SECRETS.list(session, prefix=within(vault.id), after=at, limit=most + 1)
            found += [row.value for row in rows if not _is_over(row.value, now)]
            if len(rows) <= most:
                break
            at = rows[-1].key
        return await self._page(session, vault, found, most)

    async def find_deleted(self, session: Session, vault: Vault, name: str, now: float) -> tuple[Secret, SecretVersion]:
        """Raises `NotFound`."""
        row = await DELETED_SECRETS.get(session, key_of(vault.id, check_name(name)))
        if row is None or _is_over(row.value, now):
            raise NotFound(f"Deleted Secret not found: {name}", code="SecretNotFound")
        return row.value, await self._current(session, vault, row.value)

    # --- writing

    async def set(self, tx: Transaction, vault: Vault, name: str, given: Given, now: float) -> SecretVersion:
        """A new version, which becomes the current one. Raises `Conflict` for the name of a deleted secret."""
        check_name(name)
        check_times(given.nbf, given.exp)
        await self._free(tx, vault, name, now)
        key = key_of(vault.id, name)
        held = await SECRETS.get(tx, key)
        spelled = held.value.name if held else name
        version = self._ids.guid().replace("-", "")
        made = self._sealed(
            vault,
            SecretVersion(
                name=spelled,
                version=version,
                content_type=given.content_type,
                enabled=given.enabled is not False,
                nbf=given.nbf,
                exp=given.exp,
                created=int(now),
                updated=int(now),
                tags=given.tags,
            ),
            (given.value or "").encode("utf-8", "surrogatepass"),
        )
        created = held.value.created if held else int(now)
        secret = Secret(name=spelled, vault=str(vault.id), current=version, created=created)
        await VERSIONS.insert(tx, version_key(vault.id, name, version), made)
        await SECRETS.put(tx, key, secret)
        return made

    async def update(
        self, tx: Transaction, vault: Vault, name: str, version: str, given: Given, now: float
    ) -> SecretVersion:
        """Changes the attributes of a version; members that were not given stay."""
        held = await self.find(tx, vault, name, version)
        changed = msgspec.structs.replace(
            held,
            content_type=held.content_type if given.content_type is None else given.content_type,
            enabled=held.enabled if given.enabled is None else given.enabled,
            nbf=held.nbf if given.nbf is None else given.nbf,
            exp=held.exp if given.exp is None else given.exp,
            tags=held.tags if given.tags is None else given.tags,
            updated=int(now),
        )
        check_times(changed.nbf, changed.exp)
        await VERSIONS.put(tx, version_key(vault.id, name, held.version), changed)
        # whoever caches by secret hears of it too
        tx.changed(SECRETS.topic, key_of(vault.id, name))
        return changed

    async def delete(self, tx: Transaction, vault: Vault, name: str, now: float) -> tuple[Secret, SecretVersion]:
        """To the deleted ones, or for good where the vault has no soft delete."""
        key = key_of(vault.id, check_name(name))
        held = await SECRETS.get(tx, key)
        if held is None:
            raise missing(name)
        current = await self._current(tx, vault, held.value)
        await SECRETS.delete(tx, key)
        if not vault.recovery.soft_delete:
            await self._forget_versions(tx, vault, name)
            return held.value, current
        gone = msgspec.structs.replace(held.value, deleted=int(now), purge=int(now) + vault.recovery.days * DAY)
        await DELETED_SECRETS.put(tx, key, gone)
        return gone, current

    async def recover(self, tx: Transaction, vault: Vault, name: str, now: float) -> SecretVersion:
        key = key_of(vault.id, check_name(name))
        if await SECRETS.get(tx, key) is not None:
            raise InvalidInput(f"Secret exists already: {name}", code="MethodNotAllowed")
        secret, current = await self.find_deleted(tx, vault, name, now)
        await DELETED_SECRETS.delete(tx, key)
        await SECRETS.insert(tx, key, msgspec.structs.replace(secret, deleted=None, purge=None))
        return current

    async def purge(self, tx: Transaction, vault: Vault, name: str, now: float) -> None:
        """Raises `Forbidden` where the vault is protected against it."""
        await self.find_deleted(tx, vault, name, now)
        if vault.recovery.protected:
            raise Forbidden(
                'Operation "purge" is not allowed because purge protection is enabled for this vault. Key Vault '
                "service will automatically purge it after the retention period has passed.",
                info={"inner": "ForbiddenByPolicy"},
            )
        await self._erase(tx, vault, name)

    async def purge_all(self, tx: Transaction, vault: ResourceId) -> None:
        """Everything a vault holds, for good: the vault itself is being purged."""
        prefix = within(vault)
        for records in (SECRETS, DELETED_SECRETS, VERSIONS):
            for row in await records.list(tx, prefix=prefix):
                await records.delete(tx, row.key)

    # --- backups

    async def backup(self, session: Session, vault: Vault, name: str) -> str:
        """Every version in one sealed blob, as base64url."""
        secret = await SECRETS.get(session, key_of(vault.id, check_name(name)))
        if secret is None:
            raise missing(name)
        rows = await VERSIONS.list(session, prefix=version_key(vault.id, name, ""))
        held = [
            (
                msgspec.structs.replace(row.value, sealed=b"", vault=""),
                self._sealing.open(
                    row.value.sealed, vault=vault.id.key, name=row.value.name, version=row.value.version
                ),
            )
            for row in rows
        ]
        plain = msgspec.msgpack.encode(_Backup(name=secret.value.name, current=secret.value.current, versions=held))
        sealed = self._sealing.close_backup(plain, cloud=vault.cloud, subscription=vault.id.subscription_id or "")
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode("ascii")

    async def restore(self, tx: Transaction, vault: Vault, blob: str, now: float) -> SecretVersion:
        """A backup made in the same cloud and subscription → the secret with all its versions."""
        try:
            sealed = base64.b64decode(blob + "=" * (-len(blob) % 4), altchars=b"-_", validate=True)
            plain = self._sealing.open_backup(sealed, cloud=vault.cloud, subscription=vault.id.subscription_id or "")
            backup = msgspec.msgpack.decode(plain, type=_Backup)
        except (CannotOpen, msgspec.DecodeError, binascii.Error, ValueError):
            raise bad("The backup blob is not valid, or was made in another subscription or cloud.") from None
        await self._free(tx, vault, backup.name, now)
        if await SECRETS.get(tx, key_of(vault.id, backup.name)) is not None:
            raise Conflict(f"Secret {backup.name} already exists in this key vault.", code="Conflict")
        restored = None
        for version, value in backup.versions:
            made = self._sealed(vault, version, value)
            await VERSIONS.insert(tx, version_key(vault.id, backup.name, version.version), made)
            if version.version == backup.current:
                restored = made
        if restored is None:
            raise bad("The backup blob is not valid, or was made in another subscription or cloud.")
        secret = Secret(name=backup.name, vault=str(vault.id), current=backup.current, created=restored.created)
        await SECRETS.insert(tx, key_of(vault.id, backup.name), secret)
        return restored

    # --- inside

    def _sealed(self, vault: Vault, version: SecretVersion, value: bytes) -> SecretVersion:
        sealed = self._sealing.close(value, vault=vault.id.key, name=version.name, version=version.version)
        return msgspec.structs.replace(version, sealed=sealed, vault=str(vault.id))

    async def _current(self, session: Session, vault: Vault, secret: Secret) -> SecretVersion:
        row = await VERSIONS.get(session, version_key(vault.id, secret.name, secret.current))
        if row is None:
            raise missing(secret.name)
        return row.value

    async def _page(self, session: Session, vault: Vault, found: Sequence[Secret], most: int) -> Page:
        items = [(secret, await self._current(session, vault, secret)) for secret in found[:most]]
        return Page(items, items[-1][0].name.lower() if len(found) > most else "")

    async def _free(self, tx: Transaction, vault: Vault, name: str, now: float) -> None:
        """Raises `Conflict` while a deleted secret holds the name; one whose time is over makes room."""
        held = await DELETED_SECRETS.get(tx, key_of(vault.id, name))
        if held is None:
            return
        if not _is_over(held.value, now):
            raise Conflict(
                f"Secret {held.value.name} is currently in a deleted but recoverable state, and its name cannot be "
                "reused; in this state, the secret can only be recovered or purged.",
                info={"inner": "ObjectIsDeletedButRecoverable"},
            )
        await self._erase(tx, vault, name)

    async def _erase(self, tx: Transaction, vault: Vault, name: str) -> None:
        await DELETED_SECRETS.delete(tx, key_of(vault.id, name))
        await self._forget_versions(tx, vault, name)

    async def _forget_versions(self, tx: Transaction, vault: Vault, name: str) -> None:
        for row in await VERSIONS.list(tx, prefix=version_key(vault.id, name, "")):
            await VERSIONS.delete(tx, row.key)


def missing(name: str) -> NotFound:
    return NotFound(
        f"A secret with (name/id) {name} was not found in this key vault. If you recently deleted this secret you may "
        "be able to recover it using the correct recovery command. For help resolving this issue, please see "
        "https://go.microsoft.com/fwlink/?linkid=2125182",
        code="SecretNotFound",
    )


def _is_over(secret: Secret, now: float) -> bool:
    return secret.purge is not None and now >= secret.purge


def _key(vault: Vault, after: str) -> str:
    return within(vault.id) + after if after else ""
