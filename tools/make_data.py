"""Generates the package data from a folder of public reference data. Run by hand: `make data`.

    python tools/make_data.py [REFERENCE] [--into FOLDER] [--check]

REFERENCE defaults to $KEYFOB_REFERENCE, else ../shared/azure beside the project. Its sources and their licences are
in NOTICE. The same reference gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sources import access, availability, clouds, directory, pages

PROJECT = Path(__file__).resolve().parent.parent
SUBJECTS = (clouds, availability, access, directory, pages)


def generate(reference: Path) -> Mapping[str, bytes]:
    """Path inside the project → content."""
    made: dict[str, Any] = {}
    for subject in SUBJECTS:
        made |= subject.files(reference)
    return {path: value.encode() if isinstance(value, str) else to_json(value) for path, value in made.items()}


def to_json(value: Any) -> bytes:
    """Compact JSON with one member of the outermost value to a line, so that a change shows as lines."""
    dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
    if isinstance(value, dict):
        return ("{\n" + ",\n".join(f"{dump(k)}:{dump(v)}" for k, v in value.items()) + "\n}\n").encode()
    return ("[\n" + ",\n".join(dump(item) for item in value) + "\n]\n").encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("KEYFOB_REFERENCE") or PROJECT.parent / "shared" / "azure"
    parser.add_argument("reference", nargs="?", type=Path, default=Path(default))
    parser.add_argument("--into", type=Path, default=PROJECT, help="another folder to write to")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file would change")
    options = parser.parse_args()
    if not options.reference.is_dir():
        print(f"no reference data at {options.reference}", file=sys.stderr)
        return 2
    changed = 0
    for path, content in generate(options.reference).items():
        file = options.into / path
        if file.exists() and file.read_bytes() == content:
            continue
        changed += 1
        print(f"{'out of date' if options.check else 'written'}: {path} ({len(content):,} bytes)")
        if not options.check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
