"""The grants, one file each: what a client shows, and what it gets for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from keyfob.directory.exchange import Client, Exchange, Parts
from keyfob.directory.grants.authorization_code import authorization_code
from keyfob.directory.grants.client_credentials import client_credentials
from keyfob.directory.grants.device_code import device_code
from keyfob.directory.grants.on_behalf_of import on_behalf_of
from keyfob.directory.grants.password import password
from keyfob.directory.grants.refresh_token import refresh_token

Answer = Callable[[Parts, Exchange, Client], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Grant:
    """`alone`: the client asks for itself and must prove itself. `parameters` must be there before it is asked to."""

    answer: Answer
    parameters: tuple[str, ...] = ()
    alone: bool = False


GRANTS: Mapping[str, Grant] = {
    "client_credentials": Grant(client_credentials, alone=True),
    "authorization_code": Grant(authorization_code, ("code", "redirect_uri")),
    "refresh_token": Grant(refresh_token, ("refresh_token",)),
    "password": Grant(password, ("username", "password")),
    "device_code": Grant(device_code),
    "urn:ietf:params:oauth:grant-type:device_code": Grant(device_code),
    "urn:ietf:params:oauth:grant-type:jwt-bearer": Grant(on_behalf_of, ("assertion",)),
}
"""`device_code` without the prefix is what ADAL sends (v1)."""
