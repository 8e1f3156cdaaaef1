"""`keyfob deploy-app`: a folder or an archive, a site that is there or made, and what is said when it goes wrong."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keyfob.cli import keyfob
from keyfob.errors import Problem

from .conftest import Place, server, zipped

pytestmark = pytest.mark.sandbox


async def run(place: Place, *arguments: str) -> Result:
    given = ["deploy-app", *arguments, "--data", str(place.client.data)]
    return await asyncio.to_thread(CliRunner().invoke, keyfob, given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "app"
    (made / "__pycache__").mkdir(parents=True)
    (made / "__pycache__" / "x.pyc").write_text("x")
    (made / "main.py").write_text(server("of a folder"))
    (made / "link.py").symlink_to("main.py")
    return made


async def test_folder_becomes_a_site_that_is_made_and_runs(place: Place, folder: Path) -> None:
    done = await run(place, "shop", str(folder), "--group", "new", "--command", "python3 link.py")
    assert done.exit_code == 0, done.output
    assert "https://shop.azurewebsites.net" in done.output
    assert "Unpacking the package." in done.output
    assert (await place.get("shop"))["text"] == "of a folder"
    made = await place.ok("GET", f"{place.group.removesuffix('web')}new/providers/Microsoft.Web/sites/shop")
    assert made["identity"]["type"] == "SystemAssigned"


async def test_archive_goes_to_a_slot_and_json_is_all_that_is_printed(place: Place, tmp_path: Path) -> None:
    await place.site("shop")
    await place.site("shop", "staging")
    archive = tmp_path / "app.zip"
    archive.write_bytes(zipped({"main.py": server("of an archive")}))
    done = await run(place, "shop/staging", str(archive), "--output", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["status"] == 4
    assert (await place.get("shop-staging"))["text"] == "of an archive"


async def test_what_goes_wrong_is_one_sentence(place: Place, folder: Path, tmp_path: Path) -> None:
    async def failed(*arguments: str) -> str:
        done = await run(place, *arguments)
        assert isinstance(done.exception, Problem), done.output
        return done.exception.message

    assert "No host is called 'shop'" in await failed("shop", str(folder))
    await place.site("shop")
    text = tmp_path / "text"
    text.write_text("no archive")
    assert "neither a folder nor a zip archive" in await failed("shop", str(text))
    (folder / "main.py").write_text("raise SystemExit('the reason')")
    said = await failed("shop", str(folder))
    assert said.startswith("The app did not come up")
    assert "the reason" in said
    (folder / "requirements.txt").write_text("./no-such-folder-here\n")
    assert "The deployment failed: python ended with exit code 1" in await failed("shop", str(folder), "--build")


async def test_what_was_forgotten_is_named(place: Place, folder: Path) -> None:
    async def failed(*arguments: str) -> str:
        done = await run(place, *arguments)
        assert isinstance(done.exception, Problem), done.output
        return done.exception.message

    assert "With --group NAME the site is made." in await failed("shop", str(folder))
    nothing = "nothing of it runs: there is no program in it that could be started without being named. --command"
    assert nothing in await failed("shop", str(folder), "--group", "web")
    assert "is in the group web, not in other" in await failed("shop", str(folder), "--group", "other")
    log = await asyncio.to_thread(CliRunner().invoke, keyfob, ["logs", "shop", "--data", str(place.client.data)])
    assert "has no program that could be started. Set a startup command." in log.output
    (folder / "main.py").write_text("import nothing_like_it")
    (folder / "requirements.txt").write_text("")
    said = await failed("shop", str(folder), "--command", "python3 main.py")
    assert said.endswith("Nothing of its requirements.txt was installed: --build does that.")


async def test_what_is_no_function_app_is_told_what_one_has(place: Place, folder: Path) -> None:
    kind = {"location": "westeurope", "kind": "functionapp,linux", "properties": {"reserved": True}}
    await place.ok("PUT", place.id("fns"), kind)
    done = await run(place, "fns", str(folder))
    assert isinstance(done.exception, Problem), done.output
    assert "there is no host.json with function_app.py" in done.exception.message
    log = await asyncio.to_thread(CliRunner().invoke, keyfob, ["logs", "fns", "--data", str(place.client.data)])
    assert "A function app has host.json" in log.output
    assert "startup command" not in log.output


async def test_a_stopped_site_is_said_to_be_stopped(place: Place, folder: Path) -> None:
    await place.site("shop")
    await place.ok("POST", f"{place.id('shop')}/stop")
    done = await run(place, "shop", str(folder))
    assert done.exit_code == 0, done.output
    assert "shop is stopped, so nothing was started" in done.output


async def test_a_program_that_opens_its_port_and_fails_then_did_not_come_up(place: Place, folder: Path) -> None:
    """As gunicorn does whose application cannot be imported."""
    (folder / "main.py").write_text(
        "import os, socket, time\n"
        "door = socket.create_server(('0.0.0.0', int(os.environ['PORT'])))\n"
        "time.sleep(0.5)\n"
        "raise SystemExit('no module named main')\n"
    )
    done = await run(place, "shop", str(folder), "--group", "web", "--command", "python3 main.py")
    assert isinstance(done.exception, Problem), done.output
    assert done.exception.message.startswith("The app did not come up")
    assert "no module named main" in done.exception.message
