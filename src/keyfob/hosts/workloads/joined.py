"""The endpoints of a host in a network that an engine made for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys

from keyfob.hosts.sandbox.agent import MESSAGE_LIMIT
from keyfob.hosts.sandbox.control import Opened
from keyfob.hosts.sandbox.protocol import ENDPOINTS
from keyfob.hosts.sandbox.refusal import SandboxUnavailable
from keyfob.hosts.workloads.sandboxed import Inhabit
from keyfob.resource_id import ResourceId

PATIENCE = 60.0
"""Seconds that binding the sockets may take on a busy machine."""


async def join_network(host_id: ResourceId, pid: int, inhabit: Inhabit) -> Opened:
    """Serves the endpoints of a host in the network of process `pid`, until what comes back is closed.

    Raises SandboxUnavailable where that network cannot be entered, and what `inhabit` raises.
    """
    sockets = await bound_in(pid)
    try:
        return await inhabit(host_id, sockets)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise


async def bound_in(pid: int) -> list[socket.socket]:
    """The sockets of `ENDPOINTS`, bound in the network of process `pid`. Raises SandboxUnavailable."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        helper = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "keyfob.hosts.sandbox.join",
            str(theirs.fileno()),
            str(pid),
            pass_fds=[theirs.fileno()],
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
            cwd="/",
        )
        theirs.close()
        try:
            await asyncio.wait_for(helper.wait(), PATIENCE)
        except TimeoutError:
            raise SandboxUnavailable("Entering the container's network took too long.") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                helper.kill()
        ours.setblocking(False)
        data, descriptors, _, _ = socket.recv_fds(ours, MESSAGE_LIMIT, len(ENDPOINTS))
    message = json.loads(data or b"{}")
    if "sockets" not in message:
        raise SandboxUnavailable(message.get("failed", "The container's network cannot be entered."))
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for sock in sockets:
        sock.setblocking(False)
    return sockets
