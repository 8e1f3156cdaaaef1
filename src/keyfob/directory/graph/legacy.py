"""Azure AD Graph (`graph.windows.net/{tenant}/…?api-version=1.6`): absent, and says so in its own shape.

Microsoft retired it; what it answered to applications at the end is what is answered here to everybody.
"""

from __future__ import annotations

import msgspec

from keyfob.declare import Address
from keyfob.wire.http import Reply, Request

MESSAGE = (
    "Access blocked to AAD Graph API for this application. https://aka.ms/AzureADGraphMigration. Keyfob does not serve "
    "Azure AD Graph: use Microsoft Graph at {graph}."
)
_JSON = "application/json;odata=minimalmetadata;streaming=true;charset=utf-8"


class AadGraph:
    async def __call__(self, request: Request, address: Address) -> Reply:
        error = {
            "code": "Authentication_Unauthorized",
            "message": {"lang": "en", "value": MESSAGE.format(graph=address.cloud.graph)},
            "requestId": request.request_id,
        }
        return Reply(403, msgspec.json.encode({"odata.error": error}), (), _JSON)
