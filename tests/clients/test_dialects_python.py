"""Every dialect that azure-identity for Python speaks, unmodified: in an environment as `keyfob env` prints it, and in
a sandbox. Right identities, each selector it can send, a wrong one, and a host that has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dialects import CASES, Case, World

from keyfob.hosts.sandbox.run import unavailable

pytest.importorskip("azure.identity")
pytestmark = pytest.mark.clients

PROGRAM = Path(__file__).parent / "asking" / "azure_identity.py"
WRONG = "11111111-1111-1111-1111-111111111111"
SPOKEN = [case for case in CASES if case.dialect != "app-service-2017"]
"""MSI_ENDPOINT and MSI_SECRET mean Azure ML to this client, which cannot read App Service's dates any more."""

SENDS = {
    "vm-extension": frozenset(),  # MSI_ENDPOINT alone means Cloud Shell to it
    "arc": frozenset({"client_id", "object_id", "resource_id"}),
}
"""What the client sends, where that is not what the dialect knows."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("dialects") / "data")
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(params=["environment", "sandbox"])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "sandbox" and (sentence := unavailable()):
        pytest.skip(sentence)
    return str(request.param)


def ask(world: World, case: Case, way: str, *selectors: Any, bare: bool = False) -> list[dict[str, Any]]:
    """What the client says for each selector; None is no selector."""
    command = [sys.executable, str(PROGRAM), json.dumps(selectors)]
    if way == "sandbox":
        done = world.run(case, *command, bare=bare)
    elif not case.outside:
        pytest.skip("the machine's own folder would be written to")
    else:
        own = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        done = subprocess.run(
            command,
            env={**own, **world.variables(case, bare=bare)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("case", SPOKEN, ids=lambda case: case.name)
def test_right_and_wrong_identities(world: World, case: Case, way: str) -> None:
    kinds = sorted(SENDS.get(case.dialect, case.selectors))
    known = ["one"] if case.dialect == "workload-identity" else ["one", "two"]
    named = [(kind, name) for kind in kinds for name in known]
    selectors = [[kind, world.selector(kind, name)] for kind, name in named]
    meant, *others, wrong = ask(world, case, way, None, *selectors, ["client_id", WRONG])
    assert "claims" in meant, meant
    assert meant["claims"]["oid"] == world.meant(case)
    assert meant["claims"]["aud"] == "https://vault.azure.net"
    assert abs(meant["expires_on"] - meant["claims"]["exp"]) < 3600  # some answers say how long, not until when
    for (kind, name), found in zip(named, others, strict=True):
        assert found.get("claims", found).get("oid") == world.principals[name], (kind, name)
    assert "claims" not in wrong
    assert wrong["error"] in {"CredentialUnavailableError", "ClientAuthenticationError", "ValueError"}


@pytest.mark.parametrize(
    "case", [case for case in SPOKEN if case.dialect not in {"cloud-shell", "workload-identity"}], ids=lambda c: c.name
)
def test_a_host_without_identity(world: World, case: Case, way: str) -> None:
    (found,) = ask(world, case, way, None, bare=True)
    assert found.get("error") in {"CredentialUnavailableError", "ClientAuthenticationError"}, found
    said = {
        "app-service-2019": "No User Assigned or Delegated Managed Identity found",
        "azure-ml": "No MSI found for specified ClientId/ResourceId.",
        "service-fabric": "Managed identity not found for the specified application host.",
        "vm-extension": "Identity not found",
    }
    assert said.get(case.dialect, "Identity not found") in found["text"]


def test_instances_of_a_set_are_hosts_of_their_own(world: World) -> None:
    if sentence := unavailable():
        pytest.skip(sentence)
    (case,) = [case for case in CASES if case.name == "set"]
    target = "http://169.254.169.254/metadata/instance/compute/name?api-version=2021-02-01&format=text"
    code = (
        "import urllib.request as u;"
        f"print(u.urlopen(u.Request({target!r}, headers={{'Metadata': 'true'}})).read().decode())"
    )
    names = [
        world.keyfob("run", "--as", f"{world.host(case)}/{number}", "--", sys.executable, "-c", code).stdout.strip()
        for number in (0, 1)
    ]
    assert names == [f"{world.host(case)}_0", f"{world.host(case)}_1"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_command_that_asks_as_a_program_does(world: World, case: Case) -> None:
    if not case.outside:
        pytest.skip("the machine's own folder would be written to")
    printed = world.keyfob("token", *world.options(case), "--resource", "https://vault.azure.net", "--decode").stdout
    assert f'"oid": "{world.meant(case)}"' in printed


def test_one_machine_speaks_them_all(world: World) -> None:
    if sentence := unavailable():
        pytest.skip(sentence)
    (machine,) = [case for case in CASES if case.name == "machine"]
    for dialect in ("app-service-2019", "azure-ml", "service-fabric", "arc", "imds"):
        done = world.keyfob(
            "run", "--as", world.host(machine), "--dialect", dialect, "--", sys.executable, str(PROGRAM), "[null]"
        )
        (found,) = json.loads(done.stdout)
        assert found.get("claims", found).get("oid") == world.principals["machine"], dialect


def test_no_two_openings_share_a_secret_and_a_wrong_one_opens_nothing(world: World) -> None:
    case, other = (next(case for case in CASES if case.name == name) for name in ("site-2019", "app-2019"))
    mine, theirs = world.variables(case), world.variables(other)
    assert mine["IDENTITY_HEADER"] != theirs["IDENTITY_HEADER"]
    assert mine == world.variables(case)  # opened once: who asks again gets the same
    stolen = {**mine, "IDENTITY_HEADER": theirs["IDENTITY_HEADER"]}
    own = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), "[null]"],
        env={**own, **stolen},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    (found,) = json.loads(done.stdout)
    assert "not that of this site" in found["text"]
    log = (world.data / "keyfob.log").read_text()
    assert mine["IDENTITY_HEADER"] not in log
