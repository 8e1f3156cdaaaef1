"""Templates that cannot be deployed, and what Azure says of each."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.arm.templates.facts import Facts
from keyfob.arm.templates.plan import plan
from keyfob.arm.templates.request import read_wanted, template_hash
from keyfob.arm.templates.source import Unreadable, read_source
from keyfob.arm.templates.template import open_template
from keyfob.errors import Problem
from keyfob.resource_id import ResourceId

from .conftest import template

SUB = "11111111-1111-1111-1111-111111111111"
FACTS = Facts(
    scope=ResourceId.parse(f"/subscriptions/{SUB}/resourceGroups/rg"),
    group={"location": "westeurope"},
    subscription={"subscriptionId": SUB},
)


def row(name: str = "x", **more):
    return {"type": "A.B/c", "apiVersion": "2020-01-01", "name": name, **more}


def opened(wanted, **values):
    found = open_template(wanted, {name: {"value": value} for name, value in values.items()}, FACTS)
    return plan(found)


BAD = [
    ({}, {}, "Template schema '' is not supported. Supported versions are"),
    (template() | {"contentVersion": None, "resources": 5}, {}, "must be an array or an object"),
    (template(parameters={"p": {"type": "string"}}), {}, "The value for the template parameter 'p' at line '1'"),
    (template(parameters={"p": {"type": "text"}}), {"p": "x"}, "the type 'text' is not one of"),
    (template(), {"q": 1}, "The following parameters were supplied, but do not correspond to any parameters"),
    (
        template(parameters={"p": {"type": "string", "allowedValues": ["a", "b"]}}),
        {"p": "c"},
        "The provided value 'c' for the template parameter 'p' is not valid. The parameter value is not part of the "
        "allowed value(s): 'a,b'.",
    ),
    (
        template(parameters={"p": {"type": "int", "maxValue": 10}}),
        {"p": 11},
        "Value should be less than or equal to '10'",
    ),
    (template(parameters={"p": {"type": "string", "minLength": 3}}), {"p": "ab"}, "greater than or equal to '3'"),
    (
        template(parameters={"p": {"type": "string"}}),
        {"p": 5},
        "Template parameter JToken type is not valid. Expected 'String, Uri'. Actual 'Integer'.",
    ),
    (template(parameters={"p": {"type": "int"}}), {"p": True}, "Expected 'Integer'. Actual 'Boolean'."),
    (template(variables={"a": "[variables('b')]", "b": "[variables('a')]"}), {}, "it refers to itself"),
    (template(variables={"a": "[reference('x')]"}), {}, "'reference' is not expected at this location"),
    (template(row(), row()), {}, "is defined multiple times in a template"),
    (template(row("x/y")), {}, "has incorrect segment lengths"),
    (template(row("")), {}, "the name property cannot be null or empty"),
    (template({"type": "A.B/c", "name": "x"}), {}, "The api-version is missing"),
    (template(row("[concat(]")), {}, "Unable to parse language expression 'concat('"),
    (template(row(dependsOn=["y"])), {}, "The resource 'y' is not defined in the template"),
    (template(row("a", dependsOn=["b"]), row("b", dependsOn=["a"])), {}, "Circular dependency detected on resource"),
    (template(row("a", dependsOn=["a"])), {}, "Circular dependency detected on resource"),
    (
        template(row("a", properties={"p": "[reference('b').x]"}), row("b", properties={"p": "[reference('a').x]"})),
        {},
        "Circular dependency detected on resource",
    ),
    (template(row("[concat('a', copyIndex())]", copy={"name": "l", "count": 801})), {}, "outside the allowed range"),
    (template(row("[concat('a', copyIndex())]", copy={"name": "l", "count": "many"})), {}, "must be an integer"),
    (template(*[row(f"a{n}") for n in range(801)]), {}, "The number of template resources limit exceeded"),
    (template(row(condition="[1]")), {}, "must evaluate to a boolean"),
    (template(row("x", scope="/nonsense")), {}, "is not valid"),
    (template(functions=[{"namespace": "n", "members": {"f": {}}}]), {}, "has no output"),
]


@pytest.mark.parametrize(("wanted", "values", "says"), BAD, ids=[says[:50] for *_, says in BAD])
def test_a_bad_template_is_refused(wanted, values, says):
    with pytest.raises(Problem) as caught:
        opened(wanted, **values)
    assert caught.value.status == 400
    assert says in caught.value.message
    assert caught.value.code in ("InvalidTemplate", "InvalidRequestContent")


def test_user_functions_definitions_and_loops_in_variables():
    wanted = template(
        row("[ns.join('a', variables('rows')[2])]", properties={"n": "[parameters('t').size]"}),
        functions=[
            {
                "namespace": "ns",
                "members": {
                    "join": {
                        "parameters": [{"name": "x", "type": "string"}, {"name": "y", "type": "int"}],
                        "output": {"type": "string", "value": "[concat(parameters('x'), parameters('y'))]"},
                    }
                },
            }
        ],
        variables={"copy": [{"name": "rows", "count": 3, "input": "[mul(copyIndex('rows'), 10)]"}]},
        definitions={"thing": {"type": "object", "properties": {"size": {"type": "int", "maxValue": 5}}}},
        parameters={"t": {"$ref": "#/definitions/thing"}},
    )
    parts = opened(wanted, t={"size": 5})
    assert [part.name for part in parts] == ["a20"]
    with pytest.raises(Problem, match="less than or equal to '5'"):
        opened(wanted, t={"size": 6})
    with pytest.raises(Problem, match="required property 'size'"):
        opened(wanted, t={})


def test_ids_of_children_extensions_and_scopes():
    wanted = template(
        row("p", resources=[{"type": "d", "apiVersion": "1", "name": "kid"}]),
        {"type": "A.B/c/providers/locks", "apiVersion": "1", "name": "p/Microsoft.Authorization/l"},
        {"type": "Microsoft.Authorization/roleAssignments", "apiVersion": "1", "name": "r", "scope": "A.B/c/p"},
        {"type": "Microsoft.Authorization/policies", "apiVersion": "1", "name": "t", "scope": "/"},
    )
    base = f"/subscriptions/{SUB}/resourceGroups/rg/providers"
    parts = opened(wanted)
    assert [str(part.id) for part in parts] == [
        f"{base}/A.B/c/p",
        f"{base}/A.B/c/p/d/kid",
        f"{base}/A.B/c/p/providers/Microsoft.Authorization/locks/l",
        f"{base}/A.B/c/p/providers/Microsoft.Authorization/roleAssignments/r",
        "/providers/Microsoft.Authorization/policies/t",
    ]
    assert all(part.needs == {parts[0].key} for part in parts[1:4])


def test_errors_name_the_line_of_the_file():
    text = '{"properties":{"mode":"Incremental", template:' + json.dumps(template(row(), row("y/z")), indent=2) + "}}"
    wanted = read_wanted(text.encode())
    with pytest.raises(Problem) as caught:
        open_template(wanted.template, {}, FACTS, place_of=wanted.place_of)
    lines = json.dumps(template(row(), row("y/z")), indent=2).splitlines()
    line = next(n for n, one in enumerate(lines, 1) if n > 5 and one.strip() == "{")
    assert (
        f"at line '{[n for n, one in enumerate(lines, 1) if one.strip() == '{'][-1]}' and column '5'"
        in caught.value.message
    )
    assert line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1, // one\n "b": [1, 2,], /* two\n */ }', {"a": 1, "b": [1, 2]}),
        (
            '{a: "x\n y", \'b\': -1.5e3, c: null, d: "\\u00e9\\ud83d\\ude00"}',
            {"a": "x\n y", "b": -1500.0, "c": None, "d": "é😀"},
        ),
        ('\ufeff{"a": "//no comment"}', {"a": "//no comment"}),
    ],
)
def test_json_is_read_as_people_write_it(text, value):
    assert read_source(text.encode()).value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a" 1}',
        "[1 2]",
        '{"a": nothing}',
        '"open',
        "/* open",
        "{} x",
        "[" * 200 + "]" * 200,
        "{'a': /}",
        "\udce4",
    ],
)
def test_what_is_no_json_is_told_with_its_place(text):
    with pytest.raises(Unreadable) as caught:
        read_source(text.encode("utf-8", "surrogateescape"))
    assert "line" in caught.value.message


def test_hashes_do_not_depend_on_order():
    assert template_hash({"a": 1, "b": 2}) == template_hash({"b": 2, "a": 1})
    assert template_hash({"a": 1}) != template_hash({"a": 2})


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 900)
    | st.sampled_from(["", "x", "[x", "[y()]", "A.B/c", "[copyIndex()]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "type",
                    "apiVersion",
                    "copy",
                    "count",
                    "resources",
                    "dependsOn",
                    "properties",
                    "scope",
                    "condition",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_JSON, max_size=3), _JSON, _JSON, _JSON)
def test_any_template_is_planned_or_refused(resources, parameters, variables, outputs):
    wanted = template(*resources, parameters=parameters, variables=variables, outputs=outputs)
    refused = None
    try:
        opened(wanted)
    except Problem as problem:
        refused = problem
    assert refused is None or refused.status == 400


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="{}[]:,\"'/*\\ab1 \n", max_size=40))
def test_any_text_is_read_or_refused(text):
    with suppress(Unreadable):
        read_source(text.encode())


async def test_a_rollback_that_would_not_come_is_not_promised(arm):
    wanted = {"mode": "Incremental", "template": template(), "onErrorDeployment": {"type": "LastSuccessful"}}
    refused = await arm.call("PUT", arm.at("rolled"), {"properties": wanted})
    assert (refused.status, refused.json()["error"]["code"]) == (400, "InvalidDeployment")
    assert (await arm.call("GET", arm.at("rolled"))).status == 404
