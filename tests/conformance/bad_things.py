"""What no client should send, and a whole application in this process to send it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from keyfob.app.parts import build
from keyfob.clock import SystemClock, SystemIds
from keyfob.settings import read_settings
from keyfob.wire.http import Fields, Reply, Request, parse_target

ANY = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
NOTES = ("access.", "arm.activity", "activity", "extras.activity")
"""Kinds of records that note what was asked: a refusal may add to them."""

NASTY = [
    "",
    " ",
    ".",
    "..",
    "...",
    "%",
    "%00",
    "\x00",
    "a\x00b",
    "\r\nSet-Cookie: a=b",
    "a\nb",
    "\u202e",
    "é",
    "é",
    "ﬀ",
    "İ",
    "ß",
    "𝔘",
    "\ufeff",
    "\u2028",
    "\ud800",
    "a" * 300,
    "a" * 5000,
    "null",
    "[object Object]",
    "{}",
    "${jndi:ldap://x}",
    "' or '1'='1",
    "<script>",
    "providers",
    "subscriptions",
    "resourceGroups",
    "$batch",
    "default",
    "-1",
    "1e400",
    "9" * 400,
    "a/b",
    "a%2Fb",
    "a;b",
    "a?b",
    "a#b",
    "*",
    "con",
]
BODIES: Mapping[str, bytes] = {
    "nothing": b"",
    "a space": b" ",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1",
    "text": b'"text"',
    "true": b"true",
    "cut off": b'{"location": "west',
    "NaN": b'{"location": NaN}',
    "infinity": b'{"properties": {"n": Infinity}}',
    "1e400": b'{"location": "westeurope", "properties": {"n": 1e400}}',
    "5,000 digits": b'{"location": "westeurope", "properties": {"n": ' + b"9" * 5000 + b"}}",
    "no UTF-8": b'{"location": "\xff\xfe"}',
    "overlong UTF-8": b'{"location": "\xc0\xaf"}',
    "UTF-16": '{"location": "westeurope"}'.encode("utf-16"),
    "surrogate": b'{"location": "\\ud800", "tags": {"\\udfff": "\\ud800"}}',
    "surrogate below": b'{"location": "westeurope", "properties": {"a": "\\ud800"}}',
    "NUL": b'{"location": "west\\u0000europe"}',
    "NUL below": b'{"location": "westeurope", "tags": {"a\\u0000": "b"}, "properties": {"\\u0000": "\\u0000"}}',
    "raw NUL": b'{"location": "west\x00europe"}',
    "10,000 lists": b'{"properties": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "10,000 open lists": b"[" * 10_000,
    "500 objects in tags": b'{"location": "westeurope", "tags": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
    "10 MB of text": b'{"location": "' + b"a" * 10_000_000 + b'"}',
    "10 MB of spaces": b" " * 10_000_000 + b"{}",
    "10 MB of lists": b'{"properties": {"a": [' + b"[]," * 3_300_000 + b"[]]}}",
    "100,000 tags": json.dumps({"location": "westeurope", "tags": {f"t{n}": "v" for n in range(100_000)}}).encode(),
    "every wrong type": json.dumps(
        dict.fromkeys(("location", "tags", "sku", "kind", "plan", "zones", "identity", "properties"), 1)
    ).encode(),
    "lists for all": json.dumps(
        {name: [[]] for name in ("location", "tags", "sku", "kind", "plan", "zones", "identity", "properties")}
    ).encode(),
    "identity of nobody": b'{"location": "westeurope", "identity": {"type": "UserAssigned", "userAssignedIdentities": '
    b'{"": {}, "/": {}, "/subscriptions/x": 1, "/../..": null}}}',
    "identity of wrong types": b'{"location": "westeurope", "identity": '
    b'{"type": ["SystemAssigned"], "userAssignedIdentities": []}}',
    "members twice": b'{"location": "westeurope", "LOCATION": "nowhere", "Location": 3, '
    b'"properties": {}, "Properties": []}',
    "a prototype": b'{"__proto__": {"a": 1}, "constructor": {"prototype": {}}, "__class__": "x"}',
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(NASTY),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


class Land:
    """A whole application in this process, with something in it that must never change."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        self.settings = read_settings({}, data=str(folder / "data"))
        self.app = self.runner.run(build(self.settings, clock=SystemClock(), ids=SystemIds()))
        self.operator = json.loads(self.settings.operator_file.read_text())
        self.subscription = f"/subscriptions/{self.operator['subscription_id']}"
        self.group = f"{self.subscription}/resourceGroups/kept"
        self.tokens: dict[str, str] = {}
        made = {"location": "westeurope"}
        assert self.arm("PUT", self.group, made).status == 201
        self.machine = f"{self.group}/providers/Microsoft.Compute/virtualMachines/vm"
        machine = {**made, "identity": {"type": "SystemAssigned"}, "properties": {}}
        assert self.arm("PUT", self.machine, machine, "2024-03-01").status == 201
        tenant = self.operator["tenant_id"]
        policy = {
            "tenantId": tenant,
            "objectId": self.operator["object_id"],
            "permissions": {"secrets": ["get", "list", "set", "delete", "recover", "purge", "backup", "restore"]},
        }
        sku = {"family": "A", "name": "standard"}
        vault = {**made, "properties": {"tenantId": tenant, "sku": sku, "accessPolicies": [policy]}}
        path = f"{self.group}/providers/Microsoft.KeyVault/vaults/keptvault"
        assert self.arm("PUT", path, vault, "2023-07-01").status in (200, 201)
        assert self.arm("GET", self.machine, None, "2024-03-01").status == 200

    def close(self) -> None:
        self.runner.run(self.app.stop())
        self.runner.close()

    def token(self, resource: str) -> str:
        if resource not in self.tokens:
            known = self.operator
            form = {
                "grant_type": "client_credentials",
                "client_id": known["client_id"],
                "client_secret": known["client_secret"],
                "resource": resource,
            }
            reply = self.login(f"/{known['tenant_id']}/oauth2/token", urlencode(form).encode())
            self.tokens[resource] = json.loads(reply.body)["access_token"]
        return self.tokens[resource]

    def send(
        self, host: str, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Reply:
        path, raw, query = parse_target(target)
        request = Request(method, path, query, Fields((headers or {}).items()), body, host=host, raw_path=raw)
        return self.runner.run(self.app.front_door(request))

    def login(self, target: str, body: bytes, method: str = "POST") -> Reply:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.send(self.operator["login"].removeprefix("https://"), method, target, body, kind)

    def graph(self, method: str, path: str, body: Any = None) -> Reply:
        encoded = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        allowed = {"Authorization": f"Bearer {self.token('https://graph.microsoft.com')}"}
        target = f"/v1.0/{quote(path, safe='/$?=&%', errors='surrogatepass')}"
        return self.send("graph.microsoft.com", method, target, encoded, allowed)

    def arm(
        self, method: str, path: str, body: Any = None, version: str = "2024-11-01", headers: Any = None, more: str = ""
    ) -> Reply:
        encoded = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        allowed = {"Authorization": f"Bearer {self.token(self.operator['audience'])}", **(headers or {})}
        host = self.operator["resource_manager"].removeprefix("https://")
        target = f"{quote(path, safe='/%', errors='surrogatepass')}?api-version={quote(version)}{more}"
        return self.send(host, method, target, encoded, allowed)

    def stored(self) -> dict[tuple[str, str], str]:
        """Everything but notes of what was asked, once what earlier requests began has ended."""
        self.runner.run(self.app.resource_manager.engine.operations.settle())
        rows = self.runner.run(self.app.store.fetch("SELECT kind, key, etag FROM records"))
        return {(kind, key): etag for kind, key, etag in rows if not kind.startswith(NOTES)}

    def forget(self, kept: Mapping[tuple[str, str], str]) -> None:
        """What a request made that was taken after all."""

        async def delete() -> None:
            async with self.app.store.transaction() as tx:
                for kind, key in await tx.fetch("SELECT kind, key FROM records"):
                    if (kind, key) not in kept and not kind.startswith(NOTES):
                        await tx.execute("DELETE FROM records WHERE kind = ? AND key = ?", kind, key)
                        tx.changed(kind, key)

        self.runner.run(delete())


def refused(reply: Reply, what: str = "") -> None:
    """A refusal in the form that Resource Manager, Key Vault and Microsoft Graph share."""
    assert 400 <= reply.status < 500, (what, reply.status, reply.body[:300])
    if reply.body:
        assert len(reply.body) < 200_000, what
        error = json.loads(reply.body)["error"]
        assert isinstance(error["code"], str), what
        assert error["code"], what
        assert error["message"], what
    well_formed(reply)


def well_formed(reply: Reply) -> None:
    for name, value in reply.headers:
        assert not set("\r\n\x00") & set(name + value), (name, value)


def unchanged(land: Land, before: Mapping[tuple[str, str], str], reply: Reply, what: str) -> None:
    """After a refusal all is as it was; after anything, what was there is there."""
    after = land.stored()
    if reply.status >= 400:
        assert after == before, (what, reply.status, reply.body[:200], set(after.items()) ^ set(before.items()))
    lost = [key for key in before if key not in after]
    assert not lost, (what, lost)
    if after != before:
        land.forget(before)
