"""Function apps that az makes and deploys: HTTP and timer triggers read a secret with the app's identity.

The packages come with the archive, as `pip install --target .python_packages/lib/site-packages` puts them there; one
app is built on deployment. What az calls is the real `az functionapp create`, `config-zip`, `function`, `keys`, ….
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.client import Client

from .conftest import PROJECT, Az

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]

APP = Path(__file__).parents[1] / "apps" / "functions"
CACHE = PROJECT / ".cache" / "clients" / "apps" / "functions"
PACKAGES = ".python_packages/lib/site-packages"
VERSION = "{}.{}".format(*sys.version_info)
GROUP = "az-functions"
READ = """
import os
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient
client = SecretClient("https://clients-vault.vault.azure.net", DefaultAzureCredential())
print(client.get_secret("greeting").value, "IDENTITY_ENDPOINT" in os.environ, "AZURE_CLIENT_SECRET" in os.environ)
"""
SECRETS_USER = "Key Vault Secrets User"


@pytest.fixture(scope="session")
def packages() -> Path:
    """The app's packages, installed once for this Python."""
    folder = CACHE / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    stamp, wanted = folder / "stamp", (APP / "requirements.txt").read_text()
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            command = [*pip, "--upgrade", "--target", str(folder / PACKAGES), "-r", str(APP / "requirements.txt")]
            done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
            if done.returncode:
                pytest.skip(f"the function app's packages cannot be installed here: {done.stderr[-500:]}")
            stamp.write_text(wanted)
    return folder


