"""Parameters whose value is a secret of a vault: `{"reference": {"keyVault": {"id"}, "secretName", "secretVersion"}}`.

The vault must be `enabledForTemplateDeployment`, and whoever deploys needs `Microsoft.KeyVault/vaults/deploy/action` on
it; a right to read secrets is neither needed nor enough. Codes and words: Azure/azure-powershell issues 2939 and 28308,
Azure/bicep issues 4081 and 6859, mspnp/template-building-blocks issue 369.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from keyfob.access.guard import Guard
from keyfob.arm.model import Resource
from keyfob.arm.resources import get_resource, get_subscription
from keyfob.arm.templates.evaluate import Pending, evaluate
from keyfob.arm.templates.expressions import ExpressionError
from keyfob.arm.templates.template import Part
from keyfob.declare import Action, Caller
from keyfob.directory.principals import find_service_principal
from keyfob.errors import Conflict, Forbidden, InvalidInput, NotFound, Problem
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store

ReadSecret = Callable[[ResourceId, str, str], Awaitable[str]]
"""Vault, name, version or "" → the value; raises a `Problem` in the vault's words."""
DEPLOY = Action("Microsoft.KeyVault/vaults/deploy/action")
_VAULT = "microsoft.keyvault/vaults"
_RESOURCE_MANAGER = "797f4846-ba00-4fd7-ba43-dac1f8f63013"
"""Resource Manager's own application: it is what a vault that is not enabled turns away."""
_SEE = "Please see https://aka.ms/arm-keyvault for usage details."


class VaultSecrets:
    def __init__(self, *, store: Store, guard: Guard, read: ReadSecret) -> None:
        self._store = store
        self._guard = guard
        self._read = read

    async def filled(self, parameters: Mapping[str, Any], caller: Caller, request_id: str) -> dict[str, Any]:
        """The parameters, each reference with the value it stands for. Raises what stands in the way, all of it."""
        made = dict(parameters)
        refused: list[Problem] = []
        for name, given in parameters.items():
            if isinstance(given, Mapping) and given.get("reference") is not None:
                try:
                    made[name] = await self._filled(name, given, caller, request_id)
                except Problem as problem:
                    refused.append(problem)
        if len(refused) == 1:
            raise refused[0]
        if refused:
            codes = ",".join(HTTPStatus(one.status).phrase.replace(" ", "") for one in refused)
            raise Problem(
                f"Multiple error occurred: {codes}. Please see details.",
                code="MultipleErrorsOccurred",
                status=refused[0].status,
                details=refused,
            )
        return made

    async def look(self, parts: list[Part], caller: Caller, request_id: str) -> None:
        """Those of nested deployments, as far as they can be told before anything is there. Raises as `filled`."""
        for part in parts:
            found: dict[str, Any] = {}
            properties = part.body.get("properties")
            given = properties.get("parameters") if part.is_deployment and isinstance(properties, Mapping) else None
            for name, one in given.items() if isinstance(given, Mapping) else ():
                if isinstance(one, Mapping) and "reference" in one:
                    try:
                        found[name] = evaluate(one, part.frame)
                    except (ExpressionError, Pending, RecursionError):
                        continue
            await self.filled(found, caller, request_id)

    async def _filled(self, name: str, given: Mapping[str, Any], caller: Caller, request_id: str) -> dict[str, Any]:
        reference = given["reference"]
        if "value" in given:
            raise _unreadable(f"The parameter '{name[:100]}' has both a value and a reference", name)
        spelled, secret, version = _parsed(name, reference)
        vault = await self._vault(spelled, caller, request_id)
        if vault.properties.get("enabledForTemplateDeployment") is not True:
            raise await self._turned_away(name, vault)
        try:
            value = await self._read(ResourceId.parse(vault.id), secret, version)
        except Problem as problem:
            raise _not_retrieved(name, problem.status, problem.message) from None
        shown = {"keyVault": {"id": spelled}, "secretName": secret} | ({"secretVersion": version} if version else {})
        return {"value": value, "reference": shown}

    async def _vault(self, spelled: str, caller: Caller, request_id: str) -> Resource:
        """Whether the caller may is told before whether it is there."""
        try:
            id = ResourceId.parse(spelled)
        except Problem:
            raise _no_vault(spelled) from None
        subscription = await get_subscription(self._store, id.subscription_id or "")
        if id.type.lower() != _VAULT or subscription is None:
            raise _no_vault(spelled)
        if subscription.tenant_id != caller.tenant_id:
            raise InvalidInput(
                f"The specified KeyVault '{spelled}' is not in current tenant '{caller.tenant_id}' for subscription "
                f"'{subscription.id}'. {_SEE}",
                code="KeyVaultParameterReferenceNotInTheSameTenant",
            )
        try:
            await self._guard.authorize(caller, DEPLOY, id, request_id=request_id, service="resource_manager")
        except Forbidden as forbidden:
            raise Forbidden(
                f"The client '{caller.name}' with object id '{caller.principal_id}' does not have permission to "
                f"perform action '{DEPLOY.name.upper()}' on the specified KeyVault resource '{spelled}'. {_SEE}",
                code="KeyVaultParameterReferenceAuthorizationFailed",
                info=forbidden.info,
            ) from None
        vault = await get_resource(self._store, id)
        if vault is None:
            raise _no_vault(spelled)
        return vault

    async def _turned_away(self, name: str, vault: Resource) -> Problem:
        tenant_id = vault.tenant_id
        itself = await find_service_principal(self._store, tenant_id, _RESOURCE_MANAGER)
        who = f"tid={tenant_id};appid={_RESOURCE_MANAGER}" + (f";oid={itself.id}" if itself else "")
        return _not_retrieved(
            name,
            403,
            f"Access denied to first party service.\r\nCaller: name=ARM;{who};iss=https://sts.windows.net/{tenant_id}/"
            f"\r\nVault: {vault.name};location={vault.location}",
        )


