"""`keyfob deploy`, in this process's server."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from keyfob.cli.deploy import deploy

from .conftest import template

IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture
def run(arm, tmp_path):
    async def call(*arguments: str):
        return await asyncio.to_thread(
            CliRunner().invoke, deploy, [*arguments, "--data", str(arm.client.data)], catch_exceptions=True
        )

    return call


async def test_a_file_is_deployed_with_parameters_and_linked_templates(arm, run, tmp_path):
    inner = template({"type": IDENTITY, "apiVersion": "2018-11-30", "name": "inner", "location": "westeurope"})
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inner.json").write_text(json.dumps(inner))
    linked = {
        "type": "Microsoft.Resources/deployments",
        "apiVersion": "2022-09-01",
        "name": "linked",
        "properties": {
            "mode": "Incremental",
            "templateLink": {"uri": "[uri(deployment().properties.templateLink.uri, 'parts/inner.json')]"},
        },
    }
    wanted = template(
        linked,
        parameters={"n": {"type": "int"}, "s": {"type": "string"}},
        outputs={"said": {"type": "string", "value": "[concat(parameters('s'), parameters('n'))]"}},
    )
    file = tmp_path / "main.json"
    file.write_text("// a comment first\n" + json.dumps(wanted))
    values = tmp_path / "values.json"
    values.write_text(json.dumps({"$schema": "x", "parameters": {"s": {"value": "no"}, "n": {"value": 1}}}))
    result = await run(str(file), "-g", "cli", "-p", str(values), "-p", "s=yes")
    assert result.exit_code == 0, result.output
    assert "linked" in result.output
    assert "yes1" in result.output
    assert await arm.names(f"{arm.subscription}/resourceGroups/cli") == {"inner"}
    result = await run(str(file), "-g", "cli", "-p", str(values), "--output", "json")
    assert json.loads(result.output)["properties"]["outputs"]["said"]["value"] == "no1"


async def test_what_goes_wrong_is_one_sentence(arm, run, tmp_path):
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(template({"type": "A.B/c", "apiVersion": "2020-01-01", "name": "x/y"})))
    result = await run(str(file), "-g", "cli")
    assert result.exit_code != 0
    assert "incorrect segment lengths" in str(result.exception)
    file.write_text(json.dumps(template({"type": "A.B/c", "apiVersion": "2020-01-01", "name": "x"})))
    result = await run(str(file), "-g", "cli")
    assert "InvalidResourceNamespace" in str(result.exception)
