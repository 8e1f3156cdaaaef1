"""An engine with storage of its own, and an image made here: a root with busybox, which fetches nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

IMAGE = "localhost/keyfob-test/box:1"
APPLETS = (
    "sh",
    "cat",
    "echo",
    "env",
    "false",
    "head",
    "id",
    "ls",
    "mkdir",
    "nc",
    "sleep",
    "test",
    "true",
    "wc",
    "wget",
)

ASK = (
    "wget -q -O - --header Metadata:true 'http://169.254.169.254/metadata/identity/oauth2/token"
    "?api-version=2018-02-01&resource=https://management.azure.com/{more}'"
)
"""A shell command that asks for a token, as an application in a container does."""


def busybox() -> str | None:
    """The program, where it needs no libraries."""
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path):
            loader = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
            if loader.returncode or "statically" in loader.stdout:
                return path
    return None


def make_root(folder: Path) -> Path:
    """A root file system. Raises LookupError, saying why, where it cannot be made."""
    found = busybox()
    if found is None:
        raise LookupError("there is no static busybox here (Debian: busybox-static)")
    for name in ("bin", "etc", "tmp", "proc", "sys", "dev"):
        (folder / name).mkdir(parents=True)
    shutil.copy(found, folder / "bin" / "busybox")
    for name in APPLETS:
        (folder / "bin" / name).symlink_to("busybox")
    (folder / "etc" / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (folder / "etc" / "made-here").write_text("the test's own image\n")
    return folder


@contextmanager
def podman() -> Iterator[Mapping[str, str]]:
    """Variables with which podman keeps everything in a folder of its own, and has IMAGE. Ends all that was started
    with them. The folder is none of pytest's, which cannot remove what a container that was killed left mounted.

    Raises LookupError, saying why, where there is none.
    """
    if shutil.which("podman") is None:
        raise LookupError("there is no podman here")
    folder = Path(tempfile.mkdtemp(prefix="keyfob-podman-"))
    folder.chmod(0o755)
    try:
        yield from _podman(folder)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """With what was left mounted in it."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        if line.split()[1].startswith(f"{folder}/"):
            call(os.environ, "umount", "--lazy", line.split()[1])
    shutil.rmtree(folder, ignore_errors=True)


def _podman(folder: Path) -> Iterator[Mapping[str, str]]:
    settings = folder / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
        f'rootless_storage_path = "{folder}/graph"\n'
    )
    (folder / "runtime").mkdir(mode=0o700)
    variables = {"CONTAINERS_STORAGE_CONF": str(settings)}
    if os.geteuid():
        variables["XDG_RUNTIME_DIR"] = str(folder / "runtime")
    whole = {**os.environ, **variables}
    root = make_root(folder / "root")
    archive = folder / "root.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    made = call(whole, "podman", "import", "-q", str(archive), IMAGE)
    if made.returncode:
        raise LookupError(f"podman has no storage here: {made.stderr.strip()[-300:]}")
    try:
        yield variables
    finally:
        call(whole, "podman", "rm", "--all", "--force", "--time", "0")
        if os.geteuid():
            call(whole, "podman", "unshare", "rm", "-rf", f"{folder}/graph")
            call(whole, "podman", "system", "migrate")  # ends its own process, which is our runtime folder's alone


@contextmanager
def docker() -> Iterator[Mapping[str, str]]:
    """Variables that lead docker to a daemon of our own, which has IMAGE. Ends it, and all that it started.

    Raises LookupError, saying why, where there is none.
    """
    if shutil.which("docker") is None or shutil.which("dockerd") is None:
        raise LookupError("there is no Docker here")
    if os.geteuid():
        raise LookupError("a Docker daemon needs root")
    folder = Path(tempfile.mkdtemp(prefix="keyfob-docker-"))
    variables = {"DOCKER_HOST": f"unix://{folder}/socket"}
    whole = {**os.environ, **variables}
    folders = [f"--{name}={folder}/{name}" for name in ("data-root", "exec-root", "pidfile")]
    network = ["--bridge=none", "--iptables=false", "--ip6tables=false"]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--storage-driver=vfs", *folders, *network, "--host", variables["DOCKER_HOST"]],
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 60
        while call(whole, "docker", "info").returncode or call(whole, "docker", "ps").returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise LookupError(f"the Docker daemon does not start here: {(folder / 'log').read_text()[-300:]}")
            time.sleep(0.1)
        root = make_root(folder / "root")
        subprocess.run(["tar", "-C", root, "-cf", folder / "root.tar", "."], check=True)
        subprocess.run(["docker", "import", folder / "root.tar", IMAGE], env=whole, check=True, capture_output=True)
        yield variables
        if left := call(whole, "docker", "ps", "--all", "--quiet").stdout.split():
            call(whole, "docker", "rm", "--force", *left)
    finally:
        daemon.terminate()
        daemon.wait(60)
        _remove(folder)


def call(environment: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
