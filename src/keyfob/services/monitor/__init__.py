"""Log workspaces and application insights: kept types of which templates read a key or an id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from keyfob.arm.keys import DerivedKeys, regenerated
from keyfob.arm.shapes import Shaped, change_properties, held, posting
from keyfob.clock import iso
from keyfob.declare import Change, IdentitySupport, Provider, ResourceType
from keyfob.wire.http import Reply

__all__ = ["insights", "operational_insights"]

_WORKSPACE = "Microsoft.OperationalInsights/workspaces"
_COMPONENT = "Microsoft.Insights/components"
_NOTE = "Kept, with an id and keys of its own; nothing is collected."


def operational_insights(*, master_key: bytes) -> Provider:
    derived = DerivedKeys(master_key)

    def shown(resource: Any) -> Reply:
        return Reply.json({name: derived.key(resource, name, size=64) for name in _KEYS})

    async def keys(change: Change) -> Reply:
        return shown(change.before)

    async def regenerate(change: Change) -> Reply:
        first = await change_properties(change, regenerated(change.before, _KEYS[0]))
        return shown(await change_properties(replace(change, before=first), regenerated(first, _KEYS[1])))

    names = ("listKeys", "sharedKeys")
    workspaces = ResourceType(
        name=_WORKSPACE,
        api_versions=("2023-09-01", "2015-11-01-preview"),
        any_version=True,
        operations=Shaped(compute=_workspace),
        identity=IdentitySupport(system=True, user=True),
        actions={
            **{name: posting(_WORKSPACE, "sharedKeys", keys) for name in names},
            "regenerateSharedKey": posting(_WORKSPACE, "regenerateSharedKey", regenerate),
        },
        note=_NOTE,
    )
    return Provider(namespace="Microsoft.OperationalInsights", types=(workspaces,), registered=True)


_KEYS = ("primarySharedKey", "secondarySharedKey")


def insights() -> Provider:
    components = ResourceType(
        name=_COMPONENT,
        api_versions=("2020-02-02", "2015-05-01"),
        any_version=True,
        operations=Shaped(compute=_component),
        note=_NOTE,
    )
    return Provider(namespace="Microsoft.Insights", types=(components,), registered=True)


def _workspace(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {
        "customerId": str(uuid5(NAMESPACE_URL, change.id.key)),
        "createdDate": held(change, "createdDate", iso(change.now)),
        "modifiedDate": iso(change.now),
        "retentionInDays": given.get("retentionInDays") or 30,
        "sku": given.get("sku") or {"name": "PerGB2018"},
    }


def _component(change: Change, given: Mapping[str, Any]) -> Mapping[str, Any]:
    key = str(uuid5(NAMESPACE_URL, f"key {change.id.key}"))
    location = str(change.body.get("location") or "")
    ingestion = f"https://{location}-0.in.applicationinsights.azure.com/"
    return {
        "AppId": str(uuid5(NAMESPACE_URL, change.id.key)),
        "ApplicationId": change.id.name,
        "Name": change.id.name,
        "Application_Type": given.get("Application_Type") or "web",
        "InstrumentationKey": key,
        "ConnectionString": f"InstrumentationKey={key};IngestionEndpoint={ingestion}",
        "CreationDate": held(change, "CreationDate", iso(change.now)),
        "TenantId": change.id.subscription_id,
    }
