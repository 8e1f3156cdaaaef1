"""Groups as they are read, their secrets, and what is shown of them."""

from __future__ import annotations

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyfob.clock import FakeClock
from keyfob.clouds.table import load_clouds
from keyfob.declare import Caller, Change
from keyfob.directory.seal import Seal, WrongMasterKey
from keyfob.errors import InvalidInput
from keyfob.hosts.container_instances import states
from keyfob.hosts.container_instances.groups import Groups
from keyfob.hosts.container_instances.model import CannotRun, check_container, read_group, secret_files
from keyfob.hosts.container_instances.operations import Acceptance
from keyfob.hosts.container_instances.places import lay_volumes
from keyfob.hosts.container_instances.secrets import NONE, SecretsSeal, collect
from keyfob.hosts.container_instances.states import Moment, Seen, SeenGroup, note, shown
from keyfob.hosts.workloads.supervisor import Restart
from keyfob.resource_id import ResourceId

BOX = ResourceId.parse("/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerInstance/containerGroups/box")


def container(name: str = "one", **inner: Any) -> dict[str, Any]:
    return {"name": name, "properties": {"image": "alpine", **inner}}


def test_a_whole_group() -> None:
    mounts = [{"name": "v", "mountPath": "/data//x/", "readOnly": True}]
    given = {
        "osType": "Linux",
        "restartPolicy": "onfailure",
        "containers": [container(command=["a", 1], environmentVariables=[{"name": "A", "value": "1"}, {"name": "S"}],
                                 volumeMounts=mounts)],
        "initContainers": [container("first")],
        "volumes": [{"name": "v"}, {"name": "w", "emptyDir": {}}],
    }  # fmt: skip
    secrets = {"variables": {"one/S": "hidden"}, "volumes": {"v": {"key": base64.b64encode(b"\0").decode()}}}
    group = read_group(given, secrets)
    one = group.containers[0]
    assert (one.command, one.environment) == (("a", "1"), {"A": "1", "S": "hidden"})
    assert (one.mounts[0].path, one.mounts[0].read_only) == ("/data/x", True)
    assert [volume.files for volume in group.volumes] == [{"key": b"\0"}, None]
    assert (group.restart, [one.name for one in group.all]) == (Restart.ON_FAILURE, ["first", "one"])
    assert "hidden" not in repr(group)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"osType": "Windows"}, "Windows"),
        ({"volumes": [{"name": "v", "gitRepo": {"repository": "r"}}]}, "Git repository"),
        ({"volumes": [{"name": "v", "azureFile": {}}]}, "file share"),
        ({"containers": [container("../../etc")]}, "no name"),
        ({"containers": [container(volumeMounts=[{"name": "v", "mountPath": "/v"}])]}, "lacks"),
        ({"initContainers": [container()]}, "same name"),
        ({"containers": [container(environmentVariables=[{"name": "A=B"}])]}, "valid name"),
    ],
)
def test_what_cannot_run_says_why(change: dict[str, Any], word: str) -> None:
    with pytest.raises(CannotRun, match=word):
        read_group({"osType": "Linux", "containers": [container()], **change}, NONE)


@pytest.mark.parametrize("path", ["relative", "/", "/a:b", "/..", "/a\0b"])
def test_paths_of_mounts(path: str) -> None:
    with pytest.raises(InvalidInput):
        check_container(container(volumeMounts=[{"name": "v", "mountPath": path}]))


