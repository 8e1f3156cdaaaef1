"""Apps that az deploys: Flask and Express, each with one secret as a setting and one that it reads itself.

The Flask app is built on deployment (pip into its antenv), the Express app comes with its node_modules. What az calls
is the real `az webapp deploy`, `az webapp deployment source config-zip`, `az webapp log …`.
"""

from __future__ import annotations

import fcntl
import json
import shlex
import shutil
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.client import Client

from .conftest import PROJECT, Az

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]

APPS = Path(__file__).parents[1] / "apps"
CACHE = PROJECT / ".cache" / "clients" / "apps"
GROUP = "az-web"
SECRETS_USER = "Key Vault Secrets User"
REFERENCE = "@Microsoft.KeyVault(SecretUri=https://clients-vault.vault.azure.net/secrets/greeting)"


def packed(folder: Path, target: Path) -> Path:
    """As a person zips a folder, links kept as links."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_symlink():
                entry = zipfile.ZipInfo(name)
                entry.external_attr = 0o120777 << 16
                archive.writestr(entry, str(path.readlink()))
            elif path.is_file():
                archive.write(path, name)
    return target


@pytest.fixture(scope="module")
def flask_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(APPS / "flask", tmp_path_factory.mktemp("flask") / "app.zip")


@pytest.fixture(scope="module")
def express_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not on this machine")
    folder = CACHE / "express"
    folder.mkdir(parents=True, exist_ok=True)
    with (CACHE / "express.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.copytree(APPS / "express", folder, dirs_exist_ok=True)
        if not (folder / "node_modules" / "express").exists():
            command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
            if done.returncode:
                pytest.skip(f"the Express app's packages cannot be installed here: {done.stderr[-500:]}")
    return packed(folder, tmp_path_factory.mktemp("express") / "app.zip")


class Web:
    """Sites of the server, over the front door, and az."""

    def __init__(self, az: Az, server: Any) -> None:
        self.az = az
        self.client = Client(server.data)
        self.vault = az("keyvault show -n clients-vault -g clients --query id")

    def get(self, name: str, path: str = "/") -> tuple[int, Any]:
        answer = self.client.send("GET", f"https://{name}.azurewebsites.net{path}")
        try:
            return answer.status, answer.json()
        except ValueError:
            return answer.status, answer.body.decode()

    def until(self, name: str, path: str, true: Callable[[int, Any], bool]) -> Any:
        """The program is started anew after a change; until then the one before answers."""
        end = time.monotonic() + 120
        while not true(*(said := self.get(name, path))):
            assert time.monotonic() < end, said
            time.sleep(0.2)
        return said[1]

    def make(self, name: str, runtime: str, *settings: str) -> str:
        """A site with an identity of its own; the identity."""
        self.az(f"webapp create -g {GROUP} -n {name} -p az-web-plan --runtime {runtime}")
        self.configure(name, *settings)
        return str(self.az(f"webapp identity assign -g {GROUP} -n {name}")["principalId"])

    def configure(self, name: str, *settings: str, slot: str = "") -> None:
        more = f" --slot {slot}" if slot else ""
        all_of_them = ("VAULT_URL=https://clients-vault.vault.azure.net", f"FROM_REFERENCE={REFERENCE}", *settings)
        quoted = " ".join(f"'{one}'" for one in all_of_them)
        self.az(f"webapp config appsettings set -g {GROUP} -n {name}{more} --settings {quoted}")

    def admit(self, principal: str) -> None:
        self.az(
            f"role assignment create --assignee-object-id {principal} --assignee-principal-type ServicePrincipal"
            f" --role '{SECRETS_USER}' --scope {self.vault}"
        )


@pytest.fixture(scope="module")
def web(az: Az, world: Any) -> Iterator[Web]:
    az(f"group create -n {GROUP} -l westeurope")
    az(f"appservice plan create -g {GROUP} -n az-web-plan --is-linux --sku B1")
    yield Web(az, world)
    az(f"group delete -n {GROUP} --yes")


def shows_what_a_user_sees_on_azure(web: Web, name: str, value: str, principal: str) -> None:
    """Without the role: the reference stays its text, the SDK gets 403. With it: both read the secret."""
    status, said = web.get(name)
    assert (status, said["reference"]) == (200, REFERENCE)
    status, said = web.get(name, "/sdk")
    assert (status, said["status"]) == (500, 403), said
    assert "Forbidden" in said["text"] or "not authorized" in said["text"], said
    path = f"/sites/{name}/config/configreferences/appsettings/FROM_REFERENCE"
    url = f"{web.az('group show -n ' + GROUP)['id']}/providers/Microsoft.Web{path}?api-version=2023-12-01"
    told = web.az(f"rest --method get --url {url}")
    assert told["properties"]["status"] == "AccessToKeyVaultDenied"
    web.admit(principal)
    web.az(f"webapp restart -g {GROUP} -n {name}")
    web.until(name, "/", lambda status, said: status == 200 and said["reference"] == value)
    assert web.get(name, "/sdk") == (200, {"secret": value})
    assert web.az(f"rest --method get --url {url}")["properties"]["status"] == "Resolved"


def test_flask_app_is_built_and_reads_secrets_as_its_identity(web: Web, flask_zip: Path, world: Any) -> None:
    principal = web.make("az-flask", "PYTHON:3.11", "SCM_DO_BUILD_DURING_DEPLOYMENT=true")
    web.az(f"webapp deploy -g {GROUP} -n az-flask --src-path {flask_zip} --type zip")
    log = json.dumps(web.az(f"webapp log deployment show -g {GROUP} -n az-flask"))
    if "Could not find a version" in log:
        pytest.skip("no package index can be reached")
    assert "Successfully installed" in log
    shows_what_a_user_sees_on_azure(web, "az-flask", world.value, principal)


def test_express_app_reads_secrets_as_its_identity_and_its_slot_as_its_own(
    web: Web, express_zip: Path, world: Any
) -> None:
    principal = web.make("az-express", "NODE:22-lts")
    web.az(f"webapp deploy -g {GROUP} -n az-express --src-path {express_zip} --type zip")
    shows_what_a_user_sees_on_azure(web, "az-express", world.value, principal)
    # a slot has an identity of its own, which may not read
    web.az(f"webapp deployment slot create -g {GROUP} -n az-express --slot staging")
    web.configure("az-express", slot="staging")
    web.az(f"webapp identity assign -g {GROUP} -n az-express --slot staging")
    web.az(f"webapp deploy -g {GROUP} -n az-express --slot staging --src-path {express_zip} --type zip")
    status, said = web.get("az-express-staging")
    assert (status, said) == (200, {"reference": REFERENCE, "slot": "staging"})
    assert web.get("az-express-staging", "/sdk")[1]["status"] == 403
    assert web.get("az-express", "/sdk") == (200, {"secret": world.value})


PLAIN = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        said = json.dumps({"text": TEXT, "sticky": os.environ.get("STICKY"), "moves": os.environ.get("MOVES")}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *a):
        print("asked for", self.path, flush=True)

HTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""


def plain(folder: Path, text: str) -> Path:
    """An archive with an app of the standard library."""
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(f"TEXT = {text!r}\n{PLAIN}")
    return packed(folder, folder.with_suffix(".zip"))


def test_slots_are_swapped_and_the_log_is_followed(web: Web, tmp_path: Path) -> None:
    az = web.az
    az(f"webapp create -g {GROUP} -n az-swap -p az-web-plan --runtime PYTHON:3.11 --startup-file 'python3 main.py'")
    az(f"webapp deployment slot create -g {GROUP} -n az-swap --slot next --configuration-source az-swap")
    for slot, word in (("", "live"), (" --slot next", "next")):
        az(
            f"webapp config appsettings set -g {GROUP} -n az-swap{slot} --settings MOVES={word}"
            f" --slot-settings STICKY={word}"
        )
        az(f"webapp config set -g {GROUP} -n az-swap{slot} --startup-file 'python3 main.py'")
        archive = plain(tmp_path / word, word)
        az(f"webapp deployment source config-zip -g {GROUP} -n az-swap{slot} --src {archive}")
    for name, word in (("az-swap", "live"), ("az-swap-next", "next")):
        wanted = {"text": word, "sticky": word, "moves": word}
        web.until(name, "/", lambda status, said, wanted=wanted: (status, said) == (200, wanted))  # type: ignore[misc]
    az(f"webapp deployment slot swap -g {GROUP} -n az-swap --slot next")
    for name, word, moved in (("az-swap", "live", "next"), ("az-swap-next", "next", "live")):
        wanted = {"text": moved, "sticky": word, "moves": moved}
        web.until(name, "/", lambda status, said, wanted=wanted: (status, said) == (200, wanted))  # type: ignore[misc]
    tail = az.process("webapp", "log", "tail", "-g", GROUP, "-n", "az-swap")
    given_up = threading.Timer(240, tail.kill)  # it never ends by itself
    given_up.start()
    try:
        assert tail.stderr is not None  # az logs what it hears
        heard = []
        for line in tail.stderr:
            heard.append(line)
            if "Welcome" in line:
                web.get("az-swap", "/asked-while-following")
            if "asked for /asked-while-following" in line:
                break
        else:
            raise AssertionError(heard)
    finally:
        given_up.cancel()
        tail.terminate()
        tail.communicate(timeout=60)


WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"text": "up"}']
"""


