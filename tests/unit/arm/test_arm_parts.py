"""The pure parts: paths, versions, registry, bodies, filters, pages; and that nothing odd becomes a 500."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.arm.body import checked_tags, merge_patch, parse_envelope, parse_object
from keyfob.arm.engine import canonical, placed
from keyfob.arm.paths import Word, obvious_scope, parse_path
from keyfob.arm.registry import Registry, listed_version, version_of
from keyfob.declare import Level, Provider, ResourceType
from keyfob.errors import InvalidInput, NotFound, Problem
from keyfob.identities.filters import predicate
from keyfob.resource_id import ResourceId
from keyfob.wire.http import Fields, Request, parse_target

GROUP = "/subscriptions/s/resourceGroups/g"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/vm"
S = "bbbbbbbb-0000-4000-8000-000000000001"

# --- paths


@pytest.mark.parametrize(
    "path",
    [VM, VM.lower(), f"{VM}/extensions/e", "/providers/A.B/c/d", f"{VM}/providers/A.B/c/d", f"{GROUP}/providers/A/b/c"],
)
def test_resources(path: str) -> None:
    assert parse_path(path) == ResourceId.parse(path)


@pytest.mark.parametrize(
    ("path", "parent", "type_name", "word"),
    [
        (f"{GROUP}/providers/A.B/c", GROUP, "A.B/c", "c"),
        ("/subscriptions/s/providers/A.B/c", "/subscriptions/s", "A.B/c", "c"),
        ("/providers/A.B/c", "/", "A.B/c", "c"),
        (f"{VM}/extensions", VM, "Microsoft.Compute/virtualMachines/extensions", "extensions"),
        (f"{VM}/start", VM, "Microsoft.Compute/virtualMachines/start", "start"),
        (f"{VM}/providers/A.B/c", VM, "A.B/c", "c"),
    ],
)
def test_words_after_them(path: str, parent: str, type_name: str, word: str) -> None:
    assert parse_path(path) == Word(ResourceId.parse(parent), type_name, word)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/x",
        "/subscriptions",
        "/subscriptions/s",
        "/subscriptions/s/x",
        GROUP,
        f"{GROUP}/x",
        f"{GROUP}/providers",
        f"{GROUP}/providers/A.B",
        "/providers/A.B",
        f"{GROUP}/providers/A.B/c*d",
        f"{GROUP}/providers/A.B/../c",
    ],
)
def test_neither(path: str) -> None:
    with pytest.raises(NotFound):
        parse_path(path)


def test_what_a_route_is_authorised_on() -> None:
    assert obvious_scope(f"{GROUP}/resources", None) == ResourceId.parse(GROUP)
    assert obvious_scope("/metadata/endpoints", None) == ResourceId(())
    assert obvious_scope("/whatever", VM) == ResourceId.parse(VM)
    assert obvious_scope("/whatever", "") == ResourceId(())
    with pytest.raises(InvalidInput):
        obvious_scope("/whatever", "/subscriptions")


@given(st.text(max_size=60), st.sampled_from(["", GROUP, VM, "/providers/", f"{GROUP}/providers/A.B/"]))
def test_any_path_is_understood_or_a_problem(text: str, before: str) -> None:
    try:
        place = parse_path("/" + "/".join(part for part in (before + text).split("/") if part))
    except Problem:
        return
    assert isinstance(place, ResourceId | Word)


# --- the registry

MACHINES = ResourceType(name="Microsoft.Compute/virtualMachines", api_versions=("2018-06-01", "2019-03-01-PREVIEW"))


def test_what_collides() -> None:
    one = Provider(namespace="Microsoft.Compute", types=(MACHINES,))
    with pytest.raises(ValueError, match="declared twice"):
        Registry([one, Provider(namespace="microsoft.compute", types=(MACHINES,))])
    with pytest.raises(ValueError, match="not a type of"):
        Registry([Provider(namespace="Microsoft.Web", types=(MACHINES,))])


def test_tenant_level_types_are_refused() -> None:
    top = ResourceType(name="A.B/top", api_versions=("1",), level=Level.TENANT)
    with pytest.raises(ValueError, match="tenant level"):
        Registry([Provider(namespace="A.B", types=(top,))])


def test_folders_may_share_a_namespace() -> None:
    sets = ResourceType(name="Microsoft.Compute/virtualMachineScaleSets", api_versions=("2018-06-01",))
    registry = Registry(
        [
            Provider(namespace="Microsoft.Compute", types=(MACHINES,), registered=True),
            Provider(namespace="Microsoft.Compute", types=(sets,)),
        ]
    )
    assert registry.find("microsoft.compute/VIRTUALMACHINES") is MACHINES
    assert registry.find("Microsoft.Compute/virtualMachineScaleSets") is sets
    assert registry.namespace("MICROSOFT.COMPUTE").registered
    assert registry.find("Microsoft.Nothing/x") is None


def test_versions_compare_without_case() -> None:
    assert version_of(MACHINES, "2019-03-01-preview") == "2019-03-01-PREVIEW"
    assert listed_version("2019-03-01-PREVIEW", ("2019-03-01-preview",)) == "2019-03-01-preview"
    assert listed_version("2030-01-01", ()) == "2030-01-01"
    for given_version in ("x", "2018-6-1", "2018-06-01 ", "2018-06-01-a-b"):
        with pytest.raises(InvalidInput):
            listed_version(given_version, ())


def test_where_types_can_be() -> None:
    extension = ResourceType(name="A.B/ext", api_versions=("1",), level=Level.EXTENSION)
    child = ResourceType(name="Microsoft.Compute/virtualMachines/extensions", api_versions=("1",))
    wide = ResourceType(name="A.B/wide", api_versions=("1",), level=Level.SUBSCRIPTION)
    for kind, path, right in (
        (MACHINES, VM, True),
        (MACHINES, "/subscriptions/s/providers/Microsoft.Compute/virtualMachines/vm", False),
        (MACHINES, f"{VM}/providers/Microsoft.Compute/virtualMachines/vm", False),
        (child, f"{VM}/extensions/e", True),
        (extension, f"{VM}/providers/A.B/ext/e", True),
        (extension, "/subscriptions/s/providers/A.B/ext/e", True),
        (wide, "/subscriptions/s/providers/A.B/wide/w", True),
        (wide, f"{GROUP}/providers/A.B/wide/w", False),
        (extension, "/providers/A.B/ext/e", False),
    ):
        assert placed(kind, ResourceId.parse(path)) is right, path


def test_ids_get_the_declared_spelling() -> None:
    child = ResourceType(name="Microsoft.Compute/virtualMachines/extensions", api_versions=("1",))
    assert str(canonical(ResourceId.parse(f"{VM}/EXTENSIONS/E".replace("Compute", "COMPUTE")), child)) == (
        f"{VM}/extensions/E"
    )


# --- bodies

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=3), values, max_size=4)


def test_merging_as_rfc_7396_shows() -> None:
    assert merge_patch({"a": "b", "c": {"d": "e", "f": "g"}}, {"a": "z", "c": {"f": None}}) == {
        "a": "z",
        "c": {"d": "e"},
    }
    assert merge_patch({"a": [{"b": "c"}]}, {"a": [1]}) == {"a": [1]}
    assert merge_patch({"e": None}, {"a": 1}) == {"e": None, "a": 1}
    assert merge_patch({}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}


@given(objects, objects)
def test_merging_twice_is_merging_once(before: dict[str, Any], change: dict[str, Any]) -> None:
    once = merge_patch(before, change)
    assert merge_patch(once, change) == once
    assert all(name not in once for name, value in change.items() if value is None)


@given(st.one_of(st.binary(max_size=40), objects.map(lambda value: json.dumps(value).encode())))
def test_any_body_is_an_object_or_a_problem(body: bytes) -> None:
    try:
        parsed = parse_object(body)
    except InvalidInput:
        return
    assert isinstance(parsed, dict)


def test_a_byte_order_mark_is_no_reason_to_refuse() -> None:
    assert parse_object(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    assert parse_object(b" ", empty=True) == {}


def test_the_envelope() -> None:
    read = parse_envelope({"Location": "x", "TAGS": {"a": None}, "id": "/x", "extendedLocation": {"name": "e"}})
    assert (read.location, read.tags, read.more) == ("x", {"a": None}, {"extendedLocation": {"name": "e"}})


def test_tags_have_limits() -> None:
    assert checked_tags({"a" * 512: "b" * 256}) == {"a" * 512: "b" * 256}
    for bad in ({"a" * 513: ""}, {"": ""}, {"a\x01": ""}, {"a%": ""}):
        with pytest.raises(InvalidInput):
            checked_tags(bad)


# --- filters


def test_filters() -> None:
    row = {"name": "It's me", "type": "A.B/c"}
    names = ("name", "type")
    for text, right in (
        (None, True),
        ("", True),
        ("name eq 'it''s ME'", True),
        ("Name ne 'x' AND type eq 'a.b/c'", True),
        ("name eq 'x' and type eq 'a.b/c'", False),
        ("contains(type,'b/')", True),
        ("startswith(type, 'b')", False),
        ("endswith(type, 'C')", True),
        ("substringof('me', name)", True),
    ):
        assert predicate(text, names)(row) is right, text


@given(st.text(max_size=40))
def test_any_filter_is_a_predicate_or_a_problem(text: str) -> None:
    try:
        assert predicate(text, ("name",))({"name": "x"}) in (True, False)
    except InvalidInput:
        return


# --- nothing becomes a 500

segments = st.one_of(
    st.sampled_from(
        [
            "subscriptions",
            S,
            "resourceGroups",
            "g",
            "providers",
            "Microsoft.Compute",
            "virtualMachines",
            "vm1",
            "Microsoft.ManagedIdentity",
            "userAssignedIdentities",
            "federatedIdentityCredentials",
            "identities",
            "default",
            "Microsoft.Shelf",
            "boxes",
            "notes",
            "resources",
            "operations",
            "locations",
            "register",
            "Ünï cöde",
            "..",
        ]
    ),
    st.text(max_size=8),
)
paths = st.one_of(
    st.lists(segments, max_size=10).map(lambda parts: "/" + "/".join(parts)),
    st.sampled_from(
        [
            f"/subscriptions/{S}/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/vm1",
            f"/subscriptions/{S}/resourceGroups/g/providers/Microsoft.Shelf/boxes/b1",
            f"/subscriptions/{S}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uami1",
            f"/subscriptions/{S}/resourceGroups/g2",
        ]
    ),
)
bodies = st.one_of(
    st.just(b""),
    st.binary(max_size=20),
    st.dictionaries(
        st.sampled_from(["location", "tags", "identity", "properties", "sku", "zones", "kind", "name", "id", "extra"]),
        st.one_of(st.just("westeurope"), st.just({}), values),
        max_size=6,
    ).map(lambda value: json.dumps(value).encode()),
)
queries = st.sampled_from(
    [
        "",
        "?api-version=2024-11-01",
        "?api-version=2022-12-01&$top=1",
        "?api-version=2020-01-01&$filter=x",
        "?api-version=2018-11-30",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["GET", "PUT", "PATCH", "POST", "DELETE", "HEAD"]), paths, queries, bodies)
async def test_no_request_is_our_fault(manager: Any, method: str, path: str, query: str, body: bytes) -> None:
    answer = await manager.send(method, path.replace("?", "") + (query or "?"), body)
    assert answer.status < 500
    assert answer.status < 400 or method == "HEAD" or set(answer.json["error"]) >= {"code", "message"}


async def test_a_page_looks_at_few_rows_however_many_there_are():
    from keyfob.arm.listing import PAGE, SCANNED, page_of
    from keyfob.store.records import Stored

    looked: list[int] = []

    async def rows(after: str, limit: int) -> list[Stored[int]]:
        first = int(after or 0) + 1
        found = [Stored(number, f"{number:06}", "e") for number in range(first, min(100_000, first + limit))]
        looked.append(len(found))
        return found

    async def show(row: int) -> dict[str, int]:
        return {"n": row}

    async def all_of(query: str, wanted: Callable[[int], bool]) -> tuple[list[int], int]:
        """Follows nextLink to the end: what was seen, in how many pages."""
        seen: list[int] = []
        pages = 0
        while True:
            asked = Request("GET", "/r", parse_target(f"/r?{query}")[2], Fields(), host="h")

            async def keep(row: int) -> bool:
                return wanted(row)

            found = await page_of(asked, rows, keep=keep, show=show)
            seen += [one["n"] for one in found["value"]]
            pages += 1
            if "nextLink" not in found:
                return seen, pages
            query = found["nextLink"].partition("?")[2]

    seen, pages = await all_of("", lambda n: True)
    assert seen == list(range(1, 100_000))
    assert pages == 100
    looked.clear()
    seen, pages = await all_of("", lambda n: n in (3, 99_999))
    assert seen == [3, 99_999]
    assert pages <= 100_000 // SCANNED + 1
    assert max(looked) <= PAGE + 1
    looked.clear()
    asked = Request("GET", "/r", parse_target("/r?$top=2")[2], Fields(), host="h")

    async def every(row: int) -> bool:
        return True

    first = await page_of(asked, rows, keep=every, show=show)
    assert first["value"] == [{"n": 1}, {"n": 2}]
    assert sum(looked) == 3
