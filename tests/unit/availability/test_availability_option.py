"""`keyfob up --availability`, also through --detach."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def keyfob(data, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keyfob", *arguments],
        env={**os.environ, "KEYFOB_DATA": str(data)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_detached_server_goes_by_the_edition(tmp_path):
    data = tmp_path / "data"
    up = keyfob(data, "up", "--detach", "--port", "0", "--cloud", "AzureChinaCloud", "--availability", "2018-11-28")
    assert up.returncode == 0, up.stderr
    try:
        group = "/subscriptions/{subscription}/resourceGroups/g"
        location = {"location": "chinanorth"}
        made = keyfob(data, "rest", "PUT", f"{group}?api-version=2024-11-01", "--body", json.dumps(location))
        assert made.returncode == 0, made.stderr
        body = json.dumps({**location, "identity": {"type": "SystemAssigned"}})
        factory = f"{group}/providers/Microsoft.DataFactory/factories/one?api-version=2018-06-01"
        refused = keyfob(data, "rest", "PUT", factory, "--body", body)
        assert refused.returncode == 1
        assert "IdentityTypeNotSupported" in refused.stdout + refused.stderr
        assert "Azure Data Factory V2 in AzureChinaCloud" in refused.stdout + refused.stderr
    finally:
        keyfob(data, "down")


def test_an_edition_that_is_none_is_refused_by_name(tmp_path):
    up = keyfob(tmp_path / "data", "up", "--availability", "2017-01-01")
    assert up.returncode == 1
    assert "availability takes one of current, 2019-06-19, 2018-11-28, not '2017-01-01'" in up.stderr
