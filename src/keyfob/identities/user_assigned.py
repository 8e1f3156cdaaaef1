"""`Microsoft.ManagedIdentity/userAssignedIdentities`: an identity as a resource of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from keyfob.clock import Ids
from keyfob.declare import Change
from keyfob.directory.principals import delete_principal
from keyfob.errors import InvalidInput
from keyfob.identities.filters import predicate
from keyfob.identities.lifecycle import create_identity
from keyfob.identities.model import Identified, ResourceReader
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session
from keyfob.wire.http import Reply

_WITH_SECRET_URL = frozenset({"2015-08-31-preview", "2018-11-30"})
"""The versions that show where the (never served) credentials of an identity would be."""
_ISOLATION = ("None", "Regional")
_ASSOCIATED = ("id", "name", "type", "resourceGroup", "subscriptionId", "subscriptionDisplayName")


class UserAssigned:
    """Born with a service principal, which dies with it; the references on its hosts stay and dangle."""

    def __init__(self, *, ids: Ids, resources: ResourceReader) -> None:
        self._ids = ids
        self._resources = resources

    async def accept(self, change: Change) -> Mapping[str, Any]:
        """Only `isolationScope` is the client's to say; ids in the body are ignored, as Azure does."""
        given = change.body.get("properties")
        scope = given.get("isolationScope") if isinstance(given, Mapping) else None
        if scope is not None and scope not in _ISOLATION:
            raise InvalidInput(
                f"The isolation scope '{str(scope)[:40]}' is invalid: 'None' or 'Regional'.", target="isolationScope"
            )
        kept = {"isolationScope": scope} if scope else {}
        if change.before is not None:
            old = change.before.properties
            return {name: old[name] for name in ("tenantId", "principalId", "clientId") if name in old} | kept
        made = await create_identity(
            change.transaction,
            tenant_id=change.tenant_id,
            resource=change.id,
            explicit=True,
            ids=self._ids,
            now=change.now,
        )
        return {
            "tenantId": change.tenant_id,
            "principalId": made.principal_id,
            "clientId": made.client_id,
        } | kept

    async def remove(self, change: Change) -> None:
        await delete_principal(change.transaction, change.tenant_id, str(change.before.properties["principalId"]))

    def present(self, resource: Any, api_version: str, expand: str) -> Mapping[str, Any]:
        shown = dict(resource.properties)
        if api_version in _WITH_SECRET_URL:
            shown["clientSecretUrl"] = secret_url(resource, shown["principalId"], shown["clientId"])
        if "isolationScope" in shown and api_version < "2024-11-30":
            del shown["isolationScope"]
        return shown

    # --- POST …/listAssociatedResources

    async def associated(self, change: Change) -> Reply:
        """Every resource it is attached to; `$filter`, `$orderby`, `$top`, `$skip` and `$skiptoken` as documented."""
        rows = [
            await self._row(change.transaction, found)
            for found in await self._resources.using(change.transaction, change.id)
        ]
        matches = predicate(change.query.get("$filter"), _ASSOCIATED)
        rows = _ordered([row for row in rows if matches(row)], change.query.get("$orderby"))
        start = _number(change.query, "$skiptoken", _number(change.query, "$skip", 0))
        size = _number(change.query, "$top", 100)
        shown: dict[str, Any] = {"totalCount": len(rows), "value": rows[start : start + size]}
        if start + size < len(rows) and size:
            kept = {name: value for name, value in change.query.items() if name not in ("$skip", "$skiptoken")}
            query = urlencode({**kept, "$skiptoken": start + size}, safe="$", quote_via=quote)
            shown["nextLink"] = f"{change.url}?{query}"
        return Reply.json(shown)

    async def _row(self, session: Session, found: Identified) -> dict[str, str]:
        id = ResourceId.parse(found.id)
        subscription = id.subscription_id or ""
        return {
            "id": found.id,
            "name": found.name,
            "type": found.type.lower(),
            "resourceGroup": id.resource_group or "",
            "subscriptionId": subscription,
            "subscriptionDisplayName": await self._resources.subscription_name(session, subscription),
        }


def secret_url(resource: Identified, principal_id: str, client_id: str) -> str:
    """Shown by the early versions only; nothing answers there."""
    return (
        f"https://control-{resource.location or 'global'}.identity.azure.net{resource.id}/credentials"
        f"?tid={resource.tenant_id}&oid={principal_id}&aid={client_id}"
    )


def _ordered(rows: list[dict[str, str]], text: str | None) -> list[dict[str, str]]:
    """`name asc, type desc`. Raises `InvalidInput`."""
    for part in reversed([part for part in (text or "").split(",") if part.strip()]):
        name, _, way = part.strip().partition(" ")
        spelled = next((known for known in _ASSOCIATED if known.lower() == name.lower()), None)
        if spelled is None or way.strip().lower() not in ("", "asc", "desc"):
            raise InvalidInput(
                f"Invalid $orderby '{(text or '')[:100]}' specified in the query string.", code="InvalidOrderBy"
            )
        rows = sorted(rows, key=lambda row: row[spelled].lower(), reverse=way.strip().lower() == "desc")
    return rows


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidInput(f"The value '{text[:40]}' of '{name}' is not a whole number.", target=name)
    return int(text)
