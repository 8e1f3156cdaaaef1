"""Service Fabric: https on port 2377, whose certificate clients know by its SHA-1, and a secret header.

The error codes and their texts are those of the page "How to leverage a Service Fabric application's managed identity
to access Azure services". An identity cannot be chosen: the manifest does, and here the host has what it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from keyfob.errors import Fault, InvalidInput, MethodNotAllowed, NotFound, Problem, TooManyRequests, Unauthenticated
from keyfob.hosts.dialects.dialect import SELECTORS, Ask, Dialect, Opening, Place, TokenQuery, refuse_doubled, select
from keyfob.hosts.token_endpoint import HostToken
from keyfob.identities.choose import ConflictingSelectors, IdentityNotFound, MultipleIdentities
from keyfob.identities.model import Selector
from keyfob.wire.http import Reply, Request

PATH = "/metadata/identity/oauth2/token"
VERSION = "2019-07-01-preview"


def parse(request: Request, opening: Opening) -> TokenQuery:
    """Raises `MethodNotAllowed`, `Unauthenticated`, `InvalidInput`, `ConflictingSelectors`."""
    if request.method != "GET":
        raise MethodNotAllowed("Only GET is allowed.")
    opening.secret.check(request.headers.get("Secret"))
    query = request.query
    refuse_doubled(query)
    version = query.get("api-version") or ""
    if version.lower() != VERSION:
        raise InvalidInput(
            f"The api-version '{version[:40]}' is not supported. Supported version is '{VERSION}'.",
            code="InvalidApiVersion",
        )
    if not query.get("resource"):
        raise InvalidInput("The parameter 'resource' should not be null or empty string.", code="ArgumentNullOrEmpty")
    asked = select(query, SELECTORS)
    if len(asked) > 1:
        raise ConflictingSelectors
    selector = Selector(**{asked[0][2]: asked[0][1]}) if asked else Selector()
    return TokenQuery(query["resource"], selector, refused=(query.get("token_sha256_to_refresh") or "").lower())


def encode(token: HostToken, query: TokenQuery, opening: Opening, now: float) -> Reply:
    return Reply.json(
        {
            "token_type": "Bearer",
            "access_token": token.token,
            "expires_on": token.expires_on,  # a number: MSAL for Python subtracts the time from it
            "resource": query.resource,
        }
    )


def refuse(problem: Problem, correlation: str) -> Reply:
    status, code, message = _told(problem)
    return Reply.json({"error": {"correlationId": correlation, "code": code, "message": message}}, status)


def _told(problem: Problem) -> tuple[int, str, str]:
    nobody = (404, "ManagedIdentityNotFound", "Managed identity not found for the specified application host.")
    match problem:
        case Unauthenticated(fault=Fault.MISSING):
            return 400, "SecretHeaderNotFound", "Secret is not found in the request headers."
        case Unauthenticated() | IdentityNotFound() | MultipleIdentities():
            return nobody
        case ConflictingSelectors():
            return 400, "ArgumentInvalid", "Only one identity may be named."
        case InvalidInput(code="invalid_resource"):
            return 500, "InternalServerError", "An error occurred."
        case InvalidInput():
            return 400, problem.code if problem.code[0].isupper() else "ArgumentInvalid", problem.message
        case NotFound(code="NotFoundHere"):
            return 404, "NotFound", problem.message
        case NotFound():
            return nobody
        case MethodNotAllowed():
            return 405, "MethodNotAllowed", problem.message
        case TooManyRequests():
            return 429, "TooManyRequests", "Too many requests"
    return 500, "InternalServerError", "An error occurred."


def variables(place: Place) -> Mapping[str, str]:
    return {
        "IDENTITY_ENDPOINT": place.url + PATH,
        "IDENTITY_HEADER": place.secret,
        "IDENTITY_SERVER_THUMBPRINT": place.thumbprint,
        "IDENTITY_API_VERSION": VERSION,
    }


def ask(url: str, secret: str, resource: str, client_id: str) -> Ask:
    query = {"api-version": VERSION, "resource": resource} | ({"client_id": client_id} if client_id else {})
    return Ask(f"{url}{PATH}?{urlencode(query)}", {"Secret": secret})


SERVICE_FABRIC = Dialect(
    name="service-fabric",
    title="Service Fabric",
    socket="fabric",
    path=PATH,
    parse=parse,
    encode=encode,
    refuse=refuse,
    variables=variables,
    ask=ask,
    tls=True,
)
