"""Templates of all kinds through Resource Manager: refused in Azure's form, or a deployment that ends and says how."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from bad_things import BODIES, JSON, NASTY, Land, refused, well_formed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.wire.http import Reply

pytestmark = pytest.mark.usefixtures("no_failures")

FEW = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
VERSION = "2024-11-01"
PATIENCE = 120.0
"""Seconds until a deployment that goes on is taken to hang: only a failing test waits for them."""
ENDED = ("Succeeded", "Failed", "Canceled")

# --- what is sent

_FUNCTIONS = [
    "concat",
    "parameters",
    "variables",
    "resourceId",
    "reference",
    "copyIndex",
    "format",
    "union",
    "createArray",
    "json",
    "createObject",
    "range",
    "split",
    "substring",
    "padLeft",
    "base64ToString",
    "uniqueString",
    "guid",
    "if",
    "first",
    "map",
    "filter",
    "lambda",
    "lambdaVariables",
    "reduce",
    "toObject",
    "subscription",
    "resourceGroup",
    "deployment",
    "utcNow",
    "listKeys",
    "environment",
    "tenant",
    "extensionResourceId",
    "dateTimeAdd",
    "int",
    "div",
    "mod",
    "take",
    "skip",
    "length",
    "string",
    "bool",
    "cidrSubnet",
    "dataUri",
    "uri",
    "uriComponentToString",
    "objectKeys",
    "tryGet",
    "shallowMerge",
    "nothing",
]
_LEAVES = st.sampled_from(
    [
        "'a'",
        "''",
        "0",
        "-1",
        "1",
        "99999999999999999999",
        "1.5",
        "true",
        "null",
        "'p'",
        "'v'",
        "'one'",
        "'['",
        "''''",
        "x",
        "'Microsoft.ManagedIdentity/userAssignedIdentities'",
        "'2023-01-31'",
        "'P1D'",
        "'10.0.0.0/8'",
        "'{0}{9}'",
        "'x', 'y'",
    ]
)
_CALLS = st.recursive(
    _LEAVES,
    lambda inner: st.builds(
        lambda name, given, tail: f"{name}({', '.join(given)}){tail}",
        st.sampled_from(_FUNCTIONS),
        st.lists(inner, max_size=3),
        st.sampled_from(["", "", "", ".a", "[0]", "['id']", "[", ".", "..a", "[-1]", "()"]),
    ),
    max_leaves=8,
)
EXPRESSIONS = st.builds(
    lambda call, end: f"[{call}{end}", _CALLS, st.sampled_from(["]", "]", "]", "]", "", "]]", " ]x"])
)
VALUES = EXPRESSIONS | JSON
KINDS = (
    ("Microsoft.ManagedIdentity/userAssignedIdentities", "2023-01-31"),
    ("Microsoft.Compute/virtualMachines", "2024-03-01"),
    ("Microsoft.Storage/storageAccounts", "2023-05-01"),
    ("Microsoft.Authorization/roleAssignments", "2022-04-01"),
    ("Microsoft.Resources/deployments", "2024-03-01"),
    ("Microsoft.Network/virtualNetworks/subnets", "2024-01-01"),
    ("Microsoft.Nothing/nothings", "2024-01-01"),
)


@st.composite
def _resource(draw: st.DrawFn) -> Any:
    kind, version = draw(st.sampled_from(KINDS))
    name = "a/b" if kind.count("/") == 2 else draw(st.sampled_from(["one", "two"]))
    made: dict[str, Any] = {"type": kind, "apiVersion": version, "name": name}
    made |= {"location": "westeurope", "properties": {}}
    odd = st.sampled_from(
        ["type", "apiVersion", "name", "location", "properties", "dependsOn", "copy", "condition", "scope", "identity",
         "tags", "sku", "resources", "existing", "import", "kind", "comments"]
    )  # fmt: skip
    made |= draw(st.dictionaries(odd, VALUES, max_size=2))
    if not draw(st.integers(0, 5)):
        made["copy"] = {
            "name": draw(st.sampled_from(["c", ""])),
            "count": draw(st.sampled_from([0, 1, 3, -1, "[int('2')]", 801])),
        }
    if not draw(st.integers(0, 5)):
        made["dependsOn"] = draw(
            st.lists(st.sampled_from(["one", "two", "[resourceId('a/b', 'c')]", "c", "x"]), max_size=3)
        )
    return made


@st.composite
def _template(draw: st.DrawFn) -> Any:
    made: dict[str, Any] = {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {"p": {"type": "string", "defaultValue": "v"}},
        "variables": {"v": draw(VALUES)},
        "resources": draw(st.lists(_resource(), max_size=3)),
        "outputs": {
            "o": {"type": draw(st.sampled_from(["string", "object", "array", "int", "x"])), "value": draw(VALUES)}
        },
    }
    parts = ["$schema", "contentVersion", "parameters", "variables", "resources", "outputs", "functions", "definitions",
             "languageVersion", "imports", "extensions", "metadata", "apiProfile"]  # fmt: skip
    return made | draw(st.dictionaries(st.sampled_from(parts), VALUES, max_size=1))


@st.composite
def _properties(draw: st.DrawFn) -> Any:
    made: dict[str, Any] = {"mode": "Incremental", "template": draw(_template()), "parameters": {"p": {"value": "w"}}}
    odd = st.sampled_from(["mode", "template", "parameters", "templateLink", "onErrorDeployment", "debugSetting",
                           "expressionEvaluationOptions", "validationLevel"])  # fmt: skip
    return made | (draw(st.dictionaries(odd, VALUES, max_size=2)) if not draw(st.integers(0, 3)) else {})


# --- what came of it


def at(land: Land, name: str, word: str = "") -> str:
    return f"{land.group}/providers/Microsoft.Resources/deployments/{name}{word}"


def ended(land: Land, name: str) -> Any:
    """The deployment, when it has ended. The application works on it while it is asked."""
    deadline = time.monotonic() + PATIENCE
    while True:
        reply = land.arm("GET", at(land, name), None, VERSION)
        assert reply.status == 200, reply.body[:300]
        shown = json.loads(reply.body)
        if shown["properties"]["provisioningState"] in ENDED:
            return shown
        assert time.monotonic() < deadline, shown
        land.runner.run(asyncio.sleep(0.005))


def explained(shown: Any) -> None:
    """A failed deployment says why, and each of its failed operations does."""
    if shown["properties"]["provisioningState"] != "Failed":
        return
    error = shown["properties"]["error"]
    assert error["code"], error
    assert error["code"] != "InternalServerError", error
    assert error["message"], error


def judged(reply: Reply, what: str) -> None:
    assert reply.status < 500, (what, reply.body[:500])
    well_formed(reply)
    if reply.status >= 400:
        refused(reply, what)


def deploy(land: Land, properties: Any) -> Reply:
    before = land.stored()
    body = json.dumps({"properties": properties}).encode("utf-8", "surrogatepass")
    reply = land.arm("PUT", at(land, "d"), body, VERSION)
    what = f"{body[:1500]!r}"
    judged(reply, what)
    if reply.status < 300:
        shown = ended(land, "d")
        explained(shown)
        listed = land.arm("GET", at(land, "d", "/operations"), None, VERSION)
        assert listed.status == 200, what
        for row in json.loads(listed.body)["value"]:
            if row["properties"]["provisioningState"] == "Failed" and "targetResource" in row["properties"]:
                assert row["properties"]["statusMessage"]["error"]["code"], row
    else:
        assert {key: value for key, value in land.stored().items() if key in before} == before, what
    assert land.arm("GET", land.machine, None, "2024-03-01").status == 200
    land.forget(before)
    return reply


@FEW
@given(properties=_properties())
def test_random_templates(land: Land, properties: Any) -> None:
    deploy(land, properties)


@FEW
@given(properties=_properties() | JSON, word=st.sampled_from(["/validate", "/whatIf"]))
def test_what_is_only_asked(land: Land, properties: Any, word: str) -> None:
    body = json.dumps({"properties": properties}).encode("utf-8", "surrogatepass")
    judged(land.arm("POST", at(land, "asked", word), body, VERSION), f"{word} {body[:1500]!r}")


@FEW
@given(expression=EXPRESSIONS)
def test_random_expressions(land: Land, expression: str) -> None:
    output = {"o": {"type": "string", "value": expression}}
    template = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": [], "outputs": output}
    deploy(land, {"mode": "Incremental", "template": template})


@pytest.mark.parametrize("body", [name for name in BODIES if "MB" not in name])
@pytest.mark.parametrize("word", ["", "/validate", "/whatIf", "/cancel", "/exportTemplate"])
def test_bodies_that_are_none(land: Land, word: str, body: str) -> None:
    before = land.stored()
    reply = land.arm("POST" if word else "PUT", at(land, "none", word), BODIES[body], VERSION)
    judged(reply, body)
    assert reply.status >= 400
    assert land.stored() == before


@pytest.mark.parametrize("odd", NASTY, ids=lambda odd: ascii(odd)[:30])
def test_names_of_deployments_that_are_none(land: Land, odd: str) -> None:
    template = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": []}
    before = land.stored()
    body = {"properties": {"mode": "Incremental", "template": template}}
    reply = land.arm("PUT", at(land, odd), body, VERSION)
    judged(reply, odd[:100])
    if reply.status < 300:
        assert ended(land, odd)["properties"]["provisioningState"] == "Succeeded"
    for name in ("odd", "x"):
        template["resources"] = [{"type": KINDS[0][0], "apiVersion": KINDS[0][1], "name": odd, "location": odd}]
        deploy(land, {"mode": "Incremental", "template": template, "parameters": {odd: {"value": name}}})
    land.forget(before)


def test_what_all_others_are_made_from_is_deployed(land: Land) -> None:
    resource = {"type": KINDS[0][0], "apiVersion": KINDS[0][1], "name": "one", "location": "westeurope"}
    outputs = {"o": {"type": "string", "value": "[concat('a', parameters('p'))]"}}
    template = {
        "$schema": SCHEMA,
        "contentVersion": "1.0.0.0",
        "parameters": {"p": {"type": "string", "defaultValue": "v"}},
        "resources": [resource],
        "outputs": outputs,
    }
    body = {"properties": {"mode": "Incremental", "template": template, "parameters": {"p": {"value": "w"}}}}
    before = land.stored()
    assert land.arm("PUT", at(land, "good"), body, VERSION).status in (200, 201)
    shown = ended(land, "good")["properties"]
    assert (shown["provisioningState"], shown["outputs"]["o"]["value"]) == ("Succeeded", "aw")
    land.forget(before)
