"""Cloud Shell: a POST with a form, answered with a token of whoever opened the shell, not of a host.

MSAL for Java (1.17) asks by GET, with the resource in the query.

It has no identities to choose from, so naming one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from keyfob.errors import InvalidInput, MethodNotAllowed, NotFound, Problem, TooManyRequests
from keyfob.hosts.dialects import imds, vm_extension
from keyfob.hosts.dialects.dialect import SELECTORS, Ask, Dialect, Opening, Place, TokenQuery, refuse_doubled, select
from keyfob.hosts.token_endpoint import HostToken
from keyfob.identities.model import Selector
from keyfob.wire.http import Reply, Request

PATH = vm_extension.PATH


def parse(request: Request, opening: Opening) -> TokenQuery:
    """Raises `MethodNotAllowed`, `InvalidInput`."""
    if request.method not in {"GET", "POST"}:
        raise MethodNotAllowed("Only GET and POST are allowed.")
    imds.check_source(request.headers)
    fields = vm_extension.read_form(request) if request.method == "POST" else request.query
    refuse_doubled(fields)
    if asked := select(fields, SELECTORS):
        raise InvalidInput(f"Cloud Shell has no managed identities: '{asked[0][0]}' is not supported.")
    if not fields.get("resource"):
        raise InvalidInput("The parameter 'resource' is missing.")
    return TokenQuery(fields["resource"], Selector())


def encode(token: HostToken, query: TokenQuery, opening: Opening, now: float) -> Reply:
    left = str(token.seconds_left(now))
    return Reply.json(
        {
            "access_token": token.token,
            "refresh_token": "",
            "expires_in": left,
            "expires_on": str(token.expires_on),
            "not_before": str(token.not_before),
            "resource": query.resource,
            "token_type": "Bearer",
        }
    )


def refuse(problem: Problem, correlation: str) -> Reply:
    status, code, message = _told(problem)
    return Reply.json({"error": {"code": code, "message": message}}, status)


def _told(problem: Problem) -> tuple[int, str, str]:
    match problem:
        case InvalidInput():
            return 400, problem.code if problem.code != "BadRequest" else "invalid_request", problem.message
        case NotFound():
            return 404, "not_found", problem.message
        case MethodNotAllowed():
            return 405, "method_not_allowed", problem.message
        case TooManyRequests():
            return 429, "too_many_requests", "Too many requests"
    return 500, "unknown", "Failed to retrieve token from the Active directory."


def variables(place: Place) -> Mapping[str, str]:
    return {"MSI_ENDPOINT": place.url + PATH}


def ask(url: str, secret: str, resource: str, client_id: str) -> Ask:
    fields = {"resource": resource} | ({"client_id": client_id} if client_id else {})
    headers = {"Metadata": "true", "Content-Type": "application/x-www-form-urlencoded"}
    return Ask(f"{url}{PATH}", headers, urlencode(fields).encode())


CLOUD_SHELL = Dialect(
    name="cloud-shell",
    title="Cloud Shell",
    socket="extension",
    path=PATH,
    parse=parse,
    encode=encode,
    refuse=refuse,
    variables=variables,
    ask=ask,
    of_user=True,
)
