"""What holds whatever happens: many at once, a sandbox that dies, a server that is killed, walls between sites."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.client import Client
from keyfob.hosts.sandbox.run import unavailable
from keyfob.resource_id import ResourceId

from .conftest import Place, server

pytestmark = pytest.mark.sandbox

COVER = {".empty", "cacerts", "nsswitch.conf", "hosts", "resolv.conf", "ca-bundle.pem", "ca.pem"}
"""The sandbox's own files, which lie where the server's are hidden."""


async def test_many_first_requests_start_one_program(place: Place) -> None:
    await place.site("shop")
    await place.deploy("shop", {"main.py": server()}, query="?")
    await place.ok("POST", f"{place.id('shop')}/stop")
    await place.until(lambda: not place.sites._running)
    await place.ok("POST", f"{place.id('shop')}/start")
    before = place.log(place.id("shop")).count(": starting") + place.log(place.id("shop")).count(" starting shop")
    said = await asyncio.gather(*(place.get("shop") for _ in range(20)))
    assert len({one["start"] for one in said}) == 1
    after = place.log(place.id("shop")).count(": starting") + place.log(place.id("shop")).count(" starting shop")
    assert after == before + 1


async def test_site_whose_sandbox_died_gets_another(place: Place) -> None:
    await place.site("shop")
    await place.deploy("shop", {"main.py": server()})
    first = (await place.get("shop"))["start"]
    running = place.sites.running(ResourceId.parse(place.id("shop")))
    assert running is not None
    running.sandbox._keeper.kill()
    async with asyncio.timeout(90):
        while True:
            answer = await place.send("GET", "https://shop.azurewebsites.net/")
            if answer.status == 200 and answer.json()["start"] != first:
                break
            await asyncio.sleep(0.05)


async def test_program_sees_neither_the_servers_files_nor_another_site(place: Place) -> None:
    data = place.client.data
    looking = (
        "import os\n"
        f"data = {str(data)!r}\n"
        "found = [os.path.join(a, n) for a, _, names in os.walk(data) for n in names]\n"
        "TEXT = [found, sorted(os.listdir('/home/site/wwwroot')), os.listdir('/home/data')]\n"
    )
    await place.site("shop")
    await place.site("other")
    await place.settings(place.id("other"), {"SECRET": "of the other site"})
    await place.deploy("other", {"main.py": server(), "private.txt": "of the other site"})
    await place.get("other")
    await place.deploy("shop", {"main.py": looking + server().partition("\n")[2]})
    said = await place.get("shop")
    found, content, kept = said["text"]
    assert {Path(path).name for path in found} <= COVER
    assert (content, kept) == (["main.py"], ["SitePackages"])
    assert "of the other site" not in str(said)
    assert (data / "operator.json").exists()


@pytest.fixture
def detached(tmp_path: Path) -> Iterator[Any]:
    """Starts `keyfob up` as a process; gives its client."""
    if sentence := unavailable():
        pytest.skip(sentence)
    data = tmp_path / "data"

    def keyfob(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "keyfob", *arguments],
            env={**os.environ, "KEYFOB_DATA": str(data)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start() -> Client:
        keyfob("up", "--detach", "--port", "0")
        return Client(data)

    yield start, keyfob
    keyfob("down")


def test_sites_are_as_they_were_after_the_server_was_killed(detached: Any, tmp_path: Path) -> None:
    start, keyfob = detached
    client = start()
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.py").write_text(server("survives"))
    keyfob("deploy-app", "shop", str(folder), "--group", "web", "--command", "python3 main.py")
    first = client.send("GET", "https://shop.azurewebsites.net/").json()
    os.kill(client.server["pid"], signal.SIGKILL)
    client = start()
    again = client.send("GET", "https://shop.azurewebsites.net/").json()
    assert (first["text"], again["text"]) == ("survives", "survives")
    assert again["start"] != first["start"]
    assert again["environment"]["IDENTITY_HEADER"] != first["environment"]["IDENTITY_HEADER"]
