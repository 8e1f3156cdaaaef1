"""One request, one reply, its bytes: what a connection does with a message once it is whole. No connection here."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import IO

from keyfob.servers.edge import Door, Edge
from keyfob.wire.http import Reply
from keyfob.wire.http1 import Malformed, read_request, write_reply

log = logging.getLogger("keyfob.http")

_CODES = {
    403: "Forbidden",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    413: "RequestEntityTooLarge",
    417: "ExpectationFailed",
    431: "RequestHeaderFieldsTooLarge",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it came, head and body whole."""

    method: bytes
    target: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes
    version: str
    keep: bool
    """Whether the client would keep the connection."""
    file: IO[bytes] | None = None
    """A large body, instead of `body`."""


@dataclass(frozen=True, slots=True)
class Answered:
    reply: Reply
    malformed: bool = False
    """It was no request: nothing that comes after it on the connection can be trusted to be one."""


async def reply_to(message: Message, *, door: Door, peer: str, request_id: str) -> Answered:
    """Asks the door's handler. Whatever goes wrong is a reply too; only a cancellation is raised."""
    try:
        request = read_request(
            message.method,
            message.target,
            message.fields,
            message.body,
            file=message.file,
            version=message.version,
            scheme=door.scheme,
            listener=door.listener,
            peer=peer,
            request_id=request_id,
        )
        return Answered(await door.handler(request))
    except Malformed as error:
        return Answered(refusal(error.status, error.message), malformed=True)
    except Exception:
        about = {
            "request_id": request_id,
            "method": message.method.decode("ascii"),
            "path": message.target.partition(b"?")[0].decode("latin-1"),  # a query may hold a secret
            "listener": door.listener,
        }
        log.exception("a request failed", extra=about)
        return Answered(failure(request_id))
    finally:
        if message.file is not None:
            message.file.close()


def render(
    reply: Reply,
    edge: Edge,
    method: str,
    *,
    close: bool,
    keep: bool = False,
    request_id: str = "",
    chunked: bool = True,
) -> tuple[bytes, bool]:
    """The bytes, and whether the connection ends with them: the handler may have wished so."""

    def written(reply: Reply) -> bytes:
        return write_reply(
            reply, date=edge.date, server=edge.server, method=method, close=close, keep=keep, chunked=chunked
        )

    try:
        close = close or any(n.lower() == "connection" and v.lower() == "close" for n, v in reply.headers)
        return written(reply), close
    except Exception:  # a header that would break out of its line, or no reply at all
        log.exception("a reply cannot be written", extra={"request_id": request_id, "method": method})
        return written(failure(request_id)), close


def refusal(status: int, message: str) -> Reply:
    return Reply.json({"error": {"code": _CODES.get(status, "BadRequest"), "message": message}}, status)


def failure(request_id: str) -> Reply:
    message = f"The server met an error that it did not expect. Its log has it under request {request_id}."
    headers = (("x-ms-request-id", request_id),) if request_id else ()
    return Reply.json({"error": {"code": "InternalServerError", "message": message}}, 500, headers)