@pytest.mark.parametrize("given", [{"a": "no base64!"}, {"../x": "QQ=="}, {"": "QQ=="}, {"a/b": "QQ=="}])
def test_files_of_secret_volumes(given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        secret_files(given, "v")


def test_secure_values_that_are_sent_back_without_their_value_stay() -> None:
    first = {
        "containers": [
            container(environmentVariables=[{"name": "A", "secureValue": "1"}, {"name": "B", "value": "2"}])
        ],
        "volumes": [{"name": "v", "secret": {"f": "QQ=="}}, {"name": "e", "emptyDir": {}}],
    }
    kept = collect(first, NONE)
    assert kept == {"variables": {"one/A": "1"}, "volumes": {"v": {"f": "QQ=="}}}
    again = {
        "containers": [container(environmentVariables=[{"name": "A"}, {"name": "B", "value": "2"}])],
        "volumes": [{"name": "v"}, {"name": "e", "emptyDir": {}}],
    }
    assert collect(again, kept) == kept
    plain = {"containers": [container(environmentVariables=[{"name": "A", "value": "now plain"}])]}
    assert collect(plain, kept) == NONE


def test_sealed_secrets_are_their_groups_alone() -> None:
    seal = SecretsSeal(Seal(b"k" * 32))
    secrets = {"variables": {"one/A": "hunter2"}, "volumes": {}}
    sealed = seal.close(secrets, BOX)
    assert "hunter2" not in sealed
    assert "hunter2" not in base64.b64decode(sealed).decode("latin-1")
    assert seal.open(sealed, BOX) == secrets
    assert seal.open(None, BOX) == NONE
    with pytest.raises(WrongMasterKey):
        seal.open(sealed, BOX.child("other", "x"))


def test_events_that_repeat_are_counted() -> None:
    events: list[states.Event] = []
    for now in range(3):
        note(events, "BackOff", "again", now, warning=True)
    for number in range(100):
        note(events, "Failed", str(number), 5)
    assert len(events) == states.EVENTS_KEPT
    note(events, "Failed", "99", 7)
    assert (events[-1].count, events[-1].first, events[-1].last) == (2, 5, 7)


def test_what_is_shown() -> None:
    stored = {states.STATE: "Running", states.GENERATION: 2}
    properties = {"containers": [container()], "initContainers": [container("first")]}
    seen = SeenGroup(2, "Running", "podman", [], {"one": Seen(Moment("Running", started=1.0), None, 3)})
    view = shown(stored, properties, 0.0, seen)
    assert view["instanceView"]["state"] == "Running"
    assert view["containers"][0]["properties"]["instanceView"]["restartCount"] == 3
    assert view["initContainers"][0]["properties"]["instanceView"]["currentState"]["state"] == "Waiting"
    assert shown({**stored, states.GENERATION: 3}, properties, 0.0, seen)["instanceView"]["state"] == "Pending"
    assert shown({**stored, states.STATE: "Stopped"}, properties, 0.0, seen)["instanceView"]["state"] == "Stopped"
    elsewhere = shown(stored, properties, 5.0, None)
    assert elsewhere["containers"][0]["properties"]["instanceView"]["currentState"]["state"] == "Running"


def test_a_state_that_ended_becomes_the_previous_one() -> None:
    seen = Seen()
    seen.become(Moment("Running", started=1))
    assert seen.previous is None
    seen.become(Moment("Terminated", "Error", 1, 2, 3))
    seen.become(Moment("Waiting", "CrashLoopBackOff"))
    seen.become(Moment("Running", started=4))
    assert seen.previous == Moment("Terminated", "Error", 1, 2, 3)


def test_a_volume_that_is_kept_is_not_written_through_a_link(tmp_path: Path) -> None:
    """A container may write to a secret volume, and its links mean the machine's files here."""
    files = {"key": base64.b64encode(b"a secret").decode()}
    given = {"osType": "Linux", "containers": [container()], "volumes": [{"name": "v"}]}
    group = read_group(given, {"variables": {}, "volumes": {"v": files}})
    file = lay_volumes(group, tmp_path)["v"] / "key"
    assert file.read_bytes() == b"a secret"
    (tmp_path / "machine").write_text("of the machine")
    file.unlink()
    file.symlink_to(tmp_path / "machine")
    lay_volumes(group, tmp_path, keep=True)
    assert (tmp_path / "machine").read_text() == "of the machine"
    assert lay_volumes(group, tmp_path)["v"].joinpath("key").read_bytes() == b"a secret"
    assert (tmp_path / "machine").read_text() == "of the machine"


def test_a_group_made_again_under_its_name_takes_nothing_up(clock: FakeClock) -> None:
    """Neither what runs, nor what was seen of the one before: both are known by the generation."""
    groups = cast(Groups, SimpleNamespace(node="n"))
    acceptance = Acceptance(groups, SecretsSeal(Seal(b"k" * 32)))
    properties = {
        "osType": "Linux",
        "containers": [container(resources={"requests": {"cpu": 1, "memoryInGB": 1}})],
    }

    def put(before: Any) -> int:
        change = Change(
            transaction=None, id=BOX, method="PUT", before=before, body={}, caller=Caller("t", "p"),
            cloud=load_clouds()["AzureCloud"], tenant_id="t", api_version="", now=clock.now(),
        )  # fmt: skip
        return int(acceptance.accept(change, properties)[states.GENERATION])

    first = put(None)
    assert put(SimpleNamespace(properties={states.GENERATION: first})) == first + 1
    clock.advance(1)
    assert put(None) > first + 1
