"""What templates write below a vault: secrets, access policies, keys (which this vault has not).

`Microsoft.KeyVault/vaults/secrets` writes the very secret that the vault's own door reads. Reading it here never shows
its value (management API, secrets.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.arm.resources import RESOURCES, get_resource, resource_not_found
from keyfob.arm.shapes import Shaped, resource_path, resource_scope
from keyfob.declare import Action, Call, Change, ResourceType, Route
from keyfob.errors import InvalidInput, MethodNotAllowed
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault import policies
from keyfob.services.key_vault.locate import base_of
from keyfob.services.key_vault.model import Given, Recovery, SecretVersion
from keyfob.services.key_vault.secrets import Secrets, Vault
from keyfob.services.key_vault.vaults import API_VERSIONS, TYPE
from keyfob.store.port import Store, Transaction
from keyfob.wire.http import Reply

SECRET = f"{TYPE}/secrets"
KINDS = frozenset({"add", "replace", "remove"})
_PATH = resource_path(SECRET)


class SecretChildren:
    def __init__(self, *, store: Store, secrets: Secrets) -> None:
        self._store = store
        self._secrets = secrets

    def types(self) -> tuple[ResourceType, ...]:
        def child(kind: str, operations: Any, pattern: str, note: str = "") -> ResourceType:
            return ResourceType(
                name=f"{TYPE}/{kind}",
                api_versions=API_VERSIONS,
                operations=operations,
                tracked=False,
                provisioning_state=False,
                location_kept=True,
                name_pattern=pattern,
                note=note,
            )

        return (
            child(
                "secrets", SecretOperations(self._secrets), r"[A-Za-z0-9-]{1,127}", "Values go in and never come out."
            ),
            child("accessPolicies", PolicyOperations(), "(?i:add|replace|remove)", "Changes the vault's policies."),
            child("keys", NoKeys(), r"[A-Za-z0-9-]{1,127}", "Refused: vaults here have no keys yet."),
        )

    def routes(self) -> tuple[Route, ...]:
        """Secrets are read from where the vault's door reads them, whoever wrote them."""
        read, delete = Action(f"{SECRET}/read"), Action(f"{SECRET}/delete")
        scope = resource_scope(SECRET)
        listing = _PATH.rpartition("/")[0]
        return (
            Route("GET", _PATH, read, self.get, scope, API_VERSIONS),
            Route("DELETE", _PATH, delete, _no_delete, scope, API_VERSIONS),
            Route("GET", listing, read, self.list, resource_scope(TYPE), API_VERSIONS),
        )

    async def get(self, call: Call) -> Reply:
        vault = await self._vault(call, call.scope.parent)
        version = await self._secrets.find(self._store, vault, call.scope.name)
        return Reply.json(_shown(vault, version, base_of(call.cloud, vault.id.name)))

    async def list(self, call: Call) -> Reply:
        vault = await self._vault(call, call.scope)
        page = await self._secrets.list(self._store, vault, after="", most=1000)
        base = base_of(call.cloud, vault.id.name)
        return Reply.json({"value": [_shown(vault, version, base) for _, version in page.items]})

    async def _vault(self, call: Call, id: ResourceId) -> Vault:
        found = await get_resource(self._store, id)
        if found is None:
            raise resource_not_found(id)
        return Vault(ResourceId.parse(found.id), call.cloud.name, Recovery.of(found.properties))


class SecretOperations(Shaped):
    """PUT makes a new version; PATCH changes the current one."""

    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    async def accept(self, change: Change) -> Mapping[str, Any]:
        parent = await get_resource(change.transaction, change.id.parent)
        if parent is None:
            raise resource_not_found(change.id.parent)
        vault = Vault(ResourceId.parse(parent.id), change.cloud.name, Recovery.of(parent.properties))
        given = _given(change)
        if change.method == "PATCH" and given.value is None:
            made = await self._secrets.update(change.transaction, vault, change.id.name, "", given, change.now)
        else:
            if given.value is None:
                raise InvalidInput("The property 'value' of the secret is required.", code="BadRequest", target="value")
            made = await self._secrets.set(change.transaction, vault, change.id.name, given, change.now)
        return _properties(made, base_of(change.cloud, vault.id.name))


class PolicyOperations(Shaped):
    async def accept(self, change: Change) -> Mapping[str, Any]:
        given = change.body.get("properties")
        listed = given.get("accessPolicies") if isinstance(given, Mapping) else None
        return {
            "accessPolicies": await combine(change.transaction, change.id.parent, change.id.name, listed, change.now)
        }


class NoKeys(Shaped):
    async def accept(self, change: Change) -> Mapping[str, Any]:
        raise InvalidInput(
            "Vaults of this server have no keys: a resource of type 'Microsoft.KeyVault/vaults/keys' cannot be made.",
            code="NotSupported",
        )


async def combine(tx: Transaction, vault: ResourceId, word: str, listed: Any, now: float) -> list[dict[str, Any]]:
    """The vault's access policies after these were added, removed, or put in their place."""
    kind = word.lower()
    if kind not in KINDS:
        raise InvalidInput(f"The operation kind '{kind[:40]}' is not add, replace or remove.", code="BadRequest")
    row = await RESOURCES.get(tx, vault.key)
    if row is None:
        raise resource_not_found(vault)
    properties = row.value.properties
    checked = policies.check(listed, str(properties.get("tenantId", "")))
    combined = policies.combine(kind, properties.get("accessPolicies") or [], checked)
    if len(combined) > policies.MOST:
        raise InvalidInput(f"A vault has at most {policies.MOST} access policies.", code="BadRequest")
    changed = msgspec.structs.replace(row.value, properties={**properties, "accessPolicies": combined}, changed=now)
    await RESOURCES.put(tx, row.key, changed)
    return combined


def _given(change: Change) -> Given:
    properties = change.body.get("properties")
    inner = dict(properties) if isinstance(properties, Mapping) else {}
    attributes = inner.get("attributes")
    members = {
        "value": inner.get("value"),
        "content_type": inner.get("contentType"),
        "tags": change.body.get("tags") or None,
        **(
            {name: attributes.get(name) for name in ("enabled", "nbf", "exp")}
            if isinstance(attributes, Mapping)
            else {}
        ),
    }
    try:
        return msgspec.convert(members, Given)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"The secret's properties are not valid: {error}.", code="BadRequest") from None


def _properties(version: SecretVersion, base: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {"enabled": version.enabled, "created": version.created, "updated": version.updated}
    attributes |= {name: value for name in ("nbf", "exp") if (value := getattr(version, name)) is not None}
    shown: dict[str, Any] = {"attributes": attributes}
    if version.content_type:
        shown["contentType"] = version.content_type
    uri = f"{base}/secrets/{version.name}"
    return shown | {"secretUri": uri, "secretUriWithVersion": f"{uri}/{version.version}"}


def _shown(vault: Vault, version: SecretVersion, base: str) -> dict[str, Any]:
    return {
        "id": str(vault.id.child("secrets", version.name)),
        "name": version.name,
        "type": SECRET,
        "tags": version.tags or {},
        "properties": _properties(version, base),
    }


async def _no_delete(call: Call) -> Reply:
    raise MethodNotAllowed("A secret is deleted at its vault's own address, not in Resource Manager.")
