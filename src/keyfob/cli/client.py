"""A small client of the running server: real names, real TLS, the operator's token.

The standard library only, so that commands start quickly.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from keyfob.cli.failure import Failure
from keyfob.hosts.kinds import CONSOLE, kind_of
from keyfob.resource_id import ResourceId

__all__ = ["LOCAL_API", "RESOURCES_API", "Answer", "Client", "Failure", "operator_file", "sentence"]

LOCAL_API = "2026-11-01"
RESOURCES_API = "2024-11-01"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


class Client:
    """Talks to the server whose data folder this is, as the operator unless another token is given."""

    def __init__(self, data: Path, tenant: str | None = None) -> None:
        """`tenant` is the domain of a tenant made with `keyfob tenant create`; the default one without it."""
        self.data = data
        self.server = _read(
            data / "server.json", f"No server is running for {data}. Start one with `keyfob up --detach`."
        )
        file = operator_file(data, tenant)
        self.operator = _read(
            file, f"{file} is not there, or you may not read it; `keyfob tenant list` shows the tenants."
        )
        self._tokens: dict[str, str] = {}
        self._context: ssl.SSLContext | None = None

    # --- the wire

    def send(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request to a real name, carried to the local front door. Raises `Failure` when it does not answer."""
        parts = urlsplit(url)
        connection = self.door(str(parts.hostname))
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, target, body, {"Host": str(parts.hostname), **(headers or {})})
            reply = connection.getresponse()
            return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read())
        except ConnectionRefusedError as refused:
            raise Failure("The server does not answer. `keyfob status` tells more; `keyfob up` starts it.") from refused
        except ssl.SSLCertVerificationError as stranger:
            raise Failure(
                f"The server does not answer for {parts.hostname}; `keyfob clouds` shows the names that it has."
            ) from stranger
        except (OSError, http.client.HTTPException) as error:
            raise Failure(f"The call to {parts.hostname} failed: {error}.") from error
        finally:
            connection.close()

    def door(self, name: str) -> http.client.HTTPSConnection:
        """A connection to the front door under a service's name. The caller closes it."""
        if self._context is None:
            self._context = ssl.create_default_context(cafile=str(self.data / "ca" / "ca.crt"))
        return _Door(name, self.server["address"], self.server["port"], self._context)

    def token(self, resource: str) -> str:
        """An access token of the operator for an audience."""
        if resource not in self._tokens:
            known = self.operator
            answer = self.send(
                "POST",
                f"{known['login']}/{known['tenant_id']}/oauth2/token",
                {"Content-Type": "application/x-www-form-urlencoded"},
                urlencode(
                    {
                        "grant_type": "client_credentials",
                        "client_id": known["client_id"],
                        "client_secret": known["client_secret"],
                        "resource": resource,
                    }
                ).encode(),
            )
            if answer.status != 200:
                raise Failure(f"The operator could not sign in: {answer.json().get('error_description', '')}")
            self._tokens[resource] = answer.json()["access_token"]
        return self._tokens[resource]

    def arm(self, method: str, path: str, body: Any = None, *, api_version: str = "") -> Answer:
        """A Resource Manager call as the operator; `api_version` is added when the path has none."""
        url = path if path.startswith("https://") else self.operator["resource_manager"] + path
        if api_version and "api-version=" not in url:
            url += ("&" if "?" in url else "?") + f"api-version={api_version}"
        headers = {"Authorization": f"Bearer {self.token(self.operator['audience'])}"}
        encoded = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(method, quote(url, safe="/:?&=%$'()*,;@+~!-._"), headers, encoded)

    def arm_json(self, method: str, path: str, body: Any = None, *, api_version: str = "") -> Any:
        """As `arm`; anything but a success is a `Failure` with the service's own sentence."""
        answer = self.arm(method, path, body, api_version=api_version)
        if answer.status >= 300:
            raise Failure(sentence(answer))
        return answer.json()

    # --- what commands need

    def find_host(self, name: str) -> str:
        """A resource id, or the name of a host in the operator's subscription → its resource id.

        A part of something is named with it: `site/slot`, `cluster/application`, `set/0` (or Azure's own `set_0`).
        `cloud-shell` is one's own.
        """
        if name.startswith("/"):
            return name
        if name.lower() == "cloud-shell":
            return str(CONSOLE)
        subscription = self.operator["subscription_id"]
        found = self.arm_json("GET", f"/subscriptions/{subscription}/resources", api_version=RESOURCES_API)["value"]
        hosts = [row["id"] for row in found if kind_of(row["type"]) and name.lower() in _names(row["id"])]
        if len(hosts) == 1:
            return str(hosts[0])
        if hosts:
            raise Failure(f"Several hosts are called '{name}'; give one of these ids: {', '.join(hosts)}.")
        known = sorted({_name(row["id"]) for row in found if kind_of(row["type"])})
        there = (
            f" There are: {', '.join(known)}." if known else " There is none yet; make one with `keyfob rest PUT …`."
        )
        raise Failure(f"No host is called '{name}'.{there}")

    def open_endpoint(self, host_id: str, wish: Mapping[str, str] | None = None) -> Any:
        """Opens (or finds) the host's own loopback token endpoint. `wish` is how to be the host, in camel case."""
        return self.arm_json(
            "POST", f"{host_id}/providers/Keyfob.Hosts/openEndpoint", dict(wish or {}), api_version=LOCAL_API
        )


def _name(id: str) -> str:
    """`web`, `web/staging`: the names in a resource id."""
    return "/".join(ResourceId.parse(id).names)


def _names(id: str) -> set[str]:
    """What a host may be called, in lower case; of a scale set's instance its number is not a name."""
    whole = _name(id).lower()
    last = whole.rpartition("/")[2]
    return {whole, whole.replace("/", "_") if last.isdigit() else last}


class _Door(http.client.HTTPSConnection):
    """A TLS connection to the front door, under the service's own name."""

    def __init__(self, name: str, address: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(name, port, timeout=60, context=context)
        self._door = (address, port)
        self._name = name
        self._tls = context

    def connect(self) -> None:
        plain = socket.create_connection(self._door, timeout=60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self._tls.wrap_socket(plain, server_hostname=self._name)


def operator_file(data: Path, tenant: str | None) -> Path:
    """Where the operator's credentials for a tenant are."""
    return data / "operators" / f"{tenant.lower()}.json" if tenant else data / "operator.json"


def sentence(answer: Answer) -> str:
    """What a service's error body says, whichever of the shapes it has."""
    try:
        body = answer.json() or {}
        error = body.get("error", body)
        if isinstance(error, dict):
            return f"{answer.status} {error.get('code', '')}: {error.get('message', '')}"
        return f"{answer.status} {error}: {body.get('error_description', '')}"
    except (ValueError, AttributeError):
        return f"The server answered {answer.status}."


def _read(path: Path, otherwise: str) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise Failure(otherwise) from error
