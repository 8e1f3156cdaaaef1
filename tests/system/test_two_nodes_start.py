"""Two nodes that find one empty database at the same moment: one tenant, one operator, and who else needs what."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
TOGETHER = 3


def start(data: Path, database: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYFOB_")}
    command = [sys.executable, "-m", "keyfob", "up", "--detach", "--data", str(data), "--port", "0"]
    return subprocess.run(
        [*command, "--database", database], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def stop(data: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "keyfob", "down", "--data", str(data)], capture_output=True, timeout=60, check=True
    )


def together(folders: list[Path], database: str) -> list[subprocess.CompletedProcess[str]]:
    with ThreadPoolExecutor(len(folders)) as pool:
        return list(pool.map(lambda data: start(data, database), folders))


def one_of_everything(node: Any) -> None:
    arm = node.arm()
    assert len(arm.must("GET", "/tenants")["value"]) == 1
    assert len(arm.must("GET", "/subscriptions")["value"]) == 1
    tenants = arm.must("GET", "/providers/Keyfob.Directory/tenants")["value"]
    assert len(tenants) == 1
    keys = node.line("login.microsoftonline.com").ask("GET", "/common/discovery/v2.0/keys").json()["keys"]
    assert len(keys) == 1
    graph = node.line("graph.microsoft.com")
    token = node.client.token("https://graph.microsoft.com")
    found = graph.ask("GET", "/v1.0/applications", headers=[("Authorization", f"Bearer {token}")]).json()["value"]
    assert [one["displayName"] for one in found] == ["Keyfob operator"]


def test_with_one_master_key_all_come_up(tmp_path: Path, postgres_server: Any, node: Callable[..., Any]) -> None:
    """And the operator is known to the one that made it; the others say what they need for that."""
    database = postgres_server.create_database()
    folders = [tmp_path / f"node-{n}" for n in range(TOGETHER)]
    key = os.urandom(32)
    for data in folders:
        data.mkdir(mode=0o700)
        (data / "master.key").write_bytes(key)
    started = together(folders, database)
    try:
        assert [one.returncode for one in started] == [0] * TOGETHER, started
        knowing = [data for data in folders if (data / "operator.json").exists()]
        assert len(knowing) == 1
        for data, one in zip(folders, started, strict=True):
            assert ("copy operator.json" in one.stdout) is (data not in knowing), one
    finally:
        for data in folders:
            stop(data)
    first, second = node(data=knowing[0], database=database), None
    one_of_everything(first)
    second = node(database=database, like=first)
    one_of_everything(second)


def test_with_a_key_each_one_comes_up_and_the_others_say_what_to_copy(
    tmp_path: Path, postgres_server: Any, node: Callable[..., Any]
) -> None:
    database = postgres_server.create_database()
    folders = [tmp_path / f"node-{n}" for n in range(TOGETHER)]
    started = together(folders, database)
    up = [data for data, one in zip(folders, started, strict=True) if one.returncode == 0]
    try:
        assert len(up) == 1, started
        for data, one in zip(folders, started, strict=True):
            if data not in up:
                said = one.stderr.strip()
                assert len(said.splitlines()) == 1, said
                assert "copy master.key, operator.json and the folder ca" in said
                assert str(data) in said
                assert not (data / "operator.json").exists()
    finally:
        for data in up:
            stop(data)
    first = node(data=up[0], database=database)
    one_of_everything(first)
    one_of_everything(node(database=database, like=first))
