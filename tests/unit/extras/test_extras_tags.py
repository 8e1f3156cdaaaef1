"""Tags at scopes, tag names of a subscription."""

from __future__ import annotations

from typing import Any

import pytest

TAGS = "providers/Microsoft.Resources/tags/default"
TAG_CONTRIBUTOR = "4a9ae827-6dc8-4573-8ac7-8239d42aa03f"


def tags(operation: str = "", **values: str) -> dict[str, Any]:
    body: dict[str, Any] = {"properties": {"tags": values}}
    return body | ({"operation": operation} if operation else {})


async def test_tags_of_a_subscription_a_group_and_a_resource(world: Any) -> None:
    for scope in (world.subscription, world.group, await world.identity("one")):
        at = f"{scope}/{TAGS}"
        assert (await world.good("GET", at))["properties"]["tags"] == {}
        made = await world.good("PUT", at, tags(a="1", b="2"))
        assert made == {
            "id": at,
            "name": "default",
            "type": "Microsoft.Resources/tags",
            "properties": {"tags": {"a": "1", "b": "2"}},
        }
        assert (await world.good("PATCH", at, tags("Merge", A="3", c="4")))["properties"]["tags"] == {
            "A": "3",
            "b": "2",
            "c": "4",
        }
        assert (await world.good("PATCH", at, tags("delete", a="3", b="other")))["properties"]["tags"] == {
            "b": "2",
            "c": "4",
        }
        assert (await world.good("PATCH", at, tags("Replace", z="")))["properties"]["tags"] == {"z": ""}
        assert (await world.good("GET", at))["properties"]["tags"] == {"z": ""}
        assert (await world.arm("DELETE", at)).status == 200
        assert (await world.good("GET", at))["properties"]["tags"] == {}


async def test_they_are_the_tags_that_the_resource_shows(world: Any) -> None:
    one = await world.identity("one")
    await world.good("PUT", f"{one}/{TAGS}", tags(env="prod"))
    assert (await world.good("GET", one, version="2023-01-31"))["tags"] == {"env": "prod"}
    await world.good("PUT", f"{world.group}/{TAGS}", tags(team="red"))
    assert (await world.good("GET", world.group))["tags"] == {"team": "red"}


async def test_a_tag_contributor_tags_and_does_nothing_else(world: Any) -> None:
    one = await world.identity("one")
    tagger = await world.somebody(TAG_CONTRIBUTOR, world.group)
    await world.good("PUT", f"{one}/{TAGS}", tags(env="prod"), by=tagger)
    body = {"tags": {"env": "test"}}
    refused = (403, "AuthorizationFailed")
    assert await world.refused("PATCH", one, body, by=tagger, version="2023-01-31") == refused
    assert await world.refused("PUT", f"{world.subscription}/{TAGS}", tags(a="b"), by=tagger) == refused


async def test_who_has_no_role_is_refused(world: Any) -> None:
    one, nobody = await world.identity("one"), await world.somebody()
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        body = None if method in ("GET", "DELETE") else tags("Merge", a="b")
        assert await world.refused(method, f"{one}/{TAGS}", body, by=nobody) == (403, "AuthorizationFailed")
    assert await world.refused("GET", f"{world.subscription}/tagNames", by=nobody) == (403, "AuthorizationFailed")


@pytest.mark.parametrize(
    ("method", "body", "code"),
    [
        ("PUT", {"properties": {"tags": {"a<b": ""}}}, "InvalidTagNameCharacters"),
        ("PUT", {"properties": {"tags": {str(n): "" for n in range(51)}}}, "TooManyTags"),
        ("PUT", {"properties": {"tags": {"a": "v" * 257}}}, "TagTooLong"),
        ("PUT", {"properties": {"tags": {"a": 1}}}, "InvalidRequestContent"),
        ("PUT", {"properties": {"tags": ["a"]}}, "InvalidRequestContent"),
        ("PATCH", {"properties": {"tags": {"a": "1"}}}, "InvalidTagsPatchOperation"),
        ("PATCH", {"operation": ["Merge"], "properties": {"tags": {}}}, "InvalidTagsPatchOperation"),
    ],
)
async def test_bad_tags_are_refused_and_change_nothing(world: Any, method: str, body: Any, code: str) -> None:
    at = f"{world.group}/{TAGS}"
    await world.good("PUT", at, tags(a="1"))
    assert await world.refused(method, at, body) == (400, code)
    assert (await world.good("GET", at))["properties"]["tags"] == {"a": "1"}


async def test_what_is_not_there_has_no_tags(world: Any) -> None:
    none = f"{world.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/none/{TAGS}"
    assert await world.refused("PUT", none, tags(a="1")) == (404, "ResourceNotFound")
    assert (await world.refused("GET", f"{world.group}9/{TAGS}"))[0] == 404
    assert await world.refused("GET", f"/{TAGS}") == (400, "InvalidTagScope")


async def test_tag_names_are_counted(world: Any) -> None:
    here = f"{world.subscription}/tagNames"
    await world.good("PUT", f"{world.group}/{TAGS}", tags(env="prod"))
    await world.good("PUT", f"{await world.identity('one')}/{TAGS}", tags(env="prod", cost="7"))
    made = await world.arm("PUT", f"{here}/planned")
    assert made.status == 201
    assert (await world.arm("PUT", f"{here}/planned")).status == 200
    await world.good("PUT", f"{here}/planned/tagValues/soon")
    found = {row["tagName"]: row for row in (await world.good("GET", here))["value"]}
    assert {name: row["count"]["value"] for name, row in found.items()} == {"cost": 1, "env": 2, "planned": 0}
    assert [value["tagValue"] for value in found["planned"]["values"]] == ["soon"]
    assert found["env"]["id"] == f"{here}/env"
    assert await world.refused("DELETE", f"{here}/env") == (409, "CannotDeleteTagInUse")
    assert await world.refused("PUT", f"{here}/nobody/tagValues/x") == (404, "TagNotFound")
    assert (await world.arm("DELETE", f"{here}/planned/tagValues/soon")).status == 200
    assert (await world.arm("DELETE", f"{here}/planned")).status == 200
    assert (await world.arm("DELETE", f"{here}/planned")).status == 204
