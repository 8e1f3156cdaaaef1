"""A Python function app, deployed and run: HTTP and timer triggers with the app's identity, its keys, its functions."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from keyfob.arm.resources import get_resource
from keyfob.hosts.app_service.functions.keys import Chosen, FunctionKeys
from keyfob.resource_id import ResourceId

from .conftest import Place, Start, zipped

VAULT_ROLE = "4633458b-17de-408a-b874-0445c86b69e6"  # Key Vault Secrets User

CODE = """
import json, os, pathlib, urllib.error, urllib.request
import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
TICKS = pathlib.Path("/home/data/ticks")

def get(url, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as reply:
            return json.load(reply)
    except urllib.error.HTTPError as refused:
        return json.load(refused)

def secret():
    token = get(os.environ["IDENTITY_ENDPOINT"] + "?api-version=2019-08-01&resource=https://vault.azure.net",
                **{"X-IDENTITY-HEADER": os.environ["IDENTITY_HEADER"]})["access_token"]
    return get("https://fn-vault.vault.azure.net/secrets/greeting?api-version=7.4", Authorization="Bearer " + token)

@app.route(route="read/{name?}", methods=["GET"])
def read(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps({"name": req.route_params.get("name"), **secret()}))

@app.route(route="open", auth_level=func.AuthLevel.ANONYMOUS)
async def opened(req: func.HttpRequest) -> str:
    return "open " + os.environ["GREETING"] + str([n for n in os.environ if n == "functions.keys"])

@app.timer_trigger(schedule="* * * * * *", arg_name="timer")
def tick(timer: func.TimerRequest) -> None:
    with TICKS.open("a") as file:
        file.write(secret().get("value", "refused") + "\\n")
"""


def packages() -> dict[str, bytes]:
    """azure-functions and what it needs, as `pip install --target` would put it into the package."""
    found = {}
    for name in ("azure.functions", "werkzeug", "markupsafe"):
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            pytest.skip(f"{name} is not installed")
        root = Path(spec.submodule_search_locations[0])
        place = f".python_packages/lib/site-packages/{name.replace('.', '/')}"
        found |= {f"{place}/{file.relative_to(root)}": file.read_bytes() for file in sorted(root.rglob("*.py"))}
    return found


@pytest.fixture(scope="module")
def content() -> dict[str, str | bytes]:
    return {"host.json": '{"version": "2.0"}', "function_app.py": CODE, **packages()}


async def function_app(place: Place, name: str) -> Any:
    made = await place.ok(
        "PUT",
        place.id(name),
        {
            "location": "westeurope",
            "kind": "functionapp,linux",
            "identity": {"type": "SystemAssigned"},
            "properties": {"reserved": True, "siteConfig": {"linuxFxVersion": "PYTHON|3.11"}},
        },
    )
    await place.settings(place.id(name), {"GREETING": "hi", "FUNCTIONS_WORKER_RUNTIME": "python"})
    return made


async def vault(place: Place) -> str:
    id = f"{place.group}/providers/Microsoft.KeyVault/vaults/fn-vault"
    tenant = place.client.operator["tenant_id"]
    properties = {"tenantId": tenant, "sku": {"family": "A", "name": "standard"}, "enableRbacAuthorization": True}
    await place.ok("PUT", id, {"location": "westeurope", "properties": properties}, "2023-07-01")
    await place.ok("PUT", f"{id}/secrets/greeting", {"properties": {"value": "from the vault"}}, "2023-07-01")
    return id


async def assign(place: Place, scope: str, principal: str) -> None:
    properties = {
        "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{VAULT_ROLE}",
        "principalId": principal,
        "principalType": "ServicePrincipal",
    }
    name = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{principal}"
    await place.ok("PUT", name, {"properties": properties}, "2022-04-01")


async def test_functions_read_a_secret_with_their_identity(place: Place, content: dict[str, str | bytes]) -> None:
    scope = await vault(place)
    for name in ("fn-right", "fn-wrong"):
        made = await function_app(place, name)
        if name == "fn-right":
            await assign(place, scope, made["identity"]["principalId"])
        assert (await place.deploy(name, content)).status < 300

    keys = await place.ok("POST", f"{place.id('fn-right')}/host/default/listkeys")
    url = "https://fn-right.azurewebsites.net/api/read/you"
    found = await place.send("GET", f"{url}?code={keys['functionKeys']['default']}")
    assert (found.status, found.json()["value"], found.json()["name"]) == (200, "from the vault", "you")
    assert (await place.send("GET", url)).status == 401
    assert (await place.send("GET", url, {"x-functions-key": "wrong"})).status == 401

    wrong = await place.ok("POST", f"{place.id('fn-wrong')}/host/default/listkeys")
    assert wrong["masterKey"] != keys["masterKey"]
    other = "https://fn-wrong.azurewebsites.net/api/read"
    assert (await place.send("GET", other, {"x-functions-key": keys["masterKey"]})).status == 401
    refused = await place.send("GET", other, {"x-functions-key": wrong["masterKey"]})
    assert refused.json()["error"]["code"] == "Forbidden"

    ticks = {name: await ticked(place, name) for name in ("fn-right", "fn-wrong")}
    assert ticks == {"fn-right": "from the vault", "fn-wrong": "refused"}


async def ticked(place: Place, name: str) -> str:
    """What the timer found, read from the app's own file: nobody asked for it."""
    folder = place.app.workshop.folder_of(ResourceId.parse(place.id(name)))

    def files() -> list[Path]:
        return [path for path in folder.rglob("ticks") if path.read_text()]

    await place.until(files)
    return files()[0].read_text().splitlines()[0]


async def test_a_functions_own_key(starting: Start, content: dict[str, str | bytes]) -> None:
    place: Place = await starting()
    await function_app(place, "fn-keys")
    await place.deploy("fn-keys", content)
    listed = await place.ok("GET", f"{place.id('fn-keys')}/functions")
    names = {one["properties"]["name"]: one for one in listed["value"]}
    assert set(names) == {"read", "opened", "tick"}
    assert names["read"]["properties"]["invoke_url_template"] == "https://fn-keys.azurewebsites.net/api/read/{name?}"
    assert names["tick"]["properties"]["config"]["bindings"][0]["type"] == "timerTrigger"
    own = (await place.ok("POST", f"{place.id('fn-keys')}/functions/opened/listkeys"))["default"]
    read = (await place.ok("POST", f"{place.id('fn-keys')}/functions/read/listkeys"))["default"]

    async def status(key: str) -> int:
        found = await place.send("GET", "https://fn-keys.azurewebsites.net/api/read", {"x-functions-key": key})
        return int(found.status)

    assert (await status(read), await status(own)) == (200, 401)
    missing = await place.arm("POST", f"{place.id('fn-keys')}/functions/none/listkeys")
    assert missing.status == 404
    place = await starting()
    assert (await status(read), await status(own)) == (200, 401), "the same after a restart"


async def test_keys_of_ones_own_choosing(starting: Start, content: dict[str, str | bytes], tmp_path: Path) -> None:
    place: Place = await starting()
    app = await function_app(place, "fn-own")
    await place.deploy("fn-own", content)
    host, function = f"{place.id('fn-own')}/host/default", f"{place.id('fn-own')}/functions/opened"

    async def status(key: str, path: str = "/api/read") -> int:
        found = await place.send("GET", f"https://fn-own.azurewebsites.net{path}", {"x-functions-key": key})
        return int(found.status)

    async def put(path: str, value: str | None = None) -> tuple[int, str]:
        properties = {"name": path.rpartition("/")[2]} | ({"value": value} if value is not None else {})
        answer = await place.arm("PUT", path, {"properties": properties})
        return answer.status, answer.json()["properties"]["value"]

    first = await place.ok("POST", f"{host}/listkeys")
    made = await place.arm("PUT", f"{host}/functionKeys/Mine", {"properties": {"name": "Mine", "value": "chosen-one"}})
    assert (made.status, made.json()) == (
        201,
        {
            "id": f"{app['id']}/host/default/functionKeys/Mine",
            "name": "Mine",
            "type": "Microsoft.Web/sites/host/functionKeys",
            "location": "West Europe",
            "properties": {"name": "Mine", "value": "chosen-one"},
        },
    )
    assert await status("chosen-one") == 200
    # renewed: by a value, then by none
    assert await put(f"{host}/functionKeys/mine", "chosen-two") == (200, "chosen-two")
    assert (await status("chosen-one"), await status("chosen-two")) == (401, 200)
    code, third = await put(f"{host}/functionkeys/mine", "")
    assert (code, len(third) > 40, await status("chosen-two"), await status(third)) == (200, True, 401, 200)
    # the key that every app has
    code, renewed = await put(f"{host}/functionKeys/default")
    assert (code, await status(first["functionKeys"]["default"]), await status(renewed)) == (200, 401, 200)
    assert (await place.arm("DELETE", f"{host}/functionKeys/default")).status == 204
    assert (await place.arm("DELETE", f"{host}/functionKeys/default")).status == 404
    assert await status(renewed) == 401
    # the master key
    for path, value in ((f"{host}/systemKeys/_master", "chosen-master"), (f"{host}/masterKey/_master", "chosen-last")):
        assert await put(path, value) == (200, value)
    old = [first["masterKey"], "chosen-master", third, "chosen-last"]
    assert [await status(key, "/admin/host/status") for key in old] == [401, 401, 401, 200]
    assert await put(f"{host}/systemKeys/events", "chosen-system") == (201, "chosen-system")
    assert await status("chosen-system") == 401, "a system key opens no function"
    # a function's own
    assert await put(f"{function}/keys/partner", "chosen-partner") == (201, "chosen-partner")
    assert (await place.ok("POST", f"{function}/listkeys"))["partner"] == "chosen-partner"
    assert await status("chosen-partner") == 401, "another function's"
    listed = await place.ok("POST", f"{host}/listkeys")
    assert listed == {
        "masterKey": "chosen-last",
        "functionKeys": {"mine": third},
        "systemKeys": {"events": "chosen-system"},
    }
    written = [path.read_bytes() for path in (tmp_path / "data").glob("*") if path.is_file()]
    assert not [data for data in written if b"chosen-" in data or third.encode() in data]
    assert "chosen-" not in place.log(place.id("fn-own"))
    place = await starting()
    assert await place.ok("POST", f"{host}/listkeys") == listed
    assert (await status(third), await status(renewed), await status("chosen-two")) == (200, 401, 401)
    assert (await place.arm("DELETE", f"{function}/keys/partner")).status == 204
    # one of the same name has none of them
    await place.ok("DELETE", place.id("fn-own"))
    await function_app(place, "fn-own")
    assert list((await place.ok("POST", f"{host}/listkeys"))["functionKeys"]) == ["default"]


async def test_keys_that_another_node_changed(place: Place, content: dict[str, str | bytes], tmp_path: Path) -> None:
    """Its write is all that this node hears of."""
    await function_app(place, "fn-nodes")
    await place.deploy("fn-nodes", content)
    url = "https://fn-nodes.azurewebsites.net/api/read"
    assert (await place.send("GET", url, {"x-functions-key": "elsewhere"})).status == 401
    keys = FunctionKeys((tmp_path / "data" / "master.key").read_bytes())
    app = await get_resource(place.app.store, ResourceId.parse(place.id("fn-nodes")))
    assert app is not None
    async with place.app.store.transaction() as tx:
        await keys.change(tx, app, Chosen(host={"new": "elsewhere"}), app.created)
    async with asyncio.timeout(60):
        while (await place.send("GET", url, {"x-functions-key": "elsewhere"})).status != 200:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("method", "path", "properties", "status"),
    [
        ("DELETE", "host/default/systemKeys/_master", None, 400),
        ("DELETE", "host/default/masterKey/_master", None, 400),
        ("DELETE", "host/default/functionKeys/none", None, 404),
        ("DELETE", "host/default/systemKeys/default", None, 404),
        ("PUT", "host/default/functionKeys/a", {"value": 3}, 400),
        ("PUT", "host/default/functionKeys/a", {"value": "x" * 600}, 400),
        ("PUT", "host/default/functionKeys/a", {"value": "a\nb"}, 400),
        ("PUT", "host/default/functionKeys/a%20b", {"value": "x"}, 400),
        ("PUT", "host/default/functionKeys/a", [], 400),
        ("PUT", "functions/none/keys/a", {"value": "x"}, 404),
    ],
)
async def test_keys_that_are_refused(place: Place, method: str, path: str, properties: Any, status: int) -> None:
    await function_app(place, "fn-refused")
    body = {"properties": properties} if properties is not None else None
    assert (await place.arm(method, f"{place.id('fn-refused')}/{path}", body)).status == status


