"""Programs of a sandbox that have a file system of their own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from keyfob.hosts.workloads.sandboxed import Root, Sandbox
from keyfob.hosts.workloads.workshop import run_in

from .conftest import Open


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A root whose programs are the machine's, by a mount of its /usr."""
    if not os.path.islink("/bin"):
        pytest.skip("this machine keeps programs outside of /usr")
    folder = tmp_path / "image"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / "resolv.conf").write_text("the image's own")
    (folder / "kept").write_text("as it was")
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            (folder / name).symlink_to(os.readlink(f"/{name}"))
    return folder


class Done(NamedTuple):
    code: int
    output: str
    errors: str


async def run(sandbox: Sandbox, script: str, root: Root, folder: str = "/work", **environment: str) -> Done:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = await sandbox.start(
            ["sh", "-c", script],
            folder=folder,
            environment={"PATH": "/bin", **environment},
            output=output.fileno(),
            errors=errors.fileno(),
            root=root,
        )
        code = await process.wait()
        output.seek(0)
        errors.seek(0)
        return Done(code, output.read().decode(), errors.read().decode())


@pytest.fixture
def root(image: Path, tmp_path: Path) -> Root:
    (tmp_path / "stage").mkdir()
    return Root("/run/keyfob/image", "/run/keyfob/stage", [("/usr", "/usr", True)])


@pytest.fixture
async def sandbox(opening: Open, image: Path, tmp_path: Path, root: Root) -> Sandbox:
    (tmp_path / "volume").mkdir()
    return await opening(
        grafts=[
            (image, "/run/keyfob/image"),
            (tmp_path / "stage", "/run/keyfob/stage"),
            (tmp_path / "volume", "/run/keyfob/volume"),
        ]
    )


async def test_it_sees_the_image_and_nothing_of_the_machine(sandbox: Sandbox, root: Root, tmp_path: Path) -> None:
    done = await run(sandbox, "pwd; cat /kept; echo; ls /; ls /etc; ls /proc/1/root/ 2>&1", root)
    pwd, kept, *names = done.output.split("\n")
    assert (pwd, kept) == ("/work", "as it was"), done.errors
    assert "tmp" not in names
    assert "home" not in names
    assert "passwd" not in names
    assert {"kept", "dev", "proc", "usr", "resolv.conf"} <= set(names)


async def test_what_it_writes_is_gone_with_it(sandbox: Sandbox, root: Root, image: Path) -> None:
    done = await run(sandbox, "rm /kept; echo new > /etc/made; cat /etc/made", root)
    assert (done.code, done.output, done.errors) == (0, "new\n", "")
    assert (image / "kept").read_text() == "as it was"
    assert not (image / "etc" / "made").exists()
    again = await run(sandbox, "cat /kept; echo; ls /etc", root)
    assert again.output.splitlines() == ["as it was", "hosts", "resolv.conf"]


async def test_names_authorities_and_devices_are_the_sandboxs(sandbox: Sandbox, root: Root) -> None:
    script = """cat /etc/resolv.conf "$NODE_EXTRA_CA_CERTS"; tail -n 1 "$SSL_CERT_FILE"
        echo x > /dev/null; head -c 3 /dev/zero | wc -c; env"""
    done = await run(sandbox, script, root, OWN="1")
    names, authority, bundle, zeros, *environment = done.output.splitlines()
    assert names.startswith("nameserver 127.")
    assert (authority, bundle, zeros) == ("our authority", "our authority", "3")
    shown = dict(line.split("=", 1) for line in environment)
    assert (shown["OWN"], shown["IDENTITY_HEADER"], shown["PATH"]) == ("1", "of this host", "/bin")
    assert done.errors == ""


async def test_volumes_are_shared_unless_they_are_read_only(sandbox: Sandbox, root: Root, tmp_path: Path) -> None:
    shared = Root(root.image, root.stage, [*root.mounts, ("/run/keyfob/volume", "/data/shared", False)])
    fixed = Root(root.image, root.stage, [*root.mounts, ("/run/keyfob/volume", "/data/shared", True)])
    assert (await run(sandbox, "echo one > /data/shared/file", shared)).code == 0
    assert (tmp_path / "volume" / "file").read_text() == "one\n"
    done = await run(sandbox, "cat /data/shared/file; echo two > /data/shared/file", fixed)
    assert (done.code != 0, done.output) == (True, "one\n")
    assert (tmp_path / "volume" / "file").read_text() == "one\n"


async def test_a_root_that_is_not_there(sandbox: Sandbox) -> None:
    done = await run(sandbox, "true", Root("/nowhere", "/run/keyfob/stage"))
    assert done.code == 126
    assert done.errors.startswith("keyfob: /run/keyfob/stage/root: ")


async def test_a_program_beside_another_is_in_its_root(sandbox: Sandbox, root: Root) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    first = await sandbox.start(
        ["sh", "-c", "echo of the first > /made; exec sleep 600"],
        environment={"PATH": "/bin"},
        output=nothing,
        errors=nothing,
        root=root,
    )
    os.close(nothing)
    while (
        done := await run_in(sandbox, ["cat", "/made"], environment={"PATH": "/bin"}, within=first, patience=60)
    ).code:
        assert not first.ended
    assert done.output == "of the first\n"
    await first.stop(0.1)
    done = await run_in(sandbox, ["cat", "/made"], environment={"PATH": "/bin"}, within=first, patience=60)
    assert done.code == 126


async def test_a_working_folder_and_a_mount_that_lead_out_by_proc(
    sandbox: Sandbox, root: Root, image: Path, tmp_path: Path
) -> None:
    """The links of /proc lead to places, not to names: process 1 of the sandbox sees the machine's files."""
    (image / "out").symlink_to("/proc/1/root")
    for way in ("/proc/1/root", "/out"):
        done = await run(sandbox, "ls; cat ./etc/passwd", root, folder=way)
        assert "root:" not in done.output, way
        assert "home" not in done.output.split(), way
        made = f"{way}{tmp_path}/made"
        mounted = Root(root.image, root.stage, [*root.mounts, ("/run/keyfob/volume", made, False)])
        await run(sandbox, "true", mounted)
        assert not (tmp_path / "made").exists(), way


async def test_it_cannot_reach_the_machine_as_root_could(sandbox: Sandbox, root: Root) -> None:
    """Of root's powers it has what a container's root has: no device of the machine, no setting of its kernel."""
    script = """mknod /dev/disk b 7 0 && dd if=/dev/disk count=0; mknod /disk b 7 0 && echo made
        for name in sys/kernel/core_pattern sys/kernel/modprobe sys/vm/drop_caches sysrq-trigger; do
            test -w /proc/$name && echo "$name is open"; done
        grep CapBnd /proc/self/status"""
    done = await run(sandbox, script, root)
    *trouble, powers = done.output.splitlines()
    assert trouble == []
    assert int(powers.split()[1], 16) & ~0xA80425FB == 0  # docker's default set of capabilities
