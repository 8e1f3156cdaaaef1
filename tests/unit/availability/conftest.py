"""One application for each edition and cloud, made when a test first asks, used by all cells of that table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from keyfob.app.parts import App, build
from keyfob.clock import SystemClock, SystemIds
from keyfob.settings import read_settings
from keyfob.wire.http import Fields, Reply, Request, parse_target


class World:
    """An application of one cloud under one edition, spoken to through its front door, without sockets."""

    def __init__(self, runner: asyncio.Runner, data: Path, edition: str, cloud: str) -> None:
        self._runner = runner
        settings = read_settings({}, data=str(data), port="0", cloud=cloud, availability=edition)
        self.app: App = runner.run(build(settings, clock=SystemClock(), ids=SystemIds()))
        self.operator = json.loads(settings.operator_file.read_text())
        self.group = f"/subscriptions/{self.operator['subscription_id']}/resourceGroups/cells"
        self.location = self.app.resource_manager.engine._clouds[cloud].locations[0]
        self._token = ""
        self._number = 0
        self.made("PUT", self.group, "2024-11-01", {"location": self.location})
        self.identity = self.made(
            "PUT",
            f"{self.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/cell",
            "2023-01-31",
            {"location": self.location},
        )["id"]

    def send(self, method: str, url: str, body: bytes = b"", **headers: str) -> Reply:
        host, _, target = url.removeprefix("https://").partition("/")
        path, raw, query = parse_target("/" + target)
        fields = Fields([("host", host), *headers.items()])
        request = Request(method, path, query, fields, body, host=host, raw_path=raw)
        return self._runner.run(self.app.front_door(request))

    def token(self, v2: bool = False, **asked: str) -> tuple[int, Any]:
        form = {"grant_type": "client_credentials", **asked}
        form |= {name: self.operator[name] for name in ("client_id", "client_secret")}
        where = "oauth2/v2.0/token" if v2 else "oauth2/token"
        reply = self.send(
            "POST",
            f"{self.operator['login']}/{self.operator['tenant_id']}/{where}",
            urlencode(form).encode(),
            **{"content-type": "application/x-www-form-urlencoded"},
        )
        return reply.status, json.loads(reply.body)

    def arm(self, method: str, path: str, version: str, body: Any = None) -> Reply:
        if not self._token:
            self._token = self.token(resource=self.operator["audience"])[1]["access_token"]
        return self.send(
            method,
            f"{self.operator['resource_manager']}{path}?api-version={version}",
            b"" if body is None else json.dumps(body).encode(),
            **{"authorization": f"Bearer {self._token}", "content-type": "application/json"},
        )

    def made(self, *arguments: Any) -> Any:
        reply = self.arm(*arguments)
        assert reply.status in (200, 201), reply.body
        return json.loads(reply.body)

    def version(self, type: str) -> str:
        kind = self.app.resource_manager.registry.find(type)
        assert kind is not None, type
        return kind.api_versions[-1] if not kind.any_version else "2024-05-01"

    def run(self, doing: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(doing)

    def name(self) -> str:
        self._number += 1
        return f"cell{self._number}"

    def close(self) -> None:
        self._runner.run(self.app.stop())


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made: dict[tuple[str, str], World] = {}
    with asyncio.Runner() as runner:

        def world(edition: str, cloud: str) -> World:
            if (edition, cloud) not in made:
                data = tmp_path_factory.mktemp(f"{edition}-{cloud}") / "data"
                made[edition, cloud] = World(runner, data, edition, cloud)
            return made[edition, cloud]

        yield world
        for one in made.values():
            one.close()
