"""`$filter` and its companions: what fits, what is refused, and that nothing whatever makes a 500."""

from __future__ import annotations

import contextlib
import string
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.directory.graph.catalog import load_catalog
from keyfob.directory.graph.filters import parse_filter
from keyfob.directory.graph.query import parse_options
from keyfob.errors import InvalidInput
from keyfob.wire.http import Fields

Graphs = Any
PROPERTIES = load_catalog().properties["servicePrincipal"]
OBJECT = {
    "id": "11111111-1111-4111-8111-111111111111",
    "displayName": "O'Neil's app",
    "accountEnabled": True,
    "createdDateTime": "2024-05-06T07:08:09Z",
    "servicePrincipalNames": ["https://a.example", "api://b"],
    "tags": [],
    "notes": None,
    "info": {"logoUrl": "L"},
    "appRoles": [{"value": "R", "isEnabled": False}],
}


def fits(text: str) -> bool:
    return parse_filter(text, PROPERTIES, "servicePrincipal").fits(OBJECT)


@pytest.mark.parametrize(
    "text",
    [
        "displayName eq 'O''Neil''s app'",
        "displayName eq 'o''neil''s APP'",
        "displayName ne 'x'",
        "startswith(displayName,'o''n')",
        "startsWith(displayName, 'O')",
        "endswith(displayName,'APP')",
        "contains(displayName,'neil')",
        "accountEnabled eq true",
        "not accountEnabled eq false",
        "not(accountEnabled eq false)",
        "id eq 11111111-1111-4111-8111-111111111111",
        "id in ('x','11111111-1111-4111-8111-111111111111')",
        "servicePrincipalNames/any(c:c eq 'api://B')",
        "servicePrincipalNames/any(c: startswith(c, 'https://'))",
        "servicePrincipalNames/any(c:c eq 'no' or c eq 'api://b')",
        "servicePrincipalNames/any()",
        "not tags/any()",
        "notes eq null",
        "displayName ne null",
        "createdDateTime ge 2024-01-01T00:00:00Z and createdDateTime lt 2025-01-01T00:00:00Z",
        "info/logoUrl eq 'l'",
        "appRoles/any(r:r/value eq 'R' and r/isEnabled eq false)",
        "(displayName eq 'x' or accountEnabled eq true) and (id ne 'x')",
        "displayName eq 'x' and id eq 'y' or accountEnabled eq true",
        "  accountEnabled   eq   true  ",
    ],
)
def test_fits(text: str) -> None:
    assert fits(text)
    assert not fits(f"not ({text})")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("displayName equals 'Liam'", "Syntax error at position 12 in 'displayName equals 'Liam''."),
        ("displayName eq", "Syntax error"),
        ("displayName eq 'x", "Syntax error"),
        ("displayName eq 'x' extra", "Syntax error"),
        ("(displayName eq 'x'", "Syntax error"),
        ("displayName", "Syntax error"),
        ("eq 'x'", "Could not find a property named 'eq'"),
        ("foo eq 'x'", "Could not find a property named 'foo' on type 'microsoft.graph.servicePrincipal'."),
        ("tags/all(c:c eq 'x')", "unknown function"),
        ("substringof('x',displayName)", "unknown function"),
        ("startswith(displayName)", "Syntax error"),
        ("startswith(displayName, 7)", "Syntax error"),
        ("tags/any(a:tags/any(b:b eq 'x'))", "Syntax error"),
        ("not " * 40 + "accountEnabled eq true", "node count"),
        ("(" * 400 + "accountEnabled eq true" + ")" * 400, "node count"),
        ("displayName eq 'x' or " * 500 + "id eq 'y'", "too long"),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid filter clause") as caught:
        fits(text)
    assert message in caught.value.message
    assert caught.value.code == "BadRequest"


@pytest.mark.parametrize(
    ("text", "equal"),
    [
        ("appId eq 'x'", (("appId", "x"),)),
        ("appId eq 'x' and displayName eq 'y'", (("appId", "x"), ("displayName", "y"))),
        ("appId eq 'x' or displayName eq 'y'", ()),
        ("not appId eq 'x'", ()),
        ("not (appId eq 'x' and id eq 'y')", ()),
        ("(appId eq 'x' or id eq 'y') and displayName eq 'z'", (("displayName", "z"),)),
        ("servicePrincipalNames/any(c:c eq 'x')", (("servicePrincipalNames", "x"),)),
        ("servicePrincipalNames/any(c:not(c eq 'x'))", ()),
        ("servicePrincipalNames/any(c:c eq 'x' or c eq 'y')", ()),
        ("not servicePrincipalNames/any(c:c eq 'x')", ()),
        ("appId ne 'x'", ()),
    ],
)
def test_only_what_is_certain_is_looked_up(text: str, equal: tuple[Any, ...]) -> None:
    assert parse_filter(text, PROPERTIES, "servicePrincipal").equal == equal


