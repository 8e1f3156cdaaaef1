"""What Resource Manager stores. Every field has a default: stored values outlive versions of the program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keyfob.identities.model import StoredIdentity

SUCCEEDED = "Succeeded"
DELETING = "Deleting"


class Resource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A resource of any type. Its key is `ResourceId.key`; `id` keeps the spelling it was created with."""

    id: str
    type: str = ""
    """As its provider declares it: `Microsoft.Compute/virtualMachines`."""
    name: str = ""
    tenant_id: str = ""
    location: str = ""
    """Lower-case without spaces; "" for types that have none."""
    tags: dict[str, str] = {}
    sku: dict[str, Any] | None = None
    kind: str | None = None
    plan: dict[str, Any] | None = None
    zones: tuple[str, ...] = ()
    identity: StoredIdentity | None = None
    properties: dict[str, Any] = {}
    more: dict[str, Any] = {}
    """Other top-level members of the body (`extendedLocation`, …), kept as they came."""
    provisioning_state: str = SUCCEEDED
    """`Creating`, `Updating`, `Deleting`, `Succeeded`, `Failed`, `Canceled`."""
    operation: str = ""
    """Id of the long-running operation that works on it now."""
    created: float = 0.0
    changed: float = 0.0
    created_by: str = ""
    changed_by: str = ""
    """Object ids, beside which `…_by_user` says whether that was a user."""
    created_by_user: bool = False
    changed_by_user: bool = False


class ResourceGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    name: str = ""
    tenant_id: str = ""
    location: str = ""
    tags: dict[str, str] = {}
    managed_by: str = ""
    provisioning_state: str = SUCCEEDED
    operation: str = ""
    created: float = 0.0


class Subscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: str
    """The GUID."""
    tenant_id: str = ""
    cloud: str = ""
    display_name: str = ""
    state: str = "Enabled"
    registrations: dict[str, bool] = {}
    """Provider namespace, lower-case → whether it was registered (True) or unregistered (False) here; absent: as the
    provider declares."""
    created: float = 0.0


class OperationError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    code: str = ""
    message: str = ""
    target: str = ""
    details: tuple[OperationError, ...] = ()


class LongOperation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A long-running operation; `operations.py` has its states."""

    id: str
    kind: str = ""
    """`write`, `delete`, `delete group`, `action`, `move` or `validate move`: what is done when it ends."""
    state: str = "Accepted"
    tenant_id: str = ""
    subscription_id: str = ""
    cloud: str = ""
    namespace: str = ""
    location: str = ""
    resource_id: str = ""
    action: str = ""
    """What the caller needs on the resource to look at the operation: its read action."""
    principal_id: str = ""
    """Who began it."""
    api_version: str = ""
    began: float = 0.0
    due: float = 0.0
    ended: float = 0.0
    error: OperationError | None = None
    target: str = ""
    resources: tuple[str, ...] = ()
    """Of a move: the group to which, and what, by its old ids."""
    request_id: str = ""
    works: bool = False
    """It ends when the work that it stands for does; at `due` it has failed."""
    result: Any = None
    """What that work gave, for whoever asks at `Location`."""


def without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """A copy without these members, whose names compare without regard to case."""
    unwanted = {name.lower() for name in names}
    return {name: value for name, value in values.items() if name.lower() not in unwanted}
