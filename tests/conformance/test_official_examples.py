"""What Azure's own documents say, held against what is answered here."""

from __future__ import annotations

from typing import Any

import pytest


def test_every_example_conforms_or_says_why(results: Any) -> None:
    from conformance import known_deviations, unknown

    bad = [f"{' | '.join(one.key)}: {one.problems[0][:200]}" for one in unknown(results, known_deviations())]
    assert not bad, "\n".join(bad)


def test_nothing_is_excused_that_conforms(results: Any) -> None:
    from conformance import known_deviations, stale

    assert not stale(results, known_deviations())


def test_no_member_is_excused_that_conforms(results: Any) -> None:
    from conformance_replay import LEFT_OUT, SHOWN_ANYWAY

    assert {*SHOWN_ANYWAY, *LEFT_OUT} == set().union(*(one.excused for one in results))


def test_more_than_97_of_100_examples_conform(results: Any) -> None:
    from conformance_documents import KEPT

    from conformance import share

    assert share([one for one in results if one.standing != KEPT]) > 0.97
    assert len(results) > 400


SCHEMA = {
    "type": "object",
    "required": ["name", "secret", "made"],
    "discriminator": "kind",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "secret": {"type": "string", "x-ms-secret": True},
        "made": {"type": "string", "format": "date-time", "readOnly": True},
        "state": {"type": "string", "enum": ["On", "Off"], "x-ms-enum": {"name": "S", "modelAsString": False}},
        "free": {"type": "string", "enum": ["A"], "x-ms-enum": {"name": "F", "modelAsString": True}},
        "count": {"type": "integer", "minimum": 1},
        "list": {"type": "array", "items": {"type": "boolean"}},
        "kind": {"type": "string"},
    },
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, ""),
        ({"name": "Upper"}, "$.name: 'Upper' does not match ^[a-z]+$"),
        ({"name": "toolong"}, "$.name: longer than 5"),
        ({"made": "yesterday"}, "$.made: 'yesterday' is no date-time"),
        ({"made": None}, "$.made: None is no string"),
        ({"state": "on"}, "$.state: 'on' is none of ['On', 'Off']"),
        ({"free": "anything"}, ""),
        ({"count": 0}, "$.count: 0 is less than 1"),
        ({"count": 1.0}, ""),
        ({"count": True}, "$.count: True is no integer"),
        ({"count": None}, ""),
        ({"list": [True, "no"]}, "$.list[1]: 'no' is no boolean"),
        ({"more": 1}, "$.more: no such member"),
        ({"kind": "Special"}, "$: special is missing"),
    ],
)
def test_the_checker_sees_what_is_wrong(tmp_path: Any, change: dict[str, Any], problem: str) -> None:
    import json

    from conformance_documents import Documents
    from conformance_schema import Checker

    derived = {"allOf": [{"$ref": "#/definitions/Base"}], "required": ["special"], "properties": {"special": {}}}
    file = tmp_path / "document.json"
    file.write_text(json.dumps({"definitions": {"Base": SCHEMA, "Special": derived}}))
    checker = Checker(Documents(tmp_path), reply=True)
    value = {"name": "abc", "made": "2026-01-01T00:00:00Z", **change}
    assert checker.problems(value, {"$ref": "document.json#/definitions/Base"}, file) == ([problem] if problem else [])


def test_what_only_replies_have_is_not_asked_of_requests(tmp_path: Any) -> None:
    import json

    from conformance_documents import Documents
    from conformance_schema import Checker

    file = tmp_path / "document.json"
    file.write_text(json.dumps({"definitions": {"Base": SCHEMA}}))
    checker = Checker(Documents(tmp_path), reply=False)
    schema = {"$ref": "#/definitions/Base"}
    assert checker.problems({"name": "abc", "secret": "s", "state": "oN"}, schema, file) == []
    assert checker.problems({"name": "abc"}, schema, file) == ["$: secret is missing"]
