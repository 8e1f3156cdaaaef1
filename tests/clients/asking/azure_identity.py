"""`azure_identity.py SELECTORS`: azure-identity for Python asks for a token, once for each selector.

SELECTORS is a JSON list of `null` or `[kind, value]`. Prints, for each, `{"claims": …}` or `{"error": …, "text": …}`.
"""

from __future__ import annotations

import base64
import json
import logging
import sys
from typing import Any

from azure.identity import ManagedIdentityCredential

logging.disable(logging.CRITICAL)


def arguments(selector: list[str] | None) -> dict[str, Any]:
    if selector is None:
        return {}
    kind, value = selector
    return {"client_id": value} if kind == "client_id" else {"identity_config": {kind: value}}


def ask(selector: list[str] | None) -> dict[str, Any]:
    try:
        with ManagedIdentityCredential(**arguments(selector), retry_total=0) as credential:
            token = credential.get_token("https://vault.azure.net/.default")
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}
    body = token.token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return {"claims": claims, "expires_on": token.expires_on}


if __name__ == "__main__":
    print(json.dumps([ask(selector) for selector in json.loads(sys.argv[1])]))
