"""HTTP triggers, and the host's own `/admin` calls."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from .discovery import HTTP, AppError, Function, HostFile, import_functions_library
from .invocation import Failed, Invoker
from .keys import ADMIN, ANONYMOUS, FUNCTION, Keys
from .routing import Route, parse_route

LARGEST = 210 * 1024 * 1024
"""Bytes of a request's body: about what Azure takes (functions-bindings-http-webhook-trigger, "Limits")."""

LONGEST_SILENCE = 120.0
"""Seconds in which a client that is sending its request must send something."""

WELCOME = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Functions</title></head>
<body><h1>Your Functions 4.0 app is up and running</h1></body></html>"""


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()


class Asked(NamedTuple):
    """`headers` by lower-case name; several of one name are joined by commas, in `query` too."""

    method: str
    path: str
    url: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    key: str | None = None
    """The access key that was shown."""


class _Endpoint(NamedTuple):
    function: Function
    route: Route
    methods: frozenset[str]
    """None of them: it takes all."""
    level: str


class Site:
    """What the app answers. Plain calls: sockets are `serve`'s business."""

    def __init__(
        self,
        *,
        functions: Sequence[Function],
        host: HostFile,
        keys: Keys,
        invoker: Invoker,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._prefix = host.route_prefix
        self._keys = keys
        self._invoker = invoker
        self._settings = settings or {}
        self._began = time.monotonic()
        self._endpoints = sorted((_endpoint(one) for one in functions if one.kind == HTTP), key=_specific)
        self.fire: Mapping[str, Callable[[], None]] = {}
        """Name of a timer function, in lower case → what runs it now."""

    def answer(self, asked: Asked) -> Answer:
        path = asked.path.strip("/")
        if path.split("/")[0].lower() == "admin":
            return self._admin(path.lower().split("/")[1:], asked)
        if (found := self._match(path, asked.method)) is not None:
            return self._call(*found, asked)
        if path == "":
            return self._home()
        return Answer(404)

    def _match(self, path: str, method: str) -> tuple[_Endpoint, Mapping[str, str]] | None:
        """A route's methods are part of it: with another there is no such route, and no 405
        (Azure/azure-functions-host#10098)."""
        if self._prefix:
            prefix, rest = path[: len(self._prefix)], path[len(self._prefix) :]
            if prefix.lower() != self._prefix.lower() or rest[:1] not in ("", "/"):
                return None
            path = rest.lstrip("/")
        for endpoint in self._endpoints:
            if endpoint.methods and method not in endpoint.methods:
                continue
            if (parameters := endpoint.route.match(path)) is not None:
                return endpoint, parameters
        return None

    def _home(self) -> Answer:
        if self._settings.get("AzureWebJobsDisableHomepage", "").strip().lower() == "true":
            return Answer(204)
        return Answer(200, WELCOME, [("Content-Type", "text/html; charset=utf-8")])

    def _call(self, endpoint: _Endpoint, parameters: Mapping[str, str], asked: Asked) -> Answer:
        """First who calls, then whether it is disabled: with the master key a disabled function can be called
        (azure-functions-host, FunctionInvocationMiddleware.cs)."""
        function = endpoint.function
        if not self._keys.admit(endpoint.level, function.name, asked.key):
            return Answer(401)
        if function.disabled and not self._keys.admit(ADMIN, function.name, asked.key):
            return Answer(404)
        library = import_functions_library()
        request = library.HttpRequest(
            method=asked.method,
            url=asked.url,
            headers=asked.headers,
            params={name: value for name, value in asked.query.items() if value},
            route_params=parameters,
            body=asked.body,
        )
        try:
            return _encode(
                self._invoker.run(function, "This function was programmatically called.", request, asked.headers)
            )
        except Failed:
            return Answer(500)

    def _admin(self, path: Sequence[str], asked: Asked) -> Answer:
        if path == ["host", "ping"]:
            return Answer(200)
        if not self._keys.admit(ADMIN, "", asked.key):
            return Answer(401)
        match path:
            case ["host", "status"]:
                return _json(self._status())
            case ["host", "synctriggers"] if asked.method == "POST":
                return _json({"status": "success"})
            case ["keys"] if asked.method == "PUT" and self._keys.is_platform(asked.key):
                self._keys = Keys.read(json.loads(asked.body))
                return Answer(204)
            case ["functions"] if asked.method == "GET":
                return _json([self._shown(function) for function in self._functions.values()])
            case ["functions", name] if name in self._functions and asked.method == "GET":
                return _json(self._shown(self._functions[name]))
            case ["functions", name] if name in self.fire and asked.method == "POST":
                threading.Thread(target=self.fire[name], daemon=True).start()
                return Answer(202)
            case ["functions", name] if name in self._functions and asked.method == "POST":
                return _json({"error": "Only timer functions are fired by hand; call this one by its trigger."}, 400)
        return Answer(404)

    def _status(self) -> Mapping[str, Any]:
        """HostStatus (azure-functions-host). The version is that of the interface: no Azure host runs here."""
        return {
            "id": self._settings.get("WEBSITE_SITE_NAME", "functions").lower()[:32],
            "state": "Running",
            "version": "4.0",
            "versionDetails": "4.0 keyfob",
            "instanceId": self._settings.get("WEBSITE_INSTANCE_ID", ""),
            "computerName": self._settings.get("COMPUTERNAME", ""),
            "processUptime": int((time.monotonic() - self._began) * 1000),
        }

    def _shown(self, function: Function) -> Mapping[str, Any]:
        shown: dict[str, Any] = {
            "name": function.name,
            "config": {"name": function.name, "bindings": list(function.bindings), "language": "python"},
            "isDisabled": function.disabled,
            "language": "python",
        }
        if function.kind == HTTP:
            route = str(function.trigger.get("route") or function.name)
            shown["invokeUrlPath"] = "/" + "/".join(part for part in (self._prefix, route.strip("/")) if part)
        return shown


def serve(site: Site, port: int) -> ThreadingHTTPServer:
    """A server on 127.0.0.1, not yet running: `serve_forever` is the caller's to call."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "Functions"
        sys_version = ""
        timeout = LONGEST_SILENCE

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):  # any method: routes know which they take
                return self._serve
            raise AttributeError(name)

        def log_message(self, format: str, *args: object) -> None:
            """Each call is logged with its function, not with its connection."""

        def _serve(self) -> None:
            try:
                body = read_body(self.headers.get_all("Transfer-Encoding"), self.headers.get_all("Content-Length"),
                                 self.rfile)  # fmt: skip
            except BadBody as bad:
                self.send_error(bad.status)
                self.close_connection = True
                return
            scheme = self.headers.get("X-Forwarded-Proto", "http")
            self._give(site.answer(asked(self.command, self.path, scheme, self.headers.items(), body)))

        def _give(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            if answer.status not in (204, 304):
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD" and answer.status not in (204, 304):
                self.wfile.write(answer.body)

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


def asked(method: str, target: str, scheme: str, headers: Iterable[tuple[str, str]], body: bytes = b"") -> Asked:
    """What a request's line, fields and body mean."""
    joined: dict[str, str] = {}
    for name, value in headers:
        low = name.lower()
        joined[low] = f"{joined[low]},{value}" if low in joined else value
    parts = urlsplit(target if target.startswith("/") else "/" + target)
    query: dict[str, str] = {}
    keys = [joined["x-functions-key"].split(",")[0]] if "x-functions-key" in joined else []
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        known = next((one for one in query if one.lower() == name.lower()), name)
        query[known] = f"{query[known]},{value}" if known in query else value
        if name.lower() == "code":
            keys.append(value)
    url = f"{scheme}://{joined.get('host', 'localhost')}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    return Asked(method, parts.path, url, query, joined, body, keys[0] if keys else None)


class BadBody(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def read_body(encodings: Sequence[str] | None, lengths: Sequence[str] | None, stream: Any) -> bytes:
    """The request's body, by its length or in chunks (RFC 9112 §6, §7.1). Raises `BadBody`."""
    if encodings:
        if lengths or [one.strip().lower() for one in encodings] != ["chunked"]:
            raise BadBody(400 if lengths else 501)
        return _chunks(stream)
    length = (lengths or ["0"])[0]
    if not (length.isascii() and length.isdigit()) or len(set(lengths or ())) > 1:
        raise BadBody(400)
    if len(length) > 12 or int(length) > LARGEST:
        raise BadBody(413)
    body = bytes(stream.read(int(length)))
    if len(body) < int(length):
        raise BadBody(400)
    return body


def _chunks(stream: Any) -> bytes:
    parts, size = [], 0
    while True:
        text = bytes(stream.readline(1024)).partition(b";")[0].strip()
        if not text or len(text) > 8 or text.strip(b"0123456789abcdefABCDEF"):
            raise BadBody(400)
        length = int(text, 16)
        if length == 0:
            break
        size += length
        if size > LARGEST:
            raise BadBody(413)
        part = bytes(stream.read(length))
        if len(part) < length or bytes(stream.read(2)) != b"\r\n":
            raise BadBody(400)
        parts.append(part)
    while (line := bytes(stream.readline(64 * 1024))) not in (b"\r\n", b"\n"):  # trailer fields
        if not line:
            raise BadBody(400)
    return b"".join(parts)


def _endpoint(function: Function) -> _Endpoint:
    trigger = function.trigger
    level = str(trigger.get("authLevel") or FUNCTION).lower()
    if level not in {ANONYMOUS, FUNCTION, ADMIN}:
        raise AppError(f"The function '{function.name}' has the authLevel '{level}', which is none.")
    try:
        route = parse_route(str(trigger.get("route") or function.name))
    except ValueError as error:
        raise AppError(f"The function '{function.name}' cannot be called: {error}.") from None
    if route.template.strip("/").split("/")[0].lower() in {"admin", "runtime"}:
        raise AppError(f"The route of '{function.name}' conflicts with one or more built in routes.")
    methods = frozenset(str(one).upper() for one in trigger.get("methods") or ())
    return _Endpoint(function, route, methods, level)


def _specific(endpoint: _Endpoint) -> tuple[tuple[int, ...], str]:
    return endpoint.route.rank, endpoint.route.template


def _encode(result: Any) -> Answer:
    """As azure.functions.http.HttpResponseConverter does; an output that was never set is 204
    (functions-bindings-http-webhook-output, "Usage")."""
    if result is None:
        return Answer(204)
    if isinstance(result, str):
        return Answer(200, result.encode(), [("Content-Type", "text/plain; charset=utf-8")])
    headers = [(str(name), str(value)) for name, value in result.headers.items() if name.lower() not in _FRAMING]
    if not any(name.lower() == "content-type" for name, _ in headers):
        text = result.mimetype.startswith("text/")
        headers.append(("Content-Type", f"{result.mimetype}; charset={result.charset}" if text else result.mimetype))
    status = str(result.status_code)
    if not (status.isascii() and status.isdigit() and 200 <= int(status) <= 599):
        return Answer(500)
    return Answer(int(status), result.get_body(), headers)


_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})
"""Fields that say how an answer is sent, which is this server's to say."""


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), [("Content-Type", "application/json; charset=utf-8")])
