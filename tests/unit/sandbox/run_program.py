"""`run_program.py OPTIONS-AS-JSON COMMAND…`: the client in a process of its own, as the tests start it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from keyfob.hosts.sandbox.refusal import SandboxUnavailable
from keyfob.hosts.sandbox.run import run_in_sandbox

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    try:
        code = run_in_sandbox(
            control=Path(options["control"]),
            resource_id=options["resource_id"],
            token=options["token"],
            command=sys.argv[2:],
            ca_pem=Path(options["ca"]).read_bytes(),
            cover=[Path(path) for path in options["cover"]],
            verbose=options["verbose"],
            wish=options.get("wish"),
            folder=options.get("folder", ""),
        )
    except SandboxUnavailable as problem:
        print(problem.message, file=sys.stderr)
        sys.exit(99)
    sys.exit(code)
