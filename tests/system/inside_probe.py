"""A program in a sandbox that tries to be another machine. Prints what it got hold of, as JSON: `own` and `front door`
are what it is entitled to, anything else it is not.

Argument: JSON with the other machine's ids and address, the oids that are its own, the server's data folder, the port
of its front door on loopback and the URL of its proxy.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import os
import socket
import ssl
import sys
from typing import Any
from urllib.parse import quote, urlsplit

PATH = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com%2F"
SERVICE = "169.254.169.254"


def oid_of(token: str) -> str:
    part = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["oid"])


def ask(target: str, headers: dict[str, str], address: str = SERVICE, port: int = 80) -> str | None:
    """The token that comes, if one does."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", target, headers=headers)
        body = connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return json.loads(body)["access_token"] if b"access_token" in body else None


def secure(name: str, target: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """By its real name, on port 443, with the trust that the environment gives."""
    connection = http.client.HTTPSConnection(name, timeout=5, context=ssl.create_default_context())
    try:
        connection.request("GET", target, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def reachable(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def main(known: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    metadata = {"Metadata": "true"}
    own = ask(PATH, metadata)
    if own and oid_of(own) in known["own"]:
        found["own"] = True
        status, _ = secure(
            "management.azure.com", "/subscriptions?api-version=2022-12-01", {"Authorization": f"Bearer {own}"}
        )
        found["front door"] = status == 200

    port = known["address"].rpartition(":")[2]
    others = {name: known[name] for name in ("client", "object", "user client", "user object", "user", "host")}
    for name, (kind, value) in itertools.product(("client_id", "object_id", "msi_res_id", "mi_res_id"), others.items()):
        if ask(f"{PATH}&{name}={quote(value, safe='')}", metadata):
            found[f"{name} {kind}"] = "a token"
    for given in (known["address"], "theirs", "localhost", known["host"]):
        token = ask(PATH, {**metadata, "Host": given})
        if token and oid_of(token) not in known["own"]:
            found[f"Host {given}"] = "another's token"
    for target in (f"http://{known['address']}{PATH}", f"http://theirs{PATH}"):
        token = ask(target, metadata)
        if token and oid_of(token) not in known["own"]:
            found[target] = "another's token"

    proxy = urlsplit(known["proxy"])
    for what, number in (
        ("the other's endpoint", int(port)),
        ("the front door", int(known["door"])),
        ("the proxy", proxy.port or 0),
    ):
        for where in ("127.0.0.1", "::1", SERVICE):
            if reachable(where, number):
                found[f"{what} at {where}"] = "reachable"
    for given in (SERVICE, known["address"], "localhost"):
        _, body = secure("management.azure.com", PATH, {**metadata, "Host": given})
        if b"access_token" in body:
            found[f"front door, Host {given}"] = "a token"

    for name in ("operator.json", "master.key", "keyfob.db", "control.sock", "server.json"):
        if os.path.exists(os.path.join(known["data"], name)):
            found[name] = "visible"
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
