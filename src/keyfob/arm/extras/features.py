"""Microsoft.Features: previews that a subscription opts into.

Any well-formed name in a namespace that is served is a feature, not registered until somebody registers it; nothing
waits for an approval. `feature_state` is for whoever makes a preview depend on one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from keyfob.arm.resources import get_subscription
from keyfob.clock import iso
from keyfob.declare import Action, Call, Provider, Route
from keyfob.errors import InvalidInput, NotFound
from keyfob.resource_id import ResourceId
from keyfob.store.port import Session, Store
from keyfob.store.records import Records
from keyfob.wire.http import Reply

NAMESPACE = "Microsoft.Features"
VERSIONS = ("2014-08-01-preview", "2015-12-01", "2021-07-01")
READ_ALL, READ = Action(f"{NAMESPACE}/features/read"), Action(f"{NAMESPACE}/providers/features/read")
REGISTER, UNREGISTER = (Action(f"{NAMESPACE}/providers/features/{verb}/action") for verb in ("register", "unregister"))
KNOWN = (
    "Microsoft.Compute/AutomaticOSUpgradePreview",
    "Microsoft.Compute/EncryptionAtHost",
    "Microsoft.Compute/UserAssignedIdentity",
    "Microsoft.ContainerInstance/UserAssignedIdentity",
    "Microsoft.KeyVault/ManagedHsm",
    "Microsoft.Resources/ManagementGroups",
    "Microsoft.Storage/AllowNFSV3",
    "Microsoft.Web/UserAssignedIdentity",
)
"""Those that lists name before anybody asked for one."""
REGISTERED, NOT_REGISTERED, UNREGISTERED = "Registered", "NotRegistered", "Unregistered"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Feature(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Key: `subscription/namespace/name`, in lower case."""

    namespace: str
    name: str = ""
    state: str = NOT_REGISTERED
    changed: float = 0.0


FEATURES = Records("arm.features", Feature)


async def feature_state(session: Session, subscription_id: str, feature: str) -> str:
    """`Registered`, `NotRegistered` or `Unregistered`; `feature` is `Microsoft.Compute/SomePreview`."""
    row = await FEATURES.get(session, f"{subscription_id}/{feature}".lower())
    return row.value.state if row else NOT_REGISTERED