WORDS = st.sampled_from(
    [
        "displayName",
        "id",
        "tags/any(",
        "x:x",
        "eq",
        "ne",
        "in",
        "and",
        "or",
        "not",
        "(",
        ")",
        ",",
        "'a'",
        "''",
        "true",
        "null",
        "7",
        "-1.5",
        "startswith(",
        "any(",
        "/",
        ":",
        "'",
        "2024-01-01T00:00:00Z",
        "\x00",
        "é",
        "🙂",
        "\ud800",
    ]
)


@given(st.lists(WORDS, max_size=20).map(" ".join) | st.text(max_size=60) | st.text(string.printable, max_size=60))
def test_any_filter_is_a_filter_or_a_refusal(text: str) -> None:
    try:
        found = parse_filter(text, PROPERTIES, "servicePrincipal")
    except InvalidInput:
        return
    assert found.fits(OBJECT) in (True, False)
    assert found.fits({}) in (True, False)


NAMES = st.sampled_from(["$filter", "$top", "$select", "$skiptoken", "$orderby", "$expand", "$count", "$search", "$x"])


@given(st.lists(st.tuples(NAMES, st.text(max_size=30)), max_size=5))
def test_any_options_are_options_or_a_refusal(pairs: list[tuple[str, str]]) -> None:
    with contextlib.suppress(InvalidInput):
        parse_options(Fields(pairs), PROPERTIES, "servicePrincipal", expands=("owners",))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_no_query_is_a_500(graphs: Graphs, data: st.DataObject) -> None:
    path = data.draw(
        st.sampled_from(
            [
                "/users",
                "/groups",
                "/applications",
                "/servicePrincipals",
                "/directoryRoles",
                "/domains",
                "/organization",
                "/oauth2PermissionGrants",
            ]
        )
    )
    text = data.draw(st.lists(WORDS, max_size=8).map(" ".join) | st.text(max_size=20))
    option = data.draw(st.sampled_from(["$filter", "$select", "$top", "$skiptoken", "$orderby", "$expand"]))
    answer = await graphs.get(f"{path}?{option}={quote(text.encode('utf-8', 'replace'))}")
    assert answer.status in (200, 400), answer.body


async def test_pages_are_whole_and_without_doubles(graphs: Graphs) -> None:
    made = {(await graphs.make_group(f"group{number:02}"))["id"] for number in range(7)}
    for extra in ("", "&$orderby=displayName", "&$orderby=displayName desc"):
        seen: list[str] = []
        target = "/groups?$top=3&$filter=startswith(displayName,'group')&$select=id,displayName&$count=true" + extra
        names: list[str] = []
        while target:
            body = (await graphs.get(target, headers={"ConsistencyLevel": "eventual"})).body
            assert body["@odata.count"] == 7
            seen += [one["id"] for one in body["value"]]
            names += [one["displayName"] for one in body["value"]]
            link = urlsplit(body.get("@odata.nextLink", ""))
            assert link.netloc in ("", "graph.microsoft.com")
            target = f"{link.path}?{link.query}" if link.path else ""
            if target:
                assert dict(parse_qsl(link.query))["$top"] == "3"
        assert len(seen) == 7
        assert set(seen) == made
        if "orderby" in extra:
            assert names == sorted(names, reverse="desc" in extra)


@pytest.mark.parametrize(
    "query",
    [
        "$top=0",
        "$top=1000",
        "$top=x",
        "$skiptoken=!!",
        "$orderby=jobTitle",
        "$select=nope",
        "$expand=manager",
        '$search="displayName:x"',
        "$apply=x",
    ],
)
async def test_options_refused(graphs: Graphs, query: str) -> None:
    refused = await graphs.get(f"/users?{query}")
    assert refused.status == 400
    assert refused.error[1] in ("BadRequest", "Request_UnsupportedQuery", "Directory_ExpiredPageToken")


async def test_counts(graphs: Graphs) -> None:
    reply = (await graphs.get("/users/$count", headers={"ConsistencyLevel": "eventual"})).reply
    assert reply.body == b"2"
    await graphs.make_group("g")
    assert (await graphs.get("/groups/$count")).reply.body == b"1"
