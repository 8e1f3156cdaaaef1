"""Container groups that run, in Podman and as processes: their identities, their ends, and what outlives whom."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from keyfob.hosts.sandbox.run import unavailable

from ..container_engine import ASK, IMAGE, call, docker, make_root, podman  # noqa: TID252 - tests are no package

pytestmark = pytest.mark.sandbox

GROUP = "boxes"
VERSION = "api-version=2023-05-01"
LONG = 120.0
"""Seconds that anything may take on a busy machine."""


class Boxes:
    """A server with container groups, in an engine or without one."""

    def __init__(self, node: Any, environment: Mapping[str, str], engine: str) -> None:
        self.node = node
        self.environment = {**os.environ, **environment}
        self.engine = engine
        self.arm = node.arm()
        self.arm.must("PUT", node.group(GROUP), {"location": "westeurope"})

    def id(self, name: str) -> str:
        return f"{self.node.group(GROUP)}/providers/Microsoft.ContainerInstance/containerGroups/{name}"

    def identity(self, name: str) -> Any:
        return self.arm.must("PUT", self.node.identity(GROUP, name), {"location": "westeurope"})

    def make(self, name: str, *containers: Any, identity: Any = None, **properties: Any) -> str:
        body = {
            "location": "westeurope",
            "properties": {"osType": "Linux", "containers": containers, **properties},
            **({"identity": identity} if identity else {}),
        }
        self.arm.must("PUT", f"{self.id(name)}?{VERSION}", body)
        return self.id(name)

    def shown(self, name: str) -> Any:
        return self.arm.must("GET", f"{self.id(name)}?{VERSION}")["properties"]

    def view(self, name: str, container: str = "") -> Any:
        """The instance view of a group, or of a container or init container of it."""
        properties = self.shown(name)
        if not container:
            return properties["instanceView"]
        every = [*properties["containers"], *properties["initContainers"]]
        return next(one["properties"]["instanceView"] for one in every if one["name"] == container)

    def logs(self, name: str, container: str, more: str = "") -> str:
        path = f"{self.id(name)}/containers/{container}/logs?{VERSION}{more}"
        return str(self.arm.must("GET", path)["content"])

    def post(self, name: str, what: str) -> None:
        assert self.arm.call("POST", f"{self.id(name)}/{what}?{VERSION}").status == 204

    def delete(self, name: str) -> None:
        assert self.arm.call("DELETE", f"{self.id(name)}?{VERSION}").status in (200, 202, 204)

    def until(self, true: Callable[[], Any], about: str = "") -> Any:
        """Asks again until it is so; groups begin and end in their own time."""
        deadline = time.monotonic() + LONG
        while not (found := true()):
            assert time.monotonic() < deadline, about or f"not within {LONG} s"
            time.sleep(0.1)
        return found

    def until_state(self, name: str, *states: str) -> str:
        def state() -> str:
            return str(self.view(name)["state"])

        with contextlib.suppress(AssertionError):
            self.until(lambda: state() in states)
        assert state() in states, json.dumps(self.shown(name), indent=1)
        return state()

    def until_logged(self, name: str, container: str, text: str) -> str:
        def found() -> str:
            logs = self.logs(name, container)
            return logs if text in logs else ""

        try:
            return str(self.until(found))
        except AssertionError:
            raise AssertionError(f"{self.logs(name, container)}\n{json.dumps(self.shown(name), indent=1)}") from None

    def exec(self, name: str, container: str, *command: str) -> tuple[int, str]:
        """As soon as the container runs: a server that has just begun may still be finding it."""
        done = self.until(lambda: self._exec(name, container, *command))
        return done.returncode, done.stdout + done.stderr

    def _exec(self, name: str, container: str, *command: str) -> Any:
        done = self.node.keyfob("exec", "--container", container, name, *command, check=False)
        return None if "ContainerNotRunning" in done.stderr else done

    # --- the engine

    def engine_rows(self) -> list[Any]:
        """What the engine has, in its own words; none of it is anybody else's."""
        done = call(self.environment, self.engine, "ps", "--all", "--no-trunc", "--quiet")
        assert done.returncode == 0, done.stderr
        if not done.stdout.split():
            return []
        return list(json.loads(call(self.environment, self.engine, "inspect", *done.stdout.split()).stdout or "[]"))


