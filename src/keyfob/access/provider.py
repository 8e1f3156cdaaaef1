"""The Microsoft.Authorization namespace as routes of Resource Manager, at every scope.

Writing and reading single objects is authorised at the object's own id, lists at the scope they are asked of: those
are the scopes that AuthorizationFailed names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keyfob.access.authorization import bodies, shapes
from keyfob.access.authorization.assigning import Assigning
from keyfob.access.authorization.catalog import provider_operations, providers, read_operations
from keyfob.access.authorization.defining import DELETE, READ, WRITE, Defining
from keyfob.access.authorization.filters import ASSIGNMENTS, DEFINITIONS, DENIALS, parse_filter
from keyfob.access.guard import Guard
from keyfob.declare import Action, Call, Caller, Provider, Route, SignedIn, Target
from keyfob.errors import NotFound, Problem
from keyfob.resource_id import ROOT, ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply

NAMESPACE = "Microsoft.Authorization"
_ASSIGNMENTS = f"/{{+scope}}/providers/{NAMESPACE}/roleAssignments"
_DEFINITIONS = f"/{{+scope}}/providers/{NAMESPACE}/roleDefinitions"
_DENIALS = f"/{{+scope}}/providers/{NAMESPACE}/denyAssignments"
_PERMISSIONS = f"/{{+scope}}/providers/{NAMESPACE}/permissions"
_OPERATIONS = f"/providers/{NAMESPACE}/providerOperations"

ASSIGNMENT_VERSIONS = (
    "2022-04-01",
    "2022-01-01-preview",
    "2021-04-01-preview",
    "2020-10-01-preview",
    "2020-08-01-preview",
    "2020-04-01-preview",
    "2020-03-01-preview",
    "2019-04-01-preview",
    "2018-12-01-preview",
    "2018-09-01-preview",
    "2018-07-01",
    "2018-01-01-preview",
    "2017-10-01-preview",
    "2017-09-01",
    "2017-05-01",
    "2016-07-01",
    "2015-07-01",
    "2015-06-01",
    "2015-05-01-preview",
)
DEFINITION_VERSIONS = (
    "2023-07-01-preview",
    "2022-05-01-preview",
    "2022-04-01",
    "2018-07-01",
    "2018-01-01-preview",
    "2017-05-01",
    "2016-07-01",
    "2015-07-01",
    "2015-06-01",
)
DENIAL_VERSIONS = ("2022-04-01", "2019-03-01-preview", "2018-07-01-preview", "2018-07-01")
PERMISSION_VERSIONS = (
    "2022-05-01-preview",
    "2022-04-01",
    "2018-07-01",
    "2018-01-01-preview",
    "2016-07-01",
    "2015-07-01",
)
CATALOG_VERSIONS = ("2022-04-01", "2018-07-01", "2018-01-01-preview", "2015-07-01")


def authorization_provider(*, store: Store, guard: Guard) -> Provider:
    """`declare.Provider` for `Microsoft.Authorization`. Registered from the start, as on Azure."""
    return Provider(namespace=NAMESPACE, routes=_Routes(store, guard).table(), registered=True)


class _Routes:
    def __init__(self, store: Store, guard: Guard) -> None:
        self._assigning = Assigning(store, guard)
        self._defining = Defining(store, guard)

    def table(self) -> tuple[Route, ...]:
        own = "shows the caller's own permissions"
        known = "built-in roles are public knowledge; custom ones are shown to who may read them where they apply"
        one, check, everything = f"{_ASSIGNMENTS}/{{name}}", f"{_ASSIGNMENTS}/{{name}}/validate", _ASSIGNMENTS
        role, deny = f"{_DEFINITIONS}/{{name}}", f"{_DENIALS}/{{name}}"
        top = _DEFINITIONS.replace("/{+scope}", "")
        a, d, n = ASSIGNMENT_VERSIONS, DEFINITION_VERSIONS, DENIAL_VERSIONS
        catalog = SignedIn("what providers can do is public knowledge")
        return (
            Route("PUT", one, _may("roleAssignments/write"), self.assign, _object("roleAssignments"), a),
            Route("GET", one, _may("roleAssignments/read"), self.assignment, _object("roleAssignments"), a),
            Route("DELETE", one, _may("roleAssignments/delete"), self.unassign, _object("roleAssignments"), a),
            Route("GET", everything, _may("roleAssignments/read"), self.assignments, _place, a),
            Route("POST", check, _may("roleAssignments/write"), self.validate, _object("roleAssignments"), a[:4]),
            Route("PUT", role, WRITE, self.define, _object("roleDefinitions"), d),
            Route("GET", role, READ, self.definition, _object("roleDefinitions"), d),
            Route("DELETE", role, DELETE, self.undefine, _object("roleDefinitions"), d),
            Route("GET", _DEFINITIONS, READ, self.definitions, _place, d),
            Route("GET", top, SignedIn(known), self.known_definitions, _place, d),
            Route("GET", f"{top}/{{name}}", SignedIn(known), self.known_definition, _object("roleDefinitions"), d),
            Route("GET", _DENIALS, _may("denyAssignments/read"), self.denials, _place, n),
            Route("GET", deny, _may("denyAssignments/read"), self.denial, _object("denyAssignments"), n),
            Route("GET", _PERMISSIONS, SignedIn(own), self.permissions, _place, PERMISSION_VERSIONS),
            Route("GET", _OPERATIONS, catalog, self.catalog, _place, CATALOG_VERSIONS),
            Route("GET", f"{_OPERATIONS}/{{namespace}}", catalog, self.operations, _place, CATALOG_VERSIONS),
        )

    # --- role assignments

    async def assign(self, call: Call) -> Reply:
        caller, scope, name = _caller(call), _scope(call), call.parameters["name"]
        asked = bodies.parse_assignment(call.request.body, name=name, scope=scope, api_version=call.api_version)
        made = await self._assigning.create(
            asked, tenant_id=caller.tenant_id, scope=scope, name=name, by=caller.principal_id, now=call.now
        )
        # until October 2020 the documents know only 201
        status = 201 if made.created or call.api_version < "2020-10-01" else 200
        return Reply.json(shapes.role_assignment(made.assignment, call.api_version), status)

    async def validate(self, call: Call) -> Reply:
        scope, name = _scope(call), call.parameters["name"]
        try:
            asked = bodies.parse_assignment(call.request.body, name=name, scope=scope, api_version=call.api_version)
            await self._assigning.validate(asked, tenant_id=_caller(call).tenant_id, scope=scope, name=name)
        except Problem as problem:
            return Reply.json({"isValid": False, "errorInfo": {"code": problem.code, "message": problem.message}})
        return Reply.json({"isValid": True})

    async def assignment(self, call: Call) -> Reply:
        found = await self._assigning.get(_caller(call).tenant_id, _scope(call), call.parameters["name"])
        return Reply.json(shapes.role_assignment(found, call.api_version))

    async def unassign(self, call: Call) -> Reply:
        gone = await self._assigning.delete(_caller(call).tenant_id, _scope(call), call.parameters["name"])
        return Reply.json(shapes.role_assignment(gone, call.api_version)) if gone else Reply(204)

    async def assignments(self, call: Call) -> Reply:
        wanted = parse_filter(call.request.query.get("$filter"), ASSIGNMENTS)
        scope = _scope(call)
        found = await self._assigning.listed(_caller(call).tenant_id, scope, wanted)
        return Reply.json({"value": [shapes.role_assignment(a, call.api_version, scope) for a in found]})

    # --- role definitions

    async def define(self, call: Call) -> Reply:
        asked = bodies.parse_definition(call.request.body)
        role = await self._defining.put(asked, caller=_caller(call), name=call.parameters["name"], now=call.now)
        return Reply.json(shapes.role_definition(role, _scope(call), call.api_version), 201)

    async def definition(self, call: Call) -> Reply:
        role = await self._defining.get(_caller(call).tenant_id, call.parameters["name"])
        return Reply.json(shapes.role_definition(role, _scope(call), call.api_version))

    async def undefine(self, call: Call) -> Reply:
        role = await self._defining.delete(caller=_caller(call), name=call.parameters["name"])
        return Reply.json(shapes.role_definition(role, _scope(call), call.api_version)) if role else Reply(204)

    async def definitions(self, call: Call) -> Reply:
        wanted = parse_filter(call.request.query.get("$filter"), DEFINITIONS)
        scope = _scope(call)
        found = await self._defining.listed(_caller(call).tenant_id, scope, wanted)
        return Reply.json({"value": [shapes.role_definition(role, scope, call.api_version) for role in found]})

    async def known_definition(self, call: Call) -> Reply:
        role = await self._defining.known(_caller(call), call.parameters["name"])
        return Reply.json(shapes.role_definition(role, ROOT, call.api_version))

    async def known_definitions(self, call: Call) -> Reply:
        wanted = parse_filter(call.request.query.get("$filter"), DEFINITIONS)
        caller = _caller(call)
        found = [
            shapes.role_definition(role, ROOT, call.api_version)
            for role in await self._defining.listed(caller.tenant_id, ROOT, wanted)
            if await self._defining.readable(caller, role)
        ]
        return Reply.json({"value": found})

    # --- deny assignments, permissions, operations

    async def denials(self, call: Call) -> Reply:
        wanted = parse_filter(call.request.query.get("$filter"), DENIALS)
        found = await self._assigning.listed_denials(_caller(call).tenant_id, _scope(call), wanted)
        return Reply.json({"value": [shapes.deny_assignment(d, call.api_version) for d in found]})

    async def denial(self, call: Call) -> Reply:
        found = await self._assigning.denial(_caller(call).tenant_id, _scope(call), call.parameters["name"])
        return Reply.json(shapes.deny_assignment(found, call.api_version))

    async def permissions(self, call: Call) -> Reply:
        found = await self._defining.permissions(_caller(call), _scope(call))
        return Reply.json({"value": [shapes.permission(p, call.api_version) for p in found]})

    async def catalog(self, call: Call) -> Reply:
        types = _expands(call)
        found = providers(read_operations())
        return Reply.json({"value": [provider_operations(name, one, types=types) for name, one in found.items()]})

    async def operations(self, call: Call) -> Reply:
        wanted = call.parameters["namespace"].lower()
        for name, found in providers(read_operations()).items():
            if name.lower() == wanted:
                return Reply.json(provider_operations(name, found, types=_expands(call)))
        raise NotFound(f"The provider '{call.parameters['namespace']}' is not found.", code="ProviderNotFound")


def _may(verb: str) -> Action:
    return Action(f"{NAMESPACE}/{verb}")


def _place(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    return ResourceId.parse(parameters.get("scope") or "/")


def _object(kind: str) -> Callable[[Mapping[str, str], Target | None], ResourceId]:
    def at(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
        full = _place(parameters, target).provider(f"{NAMESPACE}/{kind}", parameters["name"])
        return ResourceId.parse(str(full))

    return at


def _scope(call: Call) -> ResourceId:
    return _place(call.parameters, None)


def _caller(call: Call) -> Caller:
    if call.caller is None:
        raise AssertionError("no route of this namespace is public")
    return call.caller


def _expands(call: Call) -> bool:
    return "resourcetypes" in (call.request.query.get("$expand") or "").lower()
