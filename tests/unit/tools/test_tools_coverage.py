import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[3]


def test_the_coverage_page_is_current():
    done = subprocess.run(
        [sys.executable, PROJECT / "tools" / "coverage_page.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
