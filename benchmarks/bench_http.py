"""Requests a second and CPU per request of the HTTP edge, beside nginx and Go on the same machine.

    python benchmarks/bench_http.py [--rounds 5] [--seconds 2]
    python benchmarks/bench_http.py --also NAME PID URL [--header 'Metadata: true']

Each server runs on core 0, `wrk` on core 1, keep-alive on loopback, 32 connections. Rounds are interleaved (each
server once per round) and the table shows medians. CPU per request (user and system time of the server's process
tree, from /proc) is the steadier number; requests a second is bounded by wrk above roughly 85,000. On a shared
machine differences below 20 % mean nothing. `--also` puts any running server into the same rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RESOURCE = "https://vault.azure.net"
TARGET = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"
HEADERS = ("Metadata: true",)
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Sample:
    per_second: float
    cpu_us: float
    """CPU microseconds of the server per request."""
    errors: int
    others: float = 0.0
    """Cores that were busy with something else meanwhile."""


@dataclass(frozen=True)
class Subject:
    name: str
    pid: int
    url: str
    headers: tuple[str, ...] = ()
    script: str = ""
    """A wrk script in Lua, for what is no GET."""


def body() -> bytes:
    """The size and shape of a token answer (1.9 kB)."""
    token = "eyJ" + "x" * 1750
    answer = {
        "access_token": token,
        "client_id": "00000000-0000-0000-0000-000000000001",
        "expires_in": "86400",
        "expires_on": "1700086400",
        "resource": RESOURCE,
        "token_type": "Bearer",
    }
    return json.dumps(answer, separators=(",", ":")).encode()


# --- measuring ---


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid] + [each for child in children for each in tree(int(child))]


def cpu_seconds(pid: int) -> float:
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            after_name = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += int(after_name[11]) + int(after_name[12])
    return total / os.sysconf("SC_CLK_TCK")


def busy_seconds() -> float:
    """CPU time of the whole machine that was not idle."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def children_seconds() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def measure(
    name: str,
    pid: int,
    url: str,
    headers: Sequence[str] = (),
    *,
    seconds: int = 2,
    connections: int = 32,
    script: str = "",
) -> Sample:
    """Loads `url` with wrk and reads the CPU time of `pid` and its children around it."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for header in headers:
        command += ["-H", header]
    command += ["-s", script] if script else []
    before, busy, ours, began = cpu_seconds(pid), busy_seconds(), children_seconds(), time.monotonic()
    run = subprocess.run([*pinned(1), *command, url], capture_output=True, text=True, check=True)
    spent = cpu_seconds(pid) - before
    others = (busy_seconds() - busy - spent - (children_seconds() - ours)) / (time.monotonic() - began)
    found = re.search(r"(\d+) requests in ([\d.]+)(m?s)", run.stdout)
    if found is None:
        raise SystemExit(f"wrk said something unexpected about {name}:\n{run.stdout}{run.stderr}")
    requests = int(found[1])
    took = float(found[2]) / (1000 if found[3] == "ms" else 1)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", run.stdout)
    socket_errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", run.stdout)
    errors = int(bad[1]) if bad else 0
    errors += sum(int(n) for n in socket_errors.groups()) if socket_errors else 0
    return Sample(requests / took, spent / max(1, requests) * 1e6, errors, max(0.0, others))


def pinned(core: int) -> list[str]:
    return ["taskset", "-c", str(core)] if shutil.which("taskset") and (os.cpu_count() or 1) > core else []


def compare(subjects: Sequence[Subject], *, rounds: int, seconds: int) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {subject.name: [] for subject in subjects}
    for subject in subjects:  # warm
        load(subject, 1)
    for _ in range(rounds):
        for subject in subjects:
            samples[subject.name].append(load(subject, seconds))
    return samples


def load(subject: Subject, seconds: int) -> Sample:
    return measure(subject.name, subject.pid, subject.url, subject.headers, seconds=seconds, script=subject.script)


def table(title: str, samples: dict[str, list[Sample]], against: str) -> str:
    """Medians, with the ratio of CPU per request to the row named `against`."""
    base = statistics.median(s.cpu_us for s in samples[against]) if against in samples else None
    lines = [f"{title:34} {'requests/s':>11} {'µs CPU/req':>11} {'min..max µs':>14} {'× ' + against:>8} {'errors':>7}"]
    for name, found in samples.items():
        cpu = statistics.median(s.cpu_us for s in found)
        spread = f"{min(s.cpu_us for s in found):.1f}..{max(s.cpu_us for s in found):.1f}"
        ratio = f"{cpu / base:.2f}" if base else "-"
        rate = statistics.median(s.per_second for s in found)
        lines.append(f"{name:34} {rate:11,.0f} {cpu:11.1f} {spread:>14} {ratio:>8} {sum(s.errors for s in found):7}")
    return "\n".join(lines)


# --- the servers ---


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], name: str) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"{name} ended at once")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


@contextlib.contextmanager
def running(command: Sequence[str], port: int, env: dict[str, str] | None = None) -> Iterator[int]:
    process = subprocess.Popen([*pinned(0), *command], env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL)
    try:
        wait_for(port, process, command[0])
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def nginx_conf(folder: Path, plain: int, tls: int, pem: Path, inline: str = "") -> Path:
    """Serves `inline`, and at /static the file body.json of the folder, which should hold the same."""
    path = folder / "nginx.conf"
    inline = inline or body().decode()
    path.write_text(f"""
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log crit; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000; default_type application/json; open_file_cache max=10;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{tls} ssl; ssl_certificate {pem}; ssl_certificate_key {pem};
    location = /static {{ alias {folder}/body.json; }}
    location / {{ return 200 '{inline}'; }}
  }}
}}""")
    return path


def certificate(folder: Path) -> Path:
    from keyfob.servers.tls import leaves, open_authority

    now = datetime.datetime.now(datetime.UTC)
    found, _ = leaves(open_authority(folder, now), folder, ["localhost", "127.0.0.1"], now)
    return found[0].path


async def serve(plain: int, tls: int, folder: Path) -> None:
    """Ours: one hot look-up, and a handler for every other path."""
    from keyfob.servers.http import HttpServer
    from keyfob.servers.run import settle
    from keyfob.servers.tls import leaves, open_authority, server_context
    from keyfob.wire.http import Reply, Request
    from keyfob.wire.http1 import write_reply

    reply = Reply(200, body(), (), "application/json; charset=utf-8")
    answer = write_reply(reply)
    tokens = {TARGET.encode(): answer}

    def hot(target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        for name, value in headers:
            if name == b"metadata":
                return tokens.get(target) if value.lower() == b"true" else None
        return None

    async def handler(request: Request) -> Reply:
        return reply

    now = datetime.datetime.now(datetime.UTC)
    found, _ = leaves(open_authority(folder, now), folder, ["localhost", "127.0.0.1"], now)
    context = server_context(found)
    server = HttpServer()

    def bound(port: int) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        return sock

    await server.listen(sock=bound(plain), handler=handler, hot=hot)
    await server.listen(sock=bound(tls), handler=handler, hot=hot, tls=context)
    settle()
    await asyncio.Event().wait()


def missing() -> list[str]:
    return [tool for tool in ("nginx", "go") if shutil.which(tool) is None]


def build_go(folder: Path) -> Path:
    out = folder / "peer"
    subprocess.run(
        ["go", "build", "-o", str(out), "."], cwd=HERE / "go", check=True, env={**os.environ, "GOFLAGS": "-mod=mod"}
    )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--also", nargs=3, action="append", default=[], metavar=("NAME", "PID", "URL"))
    parser.add_argument("--header", action="append", default=None, help="for --also; replaces 'Metadata: true'")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        plain, tls, folder = options.serve
        from keyfob.servers.run import new_loop

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(serve(int(plain), int(tls), Path(folder)))
        return
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not on this machine (https://github.com/wg/wrk): nothing can be measured")
    for tool in missing():
        print(f"{tool} is not on this machine: its rows are left out", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyfob-bench-")))
        folder.chmod(0o755)
        plain, tls = subjects(stack, folder)
        for name, pid, url in options.also:
            extra = Subject(name, int(pid), url, tuple(options.header or HEADERS))
            (tls if url.startswith("https") else plain).append(extra)
        print(table("plain", compare(plain, rounds=options.rounds, seconds=options.seconds), "Go net/http"))
        print()
        print(table("TLS", compare(tls, rounds=options.rounds, seconds=options.seconds), "Go net/http"))


def subjects(stack: contextlib.ExitStack, folder: Path) -> tuple[list[Subject], list[Subject]]:
    """Starts every server there is; what is plain and what is TLS."""
    pem = certificate(folder)
    (folder / "body.json").write_bytes(body())
    plain: list[Subject] = []
    tls: list[Subject] = []

    def add(name: str, pid: int, ports: tuple[int, int], target: str = TARGET) -> None:
        plain.append(Subject(name, pid, f"http://127.0.0.1:{ports[0]}{target}", HEADERS))
        tls.append(Subject(name, pid, f"https://127.0.0.1:{ports[1]}{target}", HEADERS))

    if shutil.which("nginx"):
        ports = (free_port(), free_port())
        conf = nginx_conf(folder, *ports, pem)
        pem.chmod(0o644)  # its workers run as another user; this key is thrown away with the folder
        pid = stack.enter_context(running(["nginx", "-p", str(folder), "-c", str(conf)], ports[0]))
        add("nginx, inline", pid, ports)
        add("nginx, static file", pid, ports, "/static")
    if shutil.which("go"):
        ports = (free_port(), free_port())
        arguments = [f"127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}", str(pem), str(folder / "body.json"), RESOURCE]
        command = [str(build_go(folder)), *arguments]
        add("Go net/http", stack.enter_context(running(command, ports[1], {"GOMAXPROCS": "1"})), ports)
    ports = (free_port(), free_port())
    command = [sys.executable, __file__, "--serve", *map(str, ports), str(folder)]
    pid = stack.enter_context(running(command, ports[1]))
    add("Keyfob, hot", pid, ports)
    add("Keyfob, handler", pid, ports, "/other?x=1")
    return plain, tls


if __name__ == "__main__":
    main()
