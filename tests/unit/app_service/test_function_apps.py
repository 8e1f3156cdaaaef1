"""A Python function app, deployed and run: HTTP and timer triggers with the app's identity, its keys, its functions."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from .conftest import Place, Start

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
    return "open " + os.environ["GREETING"] + str([n for n in os.environ if "KEY" in n])

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
    from keyfob.resource_id import ResourceId

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


async def test_settings_reach_functions_and_keys_do_not(place: Place, content: dict[str, str | bytes]) -> None:
    await function_app(place, "fn-open")
    await place.deploy("fn-open", content)
    found = await place.send("GET", "https://fn-open.azurewebsites.net/api/open")
    assert (found.status, found.body) == (200, b"open hi[]")
    keys = await place.ok("POST", f"{place.id('fn-open')}/host/default/listkeys")
    status = await place.send(
        "GET", "https://fn-open.azurewebsites.net/admin/host/status", {"x-functions-key": keys["masterKey"]}
    )
    assert status.json()["state"] == "Running"
    log = place.log(place.id("fn-open"))
    assert "Executing 'Functions.opened'" in log
    assert keys["masterKey"] not in log


async def test_an_app_that_cannot_be_run_says_why(place: Place, content: dict[str, str | bytes]) -> None:
    await function_app(place, "fn-bad")
    await place.deploy("fn-bad", {**content, "host.json": "{"})
    found = await place.send("GET", "https://fn-bad.azurewebsites.net/api/open")
    assert found.status == 503
    await place.until(lambda: "Unable to parse host configuration file" in place.log(place.id("fn-bad")))


async def test_a_web_app_has_no_functions(place: Place) -> None:
    await place.site("not-functions")
    assert await place.ok("GET", f"{place.id('not-functions')}/functions") == {"value": []}
