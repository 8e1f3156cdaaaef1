"""The keys document from memory says what the slow way says, and is never older than a change."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from keyfob.directory.keys import LONGEST_TOKEN
from keyfob.directory.records import TENANTS

HOST = "login.microsoftonline.com"


def ask(world: Any, target: str, host: str = HOST) -> bytes | None:
    return world.endpoint.hot(target.encode(), [(b"accept", b"*/*"), (b"host", host.encode())])


def kids(answer: bytes) -> list[str]:
    return [key["kid"] for key in json.loads(answer.partition(b"\r\n\r\n")[2])["keys"]]


@pytest.mark.parametrize("host", [HOST, "login.windows.net", "LOGIN.microsoftonline.com"])
@pytest.mark.parametrize(
    "target",
    [
        "/common/discovery/keys",
        "/common/discovery/v2.0/keys",
        "/organizations/discovery/v2.0/keys",
        "/{tenant}/discovery/keys",
        "/{tenant}/discovery/v2.0/keys",
        "/{tenant}/discovery/v2.0/keys?appid=00000000-0000-4000-8000-000000000000",
        "//contoso.example/discovery/V2.0/Keys/",
    ],
)
async def test_the_same_as_the_slow_way(world: Any, host: str, target: str) -> None:
    target = target.format(tenant=world.tenant.id)
    slow = await world.ask("GET", target, host=host.lower())
    assert slow.status == 200
    for _ in range(2):
        answer = ask(world, target, host)
        assert answer is not None
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        assert lines[0] == "HTTP/1.1 200 OK"
        assert body == slow.body
        expected = {*slow.headers, ("Content-Type", slow.content_type), ("Content-Length", str(len(slow.body)))}
        assert {tuple(line.split(": ", 1)) for line in lines[1:]} == expected


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/common/discovery/keys", "management.azure.com"),
        ("/common/discovery/keys", "evil.example"),
        ("/common/discovery/keys", "login.microsoftonline.com:99999"),
        ("/common/discovery/keys", "login.microsoftonline.com:443"),
        ("/common/discovery/keys", ""),
        ("/common/discovery/instance", HOST),
        ("/common/DISCOVERY/keys", HOST),
        ("/discovery/keys", HOST),
        ("/a/common/discovery/keys", HOST),
        ("/common/discovery/keys#x", HOST),
        ("/common/oauth2/token", HOST),
        ("/nobody.example/discovery/keys", HOST),
        ("/33333333-3333-4333-8333-333333333333/discovery/v2.0/keys", HOST),
        ("/common/discovery/keys?" + "x" * 600, HOST),
    ],
)
async def test_everything_else_goes_the_slow_way(world: Any, target: str, host: str) -> None:
    assert ask(world, target, host) is None


async def test_a_tenant_is_known_only_in_its_cloud(world: Any) -> None:
    target = f"/{world.tenant.id}/discovery/keys"
    await world.ask("GET", target)
    assert ask(world, target) is not None
    assert ask(world, target, "login.chinacloudapi.cn") is None


async def test_a_new_key_is_there_at_once_and_an_old_one_goes_in_its_time(world: Any) -> None:
    target = "/common/discovery/v2.0/keys"
    before = kids(ask(world, target) or b"")
    world.clock.advance(0.1)
    made = await world.keys.rotate()
    assert kids(ask(world, target) or b"") == [made, *before]
    world.clock.advance(LONGEST_TOKEN - 1)
    assert kids(ask(world, target) or b"") == [made, *before]
    world.clock.advance(2)
    assert kids(ask(world, target) or b"") == [made]


async def test_a_tenant_that_changes_is_read_again(world: Any) -> None:
    target = "/contoso.example/discovery/keys"
    await world.ask("GET", target)
    assert ask(world, target) is not None
    async with world.store.transaction() as tx:
        renamed = msgspec.structs.replace(world.tenant, domains=("contoso.onmicrosoft.com",))
        (row,) = [row for row in await TENANTS.list(tx) if row.value.id == world.tenant.id]
        await TENANTS.put(tx, row.key, renamed)
    assert ask(world, target) is None
    assert (await world.ask("GET", target)).status == 400
    assert ask(world, target) is None
