"""Apps without a startup command: found by their files, started as they are."""

from __future__ import annotations

import shutil

import pytest

from .conftest import Place

pytestmark = pytest.mark.sandbox

WSGI = """
import os

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"path": "%b", "folder": "%b"}' % (environ["PATH_INFO"].encode(), os.getcwd().encode())]
"""

NODE = """
const http = require("http");
http
  .createServer((request, response) => response.end(JSON.stringify({ path: request.url, port: process.env.PORT })))
  .listen(process.env.PORT);
"""


async def bare(place: Place, **config: str) -> None:
    await place.site("shop", config={"appCommandLine": "", **config})


async def test_wsgi_app_runs_without_a_line_of_configuration(place: Place) -> None:
    await bare(place, linuxFxVersion="PYTHON|3.11")
    assert (await place.deploy("shop", {"app.py": WSGI})).status == 200
    assert await place.get("shop", "/here") == {"path": "/here", "folder": "/home/site/wwwroot"}


async def test_django_is_found_in_its_folder(place: Place) -> None:
    await bare(place)
    await place.deploy("shop", {"mysite/__init__.py": "", "mysite/wsgi.py": WSGI.replace("def app", "def application")})
    assert (await place.get("shop", "/admin"))["path"] == "/admin"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on this machine")
@pytest.mark.parametrize(
    "files",
    [
        {"server.js": NODE},
        {"deep/main.js": NODE, "package.json": '{"main": "deep/main.js"}'},
        {"other.js": NODE, "package.json": '{"scripts": {"start": "node other.js"}}'},
    ],
)
async def test_node_app_runs_by_its_files(place: Place, files: dict[str, str]) -> None:
    if "package.json" in files and "start" in files["package.json"] and shutil.which("npm") is None:
        pytest.skip("npm is not on this machine")
    await bare(place, linuxFxVersion="NODE|22-lts")
    await place.deploy("shop", files)
    assert await place.get("shop", "/x?y=z") == {"path": "/x?y=z", "port": "8080"}


async def test_startup_file_and_port_of_the_settings_are_used(place: Place) -> None:
    await bare(place, appCommandLine="startup.sh")
    await place.settings(place.id("shop"), {"WEBSITES_PORT": "9123"})
    script = 'exec python3 -m http.server --directory public "$PORT"'
    await place.deploy("shop", {"startup.sh": script, "public/said.json": '{"by": "a file"}'})
    assert await place.get("shop", "/said.json") == {"by": "a file"}


async def test_settings_do_not_replace_the_way_to_the_identity(place: Place) -> None:
    from .conftest import server

    await place.site("shop", identity={"type": "SystemAssigned"})
    taken = {"IDENTITY_ENDPOINT": "http://elsewhere", "identity_header": "x", "HOME": "/root", "A\0B": "x"}
    refused = await place.arm("PUT", f"{place.id('shop')}/config/appsettings", {"properties": taken})
    assert refused.status < 500
    del taken["A\0B"]
    await place.settings(place.id("shop"), taken)
    await place.deploy("shop", {"main.py": server()})
    seen = (await place.get("shop"))["environment"]
    assert "/msi/token" in seen["IDENTITY_ENDPOINT"]
    assert (seen["HOME"], "identity_header" in seen) == ("/home", False)
