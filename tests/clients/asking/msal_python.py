"""`msal_python.py SELECTORS`: MSAL for Python's managed identity client, as `azure_identity.py`."""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import Any

import msal
import requests


def identity(selector: list[str] | None) -> Any:
    if selector is None:
        return msal.SystemAssignedManagedIdentity()
    kind, value = selector
    return msal.UserAssignedManagedIdentity(**{kind: value})


def ask(selector: list[str] | None) -> dict[str, Any]:
    try:
        client = msal.ManagedIdentityClient(identity(selector), http_client=requests.Session())
        found = client.acquire_token_for_client(resource="https://vault.azure.net")
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}
    if "access_token" not in found:
        return {"error": str(found.get("error")), "text": json.dumps(found)}
    body = found["access_token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return {"claims": claims, "expires_on": int(time.time()) + int(found["expires_in"])}


if __name__ == "__main__":
    print(json.dumps([ask(selector) for selector in json.loads(sys.argv[1])]))