def box(name: str, command: str | list[str], **more: Any) -> Any:
    words = ["sh", "-c", command] if isinstance(command, str) else command
    resources = {"requests": {"cpu": 0.5, "memoryInGB": 0.5}}
    return {"name": name, "properties": {"image": IMAGE, "command": words, "resources": resources, **more}}


@pytest.fixture(scope="module")
def stored() -> Iterator[Callable[[str], Mapping[str, str]]]:
    """Variables for an engine, started when they are asked for; LookupError says why there are none."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context({"podman": podman, "docker": docker}[name]())


@pytest.fixture(scope="module", params=["podman", "docker", "processes"])
def boxes(
    request: pytest.FixtureRequest,
    stored: Callable[[str], Mapping[str, str]],
    node: Any,  # after the engine, so that servers end before it does
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Boxes]:
    if reason := unavailable():
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        try:
            variables = stored(request.param) if request.param != "processes" else no_images(tmp_path_factory)
            root = make_root(tmp_path_factory.mktemp("image") / "root")
        except LookupError as why:
            pytest.skip(str(why))
        for name, value in variables.items():
            patch.setenv(name, value)
        made = Boxes(node(), variables, request.param if request.param != "processes" else "")
        if not made.engine:
            made.node.keyfob("image", "import", IMAGE, str(root))
        made.make("try", box("one", "true"), restartPolicy="Never")
        made.until(lambda: made.view("try")["state"] in ("Succeeded", "Failed") or made.view("try", "one")["events"])
        said = " ".join(event["message"] for event in made.view("try", "one")["events"])
        if "runs no containers here" in said:
            pytest.skip(said)
        made.until_state("try", "Succeeded")
        yield made
        made.node.hang_up()


def no_images(factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Podman with a storage in which there is nothing."""
    folder = factory.mktemp("no-images")
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    )
    return {"CONTAINERS_STORAGE_CONF": str(folder / "storage.conf")}


def test_two_containers_share_an_identity_and_a_neighbour_does_not(boxes: Boxes) -> None:
    shared = boxes.identity("shared")
    ask = ASK.format(more=f"&client_id={shared['properties']['clientId']}") + "; echo; sleep 600"
    boxes.make(
        "pair",
        box("one", ask),
        box("two", ask),
        identity={"type": "UserAssigned", "userAssignedIdentities": {shared["id"]: {}}},
    )
    boxes.make("neighbour", box("one", ask.replace("-q ", "")), identity={"type": "SystemAssigned"})
    tokens = [json.loads(boxes.until_logged("pair", name, "access_token")) for name in ("one", "two")]
    for token in tokens:
        part = token["access_token"].split(".")[1]
        said = json.loads(base64.urlsafe_b64decode(part + "=="))
        assert said["oid"] == shared["properties"]["principalId"]
    refused = boxes.until_logged("neighbour", "one", "400")
    assert "access_token" not in refused
    assert boxes.until_state("pair", "Running") == "Running"
    view = boxes.view("pair", "one")
    assert view["currentState"]["state"] == "Running"
    assert [event["name"] for event in view["events"]] == ["Pulled", "Created", "Started"]
    boxes.delete("pair")
    boxes.delete("neighbour")


