"""A folder that is a function app, whose modules are forgotten afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


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
