"""Python imports this before anything else where PYTHONPATH has this folder. A server that starts there, by whatever
command, is watched: a line into the file that WATCHED_BY_TESTS names for each request taken and each reply given that
the official documents do not have. The product knows nothing of it."""

import os
import sys
from pathlib import Path

_written = os.environ.get("WATCHED_BY_TESTS")
if _written and "keyfob" in sys.orig_argv and "up" in sys.orig_argv and "--detach" not in sys.orig_argv:
    sys.path.append(str(Path(__file__).parents[2] / "clients"))
    from checked_server import watch

    watch(Path(_written))
