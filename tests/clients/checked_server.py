"""`python checked_server.py FILE up …`: `keyfob up …`, and a line into FILE for each request taken and each reply given
that the official documents do not have. The product itself has no such switch."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tools"))


def watch(written: Path) -> None:
    """Every application of this process, for as long as it lives."""
    from conformance_documents import Documents, folder
    from conformance_watch import Deviation, Watch, install

    root = folder()
    assert root is not None, "the official OpenAPI documents are not here"
    seen: set[Deviation] = set()

    def write(one: Deviation) -> None:
        if one not in seen:
            seen.add(one)
            with written.open("a") as file:
                file.write(json.dumps(asdict(one)) + "\n")

    install(Watch(Documents(root), write))


def main() -> None:
    from keyfob.cli import main as keyfob

    watch(Path(sys.argv.pop(1)))
    keyfob()


if __name__ == "__main__":
    main()
