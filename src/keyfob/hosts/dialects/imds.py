"""The instance metadata dialect of tokens: `GET /metadata/identity/oauth2/token`.

Every value in a success body is a string (imds.json 2018-02-01), and `expires_on` follows `expires_in`: MSAL.NET
writes both into one field and the last one wins. Every error body is JSON, since MSAL for Python and JavaScript
parse before they look at the status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from keyfob.errors import InvalidInput, MethodNotAllowed, NotFound, Problem, TooManyRequests, Unauthenticated
from keyfob.hosts.dialects.dialect import (
    SELECTORS,
    Ask,
    Dialect,
    Opening,
    Place,
    TokenQuery,
    refuse_doubled,
    select,
)
from keyfob.hosts.token_endpoint import HostToken
from keyfob.identities.choose import ConflictingSelectors, IdentityNotFound, MultipleIdentities
from keyfob.identities.model import Selector
from keyfob.wire.http import JSON, Fields, Reply, Request

TOKEN_PATH = "/metadata/identity/oauth2/token"
INFO_PATH = "/metadata/identity/info"
SERVER = "IMDS/150.870.65.512"

# fmt: off
VERSIONS = (
    "2017-03-01", "2017-04-02", "2017-08-01", "2017-10-01", "2017-12-01", "2018-02-01", "2018-04-02", "2018-10-01",
    "2019-02-01", "2019-03-11", "2019-04-30", "2019-06-01", "2019-06-04", "2019-08-01", "2019-08-15", "2019-11-01",
    "2020-06-01", "2020-07-15", "2020-09-01", "2020-10-01", "2020-12-01", "2021-01-01", "2021-02-01", "2021-03-01",
    "2021-05-01", "2021-08-01", "2021-10-01", "2021-11-01", "2021-11-15", "2021-12-13", "2023-07-01", "2023-11-15",
    "2024-03-15", "2024-07-17", "2025-04-07",
)
# fmt: on
"""As `/metadata/versions` lists them (azure-docs, instance-metadata-service)."""

FIRST_WITH_TOKENS = "2018-02-01"

_encode = msgspec.json.Encoder().encode


def check_source(headers: Fields) -> None:
    """The two header rules that keep a web page or a forwarding proxy from asking. Raises `InvalidInput`."""
    if "x-forwarded-for" in headers:
        raise InvalidInput("Requests that were forwarded are not answered: X-Forwarded-For is present.")
    if (headers.get("metadata") or "").strip().lower() != "true":
        raise InvalidInput("Required metadata header not specified", code="bad_request_102")


def check_version(query: Fields, *, first: str = VERSIONS[0]) -> str:
    """The request's api-version, one of the published ones from `first` on. Raises `InvalidInput`."""
    version = query.get("api-version") or ""
    if version not in VERSIONS or version < first:
        raise InvalidInput(
            "Bad request. api-version is invalid or was not specified in the request. "
            "For more information refer to aka.ms/azureimds",
            code="api-version",
            info={"newest-versions": VERSIONS[:-4:-1]},
        )
    return version


def parse_query(query: Fields) -> TokenQuery:
    """The query of a token request → the value. Raises `InvalidInput`, `ConflictingSelectors`."""
    refuse_doubled(query)
    check_version(query, first=FIRST_WITH_TOKENS)
    return parse_fields(query)


def parse_fields(query: Fields) -> TokenQuery:
    """What is asked, whatever the api-version. Raises `InvalidInput`, `ConflictingSelectors`."""
    resource = query.get("resource") or ""
    if not resource:
        raise InvalidInput("Required query variable 'resource' is missing", code="invalid_request")
    bypass = query.get("bypass_cache")
    if bypass is not None and bypass.lower() != "true":  # an enum with the one value `true` (imds.json)
        raise InvalidInput("The value of 'bypass_cache' can only be 'true'", code="invalid_request")
    asked = select(query, SELECTORS)
    if len(asked) > 1:
        raise ConflictingSelectors
    if not asked:
        return TokenQuery(resource, Selector(), None, bypass is not None)
    name, value, kind = asked[0]
    return TokenQuery(resource, Selector(**{kind: value}), (name, value), bypass is not None)


def parse(request: Request) -> TokenQuery:
    """A request that reached the token path → what it asks. Raises `MethodNotAllowed`, `InvalidInput`."""
    if request.method != "GET":
        raise MethodNotAllowed("Only GET is allowed.")
    check_source(request.headers)
    return parse_query(request.query)


