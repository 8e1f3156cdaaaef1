"""App Service and Functions, api-version 2017-09-01: `MSI_ENDPOINT` and `MSI_SECRET`.

`expires_on` is a date as .NET prints it, another one on Windows than on Linux; errors are in PascalCase; an identity is
named by `clientid`, without the underscore, and in no other way.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

from keyfob.errors import Problem
from keyfob.hosts.dialects import app_service
from keyfob.hosts.dialects.dialect import Ask, Dialect, Opening, Place, TokenQuery
from keyfob.hosts.token_endpoint import HostToken
from keyfob.identities.model import Selector
from keyfob.wire.http import Reply, Request

VERSION = "2017-09-01"


def parse(request: Request, opening: Opening) -> TokenQuery:
    query = app_service.check(request, opening, VERSION)
    return TokenQuery(query["resource"], Selector(client_id=query.get("clientid") or None))


def encode(token: HostToken, query: TokenQuery, opening: Opening, now: float) -> Reply:
    return Reply.json(
        {
            "access_token": token.token,
            "expires_on": date(token.expires_on, windows=opening.windows),
            "resource": query.resource,
            "token_type": "Bearer",
        }
    )


def date(seconds: int, *, windows: bool) -> str:
    """`1/16/2020 12:24:12 AM +00:00` on Windows, `06/20/2019 02:57:58 +00:00` on Linux."""
    at = datetime.fromtimestamp(seconds, UTC)
    if windows:
        half = "PM" if at.hour >= 12 else "AM"
        return f"{at.month}/{at.day}/{at.year} {at.hour % 12 or 12}:{at:%M:%S} {half} +00:00"
    return f"{at:%m/%d}/{at.year:04} {at:%H:%M:%S} +00:00"


def refuse(problem: Problem, correlation: str) -> Reply:
    status, message = app_service.told(problem, "No MSI found for specified ClientId/ResourceId.")
    return Reply.json({"StatusCode": status, "Message": message, "CorrelationId": correlation}, status)


def variables(place: Place) -> Mapping[str, str]:
    """msrestazure puts `/?resource=…` behind the URL, with its own slash: doubled ones are one."""
    return {"MSI_ENDPOINT": f"{place.url}{app_service.PATH}/", "MSI_SECRET": place.secret}


def ask(url: str, secret: str, resource: str, client_id: str) -> Ask:
    query = {"api-version": VERSION, "resource": resource} | ({"clientid": client_id} if client_id else {})
    return Ask(f"{url}{app_service.PATH}/?{urlencode(query)}", {"Secret": secret})


APP_SERVICE_2017 = Dialect(
    name="app-service-2017",
    title="App Service 2017-09-01",
    socket="platform",
    path=app_service.PATH,
    parse=parse,
    encode=encode,
    refuse=refuse,
    variables=variables,
    ask=ask,
    version=VERSION,
    lone_user_identity=False,
)
