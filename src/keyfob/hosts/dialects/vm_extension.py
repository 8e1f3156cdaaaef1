"""The extension that virtual machines had before instance metadata: `http://localhost:50342/oauth2/token`.

Answers and refusals are instance metadata's; asked by GET, or by POST with a form (msrestazure). No api-version.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from keyfob.errors import InvalidInput, MethodNotAllowed, Problem
from keyfob.hosts.dialects import imds
from keyfob.hosts.dialects.dialect import Ask, Dialect, Opening, Place, TokenQuery, refuse_doubled
from keyfob.hosts.token_endpoint import HostToken
from keyfob.wire.http import Fields, Reply, Request, form

PATH = "/oauth2/token"


def parse(request: Request, opening: Opening) -> TokenQuery:
    """Raises `MethodNotAllowed`, `InvalidInput`, `ConflictingSelectors`."""
    if request.method not in {"GET", "POST"}:
        raise MethodNotAllowed("Only GET and POST are allowed.")
    imds.check_source(request.headers)
    fields = read_form(request) if request.method == "POST" else request.query
    refuse_doubled(fields)
    return imds.parse_fields(fields)


def read_form(request: Request) -> Fields:
    """The parameters of a POST: the query's and the body's. Raises `InvalidInput`."""
    try:
        return Fields((*request.query.pairs, *form(request.body).pairs))
    except UnicodeDecodeError:
        raise InvalidInput("The request body is not a form in UTF-8", code="invalid_request") from None


def encode(token: HostToken, query: TokenQuery, opening: Opening, now: float) -> Reply:
    return imds.encode(token, query, now)


def refuse(problem: Problem, correlation: str) -> Reply:
    return imds.encode_problem(problem)


def variables(place: Place) -> Mapping[str, str]:
    """Old clients know the address by heart; msrestazure takes another from here."""
    return {"MSI_ENDPOINT": place.url + PATH}


def ask(url: str, secret: str, resource: str, client_id: str) -> Ask:
    query = {"resource": resource} | ({"client_id": client_id} if client_id else {})
    return Ask(f"{url}{PATH}?{urlencode(query)}", {"Metadata": "true"})


VM_EXTENSION = Dialect(
    name="vm-extension",
    title="virtual machine extension",
    socket="extension",
    path=PATH,
    parse=parse,
    encode=encode,
    refuse=refuse,
    variables=variables,
    ask=ask,
)
