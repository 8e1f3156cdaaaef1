"""Each function of the language: a table of cases. Values are those of Azure's documentation where it has them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.arm.templates.evaluate import Budget, Frame, Loop, Names, evaluate
from keyfob.arm.templates.expressions import ExpressionError, parse
from keyfob.arm.templates.facts import Facts, environment_of
from keyfob.arm.templates.functions import TABLE
from keyfob.clouds.table import load_clouds
from keyfob.resource_id import ResourceId

SUB = "11111111-1111-1111-1111-111111111111"
GROUP = f"/subscriptions/{SUB}/resourceGroups/rg"


def frame(scope: str = GROUP, **more) -> Frame:
    clouds = load_clouds()
    names = Names("parameter")
    names.values |= {"o": {"a": {"b": [1, 2]}, "Case": 1}, "l": [3, 1, 2], "n": None, "s": "text"}
    variables = Names("variable")
    variables.values["v"] = "var"
    facts = Facts(
        scope=ResourceId.parse(scope),
        group={"id": GROUP, "name": "rg", "location": "westeurope"},
        subscription={"subscriptionId": SUB},
        tenant={"tenantId": "t"},
        deployment={"name": "d"},
        environment=environment_of(clouds["AzureCloud"], clouds),
        deployer={"objectId": "o"},
        now=1_700_000_000.0,
        guid=lambda: "g",
        providers=lambda namespace, kind: {"resourceType": kind} if kind == "c" else None,
    )
    return Frame(parameters=names, variables=variables, facts=facts, **more)


CASES = [
    # arrays
    ("array('a')", ["a"]),
    ("array(createArray(1))", [1]),
    ("concat('prefix', '-', 5)", "prefix-5"),
    ("concat(createArray(1), createArray(2, 3))", [1, 2, 3]),
    ("contains('OneTwoThree', 'e')", True),
    ("contains('OneTwoThree', 'z')", False),
    ("contains(parameters('o'), 'case')", True),
    ("contains(parameters('l'), 3)", True),
    ("contains(createArray(true()), 1)", False),
    ("createArray()", []),
    ("empty('')", True),
    ("empty(parameters('n'))", True),
    ("empty(parameters('o'))", False),
    ("first('One Two Three')", "O"),
    ("first(createArray('one', 'two'))", "one"),
    ("first(createArray())", None),
    ("last('One Two Three')", "e"),
    ("last(parameters('l'))", 2),
    ("length('One Two Three')", 13),
    ("length(parameters('o'))", 2),
    ("min(0, 3, 2, 5, 4)", 0),
    ("max(createArray(0, 3, 2, 5, 4))", 5),
    ("range(5, 3)", [5, 6, 7]),
    ("skip('one two three', 4)", "two three"),
    ("skip(parameters('l'), 2)", [2]),
    ("take('one two three', 2)", "on"),
    ("take(parameters('l'), 9)", [3, 1, 2]),
    ("union(createArray('a', 'b'), createArray('b', 'c'))", ["a", "b", "c"]),
    (
        "union(createObject('one', 'a', 'two', createObject('x', 1)), createObject('two', createObject('y', 2)))",
        {"one": "a", "two": {"x": 1, "y": 2}},
    ),
    ("intersection(createArray('one', 'two', 'three'), createArray('two', 'three'))", ["two", "three"]),
    ("intersection(createObject('a', 1, 'b', 2), createObject('b', 2, 'a', 3))", {"b": 2}),
    ("flatten(createArray(createArray(1, 2), createArray(createArray(3))))", [1, 2, [3]]),
    ("indexOf('abcdef', 'CD')", 2),
    ("indexOf(createArray('a', 'b'), 'B')", -1),
    ("lastIndexOf('test', 't')", 3),
    ("indexFromEnd(parameters('l'), 1)", 2),
    ("tryIndexFromEnd(parameters('l'), 9)", None),
    ("tryGet(parameters('o'), 'a', 'b', 1)", 2),
    ("tryGet(parameters('o'), 'x', 'b')", None),
    ("tryGet(parameters('n'), 'x')", None),
    ("parameters('l')[0]", 3),
    ("parameters('o').A.b[1]", 2),
    ("parameters('o')['case']", 1),
    # strings
    ("base64('one, two, three')", "b25lLCB0d28sIHRocmVl"),
    ("base64ToString('b25lLCB0d28sIHRocmVl')", "one, two, three"),
    ("base64ToJson(base64('{''one'': ''a''}')).one", "a"),
    ("dataUri('Hello')", "data:text/plain;charset=utf8;base64,SGVsbG8="),
    ("dataUriToString('data:;base64,SGVsbG8sIFdvcmxkIQ==')", "Hello, World!"),
    ("endsWith('abcdef', 'F')", True),
    ("startsWith('abcdef', 'AB')", True),
    (
        "format('{0}, {1}. Formatted number: {2:N0}', 'Hello', 'User', 8175133)",
        "Hello, User. Formatted number: 8,175,133",
    ),
    ("format('{{{0,-3}}}|{1:D3}|{2:X}', 'a', 7, 255)", "{a  }|007|FF"),
    ("uniqueString('test')", "rbgf3xv4ufgzg"),
    ("uniqueString('hello', 'world')", "a7wkljktk6wne"),
    ("uniqueString('foo', 'bar', 'baz')", "xzi4ioaxtmth4"),
    ("join(createArray('one', 'two'), ', ')", "one, two"),
    ("json('null')", None),
    ("json('{\"a\": [1]}').a", [1]),
    ("padLeft('123', 10, '0')", "0000000123"),
    ("padLeft(7, 3)", "  7"),
    ("replace('123-123-1234', '-', '')", "1231231234"),
    ("split('one;two,three', createArray(',', ';'))", ["one", "two", "three"]),
    ("string(createArray('a', 1))", '["a",1]'),
    ("string(true())", "True"),
    ("string(5)", "5"),
    ("substring('one two three', 4, 3)", "two"),
    ("substring('abc', 1)", "bc"),
    ("toUpper('One')", "ONE"),
    ("toLower('One')", "one"),
    ("trim('    one two three   ')", "one two three"),
    ("uri('http://contoso.org/firstpath', 'myscript.sh')", "http://contoso.org/myscript.sh"),
    ("uri('http://contoso.org/firstpath/', '/myscript.sh')", "http://contoso.org/myscript.sh"),
    ("uri('http://contoso.org/a/azuredeploy.json', 'b/c.json')", "http://contoso.org/a/b/c.json"),
    ("uriComponent('http://contoso.com/a b')", "http%3A%2F%2Fcontoso.com%2Fa%20b"),
    ("uriComponentToString('http%3A%2F%2Fcontoso.com')", "http://contoso.com"),
    ("'it''s'", "it's"),
    # numbers, comparisons, logic
    ("add(5, 3)", 8),
    ("sub(3, 5)", -2),
    ("mul(5, 3)", 15),
    ("div(8, 3)", 2),
    ("div(-7, 2)", -3),
    ("mod(7, 3)", 1),
    ("mod(-7, 3)", -1),
    ("int('4')", 4),
    ("float('3.5')", 3.5),
    ("bool('true')", True),
    ("bool(0)", False),
    ("not(true())", False),
    ("xor(true(), false())", True),
    ("equals(createArray(1, 2), createArray(1, 2))", True),
    ("equals('a', 'A')", False),
    ("equals(1, true())", False),
    ("greater(1, 2)", False),
    ("greaterOrEquals('b', 'a')", True),
    ("less('A', 'a')", True),
    ("lessOrEquals(2, 2)", True),
    ("if(true(), 'yes', fail('never asked'))", "yes"),
    ("and(false(), fail('never asked'))", False),
    ("or(true(), fail('never asked'))", True),
    ("coalesce(null(), 'x', fail('never asked'))", "x"),
    ("false()", False),
    # objects and lambdas
    ("createObject('a', 1)", {"a": 1}),
    ("items(createObject('b', 1, 'a', 2))", [{"key": "a", "value": 2}, {"key": "b", "value": 1}]),
    ("objectKeys(createObject('b', 1, 'a', 2))", ["a", "b"]),
    ("shallowMerge(createArray(createObject('a', 1), createObject('a', 2)))", {"a": 2}),
    ("null()", None),
    ("map(parameters('l'), lambda('x', mul(lambdaVariables('x'), 2)))", [6, 2, 4]),
    ("map(parameters('l'), lambda('x', 'i', lambdaVariables('i')))", [0, 1, 2]),
    ("filter(parameters('l'), lambda('x', greater(lambdaVariables('x'), 1)))", [3, 2]),
    ("reduce(parameters('l'), 0, lambda('a', 'b', add(lambdaVariables('a'), lambdaVariables('b'))))", 6),
    ("sort(parameters('l'), lambda('a', 'b', less(lambdaVariables('a'), lambdaVariables('b'))))", [1, 2, 3]),
    ("groupBy(createArray('a', 'b', 'a'), lambda('x', lambdaVariables('x')))", {"a": ["a", "a"], "b": ["b"]}),
    ("toObject(parameters('l'), lambda('x', string(lambdaVariables('x'))))", {"3": 3, "1": 1, "2": 2}),
    (
        "toObject(createArray(1), lambda('x', 'k'), lambda('x', add(lambdaVariables('x'), 1)))",
        {"k": 2},
    ),
    ("mapValues(createObject('a', 1), lambda('v', add(lambdaVariables('v'), 1)))", {"a": 2}),
    # dates and networks
    ("dateTimeAdd('2020-04-07 14:53:14Z', 'P3Y')", "4/7/2023 2:53:14 PM"),
    ("dateTimeAdd('2020-04-07 14:53:14Z', '-P9D', 'u')", "2020-03-29 14:53:14Z"),
    ("dateTimeAdd('20200407T145314Z', 'PT1H', 'yyyy-MM-ddTHH:mm:ssZ')", "2020-04-07T15:53:14Z"),
    ("dateTimeAdd('2024-01-31', 'P1M', 'yyyy-MM-dd')", "2024-02-29"),
    ("dateTimeFromEpoch(1683040573)", "2023-05-02T15:16:13Z"),
    ("dateTimeToEpoch('2023-05-02T15:16:13Z')", 1683040573),
    ("parseCidr('10.144.0.0/20').lastUsable", "10.144.15.254"),
    ("parseCidr('10.144.0.0/20').cidr", 20),
    ("cidrSubnet('10.144.0.0/20', 24, 1)", "10.144.1.0/24"),
    ("cidrHost('10.144.3.0/24', 1)", "10.144.3.2"),
    # places
    ("resourceGroup().location", "westeurope"),
    ("subscription().subscriptionId", SUB),
    ("deployment().name", "d"),
    ("tenant().tenantId", "t"),
    ("deployer().objectId", "o"),
    ("environment().suffixes.storage", "core.windows.net"),
    ("environment().resourceManager", "https://management.azure.com/"),
    ("environment().authentication.loginEndpoint", "https://login.microsoftonline.com/"),
    ("parameters('S')", "text"),
    ("variables('v')", "var"),
    ("resourceId('A.B/c', 'x')", f"{GROUP}/providers/A.B/c/x"),
    ("resourceId('A.B/c/d', 'x', 'y')", f"{GROUP}/providers/A.B/c/x/d/y"),
    ("resourceId('other', 'A.B/c', 'x')", f"/subscriptions/{SUB}/resourceGroups/other/providers/A.B/c/x"),
    (
        "resourceId('22222222-1111-1111-1111-111111111111', 'g', 'A.B/c', 'x')",
        "/subscriptions/22222222-1111-1111-1111-111111111111/resourceGroups/g/providers/A.B/c/x",
    ),
    ("subscriptionResourceId('A.B/c', 'x')", f"/subscriptions/{SUB}/providers/A.B/c/x"),
    ("tenantResourceId('A.B/c', 'x')", "/providers/A.B/c/x"),
    ("extensionResourceId('/a', 'A.B/c', 'x')", "/a/providers/A.B/c/x"),
    (
        "managementGroupResourceId('m', 'A.B/c', 'x')",
        "/providers/Microsoft.Management/managementGroups/m/providers/A.B/c/x",
    ),
    ("providers('A.B', 'c').resourceType", "c"),
    ("pickZones('Microsoft.Compute', 'virtualMachines', 'westeurope')", ["1"]),
    ("pickZones('A.B', 'c', 'westeurope')", []),
    ("toPhysicalZone('s', 'westeurope', '1')", "westeurope-az1"),
    ("toLogicalZone('s', 'westeurope', 'westeurope-az2')", "2"),
    ("copyIndex()", 4),
    ("copyIndex(10)", 14),
    ("copyIndex('outer', 1)", 3),
]
NEED_MORE = {"lambda", "lambdavariables", "utcnow", "newguid", "reference", "references", "guid", "managementgroup"}
NEED_MORE |= {"fail"}


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text for text, _ in CASES])
def test_a_function_gives(text, expected):
    loops = (Loop("outer", 2), Loop("inner", 4))
    found = evaluate(f"[{text}]", frame(loops=loops))
    assert found == expected
    assert isinstance(found, bool) == isinstance(expected, bool)


def test_every_function_has_a_case():
    used = {part.split("(")[0].lower() for text, _ in CASES for part in text.replace("(", "( ").split() if "(" in part}
    used = {name.rpartition("[")[2].rpartition(".")[2] for name in used}
    assert set(TABLE) - used - NEED_MORE == set()


def test_guids_are_version_five_under_resource_managers_namespace():
    import uuid

    expected = uuid.uuid5(uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830"), "a-b")
    assert evaluate("[guid('a', 'b')]", frame()) == str(expected)


def test_only_defaults_know_the_time_and_new_guids():
    assert evaluate("[utcNow()]", frame(only="default")) == "20231114T221320Z"
    assert evaluate("[utcNow('d')]", frame(only="default")) == "11/14/2023"
    assert evaluate("[newGuid()]", frame(only="default")) == "g"
    for text in ("[utcNow()]", "[newGuid()]"):
        with pytest.raises(ExpressionError, match="not expected at this location"):
            evaluate(text, frame())


BAD = [
    ("nothing()", "The template function 'nothing' is not valid"),
    ("length()", "function requires exactly '1' argument(s) while '0' were provided"),
    ("concat('a'", "expected token 'RightParenthesis' and actual 'EndOfData'"),
    ("concat('a') x", "expected token 'EndOfData' and actual 'Identifier'"),
    ("add(1, 2", "expected token 'RightParenthesis'"),
    ("'open", "is not expected"),
    ("add('1', 2)", "expects its parameter to be of type 'Integer'. The provided value is of type 'String'"),
    ("parameters('x')", "The template parameter 'x' is not found"),
    ("variables('x')", "The template variable 'x' is not found"),
    ("parameters('o').x", "The language expression property 'x' doesn't exist, available properties are 'a, Case'"),
    ("parameters('l')[7]", "array index '7' is out of bounds"),
    ("parameters('s').x", "The language expression property 'x' can't be evaluated"),
    ("div(1, 0)", "divide by zero"),
    ("mul(9223372036854775807, 2)", "too large"),
    ("int('x')", "cannot convert"),
    ("json('{')", "cannot be parsed as JSON"),
    ("substring('abc', 2, 5)", "must refer to a location within the string"),
    ("format('{1}', 'a')", "Index (zero based)"),
    ("resourceId('A.B/c', 'x', 'y')", "requires '1' resource name argument(s)"),
    ("reference('x')", "not expected at this location"),
    ("managementGroup()", "not available in a resource group deployment"),
    ("copyIndex()", "not expected at this location"),
    ("range(0, 20000)", "'10000'"),
    ("lambda('x', 1)", "not expected"),
    ("if('yes', 1, 2)", "of type 'Boolean'"),
    ("ns.f()", "The template function 'ns.f' is not found"),
    ("fail('because')", "because"),
]


@pytest.mark.parametrize(("text", "says"), BAD, ids=[text for text, _ in BAD])
def test_what_is_wrong_is_said_as_azure_says_it(text, says):
    with pytest.raises(ExpressionError) as caught:
        evaluate(f"[{text}]", frame())
    assert says in str(caught.value)


def test_texts_that_are_no_expressions_stay():
    assert evaluate({"a": "[[x]", "b": "[1", "c": "plain", "d": ["[concat('x')]"]}, frame()) == {
        "a": "[x]",
        "b": "[1",
        "c": "plain",
        "d": ["x"],
    }


@pytest.mark.parametrize(
    "bomb",
    [
        "[" + "concat(" * 300 + "'a'" + ")" * 300 + "]",
        "[concat(" + ",".join(["range(0,10000)"] * 20) + ")]",
        "[join(range(0,10000), join(range(0,10000), 'xxxxxxxxxxxxxxxx'))]",
        "[map(range(0,10000), lambda('x', map(range(0,10000), lambda('y', map(range(0,1000), lambda('z', 1))))))]",
        "[reduce(range(0,40), 'a', lambda('a', 'b', concat(lambdaVariables('a'), lambdaVariables('a'))))]",
        "[replace(join(range(0,10000),'a'), 'a', join(range(0,10000),'b'))]",
        "[" + "a" * 30_000 + "]",
        "[padLeft('a', 2000000000)]",
        "[parameters('o')" + ".a" * 5000 + "]",
    ],
    ids=range(9),
)
def test_bombs_go_off_quietly(bomb):
    with pytest.raises(ExpressionError):
        evaluate(bomb, frame(budget=Budget(steps=200_000)))


_ALPHABET = "()[],.'? abcconcatparameters('o')0123456789-{}\\\"\n"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=_ALPHABET, max_size=60))
def test_whatever_stands_in_brackets_is_a_value_or_a_sentence(text):
    with suppress(ExpressionError):
        evaluate(f"[{text}]", frame(budget=Budget(steps=10_000)))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_string_survives_its_literal(text):
    assert parse("['" + text.replace("'", "''") + "']").value == text


def test_going_through_large_values_costs_accordingly():
    text = "[map(range(0,10000), lambda('x', contains(range(0,10000), lambdaVariables('x'))))]"
    with pytest.raises(ExpressionError, match="more"):
        evaluate(text, frame())
