from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from keyfob.clouds.cloud import Cloud
from keyfob.clouds.table import load_clouds

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def clouds() -> Mapping[str, Cloud]:
    return load_clouds()


@pytest.fixture(scope="session")
def reference() -> Path:
    folder = Path(os.environ.get("KEYFOB_REFERENCE") or PROJECT.parent / "shared" / "azure")
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}")
    return folder
