"""Azure ML computes and endpoints: App Service's older dialect, with a default identity in the environment.

Clients for JavaScript, Go and .NET always send `clientid`, from `DEFAULT_IDENTITY_CLIENT_ID` when the program names
none; the one for Python sends it when the variable is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from keyfob.hosts.dialects import app_service_2017
from keyfob.hosts.dialects.dialect import Ask, Dialect, Place

PATH = "/msi/auth"


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
    encode=app_service_2017.encode,
    refuse=app_service_2017.refuse,
    variables=variables,
    ask=ask,
)
