"""The SCM site: who may deploy, what becomes of what they send, and what is told about it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import NotFound
from keyfob.hosts.app_service import AppService
from keyfob.hosts.app_service.deploying.archive import BadArchive
from keyfob.hosts.app_service.deploying.deployments import MOST_SAID, Deployment, Package, Status, Telling, _place_file
from keyfob.hosts.app_service.site import Site
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Fields, Request

from .conftest import Place, Start, parsed, server, zipped

pytestmark = pytest.mark.sandbox

SCM = "https://shop.scm.azurewebsites.net"


async def bearer(place: Place, audience: str = "https://management.azure.com") -> dict[str, str]:
    return {"Authorization": f"Bearer {await asyncio.to_thread(place.client.token, audience)}"}


async def test_credentials_of_the_site_or_a_token_let_in_and_nothing_else(place: Place) -> None:
    await place.site("shop")
    await place.site("other")
    good = await place.credentials(place.id("shop"))
    user, password = base64.b64decode(good["Authorization"][6:]).decode().split(":")

    def basic(pair: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}

    wrong: list[Any] = [
        {},
        basic(f"{user}:{password}x"),
        basic(f"{user}:"),
        basic(f"other:{password}"),
        basic(user),
        {"Authorization": "Basic ???"},
        {"Authorization": "Bearer x.y.z"},
        await place.credentials(place.id("other")),
        await bearer(place, "https://vault.azure.net"),
    ]
    for headers in wrong:
        for method, path in (("GET", "/"), ("GET", "/api/settings"), ("POST", "/api/zipdeploy"), ("GET", "/nothing")):
            answer = await place.send(method, SCM + path, headers, b"" if method == "POST" else None)
            assert answer.status == 401, (headers, path, answer.body)
            assert answer.headers["www-authenticate"].startswith("Basic")
            assert password not in answer.body.decode()
    for headers in (good, basic(f"shop\\{user}:{password}"), await bearer(place)):
        assert (await place.send("GET", f"{SCM}/api/settings", headers)).status == 200
    assert (
        await place.send("GET", f"{SCM}/api/settings", await bearer(place, "https://appservice.azure.com"))
    ).status == 200
    await place.ok(
        "PUT", f"{place.id('shop')}/basicPublishingCredentialsPolicies/scm", {"properties": {"allow": False}}
    )
    assert (await place.send("GET", f"{SCM}/api/settings", good)).status == 401
    assert (await place.send("GET", f"{SCM}/api/settings", await bearer(place))).status == 200


async def test_principal_without_the_role_is_refused_by_a_logged_decision(place: Place) -> None:
    await place.site("shop")
    machine = await place.ok(
        "PUT",
        f"{place.group}/providers/Microsoft.Compute/virtualMachines/vm",
        {"location": "westeurope", "identity": {"type": "SystemAssigned"}},
    )
    endpoint = await place.ok("POST", f"{machine['id']}/providers/Keyfob.Hosts/openEndpoint", {}, "2026-11-01")
    import urllib.request

    def token() -> str:
        url = f"{endpoint['endpoint']}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://management.azure.com/"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Metadata": "true"})) as answer:
            return str(json.loads(answer.read())["access_token"])

    headers = {"Authorization": f"Bearer {await asyncio.to_thread(token)}"}
    refused = await place.send("POST", f"{SCM}/api/zipdeploy", headers, zipped({"main.py": ""}))
    assert refused.status == 403
    assert "Microsoft.Web/sites/publish/Action" in parsed(refused)["Message"]
    await place.ok(
        "PUT",
        f"{place.id('shop')}/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-8000-000000000001",
        {
            "properties": {
                "roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions"
                "/de139f84-1756-47ae-9be6-808fbbe84772",  # Website Contributor
                "principalId": machine["identity"]["principalId"],
                "principalType": "ServicePrincipal",
            }
        },
        "2022-04-01",
    )
    assert (await place.send("GET", f"{SCM}/api/deployments", headers)).status == 200


async def test_broken_package_leaves_the_app_that_runs(place: Place) -> None:
    await place.site("shop")
    assert (await place.deploy("shop", {"main.py": server("good")})).status == 200
    before = (await place.get("shop"))["start"]
    headers = await place.credentials(place.id("shop"))
    for sent in (b"no zip", zipped({"../evil": "x"}), b""):
        answer = await place.send("POST", f"{SCM}/api/zipdeploy", headers, sent)
        assert answer.status == 400, answer.body
    said = await place.get("shop")
    assert (said["text"], said["start"]) == ("good", before)
    latest = parsed(await place.send("GET", f"{SCM}/api/deployments/latest", headers))
    assert (latest["status"], latest["complete"], latest["active"], latest["provisioningState"]) == (
        3,
        True,
        False,
        "Failed",
    )
    listed = parsed(await place.send("GET", f"{SCM}/api/deployments", headers))
    assert [one["status"] for one in listed] == [3, 3, 3, 4]
    assert [one["active"] for one in listed] == [False, False, False, True]


async def test_async_deployment_is_followed_by_latest_and_its_log(place: Place) -> None:
    await place.site("shop")
    headers = await place.credentials(place.id("shop"))
    sent = await place.send(
        "POST", f"{SCM}/api/zipdeploy?isAsync=true&author=me", headers, zipped({"main.py": server()})
    )
    assert (sent.status, "/api/deployments/latest" in sent.headers["location"]) == (202, True)
    async with asyncio.timeout(90):
        while True:
            answer = await place.send("GET", f"{SCM}/api/deployments/latest", headers)
            latest = parsed(answer)
            assert answer.status == (200 if latest["complete"] else 202)
            if latest["complete"]:
                break
    assert (latest["status"], latest["author"], latest["id"]) == (4, "me", sent.headers["scm-deployment-id"])
    log = parsed(await place.send("GET", latest["log_url"], headers))
    assert log[-1]["message"] == "Deployment successful."
    assert (await place.get("shop"))["text"] == "one"
    shown = await place.ok("GET", f"{place.id('shop')}/deploymentStatus/{latest['id']}")
    assert shown["properties"]["status"] == "RuntimeSuccessful"
    listed = await place.ok("GET", f"{place.id('shop')}/deployments")
    assert [one["name"] for one in listed["value"]] == [latest["id"]]


async def test_one_deploy_takes_zips_and_single_files(place: Place) -> None:
    await place.site("shop")
    headers = await place.credentials(place.id("shop"))

    async def publish(query: str, body: bytes) -> int:
        return (await place.send("POST", f"{SCM}/api/publish?{query}", headers, body)).status

    assert await publish("type=zip", zipped({"main.py": server("a"), "kept.txt": "k"})) == 200
    assert await publish("type=static&path=main.py", server("b").encode()) == 200
    assert (await place.get("shop"))["text"] == "b"
    assert await publish("type=static&path=/home/site/wwwroot/deep/file.txt", b"x") == 200
    for query in ("type=static&path=../x", "type=static", "type=odd", "", "type=static&path=/etc/x"):
        assert await publish(query, b"x") == 400
    assert (await place.get("shop"))["text"] == "b"


async def test_only_one_deployment_of_a_site_at_a_time(place: Place) -> None:
    await place.site("shop")
    headers = await place.credentials(place.id("shop"))
    package = zipped({"main.py": server(), "big": b"x" * 3_000_000})
    sent = [asyncio.create_task(place.send("POST", f"{SCM}/api/zipdeploy", headers, package)) for _ in range(4)]
    statuses = sorted([(await one).status for one in sent])
    assert statuses[0] == 200
    assert set(statuses) <= {200, 409}


async def test_package_larger_than_other_bodies_goes_through(place: Place) -> None:
    import os

    await place.site("shop")
    answer = await place.deploy("shop", {"main.py": server("large"), "noise": os.urandom(20_000_000)})
    assert answer.status == 200, answer.body
    assert (await place.get("shop"))["text"] == "large"
    own, credential = (b"host", b"shop.scm.azurewebsites.net:443"), (b"authorization", b"Basic x")
    takes = place.app.front_door.takes_large
    assert takes(b"/api/zipdeploy?isAsync=true", [own, credential])
    assert not takes(b"/api/zipdeploy", [own])
    assert not takes(b"/api/settings", [own, credential])
    assert not takes(b"/api/zipdeploy", [(b"host", b"shop.azurewebsites.net"), credential])
    assert not takes(b"/api/zipdeploy", [credential])


async def test_deployment_broken_off_by_the_end_of_the_server_has_failed(starting: Start) -> None:
    place: Place = await starting()
    await place.site("shop")
    await place.deploy("shop", {"main.py": server()})
    folder = next((place.client.data / "hosts").glob("*/deployments"))
    record = json.loads(next(folder.glob("*.json")).read_text())
    half = {**record, "id": "0" * 32, "status": 1, "ended": "", "received": "2099-01-01T00:00:00.0000000Z"}
    (folder / f"{'0' * 32}.json").write_text(json.dumps(half))
    headers = await place.credentials(place.id("shop"))
    latest = parsed(await place.send("GET", f"{SCM}/api/deployments/latest", headers))
    assert (latest["status"], latest["status_text"]) == (3, "The server was stopped before this deployment was done.")


async def test_build_is_made_when_asked_for_and_its_failure_is_told(place: Place) -> None:
    await place.site("shop", config={"appCommandLine": ""})
    await place.settings(place.id("shop"), {"SCM_DO_BUILD_DURING_DEPLOYMENT": "true"})
    answer = await place.deploy("shop", {"app.py": "", "requirements.txt": "./no-such-folder-here\n"})
    assert answer.status == 400
    headers = await place.credentials(place.id("shop"))
    latest = parsed(await place.send("GET", f"{SCM}/api/deployments/latest", headers))
    assert latest["status"] == 3
    log = parsed(await place.send("GET", latest["log_url"], headers))
    assert any("no-such-folder-here" in one["message"] for one in log)
    shown = await place.ok("GET", f"{place.id('shop')}/deploymentStatus/{latest['id']}")
    assert shown["properties"]["status"] == "BuildFailed"
    empty = await place.send("GET", "https://shop.azurewebsites.net/")
    assert b"waiting for your content" in empty.body


async def test_program_that_does_not_come_up_is_told_in_the_deployments_status(place: Place) -> None:
    await place.site("shop")
    await place.deploy("shop", {"main.py": "raise SystemExit('no port for you')"})
    listed = await place.ok("GET", f"{place.id('shop')}/deploymentStatus")
    properties = listed["value"][0]["properties"]
    assert properties["status"] == "RuntimeFailed"
    assert properties["numberOfInstancesFailed"] == 1
    assert "no port for you" in properties["errors"][0]["message"]


async def test_settings_are_told_and_unknown_paths_and_sites_are_not_found(place: Place) -> None:
    await place.site("shop")
    await place.settings(place.id("shop"), {"A": "b"})
    headers = await place.credentials(place.id("shop"))
    assert parsed(await place.send("GET", f"{SCM}/api/settings", headers))["A"] == "b"
    assert (await place.send("GET", f"{SCM}/api/nothing", headers)).status == 404
    assert (await place.send("GET", f"{SCM}/api/deployments/latest", headers)).status == 404
    assert (await place.send("GET", f"{SCM}/api/deployments/..%2f..%2fborn", headers)).status == 404
    assert (await place.send("GET", "https://nobody.scm.azurewebsites.net/", headers)).status == 404


async def test_log_stream_has_what_was_and_what_comes(place: Place) -> None:
    await place.site("shop")
    await place.deploy("shop", {"main.py": server()})
    await place.get("shop", "/before")
    headers = await place.credentials(place.id("shop"))
    reply = await place.app.front_door(
        Request(
            "GET",
            "/logstream",
            Fields(),
            Fields(list(headers.items())),
            host="shop.scm.azurewebsites.net",
            raw_path="/logstream",
        )
    )
    assert (reply.status, reply.stream is not None) == (200, True)
    assert reply.stream is not None
    heard = b""
    async with asyncio.timeout(90):
        asked = False
        async for part in reply.stream:
            heard += part
            if b"asked for /before" in heard and not asked:
                asked = True
                await place.get("shop", "/after")
            if b"asked for /after" in heard:
                break
    await reply.stream.aclose()
    assert heard.startswith(b"Welcome, you are now connected to log-streaming service.")


async def test_package_that_is_run_as_it_is_is_kept_and_not_built(place: Place) -> None:
    await place.site("shop")
    settings = {"WEBSITE_RUN_FROM_PACKAGE": "1", "SCM_DO_BUILD_DURING_DEPLOYMENT": "true"}
    await place.settings(place.id("shop"), settings)
    listing = "import os\nTEXT = sorted(os.listdir('/home/data/SitePackages'))\n"
    files = {"main.py": listing + server().partition("\n")[2], "requirements.txt": "./no-such-folder-here\n"}
    for _ in range(2):
        answer = await place.deploy("shop", files)
        assert answer.status == 200, answer.body
    said = await place.get("shop")
    assert said["text"] == [f"{answer.headers['scm-deployment-id']}.zip", "packagename.txt"]


async def test_dump_has_the_logs(place: Place) -> None:
    import io
    import zipfile

    await place.site("shop")
    deployed = await place.deploy("shop", {"main.py": server()})
    await place.get("shop", "/seen")
    await place.until(lambda: "asked for /seen" in place.log(place.id("shop")))
    answer = await place.send("GET", f"{SCM}/dump", await place.credentials(place.id("shop")))
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert b"asked for /seen" in archive.read("LogFiles/app.log")
    assert b"Deployment successful." in archive.read(f"deployments/{deployed.headers['scm-deployment-id']}/log.log")


async def test_deployer_that_is_no_word_stays_in_its_header(place: Place) -> None:
    await place.site("shop")
    url = f"{SCM}/api/zipdeploy?isAsync=true&deployer=x%0d%0aSet-Cookie:%20a=b"
    answer = await place.send("POST", url, await place.credentials(place.id("shop")), zipped({"main.py": server()}))
    assert answer.status == 202
    assert "set-cookie" not in {name.lower() for name in answer.headers}
    assert answer.headers["location"].endswith("?deployer=x%0D%0ASet-Cookie%3A%20a%3Db")


async def test_deployment_of_a_site_that_is_gone_leaves_the_next_of_its_name_alone(place: Place) -> None:
    await place.site("shop")
    id, reader = ResourceId.parse(place.id("shop")), place.sites._reader
    old = await reader.read(id)
    assert old is not None
    deployments = next(runner for runner in place.app.runners if isinstance(runner, AppService)).deployments
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def build(site: Site, folder: Path, telling: Telling) -> None:
        if site.resource.created == old.resource.created:
            reached.set()
            await go_on.wait()

    deployments._build = build
    late = deployments.begin(old, Package(io.BytesIO(zipped({"main.py": server("old")}))), deployer="x")
    await reached.wait()
    await place.ok("DELETE", place.id("shop"))
    await place.site("shop")
    assert (await place.deploy("shop", {"main.py": server("new")})).status == 200
    go_on.set()
    await deployments.wait(old, late)
    assert late.status == Status.FAILED
    assert (await place.get("shop"))["text"] == "new"
    folder = place.app.workshop.folder_of(id)
    assert [path.name for path in (folder / "content").iterdir()] == [(folder / "current").read_text()]
    with pytest.raises(NotFound):
        deployments.begin(old, Package(io.BytesIO(b"")), deployer="x")
    assert (await place.get("shop"))["text"] == "new"


async def test_deployments_without_a_restart_do_not_pile_up(place: Place) -> None:
    await place.site("shop")
    await place.deploy("shop", {"main.py": server("first")})
    assert (await place.get("shop"))["text"] == "first"
    headers = await place.credentials(place.id("shop"))
    for number in range(3):
        package = zipped({"main.py": server(str(number))})
        answer = await place.send("POST", f"{SCM}/api/publish?type=zip&restart=false", headers, package)
        assert answer.status == 200, answer.body
    folder = place.app.workshop.folder_of(ResourceId.parse(place.id("shop")))
    assert len(list((folder / "content").iterdir())) == 2
    assert (await place.get("shop"))["text"] == "first"


async def test_log_stream_ends_with_the_credentials_that_began_it(place: Place) -> None:
    await place.site("shop")
    await place.deploy("shop", {"main.py": server()})
    headers = Fields(list((await place.credentials(place.id("shop"))).items()))
    request = Request("GET", "/logstream", Fields(), headers, host="shop.scm.azurewebsites.net", raw_path="/logstream")
    reply = await place.app.front_door(request)
    assert reply.stream is not None
    assert (await anext(reply.stream)).startswith(b"Welcome")
    policy = f"{place.id('shop')}/basicPublishingCredentialsPolicies/scm"
    await place.ok("PUT", policy, {"properties": {"allow": False}})
    async with asyncio.timeout(60):
        async for _ in reply.stream:
            pass


def test_log_of_a_deployment_is_bounded_and_says_why_it_failed(tmp_path: Path, clock: Any) -> None:
    telling = Telling(Deployment(id="a"), tmp_path / "a.json", clock)
    for _ in range(1_000):
        telling.say("x" * 4_000)
    telling.say("it failed", 2)
    log = telling.deployment.log
    assert sum(len(one.message) for one in log) <= MOST_SAID
    assert log[-1].message == "it failed"


def test_file_below_a_link_makes_no_folder_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "out").symlink_to(tmp_path)
    with pytest.raises(BadArchive, match="link"):
        _place_file(Package(io.BytesIO(b"x"), type="static", path="out/made/file"), tmp_path / "content")
    assert [path.name for path in tmp_path.iterdir()] == ["content"]