def test_a_container_reaches_its_group_and_nothing_else(boxes: Boxes) -> None:
    script = """
        nc -w 5 127.0.0.1 8080 </dev/null
        echo "names: $(head -n 1 /etc/resolv.conf)"
        wget -q -T 3 -O - http://192.0.2.1/ 2>&1
        test -s "$SSL_CERT_FILE" && echo trusted
        cat /etc/made-here
        test -e /work && echo the machine
        echo done; sleep 600"""
    boxes.make(
        "inside", box("server", "echo of the other | nc -l -p 8080; sleep 600"), box("client", f"sleep 1; {script}")
    )
    said = boxes.until_logged("inside", "client", "done")
    assert "names: nameserver 127.0.0.1" in said
    assert "trusted" in said
    assert "the test's own image" in said
    assert "the machine" not in said
    boxes.delete("inside")


def test_secrets_and_volumes(boxes: Boxes, tmp_path: Path) -> None:
    secret = {"key": base64.b64encode(b"hunter2\n").decode()}
    mounts = [
        {"name": "hidden", "mountPath": "/run/hidden", "readOnly": True},
        {"name": "shared", "mountPath": "/data/shared"},
    ]
    variables = [
        {"name": "PLAIN", "value": "seen"},
        {"name": "SECRET", "secureValue": "hunter3"},
        {"name": "LINES", "secureValue": "first\nsecond"},
    ]
    writer = box(
        "writer",
        'cat /run/hidden/key; echo "$PLAIN $SECRET $LINES"; echo shared > /data/shared/new;'
        " touch /run/hidden/x; sleep 600",
        volumeMounts=mounts,
        environmentVariables=variables,
    )
    reader = box("reader", "until cat /data/shared/new; do sleep 1; done; sleep 600", volumeMounts=mounts[1:])
    volumes = [{"name": "hidden", "secret": secret}, {"name": "shared", "emptyDir": {}}]
    boxes.make("secrets", writer, reader, volumes=volumes)
    said = boxes.until_logged("secrets", "writer", "second\n")
    printed = [line for line in said.splitlines() if not line.startswith("touch:")]  # errors come by another way
    assert "hunter2 seen hunter3 first second" in " ".join(" ".join(printed).split())
    boxes.until_logged("secrets", "reader", "shared\n")
    shown = json.dumps(boxes.shown("secrets"))
    assert "hunter" not in shown
    assert secret["key"] not in shown
    assert '"PLAIN"' in shown
    assert boxes.exec("secrets", "writer", "cat", "/run/hidden/key") == (0, "hunter2\n")
    assert boxes.exec("secrets", "writer", "ls", "/run/hidden") == (0, "key\n")  # it is read-only
    server = (boxes.node.data / "keyfob.log").read_text() + json.dumps(boxes.shown("secrets"))
    assert "hunter" not in server
    boxes.delete("secrets")


def test_the_restart_policies(boxes: Boxes) -> None:
    boxes.make("never", box("one", "echo once; exit 3"), restartPolicy="Never")
    boxes.make("success", box("one", "echo once"), restartPolicy="OnFailure")
    boxes.make("always", box("one", "echo again; exit 4"))
    assert boxes.until_state("never", "Failed", "Succeeded") == "Failed"
    state = boxes.view("never", "one")["currentState"]
    assert (state["state"], state["exitCode"], state["detailStatus"]) == ("Terminated", 3, "Error")
    assert boxes.until_state("success", "Failed", "Succeeded") == "Succeeded"
    assert boxes.view("success", "one")["currentState"]["exitCode"] == 0
    assert boxes.view("success", "one")["restartCount"] == 0
    boxes.until(lambda: boxes.view("always", "one")["restartCount"] >= 2)
    boxes.until(lambda: boxes.view("always", "one").get("previousState", {}).get("exitCode") == 4)
    assert any(event["name"] == "BackOff" for event in boxes.view("always", "one")["events"])
    assert boxes.logs("success", "one") == "once\n"
    for name in ("never", "success", "always"):
        boxes.delete(name)


