"""Function apps as their developers write them, with Azure's own library."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("azure.functions", reason="azure-functions is not installed")

from keyfob.hosts.app_service.functions.embedded.discovery import AppError, discover, read_host_file
from keyfob.hosts.app_service.functions.embedded.invocation import Invoker
from keyfob.hosts.app_service.functions.embedded.keys import Keys, digest
from keyfob.hosts.app_service.functions.embedded.timers import Timers
from keyfob.hosts.app_service.functions.embedded.web import Answer, Asked, Site

HEAD = "import azure.functions as func\napp = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)\n"
KEYS = Keys(digest("master"), [digest("host")], {"hello": [digest("own")]})

Make = Callable[..., Site]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Any) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    before, paths = set(sys.modules), list(sys.path)
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    yield tmp_path
    sys.path[:] = paths
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def make(folder: Path) -> Make:
    def made(code: str, settings: dict[str, str] | None = None, head: str = HEAD) -> Site:
        (folder / "function_app.py").write_text(head + code)
        found = discover(folder, settings or {})
        return Site(functions=found, host=read_host_file(folder), keys=KEYS, invoker=Invoker())

    return made


def call(site: Site, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    path, _, query = path.partition("?")
    pairs = dict(part.split("=") for part in query.split("&") if part)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return site.answer(Asked(method, path, f"https://shop.azurewebsites.net{path}", pairs, named, body))


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
    assert call(site, "/api/hello", "DELETE", x_functions_key="host").status == 405


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        ("'text'", 200, b"text"),
        ("None", 204, b""),
        ("func.HttpResponse(b'\\x00', mimetype='image/png')", 200, b"\x00"),
        ("1 / 0", 500, b""),
        ("{'a': 1}", 500, b""),
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
    site = Site(functions=discover(folder, {}), host=read_host_file(folder), keys=KEYS, invoker=Invoker())
    assert [call(site, f"/api/{name}").body for name in ("one", "two")] == [b"one GET", b"two GET"]


def test_disabled_functions_are_not_called(make: Make) -> None:
    site = make(HELLO, {"AzureWebJobs.hello.Disabled": "true"})
    assert call(site, "/api/hello/x", x_functions_key="own").status == 404
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
        read_host_file(folder)


# --- timers


class Times:
    """A clock that a test moves; the waiting of the timers' thread is not on it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


TICK = """
ran = []
@app.timer_trigger(schedule="0 0 * * * *", arg_name="timer", run_on_startup={start})
def tick(timer: func.TimerRequest) -> None:
    ran.append(timer.past_due)
"""


def timers(make: Make, folder: Path, times: Times, start: bool = False, **settings: str) -> tuple[Timers, list[bool]]:
    sys.modules.pop("function_app", None)
    make(TICK.format(start=start), settings)
    found = discover(folder, settings)
    made = Timers(functions=found, settings=settings, state=folder / "state", invoker=Invoker(), now=times)
    return made, sys.modules["function_app"].ran


def running(made: Timers) -> threading.Thread:
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    return thread


def until(true: Callable[[], bool]) -> None:
    event = threading.Event()
    while not true():
        event.wait(0.01)


def test_a_timer_can_be_fired_by_hand(make: Make, folder: Path) -> None:
    made, ran = timers(make, folder, Times())
    made.by_hand["tick"]()
    assert ran == [False]


def test_run_on_startup(make: Make, folder: Path) -> None:
    made, ran = timers(make, folder, Times(), start=True)
    thread = running(made)
    until(lambda: ran == [False])
    made.stop()
    thread.join()


def test_what_was_missed_runs_at_once_and_says_so(make: Make, folder: Path) -> None:
    times = Times()
    timers(make, folder, times)
    kept = json.loads((folder / "state" / "tick.json").read_text())
    assert kept["Next"] == "2026-01-01T13:00:00+00:00"
    times.now += timedelta(hours=1, minutes=5)
    made, ran = timers(make, folder, times)
    thread = running(made)
    until(lambda: ran == [True])
    until(lambda: "14:00" in (folder / "state" / "tick.json").read_text())
    made.stop()
    thread.join()


def test_it_fires_when_its_time_has_come(make: Make, folder: Path) -> None:
    times = Times()
    times.now += timedelta(minutes=59, seconds=59, milliseconds=900)
    made, ran = timers(make, folder, times)
    thread = running(made)
    times.now += timedelta(milliseconds=200)
    until(lambda: ran == [False])
    made.stop()
    thread.join()


def test_schedules_follow_the_time_zone_of_the_app(make: Make, folder: Path) -> None:
    settings = {"WEBSITE_TIME_ZONE": "Asia/Tokyo", "WHEN": "0 0 9 * * *"}
    (folder / "function_app.py").write_text(HEAD + TICK.format(start=False).replace("0 0 * * * *", "%WHEN%"))
    found = discover(folder, settings)
    Timers(functions=found, settings=settings, state=folder / "state", invoker=Invoker(), now=Times())
    kept = json.loads((folder / "state" / "tick.json").read_text())
    assert datetime.fromisoformat(kept["Next"]) == datetime(2026, 1, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize("settings", [{"WEBSITE_TIME_ZONE": "Mars/Base"}, {"WEBSITE_TIME_ZONE": "../etc/passwd"}])
def test_a_time_zone_that_is_none(make: Make, folder: Path, settings: dict[str, str]) -> None:
    with pytest.raises(AppError, match="no time zone"):
        timers(make, folder, Times(), **settings)


def test_a_state_file_that_cannot_be_read_is_begun_anew(make: Make, folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "tick.json").write_text("{")
    timers(make, folder, Times())
    assert "13:00" in (folder / "state" / "tick.json").read_text()
