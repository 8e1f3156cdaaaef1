"""Kubernetes workload identity: no endpoint of the host's, but a file with a token of the cluster's issuer.

A program exchanges it at the token service, as a federated assertion (`client_assertion`). So nothing is parsed or
written here; the variables are those that the webhook of Azure Workload Identity sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from keyfob.errors import Problem
from keyfob.hosts.dialects.dialect import Ask, Dialect, Opening, Place, TokenQuery, not_here
from keyfob.hosts.token_endpoint import HostToken
from keyfob.wire.http import Reply, Request

FILE = "azure-identity-token"
"""As the webhook calls it, in its folder."""
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def variables(place: Place) -> Mapping[str, str]:
    return {
        "AZURE_CLIENT_ID": place.client_id,
        "AZURE_TENANT_ID": place.tenant_id,
        "AZURE_FEDERATED_TOKEN_FILE": place.file,
        "AZURE_AUTHORITY_HOST": place.authority,
    }


def ask(url: str, secret: str, resource: str, client_id: str) -> Ask:
    """`url` is the tenant's authority, `secret` what is in the file."""
    fields = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_assertion_type": _ASSERTION,
        "client_assertion": secret,
        "scope": f"{resource}/.default",
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return Ask(f"{url}/oauth2/v2.0/token", headers, urlencode(fields).encode())


def _parse(request: Request, opening: Opening) -> TokenQuery:
    raise not_here()


def _encode(token: HostToken, query: TokenQuery, opening: Opening, now: float) -> Reply:
    raise not_here()


def _refuse(problem: Problem, correlation: str) -> Reply:
    return Reply.json({"error": "not_found"}, 404)


WORKLOAD_IDENTITY = Dialect(
    name="workload-identity",
    title="Kubernetes workload identity",
    socket="",
    path="",
    parse=_parse,
    encode=_encode,
    refuse=_refuse,
    variables=variables,
    ask=ask,
)
