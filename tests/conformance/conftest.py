"""The official examples, replayed once for all tests here, and their summary at the end of the run."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "tools"))

_SHOWN = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def documents() -> Any:
    from conformance_documents import Documents, folder

    root = folder()
    if root is None:
        pytest.skip("the official OpenAPI documents are not here (KEYFOB_OPENAPI names their folder)")
    return Documents(root)


@pytest.fixture(scope="session")
def results(documents: Any, watch: Any, request: pytest.FixtureRequest) -> Any:
    """Of every example. In a thread, which has no event loop of a test's. Not watched: the replay checks more."""
    from conformance import replayed, summary

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(replayed(documents))))
    with watch.paused():
        thread.start()
        thread.join()
    assert found, "the replay did not end well; python tools/conformance.py tells more"
    request.config.stash[_SHOWN] = list(summary(found[0]))
    return found[0]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash.get(_SHOWN, [])
    if lines:
        terminalreporter.section("official examples that conform")
        for line in lines if config.get_verbosity() > 0 else lines[-2:]:
            terminalreporter.write_line(line)