class Features:
    def __init__(self, *, store: Store, namespaces: Sequence[str]) -> None:
        """`namespaces`: those that have features at all."""
        self._store = store
        self._namespaces = {name.lower(): name for name in namespaces}

    def provider(self) -> Provider:
        here = f"/subscriptions/{{subscription}}/providers/{NAMESPACE}"
        one = f"{here}/providers/{{namespace}}/features"
        two = f"{here}/featureProviders/{{namespace}}/subscriptionFeatureRegistrations"

        def route(method: str, path: str, action: Action, operation: Any) -> Route:
            return Route(method, path, action, operation, _subscription, VERSIONS)

        return Provider(
            namespace=NAMESPACE,
            registered=True,
            routes=(
                route("GET", f"{here}/features", READ_ALL, self.listed),
                route("GET", one, READ, self.listed),
                route("GET", f"{one}/{{feature}}", READ, self.get),
                route("POST", f"{one}/{{feature}}/register", REGISTER, self.register),
                route("POST", f"{one}/{{feature}}/unregister", UNREGISTER, self.unregister),
                route("GET", f"{here}/subscriptionFeatureRegistrations", READ_ALL, self.registrations),
                route("GET", two, READ, self.registrations),
                route("GET", f"{two}/{{feature}}", READ, self.registration),
                route("PUT", f"{two}/{{feature}}", REGISTER, self.put_registration),
                route("DELETE", f"{two}/{{feature}}", UNREGISTER, self.delete_registration),
            ),
        )

    async def _all(self, call: Call) -> list[Feature]:
        found: dict[str, Feature] = {}
        for text in KNOWN:
            namespace, _, name = text.partition("/")
            found[text.lower()] = Feature(namespace=namespace, name=name)
        prefix = f"{call.parameters['subscription']}/".lower()
        for row in await FEATURES.list(self._store, prefix=prefix):
            found[row.key.removeprefix(prefix)] = row.value
        only = call.parameters.get("namespace")
        if only is not None:
            wanted = self._namespace(only).lower()
            found = {key: one for key, one in found.items() if one.namespace.lower() == wanted}
        return [found[key] for key in sorted(found)]

    async def listed(self, call: Call) -> Reply:
        return Reply.json({"value": [_shown(call, one) for one in await self._all(call)]})

    async def get(self, call: Call) -> Reply:
        return Reply.json(_shown(call, await self._one(call)))

    async def register(self, call: Call) -> Reply:
        return Reply.json(_shown(call, await self._set(call, REGISTERED)))

    async def unregister(self, call: Call) -> Reply:
        return Reply.json(_shown(call, await self._set(call, UNREGISTERED)))

    async def registrations(self, call: Call) -> Reply:
        subscription = await get_subscription(self._store, call.parameters["subscription"])
        tenant = subscription.tenant_id if subscription else ""
        chosen = [one for one in await self._all(call) if one.state == REGISTERED]
        return Reply.json({"value": [_registration(call, one, tenant) for one in chosen]})

    async def registration(self, call: Call) -> Reply:
        return Reply.json(_registration(call, await self._one(call), call.caller.tenant_id if call.caller else ""))

    async def put_registration(self, call: Call) -> Reply:
        made = await self._set(call, REGISTERED)
        return Reply.json(_registration(call, made, call.caller.tenant_id if call.caller else ""))

    async def delete_registration(self, call: Call) -> Reply:
        if (await self._one(call)).state != REGISTERED:
            return Reply(204)
        await self._set(call, UNREGISTERED)
        return Reply(200)

    async def _one(self, call: Call) -> Feature:
        namespace, name = self._names(call)
        key = f"{call.parameters['subscription']}/{namespace}/{name}".lower()
        row = await FEATURES.get(self._store, key)
        return row.value if row else Feature(namespace=namespace, name=name)

    async def _set(self, call: Call, state: str) -> Feature:
        known = await self._one(call)
        value = Feature(namespace=known.namespace, name=known.name, state=state, changed=call.now)
        key = f"{call.parameters['subscription']}/{known.namespace}/{known.name}".lower()
        async with self._store.transaction() as tx:
            await FEATURES.put(tx, key, value)
        return value

    def _namespace(self, given: str) -> str:
        known = self._namespaces.get(given.lower())
        if known is None:
            raise NotFound(f"The resource namespace '{given[:100]}' is invalid.", code="InvalidResourceNamespace")
        return known

    def _names(self, call: Call) -> tuple[str, str]:
        namespace, name = self._namespace(call.parameters["namespace"]), call.parameters["feature"]
        if not _WORD.fullmatch(name):
            raise InvalidInput(f"The feature '{name[:200]}' could not be found.", code="FeatureNotFound", status=404)
        for text in KNOWN:
            if text.lower() == f"{namespace}/{name}".lower():
                name = text.partition("/")[2]
        return namespace, name


def _subscription(parameters: Any, target: Any) -> ResourceId:
    return ResourceId.subscription(parameters["subscription"])


def _shown(call: Call, feature: Feature) -> dict[str, Any]:
    here = f"/subscriptions/{call.parameters['subscription']}/providers/{NAMESPACE}"
    return {
        "properties": {"state": feature.state},
        "id": f"{here}/providers/{feature.namespace}/features/{feature.name}",
        "type": f"{NAMESPACE}/providers/features",
        "name": f"{feature.namespace}/{feature.name}",
    }


def _registration(call: Call, feature: Feature, tenant_id: str) -> dict[str, Any]:
    here = f"/subscriptions/{call.parameters['subscription']}/providers/{NAMESPACE}"
    return {
        "id": f"{here}/featureProviders/{feature.namespace}/subscriptionFeatureRegistrations/{feature.name}",
        "type": f"{NAMESPACE}/featureProviders/subscriptionFeatureRegistrations",
        "name": feature.name,
        "properties": {
            "tenantId": tenant_id,
            "subscriptionId": call.parameters["subscription"],
            "featureName": feature.name,
            "providerNamespace": feature.namespace,
            "state": feature.state,
            "approvalType": "AutoApproval",
            "registrationDate": iso(feature.changed) if feature.changed else None,
        },
    }
