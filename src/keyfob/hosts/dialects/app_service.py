"""App Service and Functions, api-version 2019-08-01: `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.

Either header name is taken on either version: terraform reads `MSI_SECRET`, and sends it as `x-ms-identity` with the
newer version. What names no identity means the system-assigned one, never a lone user-assigned one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from keyfob.errors import InvalidInput, MethodNotAllowed, NotFound, Problem, Unauthenticated
from keyfob.hosts.dialects.dialect import Ask, Dialect, Opening, Place, TokenQuery, refuse_doubled, select
from keyfob.hosts.token_endpoint import HostToken
from keyfob.identities.choose import ConflictingSelectors, IdentityNotFound, MultipleIdentities
from keyfob.identities.model import Selector
from keyfob.wire.http import Fields, Reply, Request

PATH = "/msi/token"
VERSION = "2019-08-01"
SELECTORS = {
    "client_id": "client_id",
    "clientid": "client_id",
    "principal_id": "object_id",
    "object_id": "object_id",
    "mi_res_id": "resource_id",
    "msi_res_id": "resource_id",
}
_HEADERS = ("X-IDENTITY-HEADER", "Secret", "x-ms-identity")


def check(request: Request, opening: Opening, version: str) -> Fields:
    """What every version asks for; gives the query. Raises `MethodNotAllowed`, `Unauthenticated`, `InvalidInput`."""
    if request.method != "GET":
        raise MethodNotAllowed("Only GET is allowed.")
    opening.secret.check(next((request.headers[name] for name in _HEADERS if name in request.headers), None))
    query = request.query
    refuse_doubled(query)
    if query.get("api-version") != version:
        raise InvalidInput(
            f"The api-version '{(query.get('api-version') or '')[:40]}' is not supported. "
            "Supported versions are '2017-09-01' and '2019-08-01'."
        )
    if not query.get("resource"):
        raise InvalidInput("The parameter 'resource' is missing.")
    return query


def parse(request: Request, opening: Opening) -> TokenQuery:
    query = check(request, opening, VERSION)
    asked = select(query, SELECTORS)
    if len({kind for _, _, kind in asked}) > 1 or len({value for _, value, _ in asked}) > 1:
        raise ConflictingSelectors
    selector = Selector(**{asked[0][2]: asked[0][1]}) if asked else Selector()
    return TokenQuery(query["resource"], selector, refused=(query.get("token_sha256_to_refresh") or "").lower())


def encode(token: HostToken, query: TokenQuery, opening: Opening, now: float) -> Reply:
    return Reply.json(
        {
            "access_token": token.token,
            "client_id": token.client_id.upper(),  # as the page's sample and captured answers have it
            "expires_on": str(token.expires_on),
            "not_before": str(token.not_before),
            "resource": query.resource,
            "token_type": "Bearer",
        }
    )


def refuse(problem: Problem, correlation: str) -> Reply:
    status, message = told(
        problem, "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."
    )
    return Reply.json({"statusCode": status, "message": message, "correlationId": correlation}, status)


def told(problem: Problem, no_identity: str) -> tuple[int, str]:
    """Status and sentence of a refusal; how a version spells its members is its own affair."""
    match problem:
        case IdentityNotFound() | MultipleIdentities():
            return 400, no_identity
        case ConflictingSelectors():
            return 400, "Only one of client_id, principal_id and mi_res_id may be given."
        case InvalidInput(code="invalid_resource"):
            return 500, problem.message  # AADSTS…, as it came from the directory
        case InvalidInput():
            return 400, problem.message
        case Unauthenticated():
            return 401, "The identity header is missing or is not that of this site."
        case NotFound(code="NotFoundHere"):
            return 404, problem.message
        case NotFound():
            return 400, no_identity
        case MethodNotAllowed():
            return 405, problem.message
    return 500, "An unexpected error occurred while fetching the token."


def variables(place: Place) -> Mapping[str, str]:
    return {"IDENTITY_ENDPOINT": place.url + PATH, "IDENTITY_HEADER": place.secret}


def ask(url: str, secret: str, resource: str, client_id: str) -> Ask:
    query: dict[str, Any] = {"api-version": VERSION, "resource": resource}
    if client_id:
        query["client_id"] = client_id
    return Ask(f"{url}{PATH}?{urlencode(query)}", {"X-IDENTITY-HEADER": secret})


APP_SERVICE_2019 = Dialect(
    name="app-service-2019",
    title="App Service 2019-08-01",
    socket="platform",
    path=PATH,
    parse=parse,
    encode=encode,
    refuse=refuse,
    variables=variables,
    ask=ask,
    version=VERSION,
    lone_user_identity=False,
)
