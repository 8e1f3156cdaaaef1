"""A running server with a small world, and the example program in each language that the machine has."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))  # for `dialects`

PROJECT = Path(__file__).parents[2]
CACHE = PROJECT / ".cache" / "clients"
CHECKED = Path(__file__).parent / "checked_server.py"
EXAMPLES = PROJECT / "examples"
SECRETS_USER = "/providers/Microsoft.Authorization/roleDefinitions/4633458b-17de-408a-b874-0445c86b69e6"
SECRETS_OFFICER = "/providers/Microsoft.Authorization/roleDefinitions/b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
VALUE = "a value that only the right identity sees"


@dataclass
class Server:
    """`keyfob` commands against one data folder."""

    data: Path
    client_ids: dict[str, str] = field(default_factory=dict)
    value: str = VALUE

    def keyfob(self, *arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "keyfob", *arguments],
            env={**os.environ, "KEYFOB_DATA": str(self.data)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"keyfob {arguments[0]} failed: {done.stdout}{done.stderr}")
        return done

    def rest(self, method: str, path: str, body: Any = None, *more: str) -> Any:
        given = ("--body", json.dumps(body)) if body is not None else ()
        printed = self.keyfob("rest", method, path, *given, *more).stdout
        return json.loads(printed) if printed.strip() else None

    def operator(self) -> dict[str, str]:
        known: dict[str, str] = json.loads((self.data / "operator.json").read_text())
        return known


GROUP = "/subscriptions/{subscription}/resourceGroups/clients"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/clients-vault"
COMPUTE = f"{GROUP}/providers/Microsoft.Compute/virtualMachines"
IDENTITIES = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Watched where the official documents are: the session fails when a client's request or its reply is beside
    them, and tests/conformance/known.py does not know it."""
    from conformance_documents import folder

    running = Server(tmp_path_factory.mktemp("server") / "data")
    deviations = running.data.parent / "deviations"
    if folder() is None:
        running.keyfob("up", "--detach", "--port", "0")
    else:
        _start_checked(running, deviations)
    try:
        yield running
    finally:
        running.keyfob("down")
    if deviations.exists():
        from conformance_watch import Deviation, known_traffic, unknown

        found = [Deviation(**json.loads(line)) for line in deviations.read_text().splitlines()]
        assert not (bad := unknown(found, known_traffic())), "\n".join(map(str, bad))


def _start_checked(running: Server, deviations: Path) -> None:
    """As `keyfob up --detach` does it: a child that says on a pipe when it listens."""
    running.data.mkdir(parents=True)
    reading, writing = os.pipe()
    log_file = running.data / "keyfob.log"
    with log_file.open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, str(CHECKED), str(deviations), "up", "--data", str(running.data), "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[writing],
            env={**os.environ, "KEYFOB_READY_FD": str(writing)},
        )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        if not pipe.readline():
            child.wait()
            raise AssertionError(log_file.read_text())
    threading.Thread(target=child.wait, daemon=True).start()  # so that nothing is left of it when it ends


@pytest.fixture(scope="session")
def world(server: Server) -> Server:
    """`right` may read the secret, `user` through a user-assigned identity; `wrong`, `none` and `two` may not."""
    operator = server.operator()
    server.rest("PUT", f"{GROUP}?api-version=2024-11-01", {"location": "westeurope"})
    users: dict[str, dict[str, Any]] = {}
    for name in ("reader", "second"):
        users[name] = server.rest("PUT", f"{IDENTITIES}/{name}?api-version=2023-01-31", {"location": "westeurope"})
        server.client_ids[name] = users[name]["properties"]["clientId"]
    identities: dict[str, Any] = {
        "right": {"type": "SystemAssigned"},
        "wrong": {"type": "SystemAssigned"},
        "none": None,
        "user": {"type": "UserAssigned", "userAssignedIdentities": {users["reader"]["id"]: {}}},
        "two": {"type": "UserAssigned", "userAssignedIdentities": {u["id"]: {} for u in users.values()}},
    }
    machines = {
        name: server.rest(
            "PUT",
            f"{COMPUTE}/{name}?api-version=2024-11-01",
            {"location": "westeurope", **({"identity": identity} if identity else {})},
        )
        for name, identity in identities.items()
    }
    server.rest(
        "PUT",
        f"{VAULT}?api-version=2023-07-01",
        {
            "location": "westeurope",
            "properties": {
                "tenantId": operator["tenant_id"],
                "sku": {"family": "A", "name": "standard"},
                "enableRbacAuthorization": True,
            },
        },
    )
    grants = [
        (SECRETS_USER, machines["right"]["identity"]["principalId"]),
        (SECRETS_USER, users["reader"]["properties"]["principalId"]),
        (SECRETS_OFFICER, operator["object_id"]),
    ]
    for number, (role, principal) in enumerate(grants):
        server.rest(
            "PUT",
            f"{VAULT}/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-8000-{number:012d}"
            "?api-version=2022-04-01",
            {
                "properties": {
                    "roleDefinitionId": role,
                    "principalId": principal,
                    "principalType": "ServicePrincipal",
                }
            },
        )
    server.rest(
        "PUT",
        "https://clients-vault.vault.azure.net/secrets/greeting?api-version=7.4",
        {"value": VALUE},
        "--resource",
        "https://vault.azure.net",
    )
    return server