def _parsed(name: str, reference: Any) -> tuple[str, str, str]:
    """The vault's id as it is spelled, the secret's name, its version or ""."""
    if not isinstance(reference, Mapping):
        raise _unreadable("an object is expected", f"{name}.reference")
    vault = reference.get("keyVault")
    _only(reference, ("keyVault", "secretName", "secretVersion"), "KeyVaultParameterReference", f"{name}.reference")
    if not isinstance(vault, Mapping):
        raise _unreadable("Required property 'keyVault' not found in JSON", f"{name}.reference")
    _only(vault, ("id",), "KeyVaultReference", f"{name}.reference.keyVault")
    texts = []
    for holder, key in ((vault, "id"), (reference, "secretName"), (reference, "secretVersion")):
        text = holder.get(key)
        if (not isinstance(text, str) or not text) and not (key == "secretVersion" and text in (None, "")):
            raise _unreadable(f"Required property '{key}' not found in JSON", f"{name}.reference")
        texts.append(str(text or ""))
    return texts[0], texts[1], texts[2]


def _only(given: Mapping[str, Any], known: tuple[str, ...], kind: str, path: str) -> None:
    for member in given:
        if member not in known:
            raise _unreadable(
                f"Could not find member '{member[:100]}' on object of type '{kind}'", f"{path}.{member[:100]}"
            )


def _unreadable(reason: str, path: str) -> InvalidInput:
    return InvalidInput(
        f"The request content was invalid and could not be deserialized: '{reason}. Path 'properties.parameters."
        f"{path}'.'.",
        code="InvalidRequestContent",
    )


def _no_vault(spelled: str) -> NotFound:
    return NotFound(
        f"The specified KeyVault '{spelled[:300]}' could not be found. {_SEE}",
        code="KeyVaultParameterReferenceNotFound",
    )


def _not_retrieved(name: str, status: int, message: str) -> Conflict:
    word = HTTPStatus(status).phrase.replace(" ", "")
    return Conflict(
        f"The secret of KeyVault parameter '{name[:100]}' cannot be retrieved. Http status code: '{word}'. Error "
        f"message: '{message}'. {_SEE}",
        code="KeyVaultParameterReferenceSecretRetrieveFailed",
    )
