"""Sandboxes without a server behind them: their listeners are closed at once."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from keyfob.hosts.sandbox.run import unavailable
from keyfob.hosts.workloads.sandboxed import Furniture, Sandbox, open_sandbox
from keyfob.resource_id import ResourceId

HOST = ResourceId.parse("/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/shop")

Open = Callable[..., Awaitable[Sandbox]]


async def until(true: Callable[[], bool]) -> None:
    """Processes tell nobody when they are ready."""
    while not true():
        await asyncio.sleep(0.01)


class Served:
    def __init__(self, sockets: list[socket.socket]) -> None:
        self.environment: Mapping[str, str] = {"IDENTITY_HEADER": "of this host"}
        self.sockets = sockets
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        for sock in self.sockets:
            sock.close()


@pytest.fixture(scope="session")
def namespaces() -> None:
    reason = unavailable()
    if reason:
        pytest.skip(reason)


@pytest.fixture
async def opening(namespaces: None, tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[Sandbox] = []
    data = tmp_path / "data"
    data.mkdir()
    (data / "secret").write_text("of the server")

    async def inhabit(host_id: ResourceId, sockets: list[socket.socket]) -> Served:
        assert host_id == HOST
        return Served(sockets)

    async def begin(**changes: object) -> Sandbox:
        fields = {"ca_pem": b"our authority\n", "cover": [data], "environment": {"PATH": os.environ["PATH"]}, **changes}
        sandbox = await open_sandbox(HOST, inhabit, Furniture(**fields))  # type: ignore[arg-type]
        opened.append(sandbox)
        return sandbox

    yield begin
    for sandbox in opened:
        await sandbox.close()
