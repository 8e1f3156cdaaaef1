"""The watch over all suites sees what is beside a document, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keyfob.wire.http import Fields, Reply, Request

GOOD: dict[str, Any] = {"id": "https://v.vault.azure.net/secrets/a/1", "value": "x", "attributes": {"enabled": True}}


def asked(body: Any, version: str = "7.5", method: str = "PUT", path: str = "/secrets/a") -> Request:
    return Request(method, path, Fields([("api-version", version)]), Fields(), json.dumps(body).encode())


@pytest.mark.parametrize(
    ("request_", "reply", "problem"),
    [
        (asked({"value": "x"}), Reply.json(GOOD), ""),
        (asked({"value": 1}), Reply.json(GOOD), "request: $.value: 1 is no string"),
        (asked({}), Reply.json(GOOD), "request: $: value is missing"),
        (asked({"value": "x"}), Reply.json({**GOOD, "more": 1}), "reply: $.more: no such member"),
        (asked({"value": "x"}), Reply.json(GOOD, 201), "reply: status 201 is not declared"),
        (asked({"value": "x"}), Reply(200), "reply: status 200 without its body"),
        (asked({}, method="GET"), Reply.json({**GOOD, "value": 1}), "reply: $.value: 1 is no string"),
        (asked({}), Reply.json({"error": {}}, 400), ""),  # refused
        (asked({}, "7.4"), Reply.json({}), ""),  # no document of that version
        (asked({}, path="/nowhere"), Reply.json({}), ""),
    ],
)
def test_what_a_vault_took_and_gave(documents: Any, request_: Request, reply: Reply, problem: str) -> None:
    from conformance_watch import Watch

    watch = Watch(documents)
    with watch.paused():
        watch.saw(request_, reply, None)
    assert not watch.take()
    watch.saw(request_, reply, None)
    assert [one.problem for one in watch.take()] == ([problem] if problem else [])
    assert not watch.take()


async def test_an_application_of_this_process_is_watched(documents: Any, watch: Any, tmp_path: Path) -> None:
    from conformance_replay import Server

    from keyfob.app.parts import build
    from keyfob.clock import SystemClock, SystemIds
    from keyfob.settings import read_settings

    chosen = read_settings({}, data=str(tmp_path / "data"))
    app = await build(chosen, clock=SystemClock(), ids=SystemIds())
    try:
        server = Server(app, json.loads(chosen.operator_file.read_text()))
        path = f"/subscriptions/{server.subscription}/resourceGroups/watched"
        before = watch.checked
        made = await server.arm("PUT", path, {"location": "westus"}, [("api-version", "2024-03-01")])
        assert made.status == 201
        assert watch.checked == before + 1
    finally:
        await app.stop()


def test_only_what_the_table_names_is_known() -> None:
    from conformance_watch import Deviation, unknown

    one = Deviation("a/b/stable/1/c.json", "Things_Get", "reply: $.x: no such member")
    assert unknown([one], {}) == [one]
    assert unknown([one], {("1/c.json", "Things_*", "reply: $.x: *"): "why"}) == []
    assert unknown([one], {("1/c.json", "Things_*", "reply: $.y: *"): "why"}) == [one]
