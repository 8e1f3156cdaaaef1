"""The command line without a server: help, and one sentence for what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import click
import pytest

from keyfob.cli import COMMANDS, keyfob, main
from keyfob.cli.client import Answer, sentence
from keyfob.cli.output import table


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def leaves(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        inner = [(n, command.get_command(context, n)) for n in command.list_commands(context)]
        return [leaf for n, c in inner if c is not None for leaf in leaves(c, f"{name} {n}")]
    return [(name, command)]


@pytest.mark.parametrize(("name", "command"), leaves(keyfob, "keyfob"))
def test_every_command_helps_with_an_example(name, command):
    text = command.get_help(click.Context(command, info_name=name))
    assert "Example" in text
    assert name in text.split("Example", 1)[1]
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.name}"


def test_every_command_is_listed(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for name in [*COMMANDS, "version"]:
        assert f"\n  {name} " in out


@pytest.mark.parametrize(
    "arguments",
    [
        ["rest", "GET", "/subscriptions"],
        ["env", "--as", "web"],
        ["token", "--as", "web", "--resource", "x"],
        ["explain"],
        ["run", "--as", "web", "--", "true"],
        ["tenant", "list"],
    ],
)
def test_without_a_server_it_says_how_to_start_one(capsys, tmp_path, monkeypatch, arguments):
    monkeypatch.setenv("KEYFOB_DATA", str(tmp_path))
    code, out, err = run(capsys, *arguments)
    assert code == 1
    assert out == ""
    assert err.count("\n") == 1
    assert "keyfob up" in err


def test_what_was_not_found_is_said_with_what_to_do(capsys, tmp_path):
    code, out, _ = run(capsys, "image", "list", "--data", str(tmp_path))
    assert code == 0
    assert "keyfob image import" in out


class Refusing:
    """The server's client in `keyfob explain`."""

    found: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, data: Path) -> None: ...

    def arm_json(self, *_given: Any, **_named: Any) -> Any:
        return {"value": self.found}

    def arm(self, *_given: Any, **_named: Any) -> Answer:
        return Answer(404, {}, b"")


def test_explain_gives_a_command_that_reaches_this_server(capsys, monkeypatch):
    monkeypatch.setattr("keyfob.cli.explain.Client", Refusing)
    assert run(capsys, "explain")[1] == "Nothing was refused yet.\n"
    assert "Nothing was refused to p1 yet." in run(capsys, "explain", "--principal", "p1")[1]
    assert "shows the last denials" in run(capsys, "explain", "an-id")[1]
    entry = {
        "time": 0.0,
        "verdict": "denied",
        "principalId": "p1",
        "principalName": "web",
        "action": "A/b",
        "reason": "",
    }
    entry |= {"dataAction": False, "scope": "/", "requestId": "r", "remedy": "az role assignment create …"}
    monkeypatch.setattr(Refusing, "found", [entry])
    assert "    keyfob az role assignment create …\n" in run(capsys, "explain")[1]


def test_names_stay_whole_in_a_narrow_table(capsys, monkeypatch):
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setenv("COLUMNS", "60")
    table(["name", "what"], [["site-two/staging", "word " * 30], ["x", "many-letters" * 9]])
    out, _ = capsys.readouterr()
    assert "site-two/staging" in out
    assert max(map(len, click.unstyle(out).splitlines())) <= 60


def test_status_of_nothing(capsys, tmp_path):
    code, out, _ = run(capsys, "status", "--data", str(tmp_path), "--output", "json")
    assert code == 3
    assert json.loads(out) == {"running": False, "data": str(tmp_path)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--port", "99999"], "port"),
        (["up", "--database", "mysql://x"], "postgresql://"),
        (["up", "--cloud", "Mars"], "AzureGermanCloud"),
        (["nonsense"], "No such command"),
        (["rest", "FETCH", "/"], "FETCH"),
        (["ca", "--data", "/nonexistent"], "keyfob up"),
    ],
)
def test_wrong_input_is_a_sentence(capsys, arguments, said):
    code, _, err = run(capsys, *arguments)
    assert code in (1, 2)
    assert said in err
    assert "Traceback" not in err


def test_a_data_folder_that_cannot_be_made(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "keyfob", "up", "--data", str(blocked / "data"), "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot be made" in done.stderr
    assert "Traceback" not in done.stderr


def test_clouds_for_people_and_programs(capsys):
    _, out, _ = run(capsys, "clouds", "--output", "json")
    assert [cloud["name"] for cloud in json.loads(out)] == [
        "AzureCloud",
        "AzureUSGovernment",
        "AzureChinaCloud",
        "AzureGermanCloud",
    ]
    _, out, _ = run(capsys, "clouds")
    assert "*.vault.azure.cn" in out


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"error": {"code": "NotFound", "message": "gone"}}', "404 NotFound: gone"),
        (b'{"error": "invalid_client", "error_description": "no"}', "404 invalid_client: no"),
        (b"<html>", "The server answered 404."),
        (b"[1]", "The server answered 404."),
    ],
)
def test_any_error_body_becomes_a_sentence(body, said):
    assert sentence(Answer(404, {}, body)) == said