def test_up_makes_the_site_and_builds_the_folder(web: Web, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(WSGI)
    (tmp_path / "requirements.txt").write_text("")
    # without --location az 2.91 fails by itself: list_geo_regions() got positional arguments
    command = f"webapp up -g {GROUP} -n az-up -p az-web-plan -l westeurope --runtime PYTHON:3.11"
    done = web.az.process(*shlex.split(command), cwd=tmp_path)
    _, err = done.communicate(timeout=600)
    if "BuildFailed" in err or "build process failed" in err:
        assert "Could not find a version" in json.dumps(web.az(f"webapp log deployment show -g {GROUP} -n az-up")), err
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, err[-3000:]
    assert web.get("az-up") == (200, {"text": "up"})


def test_credentials_that_are_switched_off_leave_the_token(web: Web, tmp_path: Path) -> None:
    az = web.az
    az(f"webapp create -g {GROUP} -n az-token -p az-web-plan --runtime PYTHON:3.11 --startup-file 'python3 main.py'")
    id = az(f"webapp show -g {GROUP} -n az-token")["id"]
    az(f"resource update --ids {id}/basicPublishingCredentialsPolicies/scm --set properties.allow=false")
    archive = plain(tmp_path / "token", "by token")
    az(f"webapp deploy -g {GROUP} -n az-token --src-path {archive} --type zip")
    assert web.get("az-token")[1]["text"] == "by token"