async def test_a_template_sets_a_host_key(place: Place) -> None:
    """As learn.microsoft.com, functions-infrastructure-as-code, "Create a host key" has it."""
    await function_app(place, "fn-template")
    key = {
        "type": "Microsoft.Web/sites/host/functionKeys",
        "apiVersion": "2022-09-01",
        "name": "fn-template/default/my_custom_key",
        "location": "westeurope",
        "properties": {"name": "my_custom_key", "value": "of-the-template"},
    }
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [key],
    }
    deployment = f"{place.group}/providers/Microsoft.Resources/deployments/keys"
    await place.ok("PUT", deployment, {"properties": {"mode": "Incremental", "template": template}}, "2024-03-01")
    ended: list[Any] = []
    while not ended or ended[-1]["properties"]["provisioningState"] in ("Accepted", "Running"):
        ended.append(await place.ok("GET", deployment, version="2024-03-01"))
    assert ended[-1]["properties"]["provisioningState"] == "Succeeded", ended[-1]
    listed = await place.ok("POST", f"{place.id('fn-template')}/host/default/listkeys")
    assert listed["functionKeys"]["my_custom_key"] == "of-the-template"


async def test_settings_reach_functions_and_keys_do_not(place: Place, content: dict[str, str | bytes]) -> None:
    await function_app(place, "fn-open")
    settings = {"GREETING": "hi", "PYTHONPATH": "/home/data", "functions.keys": "{}", "FUNCTIONS_KEYS": "{}"}
    await place.settings(place.id("fn-open"), settings)
    await place.deploy("fn-open", content)
    found = await place.send("GET", "https://fn-open.azurewebsites.net/api/open")
    assert (found.status, found.body) == (200, b"open hi[]")
    keys = await place.ok("POST", f"{place.id('fn-open')}/host/default/listkeys")
    status = await place.send(
        "GET", "https://fn-open.azurewebsites.net/admin/host/status", {"x-functions-key": keys["masterKey"]}
    )
    assert status.json()["state"] == "Running"
    log = place.log(place.id("fn-open"))
    assert "[Information]   Executing 'Functions.opened'" in log
    assert keys["masterKey"] not in log


