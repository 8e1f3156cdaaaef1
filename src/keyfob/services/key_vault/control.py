"""The routes of `Microsoft.KeyVault` that are no resource: name checks, deleted vaults, access policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.clock import iso
from keyfob.declare import Action, Call, Route, SignedIn, Target
from keyfob.errors import Forbidden, InvalidInput, NotFound
from keyfob.resource_id import ResourceId
from keyfob.services.key_vault import policies
from keyfob.services.key_vault.children import combine
from keyfob.services.key_vault.model import DeletedVault, Recovery
from keyfob.services.key_vault.records import DELETED_VAULTS, deleted_vault_key
from keyfob.services.key_vault.vaults import API_VERSIONS, TYPE, VaultOperations, in_use, is_name
from keyfob.store.port import Store
from keyfob.wire.http import Reply

_SUBSCRIPTION = "/subscriptions/{subscriptionId}/providers/Microsoft.KeyVault"
_VAULT = "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroup}/providers/" + TYPE + "/{name}"
_DELETED = _SUBSCRIPTION + "/locations/{location}/deletedVaults/{name}"


class VaultRoutes:
    def __init__(self, *, store: Store, vaults: VaultOperations) -> None:
        self._store = store
        self._vaults = vaults

    def rows(self) -> tuple[Route, ...]:
        def row(method: str, path: str, action: str, operation: Any, scope: Any) -> Route:
            return Route(method, path, Action(f"Microsoft.KeyVault/{action}"), operation, scope, API_VERSIONS)

        free = SignedIn("the list of operations names nothing of anybody's")
        return (
            row("POST", _SUBSCRIPTION + "/checkNameAvailability", "checkNameAvailability/read", self.check, _sub),
            row("GET", _SUBSCRIPTION + "/deletedVaults", "deletedVaults/read", self.list_deleted, _sub),
            row("GET", _DELETED, "locations/deletedVaults/read", self.get_deleted, _sub),
            row("POST", _DELETED + "/purge", "locations/deletedVaults/purge/action", self.purge, _sub),
            # managed HSMs are not offered: az keyvault check-name and list-deleted ask for them
            row("POST", _SUBSCRIPTION + "/checkMhsmNameAvailability", "managedHSMs/read", self.check_hsm, _sub),
            row("GET", _SUBSCRIPTION + "/deletedManagedHSMs", "deletedManagedHsms/read", self.no_hsms, _sub),
            row("PUT", _VAULT + "/accessPolicies/{kind}", "vaults/accessPolicies/write", self.policies, _vault),
            Route("GET", "/providers/Microsoft.KeyVault/operations", free, self.operations),
        )

    async def check(self, call: Call) -> Reply:
        """Whether a vault could have that name."""
        body = _object(call.request.body)
        name, kind = body.get("name"), body.get("type")
        if not isinstance(name, str) or not isinstance(kind, str) or kind.lower() != TYPE.lower():
            raise InvalidInput(f"The parameters 'name' and 'type' ('{TYPE}') are required.", code="BadRequest")
        if not is_name(name):
            message = (
                "The vault name must be between 3-24 alphanumeric characters. The name must begin with a letter, end "
                "with a letter or digit, and not contain consecutive hyphens."
            )
            return Reply.json({"nameAvailable": False, "reason": "AccountNameInvalid", "message": message})
        async with self._store.transaction() as tx:
            taken = await self._vaults.find(tx, call.cloud, name) is not None
            taken = taken or await self._vaults.find_deleted(tx, call.cloud.name, name, call.now) is not None
        if taken:
            return Reply.json({"nameAvailable": False, "reason": "AlreadyExists", "message": in_use(name)})
        return Reply.json({"nameAvailable": True})

    async def list_deleted(self, call: Call) -> Reply:
        mine = call.parameters["subscriptionId"].lower()
        rows = await DELETED_VAULTS.list(self._store, prefix=deleted_vault_key(call.cloud.name, ""))
        shown = [
            _shown(row.value)
            for row in rows
            if row.value.subscription_id.lower() == mine and call.now < row.value.purge
        ]
        return Reply.json({"value": shown})

    async def check_hsm(self, call: Call) -> Reply:
        """Whether a managed HSM could have that name: there is none, so every name that fits is free."""
        name = _object(call.request.body).get("name")
        if not isinstance(name, str):
            raise InvalidInput("The parameter 'name' is required.", code="BadRequest")
        if not is_name(name):
            message = (
                "The managed HSM name must be between 3-24 alphanumeric characters. The name must begin with a letter, "
                "end with a letter or digit, and not contain consecutive hyphens."
            )
            return Reply.json({"nameAvailable": False, "reason": "AccountNameInvalid", "message": message})
        return Reply.json({"nameAvailable": True})

    async def no_hsms(self, call: Call) -> Reply:
        return Reply.json({"value": []})

    async def get_deleted(self, call: Call) -> Reply:
        return Reply.json(_shown(await self._deleted(call)))

    async def purge(self, call: Call) -> Reply:
        vault = await self._deleted(call)
        if Recovery.of(vault.properties).protected:
            raise Forbidden(
                'Operation "DeletedVaultPurge" is not allowed because purge protection is enabled for this vault. Key '
                "Vault service will automatically purge it after the retention period has passed.",
                code="MethodNotAllowed",
                status=405,
            )
        async with self._store.transaction() as tx:
            await self._vaults.erase(tx, vault)
        return Reply(200)

    async def policies(self, call: Call) -> Reply:
        """`PUT …/accessPolicies/{add|replace|remove}`."""
        given = _object(call.request.body).get("properties")
        listed = given.get("accessPolicies") if isinstance(given, Mapping) else None
        async with self._store.transaction() as tx:
            combined = await combine(tx, call.scope, call.parameters["kind"], listed, call.now)
        return Reply.json(
            {
                "id": f"{call.scope}/accessPolicies/",
                "type": f"{TYPE}/accessPolicies",
                "properties": {"accessPolicies": combined},
            }
        )

    async def operations(self, call: Call) -> Reply:
        shown = [
            {
                "name": name,
                "isDataAction": data,
                "display": {"provider": "Microsoft Key Vault", "resource": resource, "operation": operation},
            }
            for name, data, resource, operation in _OPERATIONS
        ]
        return Reply.json({"value": shown})

    async def _deleted(self, call: Call) -> DeletedVault:
        name, location = call.parameters["name"], call.parameters["location"].replace(" ", "").lower()
        row = await DELETED_VAULTS.get(self._store, deleted_vault_key(call.cloud.name, name))
        if (
            row is None
            or row.value.location != location
            or row.value.subscription_id.lower() != call.parameters["subscriptionId"].lower()
            or call.now >= row.value.purge
        ):
            raise NotFound(f"The specified deleted vault '{name}' does not exist.", code="DeletedVaultNotFound")
        return row.value


def _sub(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    return ResourceId.subscription(parameters["subscriptionId"])


def _vault(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    return ResourceId.group(parameters["subscriptionId"], parameters["resourceGroup"]).provider(
        TYPE, parameters["name"]
    )


def _shown(vault: DeletedVault) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "vaultId": vault.vault_id,
        "location": vault.location,
        "tags": vault.tags,
        "deletionDate": iso(vault.deleted)[:19] + "Z",
        "scheduledPurgeDate": iso(vault.purge)[:19] + "Z",
    }
    if Recovery.of(vault.properties).protected:
        properties["purgeProtectionEnabled"] = True
    return {
        "id": f"/subscriptions/{vault.subscription_id}/providers/Microsoft.KeyVault/locations/{vault.location}"
        f"/deletedVaults/{vault.name}",
        "name": vault.name,
        "type": "Microsoft.KeyVault/deletedVaults",
        "properties": properties,
    }


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("The request content was invalid and could not be deserialized.", code="BadRequest")
    return value


_OPERATIONS = (
    ("Microsoft.KeyVault/vaults/read", False, "Key Vault", "View Key Vault"),
    ("Microsoft.KeyVault/vaults/write", False, "Key Vault", "Update Key Vault"),
    ("Microsoft.KeyVault/vaults/delete", False, "Key Vault", "Delete Key Vault"),
    ("Microsoft.KeyVault/vaults/accessPolicies/write", False, "Access Policy", "Update Access Policy"),
    ("Microsoft.KeyVault/deletedVaults/read", False, "Soft Deleted Vault", "View Soft Deleted Vaults"),
    ("Microsoft.KeyVault/locations/deletedVaults/read", False, "Soft Deleted Key Vault", "View Soft Deleted Key Vault"),
    (
        "Microsoft.KeyVault/locations/deletedVaults/purge/action",
        False,
        "Soft Deleted Key Vault",
        "Purge Soft Deleted Key Vault",
    ),
    ("Microsoft.KeyVault/checkNameAvailability/read", False, "Key Vault", "Check Key Vault Name Availability"),
    *(
        (action.name, True, "Secret", operation)
        for action, operation in (
            (policies.GET, "Get Secret"),
            (policies.SET, "Set Secret"),
            (policies.LIST, "List Secrets"),
            (policies.UPDATE, "Update Secret"),
            (policies.DELETE, "Delete Secret"),
            (policies.BACKUP, "Backup Secret"),
            (policies.RESTORE, "Restore Secret"),
            (policies.RECOVER, "Recover Secret"),
            (policies.PURGE, "Purge Secret"),
        )
    ),
)
