"""Which identity of a host a token request means. A plain function of values."""

from __future__ import annotations

from keyfob.errors import InvalidInput
from keyfob.identities.model import Attached, HostIdentities, Selector


class IdentityNotFound(InvalidInput):
    """The host has no such identity, or none at all."""

    code = "invalid_request"

    def __init__(self, message: str = "Identity not found") -> None:
        super().__init__(message)


class IdentityDisabled(IdentityNotFound):
    """Its service principal was disabled. Clients see what they see for an unknown identity."""


class MultipleIdentities(InvalidInput):
    """Several user-assigned identities, and the request names none."""

    code = "invalid_request"

    def __init__(self) -> None:
        super().__init__(
            "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity "
            "in the token request"
        )


class ConflictingSelectors(InvalidInput):
    """The request names an identity in two ways."""

    code = "invalid_request"

    def __init__(self) -> None:
        super().__init__("Only one of client_id, object_id and msi_res_id may be given")


def choose(host: HostIdentities, selector: Selector, *, lone_user_identity: bool = True) -> Attached:
    """The identity a request means.

    Nothing named: the system-assigned one; else, where `lone_user_identity` (virtual machines and their kin, not
    App Service), the only user-assigned one. Something named: that one, if it is attached to this host; a client or
    object id may be the system-assigned identity's. An empty value counts as not given.
    """
    chosen = _choose(host, selector, lone_user_identity)
    if not chosen.enabled:
        raise IdentityDisabled
    return chosen


def _choose(host: HostIdentities, selector: Selector, lone_user_identity: bool) -> Attached:
    named = [kind for kind in ("client_id", "object_id", "resource_id") if getattr(selector, kind)]
    if len(named) > 1:
        raise ConflictingSelectors
    if named:
        return _named(host, named[0], str(getattr(selector, named[0])))
    if host.system is not None:
        return host.system
    if not lone_user_identity or not host.user:
        raise IdentityNotFound
    if len(host.user) > 1:
        raise MultipleIdentities
    return host.user[0]


def _named(host: HostIdentities, kind: str, wanted: str) -> Attached:
    wanted = _fold(wanted, kind)
    own: tuple[Attached, ...] = (host.system,) if host.system else ()
    for attached in (*own, *host.user):
        value = {
            "client_id": attached.client_id,
            "object_id": attached.principal_id,
            "resource_id": attached.resource_id or "",
        }[kind]
        if value and _fold(value, kind) == wanted:
            return attached
    raise IdentityNotFound


def _fold(value: str, kind: str) -> str:
    """GUIDs and resource ids compare without case; resource ids also without doubled or trailing slashes."""
    value = value.strip().lower()
    return "/" + "/".join(part for part in value.split("/") if part) if kind == "resource_id" else value
