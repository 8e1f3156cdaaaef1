"""Azure ML computes and endpoints: App Service's older dialect, but `expires_on` is a number, and the environment names
a default identity, the system-assigned one too.

Clients for JavaScript, Go and .NET always send `clientid`, from `DEFAULT_IDENTITY_CLIENT_ID` when the program names
none, since Azure ML wants one; the one for Python sends none (azure-sdk-for-net issue 40348). Here it may be absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from keyfob.hosts.dialects import app_service_2017
from keyfob.hosts.dialects.dialect import Ask, Dialect, Opening, Place, TokenQuery
from keyfob.hosts.token_endpoint import HostToken
from keyfob.wire.http import Reply

PATH = "/msi/auth"


def encode(token: HostToken, query: TokenQuery, opening: Opening, now: float) -> Reply:
    return Reply.json(
        {
            "access_token": token.token,
            "expires_on": token.expires_on,
            "resource": query.resource,
            "token_type": "Bearer",
        }
    )


def variables(place: Place) -> Mapping[str, str]:
    own = {"MSI_ENDPOINT": place.url + PATH, "MSI_SECRET": place.secret}
    return own | ({"DEFAULT_IDENTITY_CLIENT_ID": place.client_id} if place.client_id else {})


def ask(url: str, secret: str, resource: str, client_id: str) -> Ask:
    query = {"api-version": app_service_2017.VERSION, "resource": resource}
    query |= {"clientid": client_id} if client_id else {}
    return Ask(f"{url}{PATH}?{urlencode(query)}", {"secret": secret})


AZURE_ML = Dialect(
    name="azure-ml",
    title="Azure ML",
    socket="platform",
    path=PATH,
    parse=app_service_2017.parse,
    encode=encode,
    refuse=app_service_2017.refuse,
    variables=variables,
    ask=ask,
)
