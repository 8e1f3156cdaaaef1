from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def reference() -> Path:
    folder = Path(os.environ.get("KEYFOB_REFERENCE") or PROJECT.parent / "shared" / "azure")
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}")
    return folder
