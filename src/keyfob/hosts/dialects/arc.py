"""Azure Arc: instance metadata's dialect on port 40342, and proof that the program may read the machine's files.

The first request is answered 401 with the name of a file; the second shows what is in it. The content is a one-time
key: whoever sees a request of another program cannot repeat it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from keyfob.errors import Fault, MethodNotAllowed, Problem, Unauthenticated
from keyfob.hosts.dialects import imds
from keyfob.hosts.dialects.dialect import Ask, Dialect, Opening, Place, TokenQuery, refuse_doubled
from keyfob.hosts.token_endpoint import HostToken
from keyfob.wire.http import Reply, Request

PATH = imds.TOKEN_PATH
FIRST = "2019-08-15"
VERSION = "2020-06-01"


def parse(request: Request, opening: Opening) -> TokenQuery:
    """Raises `Unauthenticated` with the `challenge` in its `info`, and what instance metadata's does."""
    if request.method != "GET":
        raise MethodNotAllowed("Only GET is allowed.")
    imds.check_source(request.headers)
    refuse_doubled(request.query)
    imds.check_version(request.query, first=FIRST)
    query = imds.parse_fields(request.query)
    if opening.keys is None:
        raise Unauthenticated(Fault.MISSING, "There is no folder for keys.")
    scheme, _, key = (request.headers.get("Authorization") or "").strip().partition(" ")
    if scheme.lower() != "basic" or not opening.keys.spend(key.strip()):
        raise Unauthenticated(
            Fault.SIGNATURE if key else Fault.MISSING,
            "The request does not show the key that it was told to read.",
            info={"challenge": opening.keys.new()},
        )
    return query


def encode(token: HostToken, query: TokenQuery, opening: Opening, now: float) -> Reply:
    return imds.encode(token, query, now)


def refuse(problem: Problem, correlation: str) -> Reply:
    if isinstance(problem, Unauthenticated):
        challenge = problem.info.get("challenge")
        # spelled so: MSAL for Java looks for it with regard to case
        headers = (("WWW-Authenticate", f"Basic realm={challenge}"),) if challenge else ()
        return Reply.json({"error": "unauthorized", "error_description": problem.message}, 401, headers)
    return imds.encode_problem(problem)


def variables(place: Place) -> Mapping[str, str]:
    return {"IDENTITY_ENDPOINT": place.url + PATH, "IMDS_ENDPOINT": place.url}


def ask(url: str, secret: str, resource: str, client_id: str) -> Ask:
    """`secret` is the content of the key file: "" the first time."""
    query = {"api-version": VERSION, "resource": resource} | ({"client_id": client_id} if client_id else {})
    shown = {"Authorization": f"Basic {secret}"} if secret else {}
    return Ask(f"{url}{PATH}?{urlencode(query)}", {"Metadata": "true", **shown})


ARC = Dialect(
    name="arc",
    title="Azure Arc",
    socket="arc",
    path=PATH,
    parse=parse,
    encode=encode,
    refuse=refuse,
    variables=variables,
    ask=ask,
)