def test_init_containers_run_in_their_order_first(boxes: Boxes) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    init = [
        {"name": f"init-{n}", "properties": {"image": IMAGE, "command": ["sh", "-c", f"echo {n} >> /shared/order"],
                                            "volumeMounts": mounts}}
        for n in (1, 2)
    ]  # fmt: skip
    boxes.make(
        "ordered",
        box("main", "cat /shared/order; sleep 600", volumeMounts=mounts),
        initContainers=init,
        volumes=[{"name": "shared", "emptyDir": {}}],
    )
    assert boxes.until_logged("ordered", "main", "2\n") == "1\n2\n"
    assert boxes.view("ordered", "init-2")["currentState"]["detailStatus"] == "Completed"
    failing = {"name": "failing", "properties": {"image": IMAGE, "command": ["sh", "-c", "echo cannot >&2; exit 9"]}}
    boxes.make("broken", box("main", "echo never"), initContainers=[failing], restartPolicy="Never")
    assert boxes.until_state("broken", "Failed") == "Failed"
    assert boxes.view("broken", "failing")["currentState"]["exitCode"] == 9
    assert boxes.view("broken", "main")["currentState"]["state"] == "Waiting"
    assert boxes.logs("broken", "failing") == "cannot\n"
    assert boxes.logs("broken", "main") == ""
    boxes.delete("ordered")
    boxes.delete("broken")


def test_stop_start_and_restart(boxes: Boxes) -> None:
    boxes.make("life", box("one", "echo up; sleep 600"))
    boxes.until_logged("life", "one", "up")
    boxes.post("life", "stop")
    assert boxes.view("life")["state"] == "Stopped"
    boxes.until(lambda: boxes.view("life", "one")["currentState"]["state"] == "Terminated")
    if boxes.engine:
        boxes.until(lambda: not [row for row in boxes.engine_rows() if named(row, "one")])
    boxes.post("life", "start")
    assert boxes.until_state("life", "Running")
    first = boxes.view("life", "one")["currentState"]["startTime"]
    boxes.post("life", "restart")
    boxes.until(lambda: boxes.view("life", "one")["currentState"].get("startTime", first) > first)
    boxes.until_logged("life", "one", "up")
    assert boxes.logs("life", "one", "&tail=1&timestamps=true").endswith("Z up\n")
    boxes.delete("life")


def named(row: Any, container: str) -> bool:
    return str(row["Config"]["Labels"].get("keyfob.container")) == container


def test_an_image_that_is_not_there_runs_nothing_else(boxes: Boxes) -> None:
    one = box("one", "echo something")
    one["properties"]["image"] = "mcr.microsoft.com/azuredocs/aci-helloworld"
    boxes.make("missing", one)
    boxes.until(lambda: boxes.view("missing", "one")["events"])
    view = boxes.view("missing", "one")
    assert view["currentState"] == {"state": "Waiting", "detailStatus": "ImagePullBackOff"}
    assert view["events"][0]["name"] == "Failed"
    assert "Failed to pull image" in view["events"][0]["message"]
    assert boxes.view("missing")["state"] == "Pending"
    assert boxes.logs("missing", "one") == ""
    boxes.delete("missing")


def test_a_windows_group_is_taken_and_fails_when_it_is_to_run(boxes: Boxes) -> None:
    boxes.make("windows", box("one", "cmd"), osType="Windows")
    boxes.until_state("windows", "Failed")
    assert "Windows" in boxes.view("windows")["events"][0]["message"]
    boxes.delete("windows")


