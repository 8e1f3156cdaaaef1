"""What `keyfob hosts`, `logs`, `top` and `shell` make of what the server says; no server here."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from keyfob.cli.seeing import (
    BARS,
    HISTORY,
    Screen,
    ago,
    as_json,
    bars,
    drawn,
    figure,
    hindered,
    last_token,
    opened,
    shown,
    twins,
)
from keyfob.cli.shell import prepared


def host(name: str = "web", given: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": f"/{name}",
        "name": name,
        "kind": "virtual machine",
        "state": "running",
        "identities": [
            {"type": "SystemAssigned", "name": "", "clientId": "c1"},
            {"type": "UserAssigned", "name": "mine", "clientId": "c2"},
        ],
        "endpoints": 0,
        "sandboxes": 0,
        "tokens": {"given": given, "refused": 0, "last": None},
        "decisions": {"allowed": 0, "denied": 0},
        **more,
    }


def seen(now: float, *rows: dict[str, Any], missed: int = 0) -> dict[str, Any]:
    return {"value": list(rows), "now": now, "since": 0.0, "missed": missed, "others": {"allowed": 0, "denied": 0}}


def printed(width: int, *looks: dict[str, Any], most: int = 50) -> str:
    screen = Screen()
    for one in looks:
        rows = screen.see(one)
    written = io.StringIO()
    Console(width=width, file=written).print(drawn(rows, looks[-1], most, width))
    return written.getvalue()


# --- rates


def test_rates_are_between_two_looks() -> None:
    screen = Screen()
    (first,) = screen.see(seen(100, host(given=1000)))
    assert (first.tokens, first.token_rate) == (1000, 0.0)
    (second,) = screen.see(seen(102, host(given=1500, decisions={"allowed": 3, "denied": 1})))
    assert (second.tokens, second.token_rate, second.allowed_rate, second.denied_rate) == (1500, 250.0, 1.5, 0.5)


def test_a_server_that_began_anew_counts_from_nothing() -> None:
    screen = Screen()
    screen.see(seen(100, host(given=1000)))
    (row,) = screen.see(seen(101, host(given=7)))
    assert row.token_rate == 7.0


def test_the_busiest_come_first_and_new_ones_have_no_rate() -> None:
    screen = Screen()
    screen.see(seen(100, host("a"), host("b")))
    rows = screen.see(seen(101, host("a", 1), host("b", 9), host("c", 100)))
    assert [(row.name, row.token_rate) for row in rows] == [("b", 9.0), ("a", 1.0), ("c", 0.0)]
    screen.see(seen(102, host("b", 9)))
    assert set(screen.history) == {"/b"}


def test_a_scale_set_is_shown_once_something_was_decided() -> None:
    quiet, busy = (host(name, kind="scale set", state="") for name in ("quiet", "busy"))
    busy["decisions"] = {"allowed": 0, "denied": 2}
    rows = Screen().see(seen(100, quiet, busy, host()))
    assert {row.name for row in rows} == {"busy", "web"}


def test_bars() -> None:
    assert bars([]) == bars([0.0, 0.0]) == ""
    assert bars([0.0, 0.001, 4.0, 8.0]) == f"{BARS[0]}{BARS[1]}{BARS[5]}{BARS[-1]}"
    screen = Screen()
    for second in range(HISTORY * 2):
        rows = screen.see(seen(100 + second, host(given=second)))
    assert len(rows[0].bars) == HISTORY


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0, "0"), (0.5, "0.5"), (12.4, "12"), (3400, "3,400"), (1_200_000, "1.2 M"), (3.0, "3")],
)
def test_figures(value: float, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59, "59 s"), (120, "2 min"), (7200, "2 h"), (90_000, "1 d")]
)
def test_how_long_ago(seconds: float, text: str) -> None:
    assert ago(seconds) == text


# --- what is shown


@pytest.mark.parametrize("width", [80, 100, 120, 140, 180, 250])
def test_every_width_shows_what_it_has_room_for(width: int) -> None:
    text = printed(width, seen(100, host("web", 10)), seen(101, host("web", 20), host("[red]x[/]")))
    assert max(map(len, text.splitlines())) <= width
    for name in ("web", "[red]x[/]", "running", "token/s", "deny/s"):
        assert name in text, width
    assert ("last token" in text) == (width >= 170)
    assert "tokens 10/s" in text


def test_more_hosts_than_lines() -> None:
    text = printed(100, seen(100, *(host(f"host-{n:02}") for n in range(30))), most=5)
    assert "host-04" in text
    assert "host-05" not in text
    assert "and 25 more" in text
    assert "30 hosts" in text


def test_decisions_that_were_missed_are_told() -> None:
    assert "7 decisions came too fast" in printed(100, seen(100, host(), missed=7))
    assert "too fast" not in printed(100, seen(100, host()))


def test_for_programs() -> None:
    screen = Screen()
    screen.see(seen(100, host()))
    (row,) = screen.see(seen(103, host(given=1)))
    assert as_json(row)["perSecond"]["given"] == 0.33
    assert as_json(row)["tokens"] == {"given": 1, "refused": 0}


def test_the_last_token_names_its_identity() -> None:
    last = {"at": 90.0, "resource": "https://vault.azure.net/", "clientId": "c2"}
    row = host(tokens={"given": 1, "refused": 0, "last": last})
    assert last_token(row, 100.0) == "10 s ago, vault.azure.net (mine)"
    last["clientId"] = "c1"
    assert last_token(row, 100.0).endswith("(system)")
    last["clientId"] = "of one that was deleted"
    assert last_token(row, 100.0).endswith("(gone)")
    assert last_token(host(), 100.0) == "–"


def test_hosts_of_one_name_are_told_apart_by_their_groups() -> None:
    def at(group: str, name: str) -> dict[str, Any]:
        id = f"/subscriptions/s/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}"
        return host(name, id=id)

    rows = [at("a", "web"), at("b", "Web"), at("b", "db")]
    assert list(twins(rows).values()) == ["a", "b"]
    assert not twins(rows[1:])


def test_what_is_open() -> None:
    assert opened(host()) == "–"
    assert opened(host(endpoints=1, sandboxes=2)) == "1 endpoint, 2 sandboxes"


def test_why_containers_print_nothing() -> None:
    def container(name: str, state: str, *events: tuple[str, str, str]) -> dict[str, Any]:
        told = [{"name": kind, "message": text, "lastTimestamp": at} for kind, text, at in events]
        return {"name": name, "properties": {"instanceView": {"currentState": {"state": state}, "events": told}}}

    failures = (
        ("Failed", "no image", "2026-01-01"),
        ("Failed", "no command", "2026-01-02"),
        ("BackOff", "later", "2026-02"),
    )
    group = {
        "containers": [
            container("a", "Waiting", *failures),
            container("b", "Running", *failures),
            {"name": "c", "properties": {}},
        ]
    }
    assert list(hindered(group)) == ["a: no command"]


def test_lines_of_a_log() -> None:
    line = {"at": "2026-01-01T00:00:00.000Z", "source": "app", "stream": "out", "text": "hello"}
    assert "app" in shown(line, named=True)
    assert "app" not in shown(line, named=False)
    assert shown(line, named=False).endswith("hello")


# --- shells


def test_other_shells_get_their_prompt_from_the_environment() -> None:
    with prepared({"SHELL": "/bin/sh", "A": "b"}, "web") as made:
        assert (made.command, made.environ["PS1"], made.environ["A"]) == (["/bin/sh"], "(web) $ ", "b")
    for missing in ("", "/nonsense/shell"):
        with prepared({"SHELL": missing}, "web") as made:
            assert made.command == ["/bin/sh"]


@pytest.mark.parametrize("own", [None, "PS1='own> '\nalias own=true\n", "unset PS1\n"])
def test_bash_reads_the_users_file_first(tmp_path: Path, own: str | None) -> None:
    if own is not None:
        (tmp_path / ".bashrc").write_text(own)
    with prepared({"SHELL": "/bin/bash", "HOME": str(tmp_path)}, "we\"b$(x)'\\`") as made:
        told = subprocess.run(
            [*made.command, "-i", "-c", 'printf "%s" "$PS1"'],
            env={**made.environ, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        left = Path(made.command[-1])
    assert told.stdout.startswith("(we_b__x____) ")
    assert ("own> " in told.stdout) == (own is not None and "own" in own)
    assert not left.exists()
