"""`keyfob demo`, as a stranger runs it: in the sandbox, and where namespaces are forbidden."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from keyfob.hosts.sandbox.run import unavailable

pytestmark = pytest.mark.clients
STORY = [
    "hello from a managed identity",
    "xms_mirid",
    "Caller is not authorized to perform action on resource",
    "Key Vault Secrets User",
    "PrincipalNotFound",
    "That is Keyfob.",
]


def told(command: list[str]) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KEYFOB_")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    at = 0
    for part in STORY:
        at = printed.find(part, at)
        assert at >= 0, f"{part!r} is missing: {printed}"
    assert "Traceback" not in printed
    return printed


@pytest.mark.sandbox
def test_the_demo_in_the_sandbox():
    if sentence := unavailable():
        pytest.skip(sentence)
    printed = told([sys.executable, "-m", "keyfob", "demo"])
    assert "keyfob run --as web" in printed
    assert "environment way" not in printed


def test_the_demo_where_namespaces_are_forbidden():
    unshare = shutil.which("unshare")
    if not unshare or unavailable():
        pytest.skip("a user namespace, in which to forbid further ones, cannot be had here")
    forbid = 'for kind in user net mnt; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done; exec "$0" "$@"'
    printed = told([unshare, "-Ur", "sh", "-c", forbid, sys.executable, "-m", "keyfob", "demo"])
    assert "The demo therefore uses the environment way" in printed
    assert 'eval "$(keyfob env --as web)"' in printed