async def test_an_app_that_cannot_be_run_says_why(place: Place, content: dict[str, str | bytes]) -> None:
    await function_app(place, "fn-bad")
    await place.deploy("fn-bad", {**content, "host.json": "{"})
    found = await place.send("GET", "https://fn-bad.azurewebsites.net/api/open")
    assert found.status == 503
    await place.until(lambda: "Unable to parse host configuration file" in place.log(place.id("fn-bad")))


async def test_the_host_through_resource_manager(place: Place, content: dict[str, str | bytes]) -> None:
    await function_app(place, "fn-host")
    runtime = f"{place.id('fn-host')}/hostruntime/admin"
    await place.deploy("fn-host", content)
    assert (await place.ok("GET", f"{runtime}/host/status"))["state"] == "Running"
    assert await place.ok("POST", f"{runtime}/host/synctriggers") == {"status": "success"}
    assert (await place.arm("POST", f"{runtime}/functions/TICK")).status == 202
    assert (await place.arm("POST", f"{runtime}/functions/read")).status == 400  # no timer
    assert (await place.arm("POST", f"{runtime}/functions/none")).status == 404
    for word in ("sync", "listsyncstatus"):
        assert (await place.arm("POST", f"{place.id('fn-host')}/host/default/{word}")).status == 204
    await place.ok("POST", f"{place.id('fn-host')}/stop")
    refused = await place.arm("GET", f"{runtime}/host/status")
    assert (refused.status, refused.json()["error"]["code"]) == (400, "BadRequest")
    assert "Encountered an error (ServiceUnavailable) from host runtime." in refused.json()["error"]["message"]


