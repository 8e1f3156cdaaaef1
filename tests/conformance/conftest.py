"""The official examples, replayed once for all tests here, and their summary at the end of the run; an application to
send nonsense to."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path += [str(Path(__file__).parents[2] / "tools"), str(Path(__file__).parent)]
pytest.register_assert_rewrite("bad_things")

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


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A whole application in this process, with something in it that must never change."""
    from bad_things import Land

    made = Land(tmp_path_factory.mktemp("land"))
    yield made
    made.close()


@pytest.fixture
def no_failures(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What the server calls unexpected would be in its log."""
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
