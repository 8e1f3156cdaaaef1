"""The page of clients and token endpoints says what the tests run."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]


def test_the_matrix_page_is_current():
    done = subprocess.run(
        [sys.executable, PROJECT / "tools" / "matrix_page.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, "run `python tools/matrix_page.py`" + done.stderr
