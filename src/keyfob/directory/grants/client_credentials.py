"""A client asks for itself: secret, certificate or federated assertion were checked on the way here."""

from __future__ import annotations

from typing import Any

from keyfob.directory.exchange import Client, Exchange, Parts, answer_application


async def client_credentials(parts: Parts, exchange: Exchange, client: Client) -> dict[str, Any]:
    return await answer_application(parts, exchange, client)
