"""The `scope` of the v2 endpoint: which resource, which permissions. Plain functions of text."""

from __future__ import annotations

from dataclasses import dataclass

from keyfob.directory.aadsts import Refused

OPENID = frozenset({"openid", "profile", "email", "offline_access"})
DEFAULT = "/.default"
_LONGEST = 4_096


@dataclass(frozen=True, slots=True)
class Scopes:
    resource: str
    """Verbatim, "" for the cloud's Microsoft Graph (`User.Read`, or only OpenID scopes)."""
    permissions: tuple[str, ...]
    """Empty for `.default`."""
    openid: frozenset[str]
    text: str
    """What the user flows echo."""


def application_resource(scope: str) -> str:
    """The resource of a client-credentials request: one scope that ends in `/.default`. Raises `Refused`.

    OpenID's scopes beside it mean nothing to an application and are passed over: MSAL for Go (1.10) adds `openid
    offline_access profile` to every request.
    """
    wanted = scope
    if " " in scope and len(scope) <= _LONGEST:
        wanted = " ".join(item for item in scope.split(" ") if item not in OPENID)
    resource = wanted.removesuffix(DEFAULT)
    if resource == wanted or not resource or " " in resource or len(scope) > _LONGEST:
        raise Refused(1002012, scope=scope)
    return resource


def parse_scopes(scope: str) -> Scopes:
    """A user flow's scopes, all of one resource. The resource is what stands before the last slash, so
    `https://management.core.windows.net//.default` means `https://management.core.windows.net/`. Raises `Refused`."""
    if len(scope) > _LONGEST or not scope.isprintable():
        raise Refused(28002, scope=scope)
    openid: set[str] = set()
    resources: dict[str, None] = {}
    permissions: list[str] = []
    for item in scope.split():
        if item in OPENID:
            openid.add(item)
            continue
        resource, slash, permission = item.rpartition("/")
        if slash and (not resource or not permission or resource.rstrip("/") in ("https:", "http:", "api:")):
            raise Refused(28002, scope=item)
        resources[resource] = None
        if permission != ".default":
            permissions.append(permission)
    if len(resources) > 1:
        raise Refused(28000, scope=scope)
    text = " ".join(scope.split())
    return Scopes(next(iter(resources), ""), tuple(dict.fromkeys(permissions)), frozenset(openid), text)
