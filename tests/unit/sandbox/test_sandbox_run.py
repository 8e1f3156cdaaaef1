"""Programs in sandboxes, seen from inside and from outside."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import signal
import subprocess
import termios
from pathlib import Path

import pytest

pytestmark = pytest.mark.sandbox

METADATA = "http://169.254.169.254/"
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
except OSError as error:
    print(error.errno)
else:
    print("connected")
"""


@pytest.fixture
def server(place):
    return place.serve()


def test_instance_metadata_answers_curl_and_python(place, server):
    assert place.run("curl", "-sS", METADATA, resource_id="/vm/one").output == "/vm/one"
    fetch = f"import urllib.request; print(urllib.request.urlopen({METADATA!r}).read().decode())"
    assert place.run(place.user.python, "-c", fetch, resource_id="/vm/two").output == "/vm/two\n"


def test_two_sandboxes_use_the_same_address_and_are_two_hosts(place, server, process_output):
    waiting = f"echo ready; read line; curl -sS {METADATA}"
    first = place.start("sh", "-c", waiting, resource_id="/vm/first")
    second = place.start("sh", "-c", waiting, resource_id="/vm/second")
    for client in (first, second):
        process_output(client, b"ready\n")
    assert second.communicate(b"go\n", timeout=60)[0] == b"/vm/second"
    assert first.communicate(b"go\n", timeout=60)[0] == b"/vm/first"


def test_two_programs_have_different_process_ids(place, server, process_output):
    """Or the temporary files they name after them would collide."""
    if not Path("/proc/sys/kernel/ns_last_pid").exists():
        pytest.skip("this kernel does not let process ids be chosen")
    clients = [place.start("sh", "-c", "echo $$; read line") for _ in range(2)]
    assert len({process_output(client, b"\n") for client in clients}) == 2


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1", errno.ENETUNREACH),
        ("169.254.169.1", errno.ENETUNREACH),
        ("2001:db8::1", errno.ENETUNREACH),
        ("169.254.169.254", "connected"),
    ],
)
def test_no_other_address_can_be_reached(place, server, address, expected):
    assert place.run(place.user.python, "-c", CONNECT, address, "80").output == f"{expected}\n"


def test_the_machines_loopback_is_another(place, server):
    command = [place.user.python, "-c", CONNECT, "127.0.0.1", str(server.port)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"connected\n"
    assert place.run(*command).output == f"{errno.ECONNREFUSED}\n"


def test_every_name_of_a_service_is_found(place, server):
    assert place.run("getent", "ahostsv4", "contoso.vault.azure.net").output.startswith("169.254.169.253 ")
    assert place.run("getent", "ahostsv4", "localhost").output.startswith("127.0.0.1 ")


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("kill -ABRT $$", 134)],
)
def test_the_exit_code_is_the_programs(place, server, script, code):
    assert place.run("sh", "-c", script).code == code


def test_a_command_that_cannot_be_started_has_the_shells_code(place, server):
    absent = place.run("no-such-command")
    assert (absent.code, absent.errors) == (127, "keyfob: no-such-command: command not found\n")
    assert place.run("/etc/passwd").code == 126


def test_input_folder_and_user_are_the_callers(place, server):
    assert place.start("cat").communicate(b"\0 some \xff bytes", timeout=60)[0] == b"\0 some \xff bytes"
    assert (
        place.run("sh", "-c", "cat; id -u; pwd", input=b"text\n").output == f"text\n{place.user.uid}\n{place.folder}\n"
    )


def test_the_environment_is_the_callers_with_the_hosts_and_without_other_identities(place, server):
    outside = {"MINE": "kept", "HTTPS_PROXY": "http://proxy", "MSI_ENDPOINT": "http://elsewhere"}
    inside = place.run("env", environment=outside, verbose=True)
    values = dict(line.split("=", 1) for line in inside.output.splitlines())
    assert (values["MINE"], values["FROM_THE_HOST"]) == ("kept", "/vm")
    assert not {"HTTPS_PROXY", "MSI_ENDPOINT"} & set(values)
    assert inside.errors == "keyfob: removed from the environment: HTTPS_PROXY, MSI_ENDPOINT\n"


def test_signals_go_to_the_program(place, server, process_output):
    client = place.start("sh", "-c", "trap 'echo told; exit 5' TERM; sleep 1000 & echo ready; wait")
    process_output(client, b"ready\n")
    client.send_signal(signal.SIGTERM)
    output, _ = client.communicate(timeout=60)
    assert (client.returncode, output) == (5, b"told\n")


def test_a_program_without_a_handler_dies_of_a_signal(place, server, process_output):
    client = place.start("sh", "-c", "echo ready; exec sleep 1000")
    process_output(client, b"ready\n")
    client.send_signal(signal.SIGTERM)
    assert client.wait(60) == 143


def test_an_interrupt_from_the_terminal_comes_once(place, server):
    outer, inner = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    script = "trap 'echo told' INT; echo ready; read line; echo $line; exit 3"
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), inner)
    client = place.start("bash", "-c", script, **streams, preexec_fn=take_terminal)
    os.close(inner)
    seen = _read_terminal(outer, b"ready")
    os.write(outer, b"\x03")
    seen += _read_terminal(outer, b"told")
    os.write(outer, b"more\n")
    seen += _read_terminal(outer, None)
    os.close(outer)
    assert client.wait(60) == 3
    assert seen.count(b"told") == 1


