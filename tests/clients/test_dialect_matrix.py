"""Every official client against every token endpoint's dialect that it speaks, in the sandbox of a host of that kind:
the host's own identity, each of two user-assigned ones by each selector, one that is not attached, a host without any.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from dialect_matrix import CLIENTS, Cell, Client
from dialects import CASES, Case, World

from keyfob.hosts.sandbox.run import unavailable

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]

ASKING = Path(__file__).parent / "asking"
CACHE = Path(__file__).parents[2] / ".cache" / "clients"
WRONG = "11111111-1111-1111-1111-111111111111"
SPOKEN = [
    pytest.param(client, case, client.cells[case.dialect], id=f"{client.program}-{case.name}")
    for client in CLIENTS
    for case in CASES
    if client.cells[case.dialect].selectors is not None
]
SOMEBODY = {"cloud-shell", "workload-identity"}
"""Dialects in which everybody is somebody: there is no host without an identity."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if sentence := unavailable():
        pytest.skip(sentence)
    made = World(tmp_path_factory.mktemp("matrix") / "data")
    try:
        yield made.start()
    finally:
        made.close()


# --- the programs, built once and cached


def need(program: str) -> str:
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{program} is not on this machine")
    return found


def build(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.fixture(scope="session")
def azure_identity_python() -> list[str]:
    return [sys.executable, str(ASKING / "azure_identity.py")]


@pytest.fixture(scope="session")
def msal_python() -> list[str]:
    return [sys.executable, str(ASKING / "msal_python.py")]


@pytest.fixture(scope="session")
def node_asking() -> list[str]:
    node, npm = need("node"), need("npm")
    folder = CACHE / "asking" / "node"
    shutil.copytree(ASKING / "node", folder, dirs_exist_ok=True)
    if not (folder / "node_modules" / "@azure" / "msal-node").exists():
        build([npm, "install", "--no-audit", "--no-fund", "--no-package-lock"], folder)
    return [node, str(folder / "ask.mjs")]


@pytest.fixture(scope="session")
def azure_identity_node(node_asking: list[str]) -> list[str]:
    return [*node_asking, "identity"]


@pytest.fixture(scope="session")
def msal_node(node_asking: list[str]) -> list[str]:
    return [*node_asking, "msal"]


@pytest.fixture(scope="session")
def go_asking() -> list[str]:
    binary = CACHE / "asking" / "go" / "ask"
    binary.parent.mkdir(parents=True, exist_ok=True)
    build([need("go"), "build", "-o", str(binary), "."], ASKING / "go")
    return [str(binary)]


@pytest.fixture(scope="session")
def azidentity_go(go_asking: list[str]) -> list[str]:
    return [*go_asking, "identity"]


@pytest.fixture(scope="session")
def msal_go(go_asking: list[str]) -> list[str]:
    return [*go_asking, "msal"]


@pytest.fixture(scope="session")
def azure_identity_java(java_program: list[str]) -> list[str]:
    """With the libraries of the Java example."""
    libraries = java_program[2].rpartition(os.pathsep)[2]
    classes = CACHE / "asking" / "java"
    classes.mkdir(parents=True, exist_ok=True)
    build([need("javac"), "-cp", libraries, "-d", str(classes), str(ASKING / "java" / "Ask.java")], classes)
    quick = ["-XX:TieredStopAtLevel=1", "-Xshare:auto"]
    return [java_program[0], *quick, "-cp", f"{classes}{os.pathsep}{libraries}", "Ask"]


@pytest.fixture(scope="session")
def curl() -> list[str]:
    need("curl")
    return [need("sh"), str(ASKING / "curl.sh")]


# --- asking


def ask(
    world: World, client: Client, program: list[str], case: Case, selectors: Sequence[Any], *, bare: bool = False
) -> list[dict[str, Any]]:
    """What the client says for each selector; None is no selector."""
    if client.name == "curl":
        return [by_hand(world, program, case, selector or [], bare=bare) for selector in selectors]
    done = world.run(case, *program, json.dumps(selectors), bare=bare)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def by_hand(world: World, program: list[str], case: Case, selector: list[str], *, bare: bool) -> dict[str, Any]:
    done = world.run(case, *program, case.dialect, *selector, bare=bare)
    answer = json.loads(done.stdout)
    if "access_token" not in answer:
        return {"error": answer, "text": done.stdout}
    part = answer["access_token"].split(".")[1]
    return {"claims": json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))}


@pytest.mark.parametrize(("client", "case", "cell"), SPOKEN)
def test_a_client_and_a_dialect(
    world: World, client: Client, case: Case, cell: Cell, request: pytest.FixtureRequest
) -> None:
    program: list[str] = request.getfixturevalue(client.program)
    kinds = sorted(cell.selectors or ())
    users = ["one"] if case.dialect == "workload-identity" else ["one", "two"]
    named = [(kind, name) for kind in kinds for name in users]
    selectors: list[Any] = [None, *([kind, world.selector(kind, name)] for kind, name in named)]
    if "client_id" in kinds:
        selectors.append(["client_id", WRONG])
    meant, *others = ask(world, client, program, case, selectors)
    assert "claims" in meant, meant
    assert meant["claims"]["oid"] == world.meant(case)
    assert meant["claims"]["aud"] == "https://vault.azure.net"
    for (kind, name), found in zip(named, others, strict=False):
        assert found.get("claims", found).get("oid") == world.principals[name], (kind, name)
    if "client_id" in kinds:
        assert "claims" not in others[-1]


@pytest.mark.parametrize(
    ("client", "case"),
    [
        pytest.param(*row.values[:2], id=row.id)
        for row in SPOKEN
        if row.values[1].dialect not in SOMEBODY and row.values[1].name not in {"set", "group", "app-2019"}
    ],
)
def test_a_host_without_identity(world: World, client: Client, case: Case, request: pytest.FixtureRequest) -> None:
    (found,) = ask(world, client, request.getfixturevalue(client.program), case, [None], bare=True)
    assert "claims" not in found
    assert found["error"]
