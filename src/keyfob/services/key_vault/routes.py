"""The data plane of secrets: each row a method, a path, the data action it needs and what it does.

Keys, certificates and managed storage accounts have no rows: they are absent.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from keyfob.declare import Call, Route, Target
from keyfob.errors import InvalidInput
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault import policies as may
from keyfob.services.key_vault.locate import base_of
from keyfob.services.key_vault.model import (
    Recovery,
    Secret,
    SecretVersion,
    bad,
    bundle,
    deleted_members,
    from_wire,
)
from keyfob.services.key_vault.records import key_of
from keyfob.services.key_vault.remembered import Remembered
from keyfob.services.key_vault.secrets import Page, Secrets, Vault
from keyfob.store.port import Store
from keyfob.wire.http import Reply, Request

MOST_IN_A_PAGE = 25
_VERSION = re.compile(r"7\.[0-9]{1,2}(?:-preview\.[0-9]+)?|20(?:2[5-9]|[3-9][0-9])-[01][0-9]-[0-3][0-9](?:-preview)?")
"""After 7.6 versions are dates: @azure/keyvault-secrets 4.10 sends 2025-07-01, azure-keyvault-secrets 2026-04-01."""
_OLD = frozenset({"2015-06-01", "2016-10-01"})


def api_version(request: Request) -> str:
    """`7.x`, one of the two dated versions before it, or one of those since. Raises `InvalidInput`."""
    version = request.query.get("api-version")
    if not version:
        raise InvalidInput("Missing required query parameter: api-version", code="BadParameter")
    if version in _OLD or _VERSION.fullmatch(version):
        return version
    raise InvalidInput(f"The specified version ({version[:40]}) is not recognized.", code="BadParameter")


def _named(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    assert target is not None
    return target.resource_id.child("secrets", parameters["name"])


def _named_deleted(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    assert target is not None
    return target.resource_id.child("deletedsecrets", parameters["name"])


def _vault(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    assert target is not None
    return target.resource_id


class SecretRoutes:
    """The operations behind the rows."""

    def __init__(self, *, store: Store, secrets: Secrets, remembered: Remembered) -> None:
        self._store = store
        self._secrets = secrets
        self._remembered = remembered

    def rows(self) -> tuple[Route, ...]:
        return (
            Route("GET", "/secrets", may.LIST, self.list, _vault),
            Route("PUT", "/secrets/{name}", may.SET, self.set, _named),
            Route("GET", "/secrets/{name}", may.GET, self.get, _named),
            Route("PATCH", "/secrets/{name}", may.UPDATE, self.update, _named),
            Route("DELETE", "/secrets/{name}", may.DELETE, self.delete, _named),
            Route("POST", "/secrets/restore", may.RESTORE, self.restore, _vault),
            Route("GET", "/secrets/{name}/versions", may.LIST, self.list_versions, _named),
            Route("POST", "/secrets/{name}/backup", may.BACKUP, self.backup, _named),
            Route("GET", "/secrets/{name}/{version}", may.GET, self.get, _named),
            Route("PATCH", "/secrets/{name}/{version}", may.UPDATE, self.update, _named),
            Route("GET", "/deletedsecrets", may.LIST, self.list_deleted, _vault),
            Route("GET", "/deletedsecrets/{name}", may.LIST, self.get_deleted, _named_deleted),
            Route("DELETE", "/deletedsecrets/{name}", may.PURGE, self.purge, _named),
            Route("POST", "/deletedsecrets/{name}/recover", may.RECOVER, self.recover, _named),
        )

    # --- one secret

    async def get(self, call: Call) -> Reply:
        vault = vault_of(call)
        name, version = call.parameters["name"], call.parameters.get("version", "")
        changes = self._remembered.changes
        found = await self._secrets.find(self._store, vault, name, version)
        self._remembered.keep(key_of(vault.id, name), version.lower(), found, changes)
        return self._bundle(call, found, value=self._secrets.open(vault.id, found))

    async def set(self, call: Call) -> Reply:
        given = from_wire(call.request.body, value_required=True)
        async with self._store.transaction() as tx:
            made = await self._secrets.set(tx, vault_of(call), call.parameters["name"], given, call.now)
        return self._bundle(call, made, value=given.value)

    async def update(self, call: Call) -> Reply:
        given = from_wire(call.request.body, value_required=False)
        name, version = call.parameters["name"], call.parameters.get("version", "")
        async with self._store.transaction() as tx:
            changed = await self._secrets.update(tx, vault_of(call), name, version, given, call.now)
        return self._bundle(call, changed)

    async def delete(self, call: Call) -> Reply:
        vault = vault_of(call)
        async with self._store.transaction() as tx:
            secret, current = await self._secrets.delete(tx, vault, call.parameters["name"], call.now)
        return self._deleted(call, secret, current) if vault.recovery.soft_delete else self._bundle(call, current)

    # --- deleted ones

    async def get_deleted(self, call: Call) -> Reply:
        vault = vault_of(call)
        secret, current = await self._secrets.find_deleted(self._store, vault, call.parameters["name"], call.now)
        self._secrets.open(vault.id, current)  # a disabled one is refused here too
        return self._deleted(call, secret, current)

    async def recover(self, call: Call) -> Reply:
        async with self._store.transaction() as tx:
            current = await self._secrets.recover(tx, vault_of(call), call.parameters["name"], call.now)
        return self._bundle(call, current)

    async def purge(self, call: Call) -> Reply:
        async with self._store.transaction() as tx:
            await self._secrets.purge(tx, vault_of(call), call.parameters["name"], call.now)
        return Reply(204)

    # --- backups

    async def backup(self, call: Call) -> Reply:
        blob = await self._secrets.backup(self._store, vault_of(call), call.parameters["name"])
        return Reply.json({"value": blob})

    async def restore(self, call: Call) -> Reply:
        blob = _backup_of(call.request.body)
        async with self._store.transaction() as tx:
            restored = await self._secrets.restore(tx, vault_of(call), blob, call.now)
        return self._bundle(call, restored)

    # --- lists

    async def list(self, call: Call) -> Reply:
        page = await self._secrets.list(self._store, vault_of(call), after=_after(call), most=_most(call))
        return self._page(call, page, [self._item(call, version) for _, version in page.items])

    async def list_versions(self, call: Call) -> Reply:
        name = call.parameters["name"]
        page = await self._secrets.list_versions(
            self._store, vault_of(call), name, after=_after(call), most=_most(call)
        )
        return self._page(call, page, [self._item(call, version, versioned=True) for _, version in page.items])

    async def list_deleted(self, call: Call) -> Reply:
        page = await self._secrets.list_deleted(
            self._store, vault_of(call), after=_after(call), most=_most(call), now=call.now
        )
        base = _base(call)
        shown = [deleted_members(secret, base) | self._item(call, version) for secret, version in page.items]
        return self._page(call, page, shown)

    # --- writing replies

    def _item(self, call: Call, version: SecretVersion, *, versioned: bool = False) -> dict[str, Any]:
        return bundle(
            version,
            base=_base(call),
            recovery=vault_of(call).recovery,
            api_version=call.api_version,
            versioned=versioned,
        )

    def _bundle(self, call: Call, version: SecretVersion, value: str | None = None) -> Reply:
        shown = bundle(
            version,
            base=_base(call),
            recovery=vault_of(call).recovery,
            api_version=call.api_version,
            value=value,
        )
        return Reply.json(shown)

    def _deleted(self, call: Call, secret: Secret, current: SecretVersion) -> Reply:
        return Reply.json(deleted_members(secret, _base(call)) | self._item(call, current, versioned=True))

    def _page(self, call: Call, page: Page, shown: Sequence[Mapping[str, Any]]) -> Reply:
        link = None
        if page.after:
            token = base64.urlsafe_b64encode(page.after.encode()).rstrip(b"=").decode()
            link = (
                f"{_base(call)}{quote(call.request.path)}?api-version={call.api_version}"
                f"&$skiptoken={token}&maxresults={_most(call)}"
            )
        return Reply.json({"value": shown, "nextLink": link})


def vault_of(call: Call) -> Vault:
    target = call.target
    assert target is not None
    return Vault(target.resource_id, target.cloud.name, Recovery.of(target.properties))


def _base(call: Call) -> str:
    assert call.target is not None
    return base_of(call.target.cloud, call.target.name, call.request.port)


def _most(call: Call) -> int:
    given = call.request.query.get("maxresults")
    if given is None:
        return MOST_IN_A_PAGE
    if not given.isascii() or not given.isdigit() or len(given) > 3 or not 1 <= int(given) <= MOST_IN_A_PAGE:
        raise bad(f"The value of 'maxresults' must be between 1 and {MOST_IN_A_PAGE}")
    return int(given)


def _after(call: Call) -> str:
    token = call.request.query.get("$skiptoken")
    if not token:
        return ""
    try:
        after = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        after = ""
    if not re.fullmatch(r"[0-9a-z-]{1,127}", after):
        raise bad("The value of '$skiptoken' is not valid")
    return after


def _backup_of(body: bytes) -> str:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad("Invalid Json") from None
    blob = value.get("value") if isinstance(value, dict) else None
    if not isinstance(blob, str) or not blob or not blob.isascii():
        raise bad("The parameter 'value' is required and must be a backup blob")
    return blob
