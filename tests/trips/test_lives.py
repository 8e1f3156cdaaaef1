"""An endpoint that was opened for a host is not the endpoint of who comes after it under the same name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from .conftest import Trip

TOKEN = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"
METADATA = {"Metadata": "true"}


async def machine(trip: Trip, name: str) -> str:
    id = f"{trip.group}/providers/Microsoft.Compute/virtualMachines/{name}"
    await trip.made(id, {"location": "westeurope", "identity": {"type": "SystemAssigned"}})
    return id


async def gone(trip: Trip, id: str) -> None:
    await trip.arm("DELETE", id)
    while (await trip.arm("GET", id)).status != 404:
        await asyncio.sleep(0.02)


async def ask(trip: Trip, endpoint: str) -> tuple[int, Any]:
    return await trip.plain(endpoint, TOKEN, METADATA)


@pytest.mark.parametrize("warm", [True, False])
async def test_a_machine_made_again_has_an_endpoint_of_its_own(trip: Trip, warm: bool) -> None:
    id = await machine(trip, "again")
    old = await trip.endpoint(id)
    for _ in range(3 if warm else 0):
        assert (await ask(trip, old))[0] == 200
    await gone(trip, id)
    assert (await ask(trip, old))[0] == 401
    await machine(trip, "again")
    new = await trip.endpoint(id)
    assert new != old
    for _ in range(3):
        assert (await ask(trip, new))[0] == 200
        status, said = await ask(trip, old)
        assert (status, said["error"]) == (401, "unknown_source"), "also from memory"


async def test_an_endpoint_stays_while_its_machine_is_changed(trip: Trip) -> None:
    id = await machine(trip, "kept")
    endpoint = await trip.endpoint(id)
    for tags in ({"a": "1"}, {"a": "2"}):
        await trip.made(id, {"location": "westeurope", "tags": tags, "identity": {"type": "SystemAssigned"}})
        assert (await ask(trip, endpoint))[0] == 200
        assert await trip.endpoint(id) == endpoint
