"""`keyfob load` of seeds in YAML and with tenants."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from keyfob.cli.client import Client, Failure
from keyfob.cli.load import load, load_file, read_document

from .conftest import Arm

WORLD = r"""
# two tenants, and what is in the default one
tenants:
  - domain: fabrikam.test
  - {domain: contoso.cn, cloud: AzureChinaCloud}
users:
  - userPrincipalName: &ann ann@keyfob.onmicrosoft.com
    password: "Hush-4711-Hush"
groups:
  - displayName: staff
    members: [*ann]
resourceGroups:
  - name: shop
    location: northeurope
    tags: {since: 2024-02-29, 7: seven}
    resources:
      - type: Microsoft.ManagedIdentity/userAssignedIdentities
        name: shop
      - type: Microsoft.Compute/virtualMachines
        name: web
        identity:
          type: UserAssigned
          userAssignedIdentities:
            ? "/subscriptions/{subscription}/resourceGroups/shop/providers/\
              Microsoft.ManagedIdentity/userAssignedIdentities/shop"
            : {}
roleAssignments:
  - principal: staff
    role: Reader
    scope: /subscriptions/{subscription}/resourceGroups/shop
"""


@pytest.fixture
def loaded(arm: Arm, tmp_path: Path) -> Any:
    pytest.importorskip("yaml")

    async def call(text: str = WORLD, name: str = "world.yaml") -> Any:
        file = tmp_path / name
        file.write_text(text)
        return await asyncio.to_thread(CliRunner().invoke, load, [str(file), "--data", str(arm.client.data)])

    return call


async def test_a_world_in_yaml(arm: Arm, loaded: Any) -> None:
    first = await loaded()
    assert first.exit_code == 0, first.exception
    assert "made tenant fabrikam.test" in first.output
    assert "made user ann@keyfob.onmicrosoft.com" in first.output
    assert "Hush-4711-Hush" not in first.output
    group = f"{arm.subscription}/resourceGroups/shop"
    assert await arm.names(group) == {"shop", "web"}
    shown = (await arm.call("GET", group)).json()
    assert shown["tags"] == {"since": "2024-02-29", "7": "seven"}
    again = await loaded()
    assert again.exit_code == 0, again.exception
    assert again.output == "loaded\n"


async def test_tenants_of_a_seed_can_be_used(arm: Arm, loaded: Any) -> None:
    assert (await loaded()).exit_code == 0
    for domain, cloud, manager in (
        ("fabrikam.test", "AzureCloud", "https://management.azure.com"),
        ("contoso.cn", "AzureChinaCloud", "https://management.chinacloudapi.cn"),
    ):
        client = Client(arm.client.data, domain)
        assert (client.operator["cloud"], client.operator["resource_manager"]) == (cloud, manager)
        listed = await asyncio.to_thread(client.arm_json, "GET", "/subscriptions", api_version="2022-12-01")
        assert [one["subscriptionId"] for one in listed["value"]] == [client.operator["subscription_id"]]
        assert client.operator["tenant_id"] != arm.client.operator["tenant_id"]
        file = arm.client.data / "operators" / f"{domain}.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_a_seed_goes_into_a_tenant_of_another_seed(arm: Arm, loaded: Any, tmp_path: Path) -> None:
    assert (await loaded("tenants: [{domain: contoso.cn, cloud: AzureChinaCloud}]")).exit_code == 0
    file = tmp_path / "china.yml"
    file.write_text("resourceGroups: [{name: far, location: chinaeast2}]")
    client = Client(arm.client.data, "contoso.cn")
    await asyncio.to_thread(load_file, file, client)
    path = f"/subscriptions/{client.operator['subscription_id']}/resourceGroups/far"
    assert (await asyncio.to_thread(client.arm, "GET", path, api_version="2022-09-01")).status == 200


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tenants: [{domain: x.test, cloud: Nowhere}]", "Nowhere"),
        ("tenants: [{cloud: AzureCloud}]", "An entry of 'tenants' has no 'domain'"),
        ("tenants: [{domain: 7}]", "An entry of 'tenants' has no 'domain'"),
        ("tenants: [{domain: ../../x}]", "domain"),
        ("tenants: {domain: x.test}", "'tenants' must be a list of objects"),
        ("tenants: [x.test]", "'tenants' must be a list of objects"),
        ("resourceGroups: [{name: g, resources: [{type: A.B/c, password: Hush-4711}]}]", "'resources' has no 'name'"),
        ("resources: [{type: A.B/c, name: n, password: Hush-4711}]", "A resource needs an id"),
        ("resources: [{id: nothing}]", "nothing"),
        ("1: x\nb: y\n", "which a seed does not have"),
        ("users:\n  - password: Hush-4711\n   x", "is not YAML: "),
        ("users: !!python/object/apply:os.system ['touch /tmp/x']", "is not YAML: "),
        ("password: [Hush-4711\n", ", line 2."),
        ("users: !!binary aGk=", "that JSON has no word for"),
        ("- a\n", "is no template and no seed"),
        ("", "is no template and no seed"),
    ],
)  # fmt: skip
async def test_a_bad_seed_is_one_sentence_without_secrets(loaded: Any, text: str, says: str) -> None:
    result = await loaded(text)
    assert result.exit_code == 1
    said = str(result.exception)
    assert says in said
    assert "Hush" not in said
    assert "Problem" in [kind.__name__ for kind in type(result.exception).__mro__], "it would be a traceback"


async def test_a_tenant_that_is_refused_leaves_no_file(arm: Arm, loaded: Any) -> None:
    await loaded("tenants: [{domain: x.test, cloud: Nowhere}]")
    assert not (arm.client.data / "operators" / "x.test.json").exists()


def test_without_pyyaml_the_command_says_what_to_do(tmp_path: Path) -> None:
    """In a process of its own, whose import of yaml fails."""
    file = tmp_path / "world.yaml"
    file.write_text("tenants: []")
    (tmp_path / "server.json").write_text(json.dumps({"address": "127.0.0.1", "port": 1}))
    (tmp_path / "operator.json").write_text(json.dumps({"subscription_id": "s"}))
    program = "import sys; sys.modules['yaml'] = None; from keyfob.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, "load", str(file), "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == f"keyfob: {file} is YAML: pip install 'keyfob[yaml]', or write it as JSON."
    assert done.stdout == ""


def test_json_needs_no_package_and_may_begin_with_a_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    file = tmp_path / "world.json"
    file.write_bytes(b"\xef\xbb\xbf" + b'{"tenants": []}')
    assert read_document(file) == {"tenants": []}
    file.write_text("[" * 100_000)
    with pytest.raises(Failure, match="nested too deep"):
        read_document(file)
