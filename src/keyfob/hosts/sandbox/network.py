"""The network of a sandbox: loopback, two addresses, four sockets. No route leads anywhere else."""

from __future__ import annotations

import fcntl
import socket
import struct

from keyfob.hosts.sandbox.protocol import ENDPOINTS

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
SIOCSIFADDR = 0x8916
SIOCSIFNETMASK = 0x891C
IFF_UP = 0x1
IFF_RUNNING = 0x40

_REQUEST = struct.Struct("=16sH22x")
"""struct ifreq of netdevice(7), 40 bytes, as read and written for interface flags."""

_ADDRESS = struct.Struct("=16sHH4s16x")
"""struct ifreq with a struct sockaddr_in: family, port, address."""


def bring_up() -> None:
    """Bring `lo` up and give it the addresses of ENDPOINTS, each alone (/32), in the network namespace we are in.

    SIOCSIFADDR takes the netmask of the address's class; without /32 every 169.254 address would be answered here.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _, flags = _REQUEST.unpack(fcntl.ioctl(control, SIOCGIFFLAGS, _REQUEST.pack(b"lo", 0)))
        fcntl.ioctl(control, SIOCSIFFLAGS, _REQUEST.pack(b"lo", flags | IFF_UP | IFF_RUNNING))
        addresses = {endpoint.address for endpoint in ENDPOINTS if not endpoint.address.startswith("127.")}
        for number, address in enumerate(sorted(addresses), 1):
            label = f"lo:{number}".encode()
            fcntl.ioctl(control, SIOCSIFADDR, _request(label, address))
            fcntl.ioctl(control, SIOCSIFNETMASK, _request(label, "255.255.255.255"))


def bind_endpoints() -> list[socket.socket]:
    """The sockets of ENDPOINTS in their order, bound and not yet listening."""
    bound = []
    for endpoint in ENDPOINTS:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if endpoint.datagram else socket.SOCK_STREAM)
        if not endpoint.datagram:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((endpoint.address, endpoint.port))
        bound.append(sock)
    return bound


def _request(label: bytes, address: str) -> bytes:
    return _ADDRESS.pack(label, socket.AF_INET, 0, socket.inet_aton(address))
