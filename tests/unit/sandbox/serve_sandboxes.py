"""A small server for the tests, run as a process of its own: `serve_sandboxes.py CONTROL [CERTIFICATE]`.

Each sandbox answers `resource_id` over HTTP at instance metadata, "secure" over TLS, and 169.254.169.253 to every
DNS question. Events are JSON lines on stdout.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import sys
from pathlib import Path

from keyfob.errors import Forbidden
from keyfob.hosts.sandbox.control import SandboxControl, Sockets
from keyfob.hosts.sandbox.protocol import SERVICE_ADDRESS, OpenRequest


def tell(**event: object) -> None:
    print(json.dumps(event), flush=True)


def page(text: str):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = text.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    return answer


def dns_answer(question: bytes) -> bytes:
    end = question.index(b"\0", 12) + 5
    is_address = question[end - 4 : end - 2] == b"\0\1"
    header = question[:2] + struct.pack(">HHHHH", 0x8180, 1, int(is_address), 0, 0)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(SERVICE_ADDRESS)
    return header + question[12:end] + (record if is_address else b"")


class Names(asyncio.DatagramProtocol):
    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        self.transport.sendto(dns_answer(data), addr)


class Host:
    def __init__(self, name: str, servers, transport) -> None:
        self.environment = {"FROM_THE_HOST": name}
        self._name, self._servers, self._transport = name, servers, transport

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        self._transport.close()
        tell(closed=self._name)


async def main(control: str, certificate: str | None) -> None:
    loop = asyncio.get_running_loop()

    async def open_host(request: OpenRequest, sockets: Sockets) -> Host:
        if request.token != "operator":
            raise Forbidden("The token opens no sandbox.")
        if request.folder:
            Path(request.folder, "handed.txt").write_text(f"{request.dialect} {request.service_account}")
        servers = [await asyncio.start_server(page(request.resource_id), sock=sockets.imds)]
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            servers.append(await asyncio.start_server(page("secure"), sock=sockets.https, ssl=context))
        transport, _ = await loop.create_datagram_endpoint(Names, sock=sockets.dns_udp)
        tell(opened=request.resource_id)
        return Host(request.resource_id, servers, transport)

    server = SandboxControl(path=Path(control), open_host=open_host)
    await server.start()
    bystander = await asyncio.start_server(page("outside"), "127.0.0.1", 0)
    tell(listening=control, port=bystander.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
