"""A site's program: where it runs, what it sees, who reaches it and when."""

from __future__ import annotations

import asyncio

import pytest

from keyfob.resource_id import ResourceId

from .conftest import Place, Start, server

pytestmark = pytest.mark.sandbox


async def test_deployed_app_answers_at_its_name_and_sees_app_services_environment(place: Place) -> None:
    await place.site("shop", identity={"type": "SystemAssigned"})
    await place.settings(place.id("shop"), {"GREETING": "hello", "with.dots": "x"})
    await place.ok(
        "PUT",
        f"{place.id('shop')}/config/connectionstrings",
        {"properties": {"db": {"value": "Server=x", "type": "SQLAzure"}, "other": {"value": "y", "type": "Custom"}}},
    )
    sent = await place.deploy("shop", {"main.py": server("first")})
    assert sent.status == 200, sent.body
    said = await place.get("shop", "/a%20b?q=1")
    assert (said["path"], said["text"], said["folder"]) == ("/a%20b?q=1", "first", "/home/site/wwwroot")
    seen = said["environment"]
    assert {name: seen[name] for name in ("GREETING", "with_dots", "SQLAZURECONNSTR_db", "CUSTOMCONNSTR_other")} == {
        "GREETING": "hello",
        "with_dots": "x",
        "SQLAZURECONNSTR_db": "Server=x",
        "CUSTOMCONNSTR_other": "y",
    }
    assert (seen["HOME"], seen["PORT"], seen["HTTP_PLATFORM_PORT"]) == ("/home", "8000", "8000")
    assert seen["WEBSITE_SITE_NAME"] == "shop"
    assert seen["WEBSITE_HOSTNAME"] == "shop.azurewebsites.net"
    assert seen["WEBSITE_RESOURCE_GROUP"] == "web"
    assert seen["WEBSITE_OWNER_NAME"].startswith(place.client.operator["subscription_id"])
    assert "/msi/token" in seen["IDENTITY_ENDPOINT"]
    assert seen["IDENTITY_HEADER"]
    assert not [name for name in seen if name.startswith("KEYFOB")]
    assert "asked for /a%20b?q=1" in place.log(place.id("shop"))


async def test_site_without_content_unknown_and_stopped_ones_show_app_services_pages(place: Place) -> None:
    await place.site("shop")
    empty = await place.send("GET", "https://shop.azurewebsites.net/")
    assert (empty.status, b"waiting for your content" in empty.body) == (200, True)
    unknown = await place.send("GET", "https://nobody.azurewebsites.net/")
    assert (unknown.status, b"404 Web Site not found" in unknown.body) == (404, True)
    await place.deploy("shop", {"main.py": server()})
    assert (await place.get("shop"))["text"] == "one"
    await place.ok("POST", f"{place.id('shop')}/stop")
    stopped = await place.send("GET", "https://shop.azurewebsites.net/")
    assert (stopped.status, b"Error 403 - This web app is stopped." in stopped.body) == (403, True)
    await place.until(lambda: not place.sites._running)
    await place.ok("POST", f"{place.id('shop')}/start")
    assert (await place.get("shop"))["text"] == "one"


async def test_changed_settings_and_restart_give_the_program_a_new_start_and_tags_do_not(place: Place) -> None:
    await place.site("shop")
    await place.deploy("shop", {"main.py": server()})
    first = (await place.get("shop"))["start"]
    await place.ok("PATCH", place.id("shop"), {"tags": {"a": "b"}})
    await place.settings(place.id("shop"), {"COLOUR": "green"})
    async with asyncio.timeout(90):
        while (said := await place.get("shop"))["environment"].get("COLOUR") != "green":
            await asyncio.sleep(0.05)
    assert said["start"] != first
    assert place.log(place.id("shop")).count("is restarted") == 1
    await place.ok("POST", f"{place.id('shop')}/restart")
    async with asyncio.timeout(90):
        while (await place.get("shop"))["start"] == said["start"]:
            await asyncio.sleep(0.05)


async def test_slots_have_content_environment_and_name_of_their_own(place: Place) -> None:
    await place.site("shop")
    await place.site("shop", "staging")
    await place.deploy("shop", {"main.py": server("live")})
    await place.deploy("shop", {"main.py": server("next")}, slot="staging")
    live, following = await place.get("shop"), await place.get("shop-staging")
    assert (live["text"], following["text"]) == ("live", "next")
    assert following["environment"]["WEBSITE_SLOT_NAME"] == "staging"
    assert following["environment"]["WEBSITE_HOSTNAME"] == "shop-staging.azurewebsites.net"
    assert live["environment"]["WEBSITE_INSTANCE_ID"] != following["environment"]["WEBSITE_INSTANCE_ID"]
    assert live["environment"]["IDENTITY_HEADER"] != following["environment"]["IDENTITY_HEADER"]


async def test_program_that_fails_shows_503_and_is_started_again_with_pauses(place: Place) -> None:
    await place.site("shop")
    await place.deploy("shop", {"main.py": "raise SystemExit('no database')"})
    answer = await place.send("GET", "https://shop.azurewebsites.net/")
    assert (answer.status, b":( Application Error" in answer.body) == (503, True)
    await place.until(lambda: "it is started again in 2 s" in place.log(place.id("shop")))
    assert "no database" in place.log(place.id("shop"))
    listed = await place.ok("GET", f"{place.id('shop')}/instances")
    assert [one["properties"]["state"] for one in listed["value"]] in (["STOPPED"], ["UNKNOWN"])


