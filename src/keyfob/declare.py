"""What a folder says about itself: its routes, resource types, actions, planes.

Declarations are plain frozen values; a pipeline reads them, so no folder can forget a phase. What is undeclared is
refused. Nothing here registers anything: `app.py` names each declaration once.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Protocol

from keyfob.clouds.cloud import Cloud
from keyfob.errors import Problem, Unauthenticated
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Reply, Request

# --- actions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    """A name that role definitions grant: `Microsoft.KeyVault/vaults/read`, or a data action (`data=True`)."""

    name: str
    data: bool = False


@dataclass(frozen=True, slots=True)
class Public:
    """Nobody is asked who they are. `reason` says why that is right; a test pins the list of such routes."""

    reason: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A valid token is needed but no role: the operation itself shows only what the caller may see."""

    reason: str


Access = Action | Public | SignedIn

# --- who is calling --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Caller:
    """A verified principal: made by the guard from a token it checked, never from anything else."""

    tenant_id: str
    principal_id: str
    """`oid`: the object id that role assignments name."""
    app_id: str = ""
    name: str = ""
    """What error texts call it: a user's principal name, else the application or object id."""
    groups: frozenset[str] = frozenset()
    """Object ids of every group that holds it, transitively."""
    roles: frozenset[str] = frozenset()
    """App roles carried by the token (Microsoft Graph permissions)."""
    claims: Mapping[str, Any] = field(default_factory=dict, compare=False)


# --- routes ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """The account a data-plane request is about, found from its host name."""

    cloud: Cloud
    tenant_id: str
    resource_id: ResourceId
    name: str
    location: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that passed its pipeline: matched, authenticated, authorised."""

    request: Request
    parameters: Mapping[str, str]
    cloud: Cloud
    scope: ResourceId
    """What was authorised: the ARM scope, or the data-plane object's id."""
    caller: Caller | None
    """None only on routes declared `Public`."""
    api_version: str
    now: float
    target: Target | None = None
    """The account, on data planes."""


Operation = Callable[[Call], Awaitable[Reply]]

_PARAMETER = re.compile(r"\{(\+?)([A-Za-z][A-Za-z0-9]*)\}")


@dataclass(frozen=True, slots=True)
class Route:
    """One row of a table: method, path template, what it takes, what it does.

    `{name}` matches one segment, `{+scope}` any number of them, none included; literal segments compare without
    regard to case. `scope` builds the id that is authorised from the path parameters when it is not the obvious one.
    """

    method: str
    path: str
    access: Access
    operation: Operation
    scope: Callable[[Mapping[str, str], Target | None], ResourceId] | None = None
    api_versions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.access, Action | Public | SignedIn):
            raise TypeError(f"{self.method} {self.path} declares no access: give an Action, Public or SignedIn")
        if not self.path.startswith("/"):
            raise ValueError(f"{self.path} must begin with a slash")

    def pattern(self) -> re.Pattern[str]:
        out, at = "", 0
        for found in _PARAMETER.finditer(self.path):
            out += re.escape(self.path[at : found.start()])
            inside = ".*" if found[1] else "[^/]+"
            if found[1] and out.endswith("/"):  # "/{+scope}/providers" also matches "/providers"
                out = out[:-1] + f"(?P<{found[2]}>(?:/{inside})?)"
            else:
                out += f"(?P<{found[2]}>{inside})"
            at = found.end()
        return re.compile(out + re.escape(self.path[at:]), re.IGNORECASE)


