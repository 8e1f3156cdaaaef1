"""HTTP triggers, and the host's own `/admin` calls."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from .discovery import AppError, Function, HostFile, import_functions_library
from .invocation import Invoker
from .keys import ADMIN, ANONYMOUS, FUNCTION, Keys
from .routing import Route, parse_route

log = logging.getLogger("host")

HTTP = "httpTrigger"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
LARGEST = 210 * 1024 * 1024
"""Bytes of a request's body: about what Azure takes (functions-bindings-http-webhook-trigger, "Limits")."""

WELCOME = b"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Functions</title></head>
<body><h1>Your Functions 4.0 app is up and running</h1></body></html>"""


class Answer(NamedTuple):
    status: int
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()


class Asked(NamedTuple):
    """`headers` by lower-case name."""

    method: str
    path: str
    url: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class _Endpoint(NamedTuple):
    function: Function
    route: Route
    methods: frozenset[str]
    level: str


class Site:
    """What the app answers. Plain calls: sockets are `serve`'s business."""

    def __init__(self, *, functions: Sequence[Function], host: HostFile, keys: Keys, invoker: Invoker) -> None:
        self._functions = {function.name.lower(): function for function in functions}
        self._prefix = host.route_prefix
        self._keys = keys
        self._invoker = invoker
        self._endpoints = sorted((_endpoint(one) for one in functions if one.kind == HTTP), key=_specific)
        self.fire: Mapping[str, Callable[[], None]] = {}
        """Name of a timer function, in lower case → what runs it now."""

    def answer(self, asked: Asked) -> Answer:
        path = asked.path.strip("/")
        if path == "":
            return Answer(200, WELCOME, [("Content-Type", "text/html; charset=utf-8")])
        if path.split("/")[0].lower() == "admin":
            return self._admin(path.lower().split("/")[1:], asked)
        if self._prefix:
            prefix, _, path = path.partition("/") if "/" not in self._prefix else _split(path, self._prefix)
            if prefix.lower() != self._prefix.lower():
                return Answer(404)
        return self._call(path, asked)

    def _call(self, path: str, asked: Asked) -> Answer:
        known = False
        for endpoint in self._endpoints:
            parameters = endpoint.route.match(path)
            if parameters is None or endpoint.function.disabled:
                continue
            known = True
            if asked.method not in endpoint.methods:
                continue
            if not self._keys.admit(endpoint.level, endpoint.function.name, _shown(asked)):
                return Answer(401)
            return self._invoke(endpoint.function, asked, parameters)
        return Answer(405 if known else 404)

    def _invoke(self, function: Function, asked: Asked, parameters: Mapping[str, str]) -> Answer:
        library = import_functions_library()
        request = library.HttpRequest(
            method=asked.method,
            url=asked.url,
            headers=asked.headers,
            params={name: value for name, value in asked.query.items() if name != "code"},
            route_params=parameters,
            body=asked.body,
        )
        try:
            return _encode(self._invoker.run(function, "This function was programmatically called.", request))
        except Exception:
            return Answer(500)

    def _admin(self, path: Sequence[str], asked: Asked) -> Answer:
        if path == ["host", "ping"]:
            return Answer(200)
        if not self._keys.admit(ADMIN, "", _shown(asked)):
            return Answer(401)
        match path:
            case ["host", "status"]:
                return _json({"id": "keyfob", "state": "Running", "version": "4.0", "errors": []})
            case ["keys"] if asked.method == "PUT":
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

        def log_message(self, format: str, *args: object) -> None:
            """Each call is logged with its function, not with its connection."""

        def _serve(self) -> None:
            length = self.headers.get("Content-Length", "0")
            if not length.isdigit() or int(length) > LARGEST:
                self.send_error(413)
                return
            parts = urlsplit(self.path)
            host, scheme = self.headers.get("Host", "localhost"), self.headers.get("X-Forwarded-Proto", "http")
            answer = site.answer(
                Asked(
                    method=self.command,
                    path=parts.path,
                    url=f"{scheme}://{host}{self.path}",
                    query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                    headers={name.lower(): value for name, value in self.headers.items()},
                    body=self.rfile.read(int(length)),
                )
            )
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            if answer.status >= 200 and answer.status not in (204, 304):
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

    for method in METHODS:
        setattr(Handler, f"do_{method}", Handler._serve)
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    return server


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
    methods = frozenset(str(one).upper() for one in trigger.get("methods") or METHODS)
    return _Endpoint(function, route, methods, level)


def _specific(endpoint: _Endpoint) -> tuple[tuple[int, ...], str]:
    return endpoint.route.rank, endpoint.route.template


def _split(path: str, prefix: str) -> tuple[str, str, str]:
    """For a prefix of several segments."""
    head, rest = path[: len(prefix)], path[len(prefix) :]
    return (head, "/", rest.lstrip("/")) if rest.startswith("/") or not rest else ("", "", "")


def _shown(asked: Asked) -> str | None:
    return asked.headers.get("x-functions-key") or asked.query.get("code")


def _encode(result: Any) -> Answer:
    """As azure.functions.http.HttpResponseConverter does; nothing returned is 204."""
    if result is None:
        return Answer(204)
    if isinstance(result, str):
        return Answer(200, result.encode(), [("Content-Type", "text/plain; charset=utf-8")])
    if not hasattr(result, "get_body"):
        log.error("A function returned %s: an HTTP function returns HttpResponse or str", type(result).__name__)
        return Answer(500)
    headers = [(str(name), str(value)) for name, value in result.headers.items()]
    if not any(name.lower() == "content-type" for name, _ in headers):
        text = result.mimetype.startswith("text/")
        headers.append(("Content-Type", f"{result.mimetype}; charset={result.charset}" if text else result.mimetype))
    return Answer(int(result.status_code), result.get_body(), headers)


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), [("Content-Type", "application/json; charset=utf-8")])
