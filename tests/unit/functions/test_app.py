"""Function apps as their developers write them, with Azure's own library."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("azure.functions", reason="azure-functions is not installed")

from keyfob.hosts.app_service.functions.embedded.discovery import AppError, discover, read_host_file
from keyfob.hosts.app_service.functions.embedded.invocation import Failed, Invoker
from keyfob.hosts.app_service.functions.embedded.keys import Keys, digest
from keyfob.hosts.app_service.functions.embedded.web import Answer, Site, asked

Make = Callable[..., Site]

HEAD = "import azure.functions as func\napp = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)\n"
KEYS = Keys(digest("platform"), digest("master"), [digest("host")], {"hello": [digest("own")]})


@pytest.fixture
def make(folder: Path) -> Make:
    def made(code: str, settings: dict[str, str] | None = None, head: str = HEAD, **more: Any) -> Site:
        (folder / "function_app.py").write_text(head + code)
        settings = settings or {}
        found = discover(folder, settings)
        host = read_host_file(folder, settings)
        return Site(functions=found, host=host, keys=KEYS, invoker=Invoker(**more), settings=settings)

    return made


def call(site: Site, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    fields = [("Host", "shop.azurewebsites.net"), *((n.replace("_", "-"), v) for n, v in headers.items())]
    return site.answer(asked(method, path, "https", fields, body))


HELLO = """
@app.route(route="hello/{name?}", methods=["GET", "POST"])
def hello(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    assert context.function_name == "hello" and context.invocation_id
    name = req.route_params.get("name") or req.params.get("name") or req.get_body().decode()
    return func.HttpResponse(f"hello {name}", status_code=201, headers={"X-From": req.headers["x-who"]})
"""


def test_the_decorator_model(make: Make) -> None:
    site = make(HELLO)
    answer = call(site, "/api/hello/you", x_functions_key="own", x_who="me")
    assert (answer.status, answer.body) == (201, b"hello you")
    assert ("X-From", "me") in answer.headers
    assert ("Content-Type", "text/plain; charset=utf-8") in answer.headers
    assert call(site, "/API/Hello?name=a&code=host", x_who="m").body == b"hello a"
    assert call(site, "/api/hello", "POST", b"b", x_functions_key="master", x_who="m").body == b"hello b"


@pytest.mark.parametrize("shown", [{}, {"x_functions_key": "wrong"}, {"x_functions_key": ""}])
def test_without_a_key_nothing_runs(make: Make, shown: dict[str, str]) -> None:
    assert call(make(HELLO), "/api/hello/you", x_who="m", **shown) == Answer(401)


@pytest.mark.parametrize(
    ("level", "key", "status"),
    [
        ("ANONYMOUS", "", 200),
        ("FUNCTION", "own", 401),  # another function's
        ("FUNCTION", "host", 200),
        ("FUNCTION", "master", 200),
        ("ADMIN", "host", 401),
        ("ADMIN", "master", 200),
    ],
)
def test_levels(make: Make, level: str, key: str, status: int) -> None:
    site = make(f"@app.route(route='x', auth_level=func.AuthLevel.{level})\ndef x(req): return 'x'\n")
    assert call(site, "/api/x", x_functions_key=key).status == status


def test_without_keys_from_the_platform_only_anonymous_functions_can_be_called(folder: Path) -> None:
    assert not Keys.read(None).admit("function", "x", "anything")
    assert not Keys.read({"master": ""}).admit("admin", "x", "")
    assert Keys.read({}).admit("anonymous", "x", None)


def test_other_paths_and_methods(make: Make) -> None:
    site = make(HELLO)
    assert call(site, "/").status == 200
    assert call(site, "/hello").status == 404
    assert call(site, "/api/none").status == 404
    # a method is part of the route: 404 and not 405 (Azure/azure-functions-host#10098, #11625)
    for method in ("DELETE", "HEAD"):
        assert call(site, "/api/hello", method, x_functions_key="host") == Answer(404)


def test_a_trigger_without_methods_takes_them_all(make: Make) -> None:
    site = make("@app.route(route='x', auth_level='anonymous')\ndef x(req): return req.method\n")
    for method in ("GET", "HEAD", "PATCH", "PROPFIND"):
        assert call(site, "/api/x", method).body == method.encode()


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        ("'text'", 200, b"text"),
        ("None", 500, b""),
        ("func.HttpResponse(b'\\x00', mimetype='image/png')", 200, b"\x00"),
        ("1 / 0", 500, b""),
        ("{'a': 1}", 500, b""),
        ("exit(3)", 500, b""),
        ("func.HttpResponse('x', status_code=42)", 500, b""),
    ],
)
def test_results(make: Make, result: str, status: int, body: bytes) -> None:
    for kind in ("def", "async def"):
        site = make(f"@app.route(route='x', auth_level='anonymous')\n{kind} x(req): return {result}\n")
        answer = call(site, "/api/x")
        assert (answer.status, answer.body) == (status, body)
        sys.modules.pop("function_app", None)


def test_an_error_is_in_the_log_and_not_in_the_answer(make: Make, caplog: Any) -> None:
    caplog.set_level("INFO")
    site = make("@app.route(route='x', auth_level='anonymous')\ndef x(req): raise ValueError('inner words')\n")
    assert call(site, "/api/x") == Answer(500)
    assert "inner words" in caplog.text
    assert "Executing 'Functions.x'" in caplog.text


def test_the_more_specific_route_is_called(make: Make) -> None:
    site = make(
        "@app.route(route='{*rest}', auth_level='anonymous')\ndef rest(req): return 'rest'\n"
        "@app.route(route='a/{b}', auth_level='anonymous')\ndef named(req): return 'named'\n"
        "@app.route(route='a/c', auth_level='anonymous')\ndef exact(req): return 'exact'\n"
    )
    assert [call(site, path).body for path in ("/api/a/c", "/api/a/x", "/api/q")] == [b"exact", b"named", b"rest"]


@pytest.mark.parametrize("prefix", ["", "v1", "v1/shop"])
def test_the_prefix_of_host_json(make: Make, folder: Path, prefix: str) -> None:
    described = {"version": "2.0", "extensions": {"http": {"routePrefix": prefix}}}
    (folder / "host.json").write_text(json.dumps(described))
    site = make("@app.route(route='x', auth_level='anonymous')\ndef x(req): return 'x'\n")
    assert call(site, f"/{prefix}/x".replace("//", "/")).body == b"x"
    assert call(site, "/api/x").status == 404


def test_flask_within_a_function_app(make: Make) -> None:
    site = make(
        "def wsgi(environ, start):\n"
        "    start('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [environ['PATH_INFO'].encode()]\n"
        "app = func.WsgiFunctionApp(app=wsgi, http_auth_level=func.AuthLevel.ANONYMOUS)\n",
        head="import azure.functions as func\n",
    )
    assert call(site, "/api/a/b", host="shop.azurewebsites.net").body == b"/api/a/b"


ASGI = """
started = []

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        started.append((await receive())["type"])
        await send({"type": "lifespan.startup.complete"})
        return
    body = (await receive())["body"]
    headers = [(b"x-path", scope["path"].encode()), (b"x-started", started[0].encode())]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": body.upper()})

app = func.AsgiFunctionApp(app=asgi, http_auth_level=func.AuthLevel.ANONYMOUS)
"""


def test_an_asgi_app_within_a_function_app(make: Make) -> None:
    answer = call(make(ASGI, head="import azure.functions as func\n"), "/api/a/b", "POST", b"said")
    # its __del__ runs a loop, wherever it is collected: also within a loop of another test
    sys.modules["function_app"].app.startup_task_done = False
    assert (answer.status, answer.body) == (202, b"SAID")
    headers = dict(answer.headers)
    assert (headers["x-path"], headers["x-started"]) == ("/api/a/b", "lifespan.startup")


def test_blueprints(make: Make, folder: Path) -> None:
    (folder / "more.py").write_text(
        "import azure.functions as func\nbp = func.Blueprint()\n"
        "@bp.route(route='more', auth_level='anonymous')\ndef more(req): return 'more'\n"
    )
    site = make("from more import bp\napp.register_functions(bp)\n")
    assert call(site, "/api/more").body == b"more"


def test_function_json(folder: Path) -> None:
    for name, entry in (("one", "main"), ("two", "run")):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"def {entry}(req, res):\n    res.set('{name} ' + req.method)\n")
        described = {
            "scriptFile": "__init__.py",
            "entryPoint": entry,
            "bindings": [
                {"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "anonymous", "methods": ["get"]},
                {"type": "http", "direction": "out", "name": "res"},
            ],
        }
        (folder / name / "function.json").write_text(json.dumps(described))
    site = Site(functions=discover(folder, {}), host=read_host_file(folder, {}), keys=KEYS, invoker=Invoker())
    assert [call(site, f"/api/{name}").body for name in ("one", "two")] == [b"one GET", b"two GET"]


def test_disabled_functions_are_called_with_the_master_key_alone(make: Make) -> None:
    site = make(HELLO, {"AzureWebJobs.hello.Disabled": "true"})
    assert call(site, "/api/hello/x", x_functions_key="wrong").status == 401
    assert call(site, "/api/hello/x", x_functions_key="own").status == 404
    assert call(site, "/api/hello/x", x_functions_key="master", x_who="me").status == 201
    shown = json.loads(call(site, "/admin/functions", x_functions_key="master").body)
    assert [(one["name"], one["isDisabled"]) for one in shown] == [("hello", True)]


def test_the_admin_calls_need_the_master_key(make: Make) -> None:
    site = make(HELLO)
    assert call(site, "/admin/host/ping").status == 200
    for path in ("/admin/host/status", "/admin/functions", "/admin/functions/hello"):
        assert call(site, path).status == call(site, path, x_functions_key="host").status == 401
        assert call(site, path, x_functions_key="master").status == 200
    shown = json.loads(call(site, "/admin/functions/hello", x_functions_key="master").body)
    assert shown["invokeUrlPath"] == "/api/hello/{name?}"
    assert shown["config"]["bindings"][0]["authLevel"] == "function"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "No functions were found"),
        ("other = func.FunctionApp()\n", "2 objects of FunctionApp"),
        ("@app.route(route='{a:odd}')\ndef a(req): pass\n", "constraint 'odd'"),
        ("@app.route(route='admin/x')\ndef a(req): pass\n", "conflicts with one or more built in routes"),
    ],
)
def test_what_cannot_be_run_is_said_in_a_sentence(make: Make, code: str, words: str) -> None:
    with pytest.raises(AppError, match=words):
        make(code)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"version": "1.0"}'])
def test_host_json_must_be_right(folder: Path, content: str | None) -> None:
    (folder / "host.json").unlink()
    if content is not None:
        (folder / "host.json").write_text(content)
    with pytest.raises(AppError, match=r"host\.json"):
        read_host_file(folder, {})


# --- what is asked and answered, in detail


def test_the_header_counts_before_the_query_also_when_it_is_empty(make: Make) -> None:
    site = make(HELLO)
    assert call(site, "/api/hello?code=host", x_functions_key="", x_who="m").status == 401
    assert call(site, "/api/hello?code=wrong", x_functions_key="own", x_who="m").status == 201
    assert call(site, "/api/hello?CODE=own&code=wrong", x_who="m").status == 201


ECHO = """
@app.route(route="echo", auth_level="anonymous")
def echo(req: func.HttpRequest, context: func.Context) -> str:
    return repr((dict(req.params), req.headers.get("x-a"), req.url, context.trace_context.trace_parent))
"""


def test_what_a_function_sees_of_a_request(make: Make) -> None:
    site = make(ECHO)
    fields = [("Host", "h.example"), ("X-A", "1"), ("x-a", "2"), ("traceparent", "00-1-2-01")]
    said = site.answer(asked("GET", "/api/echo?a=1&b=&A=2&code=k", "https", fields)).body.decode()
    assert said == repr(({"a": "1,2", "code": "k"}, "1,2", "https://h.example/api/echo?a=1&b=&A=2&code=k", "00-1-2-01"))


def test_the_root_is_a_functions_before_it_is_the_welcome_page(make: Make, folder: Path) -> None:
    (folder / "host.json").write_text('{"version": "2.0", "extensions": {"http": {"routePrefix": ""}}}')
    site = make("@app.route(route='{*rest}', auth_level='anonymous')\ndef rest(req): return 'mine'\n")
    assert call(site, "/").body == b"mine"


def test_without_a_home_page(make: Make) -> None:
    assert call(make(HELLO, {"AzureWebJobsDisableHomepage": "true"}), "/") == Answer(204)


def test_the_body_is_said_by_the_server_alone(make: Make) -> None:
    headers = "{'Content-Length': '999', 'Transfer-Encoding': 'chunked', 'X-Y': 'z'}"
    answered = f"func.HttpResponse('a', headers={headers})"
    site = make(f"@app.route(route='x', auth_level='anonymous')\ndef x(req): return {answered}\n")
    assert dict(call(site, "/api/x").headers) == {"X-Y": "z", "Content-Type": "text/plain; charset=utf-8"}


def test_only_the_platform_changes_keys(make: Make) -> None:
    site = make(HELLO)
    new = json.dumps({"platform": digest("platform"), "master": digest("new")}).encode()
    assert call(site, "/admin/keys", "PUT", new, x_functions_key="master").status == 404
    assert call(site, "/admin/keys", "PUT", new, x_functions_key="host").status == 401
    assert call(site, "/admin/keys", "PUT", new, x_functions_key="platform").status == 204
    assert call(site, "/api/hello", x_functions_key="host").status == 401
    assert call(site, "/api/hello", x_functions_key="new", x_who="m").status == 201


def test_the_status_of_the_host(make: Make) -> None:
    site = make(HELLO, {"WEBSITE_SITE_NAME": "Orders"})
    status = json.loads(call(site, "/admin/host/status", x_functions_key="master").body)
    assert (status["id"], status["state"]) == ("orders", "Running")
    assert json.loads(call(site, "/admin/host/synctriggers", "POST", x_functions_key="master").body) == {
        "status": "success"
    }


# --- what does not fit together


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("", "but not in Python: ['req']"),
        ("req, other", "but not in the function definition (function.json or function decorators): ['other']"),
    ],
)
def test_parameters_that_are_no_bindings(make: Make, parameters: str, words: str) -> None:
    with pytest.raises(AppError) as error:
        make(f"@app.route(route='x')\ndef x({parameters}): return 'x'\n")
    assert words in str(error.value)
    assert "cannot load the x function" in str(error.value)


def described(folder: Path, name: str, code: str, *bindings: dict[str, Any]) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)
    trigger = {"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "anonymous"}
    (folder / name / "function.json").write_text(json.dumps({"bindings": [trigger, *bindings]}))


RETURN = {"type": "http", "direction": "out", "name": "$return"}
NAMED = {"type": "http", "direction": "out", "name": "res"}


@pytest.mark.parametrize(
    ("code", "bindings", "status", "logged"),
    [
        ("def main(req): return 'x'", [RETURN], 200, ""),
        ("def main(req): return 'x'", [], 500, "without a $return binding returned a non-None value"),
        ("def main(req): return None", [RETURN], 500, 'for Python type "NoneType"'),
        ("def main(req, res): pass", [NAMED], 204, ""),
        ("def main(req, res): res.set(3)", [NAMED], 500, 'for Python type "int"'),
        ("import nothing_here\ndef main(req): pass", [], 500, "Worker was unable to load function one"),
        ("def other(req): pass", [], 500, "there is no 'main' in __init__.py"),
        ("def main(req, res): pass", [], 500, "but not in the function definition"),
        ("def main(req): pass", [NAMED], 500, "but not in Python: ['res']"),
        ("def main(req): pass", [{**RETURN, "direction": "in"}], 500, "must have direction"),
        ("def main(req, res): pass", [{**NAMED, "direction": "inout"}], 500, '"inout" bindings are not supported'),
        (
            "def main(req, m): m.set('x')",
            [{"type": "queue", "direction": "out", "name": "m", "queueName": "q"}],
            500,
            "does not serve the binding queue",
        ),
    ],
)
def test_results_and_bindings_of_function_json(
    folder: Path, caplog: Any, code: str, bindings: list[dict[str, Any]], status: int, logged: str
) -> None:
    """What cannot be loaded fails when it is called, and the other functions run."""
    described(folder, "one", code, *bindings)
    described(folder, "well", "def main(req): return 'well'", RETURN)
    found = discover(folder, {})
    site = Site(functions=found, host=read_host_file(folder, {}), keys=KEYS, invoker=Invoker())
    assert call(site, "/api/one").status == status
    assert logged in caplog.text
    assert call(site, "/api/well").body == b"well"


# --- how long a function may run


@pytest.mark.parametrize(
    ("said", "settings", "timeout"),
    [
        (None, {}, 1800),
        (None, {"WEBSITE_SKU": "Dynamic"}, 300),
        ("00:00:01", {}, 1),
        ("1.02:03:04", {}, 93784),
        ("-1", {}, None),
        ("00:10:00", {"WEBSITE_SKU": "Dynamic"}, 600),
    ],
)
def test_function_timeout(folder: Path, said: str | None, settings: dict[str, str], timeout: float | None) -> None:
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **({"functionTimeout": said} if said else {})}))
    assert read_host_file(folder, settings).timeout == timeout


@pytest.mark.parametrize(
    ("said", "settings"),
    [("soon", {}), ("00:00:00", {}), ("-1", {"WEBSITE_SKU": "Dynamic"}), ("00:10:01", {"WEBSITE_SKU": "Dynamic"})],
)
def test_function_timeouts_that_are_none(folder: Path, said: str, settings: dict[str, str]) -> None:
    (folder / "host.json").write_text(json.dumps({"version": "2.0", "functionTimeout": said}))
    with pytest.raises(AppError, match="functionTimeout"):
        read_host_file(folder, settings)


def test_a_function_that_runs_too_long_is_told_of(make: Make, folder: Path, caplog: Any) -> None:
    """It waits for its own overrun: without one this test does not end."""
    over = threading.Event()
    code = "import threading\nover = threading.Event()\n"
    site = make(
        code + "@app.route(route='x', auth_level='anonymous')\ndef x(req):\n    over.wait()\n    return 'late'\n",
        timeout=0.01,
        overrun=lambda: (over.set(), sys.modules["function_app"].over.set()),
    )
    assert call(site, "/api/x").body == b"late"
    assert over.is_set()
    assert "exceeded by function 'Functions.x'" in caplog.text


def test_a_failure_is_raised_as_such(make: Make, folder: Path) -> None:
    make("@app.route(route='x')\ndef x(req): raise ValueError('inner')\n")
    [function] = discover(folder, {})
    with pytest.raises(Failed):
        Invoker().run(function, "a test", object())
