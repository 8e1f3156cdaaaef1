"""Listening in a network that somebody else made: a container's, which an engine keeps.

`python -m keyfob.hosts.sandbox.join N PID` enters the network of process PID, binds the sockets of `protocol.ENDPOINTS`
there and sends them over descriptor N, as `{"sockets": n}`, or says `{"failed": sentence}`. Then it ends: the sockets
keep working where they were bound. An ordinary user may enter what belongs to a user namespace of theirs, as all
containers of a rootless engine do (user_namespaces(7)).
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence

from keyfob.hosts.sandbox import kernel as k
from keyfob.hosts.sandbox import network, refusal
from keyfob.hosts.sandbox.kernel import Kernel


def main(arguments: Sequence[str]) -> int:
    with socket.socket(fileno=int(arguments[0])) as channel:
        try:
            enter(Kernel(), int(arguments[1]))
            network.bring_up()
            sockets = network.bind_endpoints()
        except OSError as error:
            channel.send(json.dumps({"failed": refusal.explain("enter the container's network", error)}).encode())
            return 1
        socket.send_fds(channel, [json.dumps({"sockets": len(sockets)}).encode()], [one.fileno() for one in sockets])
    return 0


def enter(kernel: Kernel, pid: int) -> None:
    """Step into the network of a process, and before it into its user namespace, where that is another."""
    users, net, own = (
        os.open(f"/proc/{name}", os.O_RDONLY | os.O_CLOEXEC)
        for name in (f"{pid}/ns/user", f"{pid}/ns/net", "self/ns/user")
    )
    if not os.path.sameopenfile(users, own):
        kernel.setns(users, k.CLONE_NEWUSER)
    kernel.setns(net, k.CLONE_NEWNET)
    for descriptor in (users, net, own):
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
