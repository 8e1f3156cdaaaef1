"""The files a sandbox puts in place of the machine's: names, authorities, and what it covers."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keyfob.hosts.sandbox import trust
from keyfob.hosts.sandbox.environment import TrustPaths
from keyfob.hosts.sandbox.protocol import DNS_ADDRESS

CACHES = ("/run/nscd", "/var/run/nscd")
"""glibc asks a running name cache before it looks at any file; its socket is no part of a network namespace."""


class Layout(NamedTuple):
    """What to mount. Paths are real paths on the machine; names are files in `home`."""

    home: str
    """A folder that becomes a small file system of the sandbox's own."""

    contents: Mapping[str, bytes]
    """name → text of the files in `home`."""

    replaced: Sequence[tuple[str, str]]
    """(name, path): `path` shows the file `name`."""

    hidden_folders: Sequence[str]
    hidden_files: Sequence[str]
    trust: TrustPaths


def lay_out(
    *, home: str, cover: Sequence[str], sockets: Sequence[str], ca_pem: bytes, environ: Mapping[str, str], program: str
) -> Layout:
    """Decide everything, change nothing. `cover` and `sockets` are hidden where they exist."""
    home, *folders = outermost([home, *(path for path in (*cover, *CACHES) if os.path.isdir(path))])
    bundles = trust.system_bundles()
    bundle = _read(bundles[0]) if bundles else b""
    whole = bundle + (b"" if bundle.endswith(b"\n") or not bundle else b"\n") + ca_pem
    contents = {
        "ca.pem": ca_pem,
        "ca-bundle.pem": whole,
        "resolv.conf": f"nameserver {DNS_ADDRESS}\n".encode(),
        "hosts": _hosts(),
    }
    replaced = [("ca-bundle.pem", path) for path in bundles]
    replaced += [("ca-bundle.pem", path) for path in trust.certifi_bundles(environ, program) if path not in bundles]
    for name, path in (("resolv.conf", "/etc/resolv.conf"), ("hosts", "/etc/hosts")):
        if os.path.exists(path):
            replaced.append((name, os.path.realpath(path)))
    if os.path.exists("/etc/nsswitch.conf"):
        contents["nsswitch.conf"] = name_services(_read("/etc/nsswitch.conf"))
        replaced.append(("nsswitch.conf", os.path.realpath("/etc/nsswitch.conf")))
    truststores = trust.java_truststores(environ)
    java = bool(truststores) or trust.has_java(environ)
    if java:
        contents["cacerts"] = trust.java_truststore(whole)
        replaced += [("cacerts", path) for path in truststores]
    files = [os.path.realpath(path) for path in (*cover, *sockets) if os.path.exists(path) and not os.path.isdir(path)]
    return Layout(
        home=home,
        contents=contents,
        replaced=[(name, path) for name, path in replaced if not _inside(path, (home, *folders))],
        hidden_folders=folders,
        hidden_files=[path for path in dict.fromkeys(files) if not _inside(path, (home, *folders))],
        trust=TrustPaths(
            bundle=bundles[0] if bundles else os.path.join(home, "ca-bundle.pem"),
            authority=os.path.join(home, "ca.pem"),
            truststore=os.path.join(home, "cacerts") if java and not truststores else None,
        ),
    )


def outermost(folders: Sequence[str]) -> list[str]:
    """Real paths, each once, without those inside another; the first is the first's own or the one around it."""
    real = list(dict.fromkeys(os.path.realpath(folder) for folder in folders))
    kept = [path for path in real if not _inside(path, real)]
    return sorted(kept, key=lambda path: real[0] != path and not _inside(real[0], (path,)))


def name_services(text: bytes) -> bytes:
    """nsswitch.conf with hosts found in files and by DNS only: `resolve` and `mdns` would ask a daemon outside."""
    lines = [line for line in text.splitlines() if line.split(b":")[0].strip() != b"hosts"]
    return b"\n".join([*lines, b"hosts: files dns", b""])


def _inside(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders if folder != path)


def _hosts() -> bytes:
    name = socket.gethostname()
    return f"127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost ip6-localhost ip6-loopback\n".encode()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
