"""docs/az.md lists what the suite runs, no more and no less."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_page_says_what_is_run():
    tool = Path(__file__).parents[3] / "tools" / "az_page.py"
    done = subprocess.run([sys.executable, str(tool), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