def _read_terminal(descriptor: int, until: bytes | None) -> bytes:
    seen = b""
    while until is None or until not in seen:
        try:
            seen += os.read(descriptor, 4096)
        except OSError:  # EIO: nobody holds the other end
            break
    return seen


def test_the_servers_files_and_socket_are_hidden(place, server):
    place.write("data/keyfob.db", b"secret")
    secret = place.data / "keyfob.db"
    shown = place.run("sh", "-c", f"cat {secret}; ls {place.data}; ls {place.data}/.nothing")
    assert "secret" not in shown.output
    assert "ca.pem" in shown.output.split()
    assert not {"keyfob.db", "control.sock"} & set(shown.output.split())
    assert secret.read_bytes() == b"secret"


def test_the_program_cannot_lift_a_cover(place, server):
    place.write("data/keyfob.db", b"secret")
    tries = [f"umount {place.data}", f"umount -l {place.data}", f"unshare -Urm umount {place.data}", "umount /proc"]
    tries.append(f"nsenter -t 1 -m cat {place.data}/keyfob.db; cat /proc/1/root{place.data}/keyfob.db")
    shown = place.run("sh", "-c", "; ".join([*tries, f"cat {place.data}/keyfob.db"]))
    assert "secret" not in shown.output


def test_a_socket_outside_the_data_folder_is_hidden_too(place, server):
    link = place.folder / "elsewhere.sock"
    os.link(place.data / "control.sock", link)
    found = place.run("sh", "-c", f"test -S {link} && echo socket", control=str(link))
    assert found.output == ""


def test_the_server_is_no_process_the_program_can_see(place, server):
    found = place.run("sh", "-c", f"kill -9 {server.process.pid}; ls /proc | grep -c '^[0-9]'; echo $$")
    visible, own = found.output.split()
    assert int(visible) <= 5
    assert int(own) != server.process.pid
    assert server.process.poll() is None


def test_no_descriptor_of_ours_stays_open(place, server):
    assert place.run("sh", "-c", "ls /proc/$$/fd").output.split() == ["0", "1", "2"]


def test_the_listeners_end_with_the_program_and_so_does_what_it_left_running(place, server):
    left = place.run("sh", "-c", "sleep 1000 & echo started")  # its end of stdout closes only with the sleep
    assert (left.code, left.output) == (0, "started\n")
    assert [server.event(), server.event()] == [{"opened": "/vm"}, {"closed": "/vm"}]


def test_a_killed_client_leaves_no_process_and_no_listener(place, server, process_output):
    client = place.start("sh", "-c", "setsid sleep 1000 & echo ready; sleep 1000")
    process_output(client, b"ready\n")
    assert server.event() == {"opened": "/vm"}
    client.kill()
    assert client.communicate(timeout=60)[0] == b""  # the end comes when the last process that held stdout is gone
    assert server.event() == {"closed": "/vm"}


def test_a_killed_server_takes_the_endpoints_along_and_nothing_else(place, server, process_output):
    script = f"echo ready; read line; curl -sS {METADATA}; echo curl $?; exit 6"
    client = place.start("sh", "-c", script, cover=[], environment={"TMPDIR": str(place.folder)})
    process_output(client, b"ready\n")
    assert len(list(place.folder.glob("keyfob-run-*"))) == 1
    server.kill()
    process_output(client, b"keyfob: the server has ended; the program goes on without it\n", client.stderr)
    output, _ = client.communicate(b"go\n", timeout=60)
    assert (client.returncode, output) == (6, b"curl 7\n")
    assert not list(place.folder.glob("keyfob-run-*"))


def test_a_server_starts_again_over_the_socket_of_a_killed_one(place, server):
    server.kill()
    place.serve()
    assert place.run("curl", "-sS", METADATA).output == "/vm"


def test_a_refusal_is_told_in_the_servers_words(place, server):
    refused = place.run("echo", "started", token="stranger")
    assert (refused.code, refused.output, refused.errors) == (99, "", "The token opens no sandbox.\n")


def test_without_a_server_nothing_starts(place):
    absent = place.run("echo", "started")
    control = place.data / "control.sock"
    assert (absent.code, absent.output) == (99, "")
    assert absent.errors == f"No Keyfob server listens at {control}: start one with `keyfob up`.\n"


def test_a_working_folder_that_is_hidden_is_refused(place, server):
    (place.data / "deep").mkdir()
    refused = place.run("pwd", cwd=place.data / "deep")
    assert refused.code == 99
    assert "return to the working folder" in refused.errors


def test_a_path_longer_than_a_socket_address_works(place):
    deep = place.folder / "data" / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    os.chown(deep, place.user.uid, place.user.gid)
    short, place.folder = place.folder, deep
    try:
        (deep / "data").mkdir()
        os.chown(deep / "data", place.user.uid, place.user.gid)
        place.write("ca.pem", b"")
        place.serve()
        assert place.run("curl", "-sS", METADATA).output == "/vm"
    finally:
        place.folder = short