def packed(target: Path, *folders: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(APP / "host.json", "host.json")
        for folder in folders:
            for path in sorted(folder.rglob("*")):
                if path.is_file() and path.suffix != ".pyc" and path.name != "stamp":
                    archive.write(path, str(path.relative_to(folder)))
        if len(folders) == 1:
            archive.write(APP / "requirements.txt", "requirements.txt")
    return target


class Functions:
    """Function apps of the server, over the front door, and az."""

    def __init__(self, az: Az, server: Any) -> None:
        self.az = az
        self.server = server
        self.client = Client(server.data)
        self.vault = az("keyvault show -n clients-vault -g clients --query id")

    def make(self, name: str, where: str) -> str:
        """An app with an identity of its own; the identity."""
        self.az(
            f"functionapp create -g {GROUP} -n {name} -s azfunctionsstore {where} --os-type Linux --runtime python"
            f" --runtime-version {VERSION} --functions-version 4 --disable-app-insights"
        )
        self.az(
            f"functionapp config appsettings set -g {GROUP} -n {name}"
            " --settings VAULT_URL=https://clients-vault.vault.azure.net"
        )
        return str(self.az(f"functionapp identity assign -g {GROUP} -n {name}")["principalId"])

    def deploy(self, name: str, archive: Path, more: str = "") -> None:
        self.az(f"functionapp deployment source config-zip -g {GROUP} -n {name} --src {archive}{more}")

    def admit(self, principal: str) -> None:
        self.az(
            f"role assignment create --assignee-object-id {principal} --assignee-principal-type ServicePrincipal"
            f" --role '{SECRETS_USER}' --scope {self.vault}"
        )

    def key(self, name: str) -> str:
        return str(self.az(f"functionapp keys list -g {GROUP} -n {name}")["functionKeys"]["default"])

    def call(self, name: str, path: str, key: str = "", method: str = "GET") -> tuple[int, str]:
        headers = {"x-functions-key": key} if key else {}
        answer = self.client.send(method, f"https://{name}.azurewebsites.net{path}", headers)
        return answer.status, answer.body.decode()

    def until(self, name: str, path: str, key: str, wanted: tuple[int, str]) -> None:
        """The program is started anew after a change; until then the one before answers."""
        end = time.monotonic() + 120
        while (said := self.call(name, path, key)) != wanted:
            assert time.monotonic() < end, said
            time.sleep(0.2)

    def logged(self, name: str, true: Callable[[str], bool]) -> str:
        end = time.monotonic() + 120
        while not true(text := self.server.keyfob("logs", name, "--lines", "5000").stdout):
            assert time.monotonic() < end, text[-5000:]
            time.sleep(0.2)
        return str(text)


@pytest.fixture(scope="module")
def functions(az: Az, world: Any) -> Iterator[Functions]:
    az(f"group create -n {GROUP} -l westeurope")
    az(f"storage account create -g {GROUP} -n azfunctionsstore --sku Standard_LRS")
    az(f"functionapp plan create -g {GROUP} -n az-functions-plan --sku B1 --is-linux")
    yield Functions(az, world)
    az(f"group delete -n {GROUP} --yes")


def shows_what_a_user_sees_on_azure(functions: Functions, name: str, principal: str) -> str:
    """Without the role: 500 to the caller, Azure's 403 in the log, from HTTP and timer alike. With it both read."""
    key, value = functions.key(name), functions.server.value
    assert functions.call(name, "/api/read")[0] == 401
    assert functions.call(name, "/api/read", key) == (500, "")
    log = functions.logged(name, lambda log: "Functions.tick' (Failed" in log)
    assert "Functions.read' (Failed" in log
    assert "HttpResponseError: (Forbidden) Caller is not authorized to perform action on resource" in log
    assert value not in log
    functions.admit(principal)
    functions.until(name, "/api/read", key, (200, value))
    functions.logged(name, lambda log: f"the timer read: {value}" in log)
    return key


@pytest.fixture(scope="module")
def decorated(functions: Functions, packages: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An app on a plan, deployed; its principal."""
    principal = functions.make("az-decorated", "--plan az-functions-plan")
    archive = packed(tmp_path_factory.mktemp("decorated") / "app.zip", APP / "decorated", packages)
    functions.deploy("az-decorated", archive)
    return principal


def test_http_and_timer_triggers_read_a_secret_as_the_app(functions: Functions, decorated: str, packages: Path) -> None:
    az, name, here = functions.az, "az-decorated", f"-g {GROUP} -n az-decorated"
    key = shows_what_a_user_sees_on_azure(functions, name, decorated)
    # another identity, by its client id: it is not attached, then it is, then it may read
    user = az(f"identity create -g {GROUP} -n az-functions-reader")
    path = f"/api/read-as/{user['clientId']}"
    assert functions.call(name, path, key) == (500, "")
    az(f"functionapp identity assign {here} --identities {user['id']}")
    functions.admit(user["principalId"])
    functions.until(name, path, key, (200, functions.server.value))
    az(f"functionapp identity remove {here} --identities {user['id']}")
    functions.until(name, path, key, (500, ""))
    # what `keyfob run --as APP -- func start` starts has the app's identity, and no other way to one
    program = ("env", f"PYTHONPATH={packages / PACKAGES}", sys.executable, "-c", READ)
    said = functions.server.keyfob("run", "--as", name, "--", *program).stdout.strip()
    assert said == f"{functions.server.value} True False"


def test_az_lists_functions_and_their_keys(functions: Functions, decorated: str) -> None:
    az, here = functions.az, f"-g {GROUP} -n az-decorated"
    listed = az(f"functionapp function list {here}")
    assert {one["name"].rpartition("/")[2] for one in listed} == {"read", "read_as", "tick"}
    shown = az(f"functionapp function show {here} --function-name read")
    assert shown["invokeUrlTemplate"] == "https://az-decorated.azurewebsites.net/api/read"
    assert shown["config"]["bindings"][0]["type"] == "httpTrigger"
    own = az(f"functionapp function keys list {here} --function-name read")["default"]
    assert functions.call("az-decorated", "/api/read", own)[0] in (200, 500)
    assert functions.call("az-decorated", f"/api/read-as/nobody?code={own}")[0] == 401


def test_az_sets_renews_and_deletes_keys(functions: Functions, decorated: str) -> None:
    az, here, path = functions.az, f"-g {GROUP} -n az-decorated", "/api/read-as/nobody"
    for value in ("of-my-choosing", "another"):
        made = az(f"functionapp keys set {here} --key-type functionKeys --key-name mine --key-value {value}")
        assert (made["name"], made["value"]) == ("mine", None)  # az covers it
        assert functions.call("az-decorated", path, value)[0] == 500  # let in: there is no such identity
    assert functions.call("az-decorated", path, "of-my-choosing")[0] == 401
    az(f"functionapp keys set {here} --key-type functionKeys --key-name mine")
    assert functions.call("az-decorated", path, "another")[0] == 401
    assert len(az(f"functionapp keys list {here}")["functionKeys"]["mine"]) > 40
    az(f"functionapp keys delete {here} --key-type functionKeys --key-name mine")
    assert "mine" not in az(f"functionapp keys list {here}")["functionKeys"]
    assert "(NotFound)" in az.fails(f"functionapp keys delete {here} --key-type functionKeys --key-name mine")
    az(f"functionapp keys set {here} --key-type masterKey --key-name _master --key-value the-master")
    assert functions.call("az-decorated", "/admin/host/status", "the-master")[0] == 200
    assert az(f"functionapp keys list {here}")["masterKey"] == "the-master"
    own = f"{here} --function-name read --key-name own"
    az(f"functionapp function keys set {own} --key-value its-own")
    assert az(f"functionapp function keys list {here} --function-name read")["own"] == "its-own"
    assert functions.call("az-decorated", path, "its-own")[0] == 401
    az(f"functionapp function keys delete {own}")
    assert functions.call("az-decorated", "/api/read", "its-own")[0] == 401


def test_az_stops_starts_and_restarts(functions: Functions, decorated: str) -> None:
    az, here, key = functions.az, f"-g {GROUP} -n az-decorated", functions.key("az-decorated")
    az(f"functionapp stop {here}")
    status, page = functions.call("az-decorated", "/api/read", key)
    assert (status, "is stopped" in page) == (403, True)
    az(f"functionapp start {here}")
    assert functions.call("az-decorated", "/api/read", key)[0] in (200, 500)
    az(f"functionapp restart {here}")
    functions.until("az-decorated", "/api/none", key, (404, ""))


def test_functions_described_in_files_on_consumption(functions: Functions, packages: Path, tmp_path: Path) -> None:
    """On Linux Consumption az puts the archive into the storage account, unless the build is remote: that door is not
    served yet, and the command says so by failing."""
    principal = functions.make("az-described", "--consumption-plan-location westeurope")
    archive = packed(tmp_path / "app.zip", APP / "described", packages)
    deployed = functions.az.fails(
        f"functionapp deployment source config-zip -g {GROUP} -n az-described --src {archive}"
    )
    assert "azfunctionsstore.blob.core.windows.net" in deployed
    built = packed(tmp_path / "built.zip", APP / "described")
    functions.deploy("az-described", built, " --build-remote true")
    log = json.dumps(functions.az(f"functionapp log deployment show -g {GROUP} -n az-described"))
    if "Could not find a version" in log:
        pytest.skip("no package index can be reached")
    assert "Successfully installed" in log
    assert "gunicorn" not in log
    shows_what_a_user_sees_on_azure(functions, "az-described", principal)
