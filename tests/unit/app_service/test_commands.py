"""Which program a site's content is: a table of contents."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyfob.arm.model import Resource
from keyfob.clouds.table import load_clouds
from keyfob.hosts.app_service.running.command import DEFAULT_SERVER_AT, LONGEST_PACKAGE, choose, package_json
from keyfob.hosts.app_service.site import Site
from keyfob.resource_id import ResourceId

ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Web/sites/shop"
GUNICORN = {"antenv/bin/python": "", "antenv/bin/gunicorn": ""}


def site(config: Mapping[str, Any], settings: Mapping[str, str] | None = None) -> Site:
    return Site(
        id=ResourceId.parse(ID),
        resource=Resource(id=ID, type="Microsoft.Web/sites", name="shop"),
        cloud=load_clouds()["AzureCloud"],
        settings=settings or {},
        config=config,
    )


def content(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "config", "command", "port"),
    [
        ({"app.py": "", **GUNICORN}, {}, ["gunicorn", "app:app"], 8000),
        ({"application.py": "", "app.py": "", **GUNICORN}, {}, ["gunicorn", "application:app"], 8000),
        ({"server.py": "", **GUNICORN}, {"linuxFxVersion": "PYTHON|3.11"}, ["gunicorn", "server:app"], 8000),
        ({"shop/wsgi.py": "", "app.py": "", **GUNICORN}, {}, ["gunicorn", "shop.wsgi"], 8000),
        ({"antenv/wsgi.py": "", "app.py": "", **GUNICORN}, {}, ["gunicorn", "app:app"], 8000),
        ({"main.py": ""}, {}, None, 0),
        ({"main.py": ""}, {"appCommandLine": "uvicorn main:app"}, ["sh", "-c", "uvicorn main:app"], 8000),
        ({"main.py": "", "startup.sh": ""}, {"appCommandLine": "startup.sh"}, ["sh", "startup.sh"], 8000),
        ({"startup.sh": ""}, {"appCommandLine": "startup.sh --fast"}, ["sh", "-c", "startup.sh --fast"], 8080),
        ({"x": ""}, {"appCommandLine": "../x"}, ["sh", "-c", "../x"], 8080),
        ({"package.json": '{"scripts": {"start": "node x"}, "main": "y.js"}'}, {}, ["npm", "start"], 8080),
        ({"package.json": '{"main": "y.js"}', "server.js": ""}, {}, ["node", "y.js"], 8080),
        ({"package.json": "[]", "server.js": ""}, {}, ["node", "server.js"], 8080),
        ({"package.json": "no json", "index.js": ""}, {}, ["node", "index.js"], 8080),
        ({"bin/www": "", "index.js": ""}, {"linuxFxVersion": "NODE|20-lts"}, ["node", "bin/www"], 8080),
        ({"other.js": ""}, {"linuxFxVersion": "NODE|20-lts", "appCommandLine": "other.js"}, ["node", "other.js"], 8080),
        ({"package.json": "{}"}, {"appCommandLine": "pm2 start x"}, ["sh", "-c", "pm2 start x"], 8080),
        ({"app.dll": ""}, {"linuxFxVersion": "DOTNETCORE|8.0"}, None, 0),
        ({"app.dll": ""}, {"appCommandLine": "dotnet app.dll"}, ["sh", "-c", "dotnet app.dll"], 8080),
        ({"index.html": ""}, {}, None, 0),
    ],
)
def test_command_and_port(
    tmp_path: Path, files: Mapping[str, str], config: Mapping[str, Any], command: list[str] | None, port: int
) -> None:
    launch = choose(site(config), content(tmp_path, files), path=str(tmp_path / "nowhere"))
    if command is None:
        assert launch is None
        return
    assert launch is not None
    assert (list(launch.command), launch.port) == (command, port)


def test_without_gunicorn_the_standard_librarys_server_runs_the_app(tmp_path: Path) -> None:
    launch = choose(site({}), content(tmp_path, {"app.py": ""}), path=str(tmp_path / "nowhere"))
    assert launch is not None
    assert list(launch.command) == ["python3", DEFAULT_SERVER_AT, "app:app", "8000"]
    assert [target for _, target in launch.grafts] == [DEFAULT_SERVER_AT]
    assert "gunicorn is not installed" in launch.notes[0]


def test_port_of_the_settings_and_packages_of_the_content_count(tmp_path: Path) -> None:
    made = content(tmp_path, {"app.py": "", ".python_packages/lib/site-packages/bin/gunicorn": ""})
    launch = choose(site({}, {"websites_port": "9000"}), made, path="/nowhere")
    assert launch is not None
    assert launch.port == 9000
    assert "--bind=0.0.0.0:9000" in launch.environment["GUNICORN_CMD_ARGS"]
    assert launch.environment["PYTHONPATH"] == "/home/site/wwwroot/.python_packages/lib/site-packages"
    assert list(launch.command) == ["gunicorn", "app:app"]


def test_a_version_that_the_machine_lacks_is_noted(tmp_path: Path) -> None:
    made = content(tmp_path, {"app.py": ""})
    launch = choose(site({"linuxFxVersion": "PYTHON|2.3"}), made, path="/nowhere")
    assert launch is not None
    assert "no Python 2.3" in launch.notes[0]


def test_package_json_of_any_form_is_no_error(tmp_path: Path) -> None:
    for text in (json.dumps({"scripts": "none", "main": 3}), "[" * 100_000, "\xff"):
        (tmp_path / "package.json").write_text(text)
        assert choose(site({}), tmp_path) is None


def test_package_json_that_is_no_file_of_the_content(tmp_path: Path) -> None:
    """What a program left there is looked at when the site starts again, by the server and with its rights."""
    (tmp_path / "secret.json").write_text('{"main": "of-the-server.js"}')
    (tmp_path / "content").mkdir()
    place = tmp_path / "content" / "package.json"
    place.symlink_to(tmp_path / "secret.json")
    assert package_json(place.parent) == {}
    place.unlink()
    place.symlink_to("package.json")
    assert package_json(place.parent) == {}
    place.unlink()
    os.mkfifo(place)
    assert package_json(place.parent) == {}
    place.unlink()
    place.write_text(" " * LONGEST_PACKAGE + '{"main": "x.js"}')
    assert package_json(place.parent) == {}
    place.write_text('{"main": "x.js"}')
    (place.parent / "link").symlink_to("package.json")
    assert package_json(place.parent) == {"main": "x.js"}


def test_another_site_of_the_same_name_is_started_anew() -> None:
    """A deletion and what is made after it may be seen as one change."""
    one, same = site({}), site({})
    assert one.form == same.form
    other = replace(one, resource=msgspec.structs.replace(one.resource, created=one.resource.created + 1))
    assert other.form != one.form
