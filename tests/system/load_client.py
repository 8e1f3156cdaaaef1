"""A process that makes a server work from many sides at once, and says what it asked and what was acknowledged.

Arguments: the data folder, the number of the round. It runs until the server is gone. Each line it prints is JSON:

    {"key": path, "ask": state}                    written before the request is sent
    {"key": path, "ack": state, "facts": {…}}      written after the whole answer was read
    {"token": jwt, "by": "operator" | "host"}      a token that was handed out
    {"bad": text}                                  an answer that was no success
    {"cut": number}                                last line: how many requests were never answered

A state is what a resource is to be: null for "not there", else `n` (its tag), and for machines `user` (attached or
not); for secrets `value`. One thread writes one resource, so its states come in order.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import ssl
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from keyfob.cli.client import LOCAL_API, Client, _Door

READER = "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
LOCATION = {"location": "westeurope"}


class Gone(Exception):
    """The server does not answer any more."""


class Refused(Exception):
    """It answered, and not with a success."""


def say(**line: Any) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")  # one write a line: threads do not mix theirs


class Load:
    def __init__(self, data: Path, round_: int) -> None:
        self.client = Client(data)
        self.round = round_
        self.subscription = f"/subscriptions/{self.client.operator['subscription_id']}"
        self.context = ssl.create_default_context(cafile=str(data / "ca" / "ca.crt"))
        self.bearer = f"Bearer {self.client.token(self.client.operator['audience'])}"
        self.vault_bearer = f"Bearer {self.client.token('https://vault.azure.net')}"
        self.cut = 0
        self.lock = threading.Lock()

    # --- asking

    def door(self, name: str) -> http.client.HTTPConnection:
        return _Door(name, self.client.server["address"], self.client.server["port"], self.context)

    def send(
        self, line: http.client.HTTPConnection, method: str, target: str, body: Any, headers: dict[str, str]
    ) -> Any:
        """Raises `Gone`, or `Refused`."""
        encoded = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            line.request(method, target, encoded, headers)
            reply = line.getresponse()
            answer = reply.read()
        except (OSError, http.client.HTTPException) as error:
            with self.lock:
                self.cut += 1
            raise Gone from error
        if reply.status >= 300:
            raise Refused(f"{method} {target}: {reply.status} {answer.decode(errors='replace')[:1000]}")
        return json.loads(answer) if answer else None

    def arm(self, line: http.client.HTTPConnection, method: str, path: str, version: str, body: Any = None) -> Any:
        headers = {"Authorization": self.bearer, "Content-Type": "application/json"}
        return self.send(line, method, f"{path}?api-version={version}", body, headers)

    # --- the sides it works from: each yields to let the next step begin

    def machines(self, side: int) -> Iterator[None]:
        """Born with an identity, attached to another, detached, deleted: mixed so that all of it is under way."""
        line = self.door("management.azure.com")
        group = f"{self.subscription}/resourceGroups/load"
        shared = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shared"
        alive: list[str] = []
        for n in itertools.count():
            path = f"{group}/providers/Microsoft.Compute/virtualMachines/vm-{self.round}-{side}-{n}"
            with_user = n % 3 == 0
            alive.append(path)
            for step, user in enumerate((with_user, not with_user, with_user)[: 1 + n % 3]):
                kinds = "SystemAssigned, UserAssigned" if user else "SystemAssigned"
                identity: dict[str, Any] = {"type": kinds} | ({"userAssignedIdentities": {shared: {}}} if user else {})
                state = {"n": str(step), "user": user}
                say(key=path, ask=state)
                made = self.arm(
                    line,
                    "PATCH" if step else "PUT",
                    path,
                    "2024-11-01",
                    {**({} if step else LOCATION), "identity": identity, "tags": {"n": str(step)}},
                )
                say(key=path, ack=state, facts={"principalId": made["identity"]["principalId"]})
                yield
            if n % 4 == 3:
                path = alive.pop(0)
                say(key=path, ask=None)
                self.arm(line, "DELETE", path, "2024-11-01")
                say(key=path, ack=None)
                yield

    def identities(self) -> Iterator[None]:
        line = self.door("management.azure.com")
        group = f"{self.subscription}/resourceGroups/load"
        for n in itertools.count():
            path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/id-{self.round}-{n}"
            for step in range(1 + n % 2):
                say(key=path, ask={"n": str(step)})
                made = self.arm(
                    line,
                    "PATCH" if step else "PUT",
                    path,
                    "2023-01-31",
                    {**({} if step else LOCATION), "tags": {"n": str(step)}},
                )
                say(
                    key=path,
                    ack={"n": str(step)},
                    facts={name: made["properties"][name] for name in ("principalId", "clientId")},
                )
                yield
            if n % 3 == 2:
                say(key=path, ask=None)
                self.arm(line, "DELETE", path, "2023-01-31")
                say(key=path, ack=None)
                yield

    def groups(self) -> Iterator[None]:
        """Some of them with a machine in it, deleted as a whole."""
        line = self.door("management.azure.com")
        for n in itertools.count():
            group = f"{self.subscription}/resourceGroups/group-{self.round}-{n}"
            say(key=group, ask={"n": "0"})
            self.arm(line, "PUT", group, "2024-11-01", {**LOCATION, "tags": {"n": "0"}})
            say(key=group, ack={"n": "0"})
            yield
            if n % 3:
                say(key=group, ask={"n": "1"})
                self.arm(line, "PATCH", group, "2024-11-01", {"tags": {"n": "1"}})
                say(key=group, ack={"n": "1"})
                yield
                continue
            machine = f"{group}/providers/Microsoft.Compute/virtualMachines/inside"
            state = {"n": "0", "user": False}
            say(key=machine, ask=state)
            made = self.arm(
                line,
                "PUT",
                machine,
                "2024-11-01",
                {**LOCATION, "identity": {"type": "SystemAssigned"}, "tags": {"n": "0"}},
            )
            say(key=machine, ack=state, facts={"principalId": made["identity"]["principalId"]})
            yield
            for key in (machine, group):
                say(key=key, ask=None)
            self.arm(line, "DELETE", group, "2024-11-01")
            for key in (machine, group):
                say(key=key, ack=None)
            yield

    def secrets(self) -> Iterator[None]:
        """New secrets, and one that gets a new version each time."""
        line = self.door("load-vault.vault.azure.net")
        for n in itertools.count():
            for name in (f"secret-{self.round}-{n}", f"again-{self.round}"):
                value = f"{name} {n} {'é' * (n % 200)}"
                key = f"https://load-vault.vault.azure.net/secrets/{name}"
                say(key=key, ask={"value": value})
                made = self.send(
                    line,
                    "PUT",
                    f"/secrets/{name}?api-version=7.4",
                    {"value": value},
                    {"Authorization": self.vault_bearer, "Content-Type": "application/json"},
                )
                say(key=key, ack={"value": value}, facts={"id": made["id"]})
                yield

    def assignments(self) -> Iterator[None]:
        """Role assignments come and go."""
        line = self.door("management.azure.com")
        group = f"{self.subscription}/resourceGroups/load"
        identity = self.arm(
            line, "GET", f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/shared", "2023-01-31"
        )
        principal = identity["properties"]["principalId"]
        for n in itertools.count():
            name = uuid.uuid5(uuid.NAMESPACE_URL, f"{self.round}/{n}")
            scope = f"{group}/providers/Microsoft.Compute/virtualMachines/scope-{self.round}-{n}"
            path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
            properties = {"roleDefinitionId": READER, "principalId": principal, "principalType": "ServicePrincipal"}
            say(key=path, ask={"n": principal})
            self.arm(line, "PUT", path, "2022-04-01", {"properties": properties})
            say(key=path, ack={"n": principal})
            yield
            if n % 3 == 2:
                say(key=path, ask=None)
                self.arm(line, "DELETE", path, "2022-04-01")
                say(key=path, ack=None)
                yield

    def operator_tokens(self) -> Iterator[None]:
        line = self.door("login.microsoftonline.com")
        known = self.client.operator
        body = urlencode(
            {
                "grant_type": "client_credentials",
                "client_id": known["client_id"],
                "client_secret": known["client_secret"],
                "scope": "https://management.azure.com/.default",
            }
        ).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        for n in itertools.count():
            made = self.send(line, "POST", f"/{known['tenant_id']}/oauth2/v2.0/token", body, kind)
            if n % 10 == 0:
                say(token=made["access_token"], by="operator")
            yield

    def host_tokens(self) -> Iterator[None]:
        """From memory, and past it."""
        machine = f"{self.subscription}/resourceGroups/load/providers/Microsoft.Compute/virtualMachines/base"
        opened = self.arm(
            self.door("management.azure.com"), "POST", f"{machine}/providers/Keyfob.Hosts/openEndpoint", LOCAL_API
        )
        parts = urlsplit(opened["endpoint"])
        line = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        query = {"api-version": "2018-02-01", "resource": "https://management.azure.com/"}
        for n in itertools.count():
            asked = urlencode(query) if n % 2 else urlencode({**query, "bypass_cache": "true"})
            made = self.send(line, "GET", f"/metadata/identity/oauth2/token?{asked}", None, {"Metadata": "true"})
            if n % 50 == 0:
                say(token=made["access_token"], by="host")
            yield

    # --- until the end

    def run(self) -> None:
        sides: list[Callable[[], Iterator[None]]] = [
            lambda: self.machines(1),
            lambda: self.machines(2),
            self.identities,
            self.groups,
            self.secrets,
            self.assignments,
            self.operator_tokens,
            self.host_tokens,
        ]
        threads = [threading.Thread(target=self._work, args=(side,)) for side in sides]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say(cut=self.cut)

    def _work(self, side: Callable[[], Iterator[None]]) -> None:
        try:
            for _ in side():
                pass
        except Gone:
            pass
        except Exception as error:
            say(bad=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    Load(Path(sys.argv[1]), int(sys.argv[2])).run()
