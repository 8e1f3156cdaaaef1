"""What Resource Manager costs, and whether that grows with what there is: one process, a real store, no sockets.

    python benchmarks/bench_arm.py [--resources 10000 100000] [--seconds 1.0]

For each size: GET, PUT and PATCH of one resource, a list of 10,000 (page by page), the first page of lists in a crowd,
and lists with a filter. `cpu` is processor time per request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from keyfob.app.parts import App, build
from keyfob.arm.model import Resource, ResourceGroup
from keyfob.arm.resources import GROUPS, RESOURCES
from keyfob.clock import SystemClock, SystemIds
from keyfob.resource_id import ResourceId
from keyfob.settings import read_settings
from keyfob.wire.http import Fields, Request, parse_target

MACHINES = "Microsoft.Compute/virtualMachines"
LISTED = 10_000


@dataclass
class Server:
    app: App
    operator: dict[str, str]
    token: str = ""

    async def send(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        host = self.operator["resource_manager"].removeprefix("https://")
        encoded = b"" if body is None else json.dumps(body).encode()
        query = {"api-version": "2024-03-01", **query}
        path, raw, fields = parse_target(f"{path}?{urlencode(query)}")
        headers = Fields([("Authorization", f"Bearer {self.token}")])
        request = Request(method, path, fields, headers, encoded, host=host, raw_path=raw)
        reply = await self.app.front_door(request)
        assert reply.status < 300, reply.body
        return json.loads(reply.body) if reply.body else None

    async def sign_in(self) -> None:
        known = self.operator
        form = {
            "grant_type": "client_credentials",
            "client_id": known["client_id"],
            "client_secret": known["client_secret"],
            "resource": known["audience"],
        }
        host = known["login"].removeprefix("https://")
        headers = Fields([("Content-Type", "application/x-www-form-urlencoded")])
        path = f"/{known['tenant_id']}/oauth2/token"
        reply = await self.app.front_door(
            Request("POST", path, Fields(), headers, urlencode(form).encode(), host=host, raw_path=path)
        )
        self.token = json.loads(reply.body)["access_token"]


async def fill(server: Server, count: int, have: int) -> None:
    """`count` machines: 10,000 in the group `listed`, the rest in groups of 1,000."""
    subscription, tenant = server.operator["subscription_id"], server.operator["tenant_id"]
    for start in range(have, count, 1000):
        name = "listed" if start < LISTED else f"group{start // 1000}"
        group = ResourceId.group(subscription, name)
        async with server.app.store.transaction() as tx:
            made = ResourceGroup(id=str(group), name=name, tenant_id=tenant, location="westeurope")
            await GROUPS.put(tx, group.key, made)
            for number in range(start, min(count, start + 1000)):
                id = group.provider(MACHINES, f"vm{number:06}")
                machine = Resource(
                    id=str(id),
                    type=MACHINES,
                    name=id.name,
                    tenant_id=tenant,
                    location="westeurope",
                    tags={"even": "yes"} if number % 2 == 0 else {},
                    properties={"vmId": id.name, "hardwareProfile": {"vmSize": "Standard_D2s_v3"}},
                )
                await RESOURCES.put(tx, id.key, machine)


async def measure(name: str, seconds: float, call: Callable[[int], Awaitable[Any]]) -> None:
    await call(0)
    began, used, count = time.perf_counter(), time.process_time(), 0
    while (spent := time.perf_counter() - began) < seconds or count < 3:
        count += 1
        await call(count)
    used = time.process_time() - used
    print(f"    {name:44} {count / spent:10,.1f} req/s {used / count * 1000:10,.2f} ms cpu", flush=True)


async def whole_list(server: Server, path: str, **query: str) -> int:
    """Follows `nextLink` to the end; how many rows there were."""
    page = await server.send("GET", path, **query)
    rows = len(page["value"])
    while link := page.get("nextLink"):
        _, _, fields = parse_target(link)
        page = await server.send("GET", path, **dict(fields.pairs))
        rows += len(page["value"])
    return rows


async def bench(server: Server, seconds: float) -> None:
    subscription = f"/subscriptions/{server.operator['subscription_id']}"
    group = f"{subscription}/resourceGroups/listed"
    machines = f"{group}/providers/{MACHINES}"
    identities = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
    resources = {"api-version": "2024-11-01"}
    send = server.send
    body = {"location": "westeurope", "properties": {}}
    identity = {"api-version": "2023-01-31"}
    await measure("GET one", seconds, lambda n: send("GET", f"{machines}/vm{n % 10000:06}"))
    await measure("PUT one, which is there", seconds, lambda n: send("PUT", f"{identities}/one", body, **identity))
    await measure("PUT one, new", seconds, lambda n: send("PUT", f"{identities}/n{time.time_ns()}", body, **identity))
    await measure(
        "PATCH tags of one", seconds, lambda n: send("PATCH", f"{identities}/one", {"tags": {"n": str(n)}}, **identity)
    )
    await measure("machines of a group, first page", seconds, lambda n: send("GET", machines))
    await measure("machines of a group, all 10,000", seconds, lambda n: whole_list(server, machines))
    everywhere = f"{subscription}/providers/{MACHINES}"
    await measure("machines of the subscription, first page", seconds, lambda n: send("GET", everywhere))
    await measure("machines, $top=10", seconds, lambda n: send("GET", everywhere, **{"$top": "10"}))
    last = f"{subscription}/resourceGroups/small/providers/{MACHINES}"
    await send("PUT", f"{subscription}/resourceGroups/small", {"location": "westeurope"}, **resources)
    await measure("machines of an empty group", seconds, lambda n: send("GET", last))
    every = f"{subscription}/resources"
    await measure("/resources, first page", seconds, lambda n: send("GET", every, **resources))
    by_type = {"$filter": "resourceType eq 'Microsoft.ManagedIdentity/userAssignedIdentities'", **resources}
    await measure("/resources, a rare type", seconds, lambda n: send("GET", every, **by_type, **{"$top": "5"}))
    by_tag = {"$filter": "tagName eq 'even' and tagValue eq 'yes'", "$top": "100", **resources}
    await measure("/resources, a frequent tag, $top=100", seconds, lambda n: send("GET", every, **by_tag))
    groups = f"{subscription}/resourcegroups"
    await measure("groups", seconds, lambda n: send("GET", groups, **resources))


async def run(sizes: Sequence[int], seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as folder:
        settings = read_settings({}, data=str(Path(folder) / "data"))
        app = await build(settings, clock=SystemClock(), ids=SystemIds())
        try:
            server = Server(app, json.loads(settings.operator_file.read_text()))
            await server.sign_in()
            have = 0
            for size in sizes:
                began = time.perf_counter()
                await fill(server, size, have)
                print(f"{size:,} resources ({(size - have) / (time.perf_counter() - began):,.0f} stored a second)")
                have = size
                await bench(server, seconds)
        finally:
            await app.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resources", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    options = parser.parse_args()
    asyncio.run(run(options.resources, options.seconds))


if __name__ == "__main__":
    main()
