"""`make bench`: everything side by side in one run, in about three minutes; with `--quick` in less than one.

    python benchmarks/run.py [--quick] [--all]

`--all` adds what the parts cost by themselves: the bare HTTP edge, the store, the sandbox.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = ("bench_http.py", "bench_store.py", "bench_sandbox.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--all", action="store_true", help="the parts by themselves, too")
    options = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    status = run("bench_server.py", *(["--quick"] if options.quick else []))
    for part in PARTS if options.all else ():
        print(f"\n--- {part} ---", flush=True)
        status = run(part) or status
    sys.exit(status)


def run(script: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, str(HERE / script), *arguments], check=False).returncode


def machine() -> str:
    """Processor, cores, what it runs on, and how busy it is."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    cores = os.cpu_count()
    return f"{name}, {cores} cores{load}; {platform.python_implementation()} {platform.python_version()}"


if __name__ == "__main__":
    main()
