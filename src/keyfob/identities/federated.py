"""`…/userAssignedIdentities/federatedIdentityCredentials`: tokens of a foreign issuer that stand for an identity.

The directory keeps what the token service checks; the resource kept beside it is what Resource Manager shows. Both
change in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from keyfob.declare import Change
from keyfob.directory.applications import add_federated_credential, delete_federated_credential
from keyfob.directory.model import FederatedCredential
from keyfob.errors import InvalidInput, NotFound
from keyfob.identities.model import ResourceReader

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{2,119}"


class Federated:
    """The owner is the user-assigned identity it is below."""

    def __init__(self, *, resources: ResourceReader) -> None:
        self._resources = resources

    async def accept(self, change: Change) -> Mapping[str, Any]:
        """`issuer` (https), `subject` and one audience; the directory checks lengths, number and duplicates."""
        properties = change.body.get("properties")
        given = properties if isinstance(properties, Mapping) else {}
        issuer, subject = _text(given, "issuer"), _text(given, "subject")
        audiences = given.get("audiences")
        if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
            raise InvalidInput("The property 'audiences' must be an array of strings.", target="audiences")
        try:
            parts = urlsplit(issuer)
        except ValueError:
            parts = None
        if parts is None or parts.scheme != "https" or not parts.netloc:
            raise InvalidInput("The issuer must be an https URL.", target="issuer")
        await add_federated_credential(
            change.transaction,
            change.tenant_id,
            await self._owner(change),
            FederatedCredential(name=_name(change), issuer=issuer, subject=subject, audiences=tuple(audiences)),
        )
        return {"issuer": issuer, "subject": subject, "audiences": audiences}

    async def remove(self, change: Change) -> None:
        await delete_federated_credential(
            change.transaction, change.tenant_id, await self._owner(change), _name(change)
        )

    def present(self, resource: Any, api_version: str, expand: str) -> Mapping[str, Any]:
        return dict(resource.properties)

    async def _owner(self, change: Change) -> str:
        identity = await self._resources.get(change.transaction, change.id.parent)
        if identity is None:
            raise NotFound(
                f"Can not perform requested operation on nested resource. Parent resource '{change.id.parent.name}' "
                "not found.",
                code="ParentResourceNotFound",
            )
        return str(identity.properties["principalId"])


def _name(change: Change) -> str:
    """In the spelling it was created with: the directory's names compare exactly."""
    return str(change.before.name) if change.before is not None else change.id.name


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"The property '{name}' is required.", target=name)
    return value
