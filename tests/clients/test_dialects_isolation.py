"""A program on one host reaches no other host's endpoint and sees no other host's secret, also while both run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from dialects import CASES, World

from keyfob.hosts.sandbox.run import unavailable

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]

MINE, THEIRS = "site-2019", "app-2019"

PROBE = """
import glob, json, os, socket, sys, urllib.error, urllib.request
known = json.load(open(sys.argv[1]))
found = {"secret": os.environ["IDENTITY_HEADER"]}
def ask(secret):
    request = urllib.request.Request(
        os.environ["IDENTITY_ENDPOINT"] + "?api-version=2019-08-01&resource=https://vault.azure.net",
        headers={"X-IDENTITY-HEADER": secret})
    try:
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)["client_id"]
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
found["own"] = ask(found["secret"])
found["with theirs"] = [ask(secret) for secret in known["secrets"]]
found["reached"] = []
for address, port in known["addresses"]:
    try:
        socket.create_connection((address, port), 20).close()
        found["reached"].append([address, port])
    except OSError:
        pass
found["seen"] = []
for path in [*glob.glob("/proc/[0-9]*/environ"), *glob.glob("/proc/[0-9]*/cmdline")]:
    try:
        text = open(path, "rb").read()
    except OSError:
        continue
    found["seen"] += [path for secret in known["secrets"] if secret.encode() in text]
found["files"] = [path for path in known["files"] if os.path.exists(path) and not os.path.isdir(path)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if sentence := unavailable():
        pytest.skip(sentence)
    made = World(tmp_path_factory.mktemp("isolation") / "data")
    try:
        yield made.start()
    finally:
        made.close()


def case(name: str) -> Any:
    return next(one for one in CASES if one.name == name)


def test_two_hosts_at_once_with_the_same_ports(world: World, tmp_path: Path) -> None:
    outside = world.variables(case(THEIRS))
    port = urlsplit(outside["IDENTITY_ENDPOINT"]).port
    neighbour = subprocess.Popen(
        [
            *(sys.executable, "-m", "keyfob", "run", *world.options(case(THEIRS)), "--"),
            *("sh", "-c", 'echo "$IDENTITY_HEADER"; exec cat'),
        ],
        env={**os.environ, "KEYFOB_DATA": str(world.data)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert neighbour.stdout is not None
        theirs = neighbour.stdout.readline().strip()
        assert theirs
        known = {
            "secrets": [theirs, outside["IDENTITY_HEADER"]],
            "addresses": [
                ("127.0.0.1", port),
                ("169.254.169.254", 80),
                ("127.0.0.1", 50342),
                ("127.0.0.1", 40342),
                ("127.0.0.1", 2377),
            ],
            "files": [str(world.data / name) for name in ("control.sock", "keyfob.db", "master.key", "operator.json")],
        }
        told = tmp_path / "known.json"  # not an argument: those are for all processes of the sandbox to read
        told.write_text(json.dumps(known))
        done = world.run(case(MINE), sys.executable, "-c", PROBE, str(told))
        assert done.returncode == 0, done.stderr
    finally:
        neighbour.communicate("")
    found = json.loads(done.stdout)
    assert found["secret"] not in known["secrets"]
    assert isinstance(found["own"], str)
    assert found["with theirs"] == [401, 401]
    assert found["reached"] == []
    assert found["seen"] == []
    assert found["files"] == []


def test_arcs_keys_are_the_hosts_own(world: World) -> None:
    """Where another kind of host is, there is no folder of keys; and none is left when the host has gone."""
    listing = "import os; print(os.path.exists('/var/opt/azcmagent/tokens'))"
    if os.path.exists("/var/opt/azcmagent/tokens"):
        pytest.skip("this machine has the folder itself")
    assert world.run(case("arc"), sys.executable, "-c", listing).stdout.strip() == "True"
    assert world.run(case("machine"), sys.executable, "-c", listing).stdout.strip() == "False"
    assert list((world.data / "handed").iterdir()) == []
