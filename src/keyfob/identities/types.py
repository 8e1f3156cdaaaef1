"""The namespace Microsoft.ManagedIdentity, declared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfob.clock import Ids
from keyfob.declare import Action, Call, PostAction, Provider, ResourceType, Route, SignedIn
from keyfob.errors import NotFound
from keyfob.identities.federated import NAME, Federated
from keyfob.identities.model import USER_ASSIGNED, ResourceReader
from keyfob.identities.user_assigned import UserAssigned, secret_url
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply

VERSIONS = (
    "2015-08-31-preview",
    "2018-11-30",
    "2021-09-30-preview",
    "2022-01-31-preview",
    "2023-01-31",
    "2023-07-31-preview",
    "2024-11-30",
    "2025-01-31-preview",
    "2025-05-31-preview",
)
FEDERATED_VERSIONS = VERSIONS[VERSIONS.index("2022-01-31-preview") :]
_SYSTEM = "Microsoft.ManagedIdentity/identities"
_FEDERATED = "userAssignedIdentities/federatedIdentityCredentials"
_OPERATIONS = (
    ("identities", "read", "Gets an existing system assigned identity"),
    ("userAssignedIdentities", "read", "Gets an existing user assigned identity"),
    ("userAssignedIdentities", "write", "Creates a user assigned identity or updates its tags"),
    ("userAssignedIdentities", "delete", "Deletes an existing user assigned identity"),
    ("userAssignedIdentities", "assign/action", "Assigns an existing user assigned identity to a resource"),
    ("userAssignedIdentities", "listAssociatedResources/action", "Lists all resources an identity is assigned to"),
    (_FEDERATED, "read", "Gets or lists federated identity credentials"),
    (_FEDERATED, "write", "Adds or updates a federated identity credential"),
    (_FEDERATED, "delete", "Deletes a federated identity credential"),
)
"""Resource, verb, and what is said about it."""


def managed_identity_provider(*, store: Store, ids: Ids, resources: ResourceReader) -> Provider:
    """User-assigned identities, their federated credentials, and `identities/default` of any resource."""
    identities = UserAssigned(ids=ids, resources=resources)
    system = _SystemIdentities(store, resources)
    return Provider(
        namespace="Microsoft.ManagedIdentity",
        registered=True,
        types=(
            ResourceType(
                name=USER_ASSIGNED,
                api_versions=VERSIONS,
                operations=identities,
                name_pattern=r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}",
                provisioning_state=False,
                actions={
                    "listAssociatedResources": PostAction(
                        action=Action(f"{USER_ASSIGNED}/listAssociatedResources/action"),
                        operation=identities.associated,
                    )
                },
                note="revokeTokens and assignmentRestrictions are absent; isolationScope is kept and not enforced",
            ),
            ResourceType(
                name=f"{USER_ASSIGNED}/federatedIdentityCredentials",
                api_versions=FEDERATED_VERSIONS,
                operations=Federated(resources=resources),
                tracked=False,
                provisioning_state=False,
                name_pattern=NAME,
                note="flexible credentials (claimsMatchingExpression) are absent",
            ),
        ),
        routes=(
            Route(
                "GET",
                "/{+scope}/providers/Microsoft.ManagedIdentity/identities/default",
                Action(f"{_SYSTEM}/read"),
                system.get,
                api_versions=VERSIONS,
            ),
            Route(
                "GET",
                "/providers/Microsoft.ManagedIdentity/operations",
                SignedIn("what exists here is no secret to who signs in"),
                list_operations,
                api_versions=VERSIONS,
            ),
        ),
    )


class _SystemIdentities:
    def __init__(self, store: Store, resources: ResourceReader) -> None:
        self._store = store
        self._resources = resources

    async def get(self, call: Call) -> Reply:
        """The system-assigned identity of any resource: the only place that shows its client id."""
        id = ResourceId.parse(call.parameters["scope"] or "/")
        resource = await self._resources.get(self._store, id)
        if resource is None or resource.identity is None or resource.identity.system is None:
            raise NotFound(
                f"The Resource 'Microsoft.ManagedIdentity/Identities/default' under '{id}' was not found: the resource "
                "does not exist or has no system assigned identity.",
                code="ResourceNotFound",
            )
        own = resource.identity.system
        properties = {
            "tenantId": resource.tenant_id,
            "principalId": own.principal_id,
            "clientId": own.client_id,
            "clientSecretUrl": secret_url(resource, own.principal_id, own.client_id),
        }
        return Reply.json(
            {
                "id": f"{resource.id}/providers/Microsoft.ManagedIdentity/Identities/default",
                "name": "default",
                "type": "Microsoft.ManagedIdentity/Identities",
                "location": resource.location,
                "tags": resource.tags,
                "properties": properties,
            }
        )


async def list_operations(call: Call) -> Reply:
    return Reply.json({"value": [_operation(*row) for row in _OPERATIONS]})


def _operation(kind: str, verb: str, description: str) -> Mapping[str, Any]:
    return {
        "name": f"Microsoft.ManagedIdentity/{kind}/{verb}",
        "display": {
            "provider": "Managed Service Identity",
            "resource": kind,
            "operation": verb,
            "description": description,
        },
    }