async def test_program_that_never_listens_is_given_up_after_its_limit(place: Place) -> None:
    await place.site("shop")
    await place.settings(place.id("shop"), {"WEBSITES_CONTAINER_START_TIME_LIMIT": "1"})
    await place.deploy("shop", {"main.py": "import time; time.sleep(3600)"})
    answer = await place.send("GET", "https://shop.azurewebsites.net/")
    assert (answer.status, b"did not listen on port 8000" in answer.body) == (503, True)


async def test_https_only_leads_plain_requests_to_https(place: Place) -> None:
    from keyfob.wire.http import Fields, Request

    await place.site("shop", httpsOnly=True)
    request = Request("GET", "/a", Fields(), Fields(), host="shop.azurewebsites.net", scheme="http", raw_path="/a")
    reply = await place.app.front_door(request)
    assert (reply.status, dict(reply.headers)["Location"]) == (301, "https://shop.azurewebsites.net/a")


async def test_deleted_site_leaves_nothing_and_its_successor_gets_nothing_of_it(place: Place) -> None:
    await place.site("shop")
    await place.deploy("shop", {"main.py": server()})
    await place.get("shop")
    await place.ok("DELETE", place.id("shop"))
    await place.site("shop")
    empty = await place.send("GET", "https://shop.azurewebsites.net/")
    assert b"waiting for your content" in empty.body
    await place.ok("DELETE", place.id("shop"))
    folder = place.client.data / "hosts"
    await place.until(lambda: not any(folder.iterdir()))


async def test_after_a_restart_of_the_server_sites_are_as_they_were(starting: Start) -> None:
    place: Place = await starting()
    await place.site("shop")
    await place.site("always", config={"alwaysOn": True})
    await place.site("stopped")
    for name in ("shop", "always", "stopped"):
        await place.deploy(name, {"main.py": server(name)})
    await place.ok("POST", f"{place.id('stopped')}/stop")
    place = await starting()
    await place.until(lambda: len(place.sites._running) == 1)  # nobody asked for it
    assert (await place.get("shop"))["text"] == "shop"
    assert (await place.get("always"))["text"] == "always"
    assert (await place.send("GET", "https://stopped.azurewebsites.net/")).status == 403


async def test_health_check_counts_failures_in_the_log(place: Place) -> None:
    from keyfob.resource_id import ResourceId

    text = server().replace("send_response(200)", "send_response(500 if self.path == '/well' else 200)")
    await place.site("shop", config={"healthCheckPath": "/well"})
    await place.deploy("shop", {"main.py": text})
    await place.get("shop")
    running = place.sites.running(ResourceId.parse(place.id("shop")))
    for _ in range(10):
        await running.ping()
    assert "health check of /well answered 500 (10 in a row)" in place.log(place.id("shop"))
    listed = await place.ok("GET", f"{place.id('shop')}/instances")
    assert listed["value"][0]["properties"]["state"] == "UNKNOWN"


async def test_plain_http_is_for_sites_alone(place: Place) -> None:
    from keyfob.wire.http import Fields, Request

    await place.site("shop")

    async def asked(host: str) -> int:
        request = Request("GET", "/", Fields(), Fields(), host=host, scheme="http", raw_path="/")
        return (await place.app.front_door.plain(request)).status

    assert await asked("shop.azurewebsites.net") == 200
    for host in ("shop.scm.azurewebsites.net", "v.vault.azure.net", "management.azure.com", "elsewhere.example"):
        assert await asked(host) == 403


async def test_programs_reach_sites_at_port_80(place: Place) -> None:
    asking = "import os, urllib.request as u\nTEXT = u.urlopen('http://shop.azurewebsites.net/').status\n"
    await place.site("shop")
    await place.site("asks")
    await place.deploy("asks", {"main.py": asking + server().partition("\n")[2]})
    assert (await place.get("asks"))["text"] == 200


async def test_who_waits_for_a_program_that_is_ended_meanwhile_gets_its_successors_answer(place: Place) -> None:
    gate = "import os, time\nwhile not os.path.exists('/home/data/go'):\n    time.sleep(0.02)\n"
    await place.site("shop")
    await place.deploy("shop", {"main.py": gate + server()})
    id = ResourceId.parse(place.id("shop"))
    waiting = asyncio.create_task(place.get("shop"))
    first = place.sites.running(id)
    assert first is not None
    await place.ok("POST", f"{place.id('shop')}/restart")
    await place.until(lambda: place.sites.running(id) not in (None, first))
    assert not waiting.done()
    (place.app.workshop.folder_of(id) / "home" / "data" / "go").touch()
    assert (await waiting)["text"] == "one"


async def test_links_that_a_program_leaves_in_its_home_lead_the_server_nowhere(place: Place) -> None:
    outside = place.client.data.parent / "outside"
    outside.mkdir()
    text = f"import os, shutil\nshutil.rmtree('/home/LogFiles', True)\nos.symlink({str(outside)!r}, '/home/LogFiles')\n"
    await place.site("shop")
    await place.deploy("shop", {"main.py": text + server()})
    await place.get("shop")
    home = next((place.client.data / "hosts").glob("*/home"))
    assert (home / "LogFiles").is_symlink()
    await place.deploy("shop", {"main.py": server("again")})
    assert (await place.get("shop"))["text"] == "again"
    assert not (home / "LogFiles").is_symlink()
    assert list(outside.iterdir()) == []
