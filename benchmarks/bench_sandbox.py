"""What a sandbox adds to the start of a program: medians in milliseconds.

    python benchmarks/bench_sandbox.py [ROUNDS]

A server that serves nothing takes the sockets; the program is `true`. Each round starts, one after the other: the
bare program, a Python that does nothing, a Python that imports the client, and the whole client with the program.
The overhead is the whole client less the bare program. What a full server does to open a host is not in it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLIENT = """
import sys
from pathlib import Path
from keyfob.hosts.sandbox.run import run_in_sandbox
folder = Path(sys.argv[1])
sys.exit(run_in_sandbox(control=folder / "control.sock", resource_id="/vm", token="t", command=sys.argv[2:],
                        ca_pem=b"# none\\n", cover=[folder]))
"""

SERVER = """
import asyncio, sys
from pathlib import Path
from keyfob.hosts.sandbox.control import SandboxControl
class Nothing:
    environment = {}
    async def close(self): pass
async def open_host(request, sockets):
    return Nothing()
async def main():
    await SandboxControl(path=Path(sys.argv[1]), open_host=open_host).start()
    print("listening", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


COMPILED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""An installed package is compiled once, not at each start."""


def milliseconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, env=COMPILED)
    return (time.perf_counter() - start) * 1000


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="keyfob-bench-") as folder:
        control = str(Path(folder) / "control.sock")
        server = subprocess.Popen([sys.executable, "-c", SERVER, control], stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"listening\n"
            commands = {
                "bare program": ["true"],
                "python, empty": [sys.executable, "-c", "pass"],
                "python, importing the client": [sys.executable, "-c", "import keyfob.hosts.sandbox.run"],
                "program in a sandbox": [sys.executable, "-c", CLIENT, folder, "true"],
            }
            taken: dict[str, list[float]] = {name: [] for name in commands}
            for command in commands.values():
                milliseconds(command)
            for _ in range(rounds):
                for name, command in commands.items():
                    taken[name].append(milliseconds(command))
        finally:
            server.kill()
            server.wait()
    medians = {name: statistics.median(values) for name, values in taken.items()}
    for name, median in medians.items():
        print(f"{name:30} {median:7.1f} ms   (fastest {min(taken[name]):.1f})")
    overhead = medians["program in a sandbox"] - medians["bare program"]
    own = medians["program in a sandbox"] - medians["python, importing the client"]
    user = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    print(f"{'overhead':30} {overhead:7.1f} ms   of which the sandbox itself {own:.1f}; {user}, {rounds} rounds")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
