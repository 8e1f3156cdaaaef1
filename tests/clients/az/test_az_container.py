"""A container group from its making to its end, as az does it: what it runs is a root file system made here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from ...container_engine import ASK, IMAGE, make_root  # noqa: TID252 - tests are no package

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-containers"
LONG = 120.0
SIZE = "--os-type Linux --cpu 1 --memory 1 -l westeurope"


@pytest.fixture(scope="module")
def here(az: Any, az_server: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    try:
        root = make_root(tmp_path_factory.mktemp("image") / "root")
    except LookupError as reason:
        pytest.skip(str(reason))
    imported = [sys.executable, "-m", "keyfob", "image", "import", "--data", str(az_server.data), IMAGE, str(root)]
    subprocess.run(imported, check=True, capture_output=True, timeout=LONG)
    az(f"group create -n {GROUP} -l westeurope")
    return f"-g {GROUP}"


def until(ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LONG
    while not (found := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def test_its_life(az: Any, here: str) -> None:
    made = az(
        f"container create {here} -n box --image {IMAGE} {SIZE} --assign-identity"
        f""" --command-line "sh -c 'echo begun with $PLAIN; {ask()}; echo; echo $HIDDEN | wc -c; sleep 600'" """
        " --environment-variables PLAIN=seen --secure-environment-variables HIDDEN=hunter2 --restart-policy Always"
    )
    assert made["identity"]["principalId"]
    assert "hunter2" not in json.dumps(made)
    logs = until(lambda: said if "\n8\n" in (said := az.text(f"container logs {here} -n box")) else "")
    assert logs.startswith("begun with seen\n")
    token = json.loads(logs.splitlines()[1])
    assert token["token_type"] == "Bearer"
    shown = az(f"container show {here} -n box")
    assert shown["instanceView"]["state"] == "Running"
    one = shown["containers"][0]["instanceView"]
    assert one["currentState"]["state"] == "Running"
    assert [event["name"] for event in one["events"]] == ["Pulled", "Created", "Started"]
    assert {"name": "HIDDEN", "secureValue": None, "value": None}.items() >= dict(
        next(v for v in shown["containers"][0]["environmentVariables"] if v["name"] == "HIDDEN")
    ).items()
    titles, rows = az.table(f"container list {here}")
    assert (titles[0], len(rows)) == ("Name", 1)
    assert "Succeeded" in rows[0] or "Running" in rows[0]
    az(f"container stop {here} -n box")
    until(lambda: az(f"container show {here} -n box")["instanceView"]["state"] == "Stopped")
    az(f"container start {here} -n box")
    until(lambda: az(f"container show {here} -n box")["instanceView"]["state"] == "Running")
    before = az(f"container show {here} -n box")["containers"][0]["instanceView"]["currentState"]["startTime"]
    az(f"container restart {here} -n box")

    def again() -> bool:
        current = az(f"container show {here} -n box")["containers"][0]["instanceView"]["currentState"]
        return current["state"] == "Running" and current["startTime"] != before

    until(again)
    refused = az.fails(f"container exec {here} -n box --exec-command 'ls'")
    assert "keyfob exec" in refused
    az(f"container delete {here} -n box -y")
    assert az(f"container list {here}") == []


def ask() -> str:
    """Inside the quotes of az's command line."""
    return ASK.format(more="").replace("'", '\\"')


def test_one_that_ends(az: Any, here: str) -> None:
    az(
        f"container create {here} -n once --image {IMAGE} {SIZE} --restart-policy Never"
        """ --command-line "sh -c 'echo only once; exit 3'" """
    )
    shown = until(
        lambda: found if (found := az(f"container show {here} -n once"))["instanceView"]["state"] == "Failed" else None
    )
    state = shown["containers"][0]["instanceView"]["currentState"]
    assert (state["state"], state["exitCode"], state["detailStatus"]) == ("Terminated", 3, "Error")
    assert az.text(f"container logs {here} -n once").strip() == "only once"
    az(f"container delete {here} -n once -y")


def test_an_image_that_is_not_there(az: Any, here: str) -> None:
    az(f"container create {here} -n none --image mcr.microsoft.com/azuredocs/aci-helloworld {SIZE}")
    events = until(lambda: az(f"container show {here} -n none")["containers"][0]["instanceView"]["events"])
    assert "Failed to pull image" in events[0]["message"]
    az(f"container delete {here} -n none -y")