@pytest.mark.parametrize(("build", "said"), [("True", "requirements.txt"), ("False", "Deployment successful.")])
async def test_a_deployment_to_flex_consumption_says_itself_whether_to_build(
    place: Place, content: dict[str, str | bytes], build: str, said: str
) -> None:
    """What `az functionapp deployment source config-zip` sends there (appservice/custom.py, enable_zip_deploy_flex)."""
    await function_app(place, "fn-flex")
    scm = "https://fn-flex.scm.azurewebsites.net/api"
    headers = await place.credentials(place.id("fn-flex"))
    body = zipped({**content, "requirements.txt": "--no-index\nnothing-of-this-name\n"})
    sent = await place.send("POST", f"{scm}/publish?RemoteBuild={build}&Deployer=az_cli", headers, body)
    assert sent.status == 202

    async def latest() -> Any:
        return (await place.send("GET", f"{scm}/deployments/latest", headers)).json()

    async with asyncio.timeout(120):
        while not (shown := await latest())["complete"]:
            await asyncio.sleep(0.05)
    assert shown["status"] == (3 if build == "True" else 4)
    log = (await place.send("GET", f"{scm}/deployments/{shown['id']}/log", headers)).body.decode()
    assert said in log
    assert ("pip" in log) is (build == "True")


async def test_a_web_app_has_no_functions(place: Place) -> None:
    await place.site("not-functions")
    assert await place.ok("GET", f"{place.id('not-functions')}/functions") == {"value": []}
    for method, path in (
        ("GET", "hostruntime/admin/host/status"),
        ("PUT", "host/default/functionKeys/a"),
        ("DELETE", "host/default/functionKeys/default"),
    ):
        assert (await place.arm(method, f"{place.id('not-functions')}/{path}", {})).status == 404
