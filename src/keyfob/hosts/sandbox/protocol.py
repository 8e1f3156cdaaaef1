"""What client and server say on the control socket, and which sockets go with it.

The client connects, sends one OpenRequest with its descriptors attached (SCM_RIGHTS) and gets one Ready or Refused;
each message is a JSON object on a line. From then on nothing is said: the connection is the sandbox's life, and the
server closes the sandbox's listeners when it ends.

Plain JSON and named tuples, since the client pays for every import before the program starts.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from keyfob.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 3

IMDS_ADDRESS = "169.254.169.254"
SERVICE_ADDRESS = "169.254.169.253"
"""What DNS answers in a sandbox for every name of a service."""

PLATFORM_ADDRESS = "169.254.129.2"
"""Where Linux workers of App Service find their platform, port 8081."""

LOOPBACK = "127.0.0.1"

DNS_ADDRESS = "127.0.0.1"
"""Also where glibc, musl and Go ask when there is no /etc/resolv.conf."""

MESSAGE_LIMIT = 64 * 1024


class Endpoint(NamedTuple):
    name: str
    address: str
    port: int
    datagram: bool = False


ENDPOINTS = (
    Endpoint("imds", IMDS_ADDRESS, 80),
    Endpoint("https", SERVICE_ADDRESS, 443),
    Endpoint("dns_udp", DNS_ADDRESS, 53, datagram=True),
    Endpoint("dns_tcp", DNS_ADDRESS, 53),
    Endpoint("platform", PLATFORM_ADDRESS, 8081),
    Endpoint("extension", LOOPBACK, 50342),
    Endpoint("arc", LOOPBACK, 40342),
    Endpoint("fabric", LOOPBACK, 2377),
    Endpoint("http", SERVICE_ADDRESS, 80),
)
"""The descriptors of an OpenRequest, in this order. The server listens on those that the host's kind uses and closes
the others, so that a program may have the port."""


class OpenRequest(NamedTuple):
    """Open a sandbox in the host `resource_id`; `token` is an operator's bearer token.

    The rest is `hosts.endpoints.Wish`: how to be that host, "" for its own way.
    """

    resource_id: str
    token: str
    dialect: str = ""
    service_account: str = ""
    client_id: str = ""
    folder: str = ""
    """Made by the client and shown to the program: where the server writes the files that go with the dialect."""
    version: int = VERSION

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items() if name != "token")
        return f"OpenRequest({told}, token='***')"


class Ready(NamedTuple):
    """The listeners answer. `environment` is what this kind of host sets for its programs."""

    environment: Mapping[str, str]


class Refused(NamedTuple):
    """`sentence` tells a person why."""

    sentence: str


def encode_request(request: OpenRequest) -> bytes:
    return _line({"open": request._asdict()})


def decode_request(line: bytes) -> OpenRequest:
    """Raises InvalidInput for anything but an OpenRequest of our version."""
    body = _object(line).get("open")
    if not isinstance(body, dict):
        raise InvalidInput("The control message is not a request to open a sandbox.")
    version = body.get("version")
    if version != VERSION:
        raise InvalidInput(f"The server speaks version {VERSION} of the sandbox protocol, the client {version!r}.")
    known = {name: body.get(name, "") for name in OpenRequest._fields if name != "version"}
    if not all(isinstance(value, str) for value in known.values()) or not (known["resource_id"] and known["token"]):
        raise InvalidInput("The request to open a sandbox needs a resource_id and a token.")
    return OpenRequest(**known)


def encode_reply(reply: Ready | Refused) -> bytes:
    if isinstance(reply, Ready):
        return _line({"ready": {"environment": dict(reply.environment)}})
    return _line({"refused": {"sentence": reply.sentence}})


def decode_reply(line: bytes) -> Ready | Refused:
    body = _object(line)
    match body:
        case {"ready": {"environment": dict() as environment}}:
            return Ready({str(name): str(value) for name, value in environment.items()})
        case {"refused": {"sentence": str() as sentence}}:
            return Refused(sentence)
    raise InvalidInput("The server's answer on the control socket is not one this client knows.")


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """A spelling of `path` short enough for a socket address, whose limit is 107 bytes (unix(7))."""
    if len(os.fsencode(path)) <= 107:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def check_sockets(sockets: list[socket.socket]) -> None:
    """Raises InvalidInput unless these are the sockets of ENDPOINTS, each bound where it belongs."""
    found = [(sock.family, sock.type, sock.getsockname()) for sock in sockets]
    expected = [
        (socket.AF_INET, socket.SOCK_DGRAM if end.datagram else socket.SOCK_STREAM, (end.address, end.port))
        for end in ENDPOINTS
    ]
    if found != expected:
        raise InvalidInput("The sockets that came with the request are not those of a sandbox.")


def _line(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput("The control message is not a JSON object.")
    return value