def test_a_server_that_is_killed_finds_its_groups_again(boxes: Boxes) -> None:
    ask = ASK.format(more="")
    boxes.make(
        "survivor",
        box("one", f"echo begun; until {ask}; do sleep 1; done; echo; sleep 600"),
        box("short", "echo done"),
        identity={"type": "SystemAssigned"},
        restartPolicy="OnFailure",
    )
    boxes.until_logged("survivor", "one", "access_token")
    boxes.until(lambda: boxes.view("survivor", "short")["currentState"]["state"] == "Terminated")
    before = boxes.view("survivor", "one")["currentState"]["startTime"]
    boxes.node.hang_up()
    boxes.node.kill()
    boxes.node.up()
    boxes.arm = boxes.node.arm()
    boxes.until_state("survivor", "Running")
    boxes.until_logged("survivor", "one", "begun")
    if boxes.engine:  # containers outlive the server: the same ones go on, with their endpoints back
        assert boxes.view("survivor", "one")["currentState"]["startTime"] == before
        assert boxes.view("survivor", "one")["restartCount"] == 0
    boxes.until(lambda: boxes.view("survivor", "short")["currentState"].get("exitCode") == 0)
    code, output = boxes.exec("survivor", "one", "sh", "-c", ask)
    assert code == 0, output
    assert "access_token" in output
    boxes.delete("survivor")
    if boxes.engine:
        boxes.until(lambda: not [row for row in boxes.engine_rows() if named(row, "short")])


def test_containers_of_groups_that_are_gone_go_when_a_server_starts(boxes: Boxes) -> None:
    if not boxes.engine:
        pytest.skip("there is no engine that keeps anything")
    server = (boxes.node.data / "containers" / "node").read_text()
    labels = [f"--label=keyfob.server={server}", f"--label=keyfob.group={server}/gone"]
    boxes.node.hang_up()
    boxes.node.kill()  # as if while it deleted a group
    stray = call(boxes.environment, boxes.engine, "create", "--pull=never", *labels, IMAGE, "true")
    assert stray.returncode == 0, stray.stderr
    boxes.node.up()
    boxes.arm = boxes.node.arm()
    boxes.until(lambda: stray.stdout.strip() not in [row["Id"] for row in boxes.engine_rows()])


def test_the_engine_killed_in_mid_run(boxes: Boxes) -> None:
    if not boxes.engine:
        pytest.skip("there is no engine to kill")
    boxes.make("killed", box("one", "echo up; sleep 600"), identity={"type": "SystemAssigned"})
    boxes.until_logged("killed", "one", "up")
    rows = [row for row in boxes.engine_rows() if "killed" in owners(boxes, row)]
    assert len(rows) == 2
    for row in rows:
        for pid in (row["State"].get("ConmonPid"), row["State"]["Pid"]):  # Podman's watcher, and the container
            if pid:
                os.kill(pid, signal.SIGKILL)
    boxes.until(lambda: boxes.view("killed", "one")["restartCount"] == 1)
    boxes.until_state("killed", "Running")
    assert any(event["name"] == "SandboxChanged" for event in boxes.view("killed")["events"])
    code, output = boxes.exec("killed", "one", "sh", "-c", ASK.format(more=""))
    assert code == 0, output
    assert "access_token" in output
    boxes.delete("killed")
    boxes.until(lambda: not [row for row in boxes.engine_rows() if "killed" in owners(boxes, row)])


def owners(boxes: Boxes, row: Any) -> list[str]:
    """Names of this server's groups to which a container belongs, by its label."""
    from hashlib import sha256

    from keyfob.resource_id import ResourceId

    folder = str((row["Config"]["Labels"] or {}).get("keyfob.group", "")).partition("/")[2]
    return [
        name for name in ("killed",) if sha256(ResourceId.parse(boxes.id(name)).key.encode()).hexdigest()[:32] == folder
    ]


def test_nothing_is_left_when_the_server_stops(boxes: Boxes) -> None:
    boxes.make("last", box("one", "echo up; sleep 600"))
    boxes.until_logged("last", "one", "up")
    begun = time.monotonic()
    boxes.node.down()
    if boxes.engine and time.monotonic() - begun < 9:  # else it was cut off, and the next server finds what is left
        assert boxes.engine_rows() == []
    boxes.node.up()
    boxes.arm = boxes.node.arm()
    boxes.until_state("last", "Running")
    boxes.delete("last")
    if boxes.engine:
        boxes.until(lambda: boxes.engine_rows() == [])
