"""Scripts that az has run on machines, in both forms; and by them what instances of a scale set are given."""

from __future__ import annotations

import base64
import json
import shlex
from typing import Any

import pytest

pytestmark = [pytest.mark.clients, pytest.mark.sandbox]
GROUP = "az-run-command"
NEW = "--image Ubuntu2204 --admin-username someone --generate-ssh-keys"
TOKEN = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://vault.azure.net"
WHO = f"curl -s -H Metadata:true '{TOKEN}'"


@pytest.fixture(scope="module")
def here(az: Any) -> str:
    az(f"group create -n {GROUP} -l westeurope")
    return f"-g {GROUP}"


@pytest.fixture(scope="module")
def machine(az: Any, here: str) -> str:
    az(f"vm create {here} -n web {NEW} --assign-identity")
    return f"{here} -n web"


@pytest.fixture(scope="module")
def users(az: Any, here: str) -> list[Any]:
    return [az(f"identity create {here} -n {name}") for name in ("first", "second")]


def said(answer: Any) -> tuple[str, str]:
    """Output and errors of an invoked script."""
    (status,) = answer["value"]
    assert status["code"] == "ProvisioningState/succeeded"
    out, _, err = status["message"].removeprefix("Enable succeeded: \n[stdout]\n").partition("\n[stderr]\n")
    return out, err


def oid(text: str) -> str | None:
    """Whose token an instance got; None when it got none."""
    token = json.loads(text).get("access_token")
    return str(json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["oid"]) if token else None


def test_invoke_answers_with_what_was_printed(az: Any, machine: str) -> None:
    script = shlex.quote('echo "$1 and $2"; echo "$name" >&2; exit 3')
    done = az(
        f"vm run-command invoke {machine} --command-id RunShellScript --scripts {script} --parameters one name=two"
    )
    assert said(done) == ("one and two\n", "two\n")


def test_the_script_is_the_machine(az: Any, here: str, machine: str) -> None:
    done = az(f"vm run-command invoke {machine} --command-id RunShellScript --scripts {shlex.quote(WHO)}")
    assert oid(said(done)[0]) == az(f"vm identity show {machine}")["principalId"]


def test_which_commands_there_are(az: Any) -> None:
    listed = {one["id"]: one["osType"] for one in az("vm run-command list -l westeurope")}
    assert (listed["RunShellScript"], listed["RunPowerShellScript"]) == ("Linux", "Windows")
    one = az("vm run-command show -l westeurope --command-id RunShellScript")
    assert one["label"]


def test_a_command_that_is_kept(az: Any, here: str, machine: str) -> None:
    script = shlex.quote('echo "$COLOUR"; echo "$PASS" | wc -c; exit 4')
    made = az(
        f"vm run-command create {here} --vm-name web --run-command-name kept -l westeurope --script {script}"
        " --parameters COLOUR=red --protected-parameters PASS=hunter2 --timeout-in-seconds 100"
    )
    assert (made["provisioningState"], made.get("protectedParameters")) == ("Succeeded", None)
    view = az(f"vm run-command show {here} --vm-name web --run-command-name kept --instance-view")["instanceView"]
    assert (view["executionState"], view["exitCode"], view["output"]) == ("Failed", 4, "red\n8\n")
    assert [one["name"] for one in az(f"vm run-command list {here} --vm-name web")] == ["kept"]
    az(f"vm run-command update {here} --vm-name web --run-command-name kept -l westeurope --script true")
    view = az(f"vm run-command show {here} --vm-name web --run-command-name kept --instance-view")["instanceView"]
    assert (view["executionState"], view["exitCode"]) == ("Succeeded", 0)
    az(f"vm run-command delete {here} --vm-name web --run-command-name kept --yes")
    assert az(f"vm run-command list {here} --vm-name web") == []


def test_what_is_refused(az: Any, here: str, machine: str) -> None:
    text = az.fails(f"vm run-command invoke {machine} --command-id RunPowerShellScript --scripts Get-Date")
    assert "InvalidParameter" in text
    assert "ResourceNotFound" in az.fails(
        f"vm run-command invoke {here} -n nothing --command-id RunShellScript --scripts true"
    )
    az(f"vm deallocate {machine}")
    text = az.fails(f"vm run-command invoke {machine} --command-id RunShellScript --scripts true")
    assert "OperationNotAllowed" in text
    assert "Cannot modify extensions in the VM when the VM is not running." in text
    az(f"vm start {machine}")
    assert said(az(f"vm run-command invoke {machine} --command-id RunShellScript --scripts true")) == ("", "")


def test_instances_get_a_new_model_when_they_are_updated(az: Any, here: str, users: list[Any]) -> None:
    fleet = f"{here} -n fleet"
    first, second = (one["principalId"] for one in users)
    az(
        f"vmss create {fleet} {NEW} --orchestration-mode Uniform --upgrade-policy-mode Manual --instance-count 2"
        f" --assign-identity {users[0]['id']}"
    )

    def whose() -> list[str | None]:
        command = f"vmss run-command invoke {fleet} --command-id RunShellScript --scripts {shlex.quote(WHO)}"
        ids = [one["instanceId"] for one in az(f"vmss list-instances {fleet}")]
        return [oid(said(az(f"{command} --instance-id {id}"))[0]) for id in ids]

    assert whose() == [first, first]
    az(f"vmss identity remove {fleet} --identities {users[0]['id']}")
    az(f"vmss identity assign {fleet} --identities {users[1]['id']}")
    assert whose() == [first, first]
    assert [one["latestModelApplied"] for one in az(f"vmss list-instances {fleet}")] == [False, False]
    az(f"vmss update-instances {fleet} --instance-ids 1")
    assert whose() == [first, second]
    az(f"vmss scale {fleet} --new-capacity 3")
    assert whose() == [first, second, second]
    az(f"vmss update-instances {fleet} --instance-ids '*'")
    assert whose() == [second, second, second]
    az(f"vmss reimage {fleet} --instance-ids 0")
    az(f"vmss stop {fleet} --instance-ids 2")
    text = az.fails(f"vmss run-command invoke {fleet} --instance-id 2 --command-id RunShellScript --scripts true")
    assert "OperationNotAllowed" in text
    az(f"vmss delete-instances {fleet} --instance-ids 2")
    assert whose() == [second, second]