def halves(token: HostToken, query: TokenQuery) -> tuple[bytes, bytes, bytes]:
    """The body cut where the seconds left go, twice: `a + seconds + b + seconds + c`."""
    seconds = "\0"
    body: dict[str, str] = {
        "access_token": token.token,
        "client_id": token.client_id,
        "expires_in": seconds,
        "expires_on": str(token.expires_on),
        "ext_expires_in": seconds,
        "not_before": str(token.not_before),
        "resource": query.resource,
        "token_type": "Bearer",
    }
    if query.asked_by is not None and query.asked_by[0] != "client_id":
        body[query.asked_by[0]] = query.asked_by[1]
    # the value "\0" is written "\u0000", and a query cannot hide one: it would be found at another place
    before, rest = _encode(body).split(b'"expires_in":"\\u0000"', 1)
    middle, after = rest.split(b'"ext_expires_in":"\\u0000"', 1)
    return before + b'"expires_in":"', b'"' + middle + b'"ext_expires_in":"', b'"' + after


def encode(token: HostToken, query: TokenQuery, now: float) -> Reply:
    """The success reply, with the seconds that are left at `now`."""
    a, b, c = halves(token, query)
    left = b"%d" % token.seconds_left(now)
    return Reply(200, a + left + b + left + c, (("Server", SERVER),), JSON)


def encode_problem(problem: Problem) -> Reply:
    """What the token path says when there is no token."""
    status, body = _told(problem)
    return Reply.json(body, status, (("Server", SERVER),))


def _told(problem: Problem) -> tuple[int, Mapping[str, Any]]:
    match problem:
        case IdentityNotFound():
            return _oauth(400, "invalid_request", "Identity not found")
        case MultipleIdentities():
            return _oauth(
                400,
                "invalid_request",
                "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity "
                "in the token request",
            )
        case ConflictingSelectors():
            return _oauth(400, "invalid_request", problem.message)
        case InvalidInput(code="api-version"):
            return 400, {"error": problem.message, "newest-versions": problem.info["newest-versions"]}
        case InvalidInput():
            code = problem.code if problem.code.islower() else "invalid_request"
            return _oauth(400, code, problem.message)
        case NotFound(code="NotFoundHere"):
            return _oauth(404, "not_found", problem.message)
        case NotFound() | Unauthenticated():
            return _oauth(401, "unknown_source", f"Unknown Source {problem.target or ''}".rstrip())
        case MethodNotAllowed():
            return _oauth(405, "method_not_allowed", problem.message)
        case TooManyRequests():
            return _oauth(429, "too_many_requests", "Too many requests")
    # a 403 whose text says "unreachable" makes azure-identity believe there is no managed identity: never a 403 here
    return _oauth(500, "unknown", "Failed to retrieve token from the Active directory.")


def _oauth(status: int, error: str, description: str) -> tuple[int, Mapping[str, Any]]:
    return status, {"error": error, "error_description": description}


def variables(place: Place) -> Mapping[str, str]:
    """Only clients that honour the variable find the endpoint this way (azure-identity for Python and JavaScript, MSAL
    for Python, Java and .NET, az); Go's azidentity, terraform and plain `curl` need 169.254.169.254, so the sandbox."""
    return {} if place.real else {"AZURE_POD_IDENTITY_AUTHORITY_HOST": place.url}


def ask(url: str, secret: str, resource: str, client_id: str) -> Ask:
    query = {"api-version": FIRST_WITH_TOKENS, "resource": resource} | ({"client_id": client_id} if client_id else {})
    return Ask(f"{url}{TOKEN_PATH}?{urlencode(query)}", {"Metadata": "true"})


def _parse(request: Request, opening: Opening) -> TokenQuery:
    return parse(request)


def _encode_for(token: HostToken, query: TokenQuery, opening: Opening, now: float) -> Reply:
    return encode(token, query, now)


def _refuse(problem: Problem, correlation: str) -> Reply:
    return encode_problem(problem)


IMDS = Dialect(
    name="imds",
    title="instance metadata",
    socket="imds",
    path=TOKEN_PATH,
    parse=_parse,
    encode=_encode_for,
    refuse=_refuse,
    variables=variables,
    ask=ask,
)