# --- the example program, built once per session and cached between them


def _need(program: str) -> str:
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{program} is not on this machine")
    return found


def _build(command: list[str], folder: Path, what: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        raise AssertionError(f"{what} could not be built: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _copied(name: str) -> Path:
    target = CACHE / name
    shutil.copytree(
        EXAMPLES / name, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules", "target")
    )
    return target


@pytest.fixture(scope="session")
def python_program() -> list[str]:
    return [sys.executable, str(EXAMPLES / "read_secret.py")]


@pytest.fixture(scope="session")
def node_program() -> list[str]:
    node, npm = _need("node"), _need("npm")
    folder = _copied("node")
    if not (folder / "node_modules" / "@azure" / "keyvault-secrets").exists():
        _build([npm, "install", "--no-audit", "--no-fund", "--no-package-lock"], folder, "the Node example")
    return [node, str(folder / "read-secret.mjs")]


def _built_here(name: str, what: str) -> str:
    """A Go program of the folder `name` beside this file, built into the cache."""
    go = _need("go")
    binary = CACHE / name / "program"
    binary.parent.mkdir(parents=True, exist_ok=True)
    _build([go, "build", "-o", str(binary), "."], Path(__file__).parent / name, what)
    return str(binary)


@pytest.fixture(scope="session")
def go_management() -> str:
    return _built_here("go_management", "the Go management program")


@pytest.fixture(scope="session")
def go_terraform() -> str:
    return _built_here("go_terraform", "the program of terraform's libraries")


@pytest.fixture(scope="session")
def managed(server: Server) -> Server:
    """`sdk-owner` owns the subscription; `sdk-reader` reads the group they are in, `sdks`."""
    group = "/subscriptions/{subscription}/resourceGroups/sdks"
    server.rest("PUT", f"{group}?api-version=2024-11-01", {"location": "westeurope"})
    roles = (
        ("sdk-owner", "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "/subscriptions/{subscription}"),
        ("sdk-reader", "acdd72a7-3385-48ef-bd42-f606fba81ae7", group),
    )
    for number, (name, role, scope) in enumerate(roles):
        machine = server.rest(
            "PUT",
            f"{group}/providers/Microsoft.Compute/virtualMachines/{name}?api-version=2024-11-01",
            {"location": "westeurope", "identity": {"type": "SystemAssigned"}},
        )
        server.rest(
            "PUT",
            f"{scope}/providers/Microsoft.Authorization/roleAssignments/00000000-0000-4000-9000-{number:012d}"
            "?api-version=2022-04-01",
            {
                "properties": {
                    "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{role}",
                    "principalId": machine["identity"]["principalId"],
                    "principalType": "ServicePrincipal",
                }
            },
        )
    return server


@pytest.fixture(scope="session")
def go_program() -> list[str]:
    go = _need("go")
    folder = _copied("go")
    _build([go, "build", "-o", "read-secret", "."], folder, "the Go example")
    return [str(folder / "read-secret")]


@pytest.fixture(scope="session")
def java_program() -> list[str]:
    java, maven = _need("java"), _need("mvn")
    folder = _copied("java")
    if not (folder / "target" / "read-secret-1.jar").exists():
        _build([maven, "-q", "-B", "package"], folder, "the Java example")
    return [java, "-cp", f"{folder}/target/read-secret-1.jar:{folder}/target/libraries/*", "ReadSecret"]


CURL_SAMPLE = r"""
set -eu
resource='https%3A%2F%2Fvault.azure.net'
answer=$(curl -sS "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=$resource${3:+&client_id=$3}" -H Metadata:true)
token=$(printf %s "$answer" | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')
[ -n "$token" ] || { echo "$answer" >&2; exit 1; }
answer=$(curl -sS "$1/secrets/$2?api-version=2016-10-01" -H "Authorization: Bearer $token")
case $answer in
  *'"value"'*) printf %s "$answer" | sed 's/.*"value":"\([^"]*\)".*/\1/' ;;
  *) echo "$answer" >&2; exit 1 ;;
esac
"""  # noqa: E501
"""The two calls of Microsoft's tutorial for a Linux VM and Key Vault, with sed instead of a reader's eye."""


@pytest.fixture(scope="session")
def curl_program() -> list[str]:
    _need("curl")
    return [_need("sh"), "-c", CURL_SAMPLE, "read-secret"]