class RouteTable:
    """Routes by method and path; two claims to the same place collide at start."""

    def __init__(self, routes: Sequence[Route]) -> None:
        seen: dict[tuple[str, str], Route] = {}
        for route in routes:
            place = (route.method, _PARAMETER.sub("{}", route.path).lower())
            if place in seen:
                raise ValueError(f"{route.method} {route.path} is declared twice")
            seen[place] = route
            names = [name for _, name in _PARAMETER.findall(route.path)]
            if len(set(names)) < len(names):
                raise ValueError(f"{route.method} {route.path} has a parameter twice")
        self.routes = tuple(routes)
        self._rows: dict[str, list[_Row]] = {}
        # literal segments are tried before parameters, so `/secrets/restore` wins over `/secrets/{name}`
        for route in sorted(routes, key=lambda r: ["{" in part for part in r.path.split("/")]):
            self._rows.setdefault(route.method, []).append(_Row(route))

    def match(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        for row in self._rows.get(method, ()):
            if found := row.match(path):
                return row.route, found.groupdict()
        return None

    def methods(self, path: str) -> frozenset[str]:
        """What the path allows: tells 404 from 405."""
        return frozenset(method for method, rows in self._rows.items() if any(row.match(path) for row in rows))


class _Row:
    """A route whose pattern is compiled when it is first needed: that takes 0.2 ms, and there are hundreds."""

    __slots__ = ("_pattern", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self._pattern: re.Pattern[str] | None = None

    def match(self, path: str) -> re.Match[str] | None:
        if self._pattern is None:
            self._pattern = self.route.pattern()
        return self._pattern.fullmatch(path)


# --- deciding --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Allowed:
    """Yes, and by what: the assignment (or policy) that granted it."""

    by: str
    role: str = ""
    scope: str = ""

    def __bool__(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Denied:
    """No, and why, in a sentence. `deny_assignment` when something forbade it rather than nothing allowing it."""

    reason: str
    deny_assignment: str = ""
    looked_at: tuple[str, ...] = ()
    """The assignments that were considered, as sentences."""

    def __bool__(self) -> bool:
        return False


Decision = Allowed | Denied

Authorizer = Callable[[Caller, Action, ResourceId, Target], Decision | None]
"""A service that decides for itself (access policies, ACLs). None: not mine, ask the role assignments."""

# --- data planes -----------------------------------------------------------------------------------------------


class HttpDialect(Protocol):
    """How one service writes its refusals."""

    def problem(self, problem: Problem, request: Request, target: Target | None) -> Reply: ...

    def challenge(self, failure: Unauthenticated, request: Request, target: Target) -> Reply:
        """The 401 with its `WWW-Authenticate`."""
        ...


@dataclass(frozen=True, kw_only=True)
class HttpPlane:
    """A door that speaks HTTP. `service` is the name that `clouds.hostnames` gives its hosts."""

    service: str
    routes: tuple[Route, ...]
    dialect: HttpDialect
    audiences: Callable[[Target], frozenset[str]]
    locate: Callable[[Cloud, str], Awaitable[Target]]
    """Account name → target. Raises `NotFound`."""
    api_version: Callable[[Request], str]
    """The request's api-version, checked. Raises `InvalidInput`."""
    authorizer: Authorizer | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """What a host name means: the service, and the account where the name carries one."""

    cloud: Cloud
    service: str
    account: str = ""


class Plane(Protocol):
    """Whatever answers for one service name: a data plane, Resource Manager, the token service."""

    async def __call__(self, request: Request, address: Address) -> Reply: ...


# --- Resource Manager types ------------------------------------------------------------------------------------


class Level(StrEnum):
    RESOURCE_GROUP = "resource group"
    SUBSCRIPTION = "subscription"
    TENANT = "tenant"
    EXTENSION = "extension"
    ANYWHERE = "subscription, or anything in it"


class OnPut(Enum):
    """What a PUT without an `identity` member means for what is there (clients rely on either)."""

    KEEP = "keep"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class IdentitySupport:
    """Which identity types a resource type takes, and how the joined type is spelled in replies."""

    system: bool = False
    user: bool = False
    joined: str = "SystemAssigned, UserAssigned"
    absent_on_put: OnPut = OnPut.KEEP
    array_versions: frozenset[str] = frozenset()
    """api-versions whose user-assigned identities are the array `identityIds`, not a map."""


NO_IDENTITY = IdentitySupport()


@dataclass(frozen=True, slots=True)
class Change:
    """What a type's operations are given while a PUT, PATCH, DELETE or POST is decided.

    `transaction` is a `store.port.Transaction`. `body` is the request's JSON object, already merged by the engine
    for PATCH (RFC 7396 on `properties` and tags) so that `body["properties"]` is what the resource is to become.
    """

    transaction: Any
    id: ResourceId
    method: str
    before: Any
    """The stored `arm.model.Resource`, or None when it is to be created."""
    body: Mapping[str, Any]
    caller: Caller
    cloud: Cloud
    tenant_id: str
    api_version: str
    now: float
    query: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Query parameters by lower-case name, `api-version` included: POST actions page and filter by them."""
    url: str = ""
    """What the client addressed, without the query."""
    identities: Any = None
    """On PUT and PATCH the `identities.reconcile.Reconciled` that it is to have."""


class ResourceOperations(Protocol):
    """What one type adds to the engine. Each raises a `Problem` to refuse."""

    async def accept(self, change: Change) -> Mapping[str, Any]:
        """Checks the body and gives the `properties` to store."""
        ...

    async def remove(self, change: Change) -> None:
        """What goes with it."""
        ...

    def present(self, resource: Any, api_version: str, expand: str) -> Mapping[str, Any]:
        """The `properties` to show for that api-version."""
        ...


class Kept:
    """The operations of a type that is stored whole and does nothing."""

    async def accept(self, change: Change) -> Mapping[str, Any]:
        properties = change.body.get("properties")
        return properties if isinstance(properties, Mapping) else {}

    async def remove(self, change: Change) -> None:
        return None

    def present(self, resource: Any, api_version: str, expand: str) -> Mapping[str, Any]:
        return dict(resource.properties)


@dataclass(frozen=True, slots=True)
class Work:
    """What a long-running operation goes on with once its request is committed, outside any transaction.

    `do` gets the stored resource and the request's body; what it gives is what `Location` answers in the end (None:
    the resource), and a `Problem` fails the operation. One that is still at it after `seconds` has failed.
    """

    do: Callable[[Any, Mapping[str, Any]], Awaitable[Any]]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PostAction:
    """`POST {resource}/{name}`: the action's full name and what it does. `operation` gets the stored resource."""

    action: Action
    operation: Callable[[Change], Awaitable[Reply]]
    long_running: bool = False
    work: Work | None = None
    """What the operation waits for, where that is more than time."""


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    """A type that Resource Manager serves: PUT, PATCH, GET, HEAD, DELETE and lists come from the engine."""

    name: str
    """`Microsoft.Compute/virtualMachines`."""
    api_versions: tuple[str, ...]
    operations: ResourceOperations = field(default_factory=Kept)
    identity: IdentitySupport = NO_IDENTITY
    level: Level = Level.RESOURCE_GROUP
    tracked: bool = True
    """Has `location` (required) and `tags`."""
    long_running: frozenset[str] = frozenset()
    """Methods that answer before they are done: subset of PUT, PATCH, DELETE."""
    work: Work | None = None
    """What its long-running PUT and PATCH wait for, where that is more than time."""
    actions: Mapping[str, PostAction] = field(default_factory=dict)
    provisioning_state: bool = True
    """Whether `properties.provisioningState` is shown."""
    name_pattern: str = r"[^/]{1,260}"
    any_version: bool = False
    """Whether any well-formed api-version is taken; `api_versions` are then those that lists of providers name."""
    location_kept: bool = False
    """For types that are not tracked: a location that is given is kept and shown, unchecked."""
    created: int = 201
    """The status of a PUT that creates; one that changes answers 200."""
    deleted: int = 200
    """The status of a DELETE that is done at once."""
    deleted_shown: bool = False
    """Whether such a DELETE answers with what is gone."""
    updating: str = "Updating"
    """What `properties.provisioningState` is called while a change goes on."""
    bodiless: frozenset[str] = frozenset()
    """Methods that may come without a body: subset of PUT, PATCH."""
    ignored: frozenset[str] = frozenset()
    """Of the members that resources share (`sku`, `kind`, `plan`, `zones`), those that it has not: taken and
    dropped."""
    head: int = 204
    """The status of a HEAD of what is there. 200: with its ETag, as API Management's `GetEntityTag` operations."""
    any_etag_creates: bool = False
    """Whether a PUT with `If-Match: *` also makes what is not there, as API Management's do."""
    finish: Callable[[Any, dict[str, Any], str], dict[str, Any]] | None = None
    """The last word on the document of a reply: stored resource, document so far, api-version → document. For
    top-level members that `operations` do not reach (a full `sku`, `kind`)."""
    in_lists: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    """The short form that lists show: document of a reply → row."""
    note: str = ""
    """For the coverage page: what is simplified."""
    movable: bool = False
    """Whether its resources can be moved to another group: nothing but they and their children goes by their id."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A resource provider namespace: its types, and routes that are no resource (checks, lists, extensions)."""

    namespace: str
    types: tuple[ResourceType, ...] = ()
    routes: tuple[Route, ...] = ()
    registered: bool = False
    """Whether a new subscription has it registered from the start."""
