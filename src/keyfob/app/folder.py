"""The data folder: what a server keeps beside its database, each file made once, durable before it is used."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keyfob.errors import Conflict, Problem
from keyfob.servers.tls import Authority, Leaf, bundle, java_truststore, leaves, open_authority
from keyfob.settings import Settings
from keyfob.store.file_lock import FileLock

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
TRUSTSTORE_PASSWORD = "changeit"  # Java's own default; the store holds no secret


class BadFolder(Problem):
    """The data folder cannot be used."""

    code = "BadDataFolder"


@dataclass(frozen=True, slots=True)
class Trust:
    """The certificate authority, and the files that programs read it from."""

    authority: Authority
    leaves: tuple[Leaf, ...]
    certificate: Path
    bundle: Path
    """The authority and what the machine trusts already."""
    truststore: Path


def prepare(settings: Settings) -> None:
    """Makes the folder, for its owner only. Raises `BadFolder`."""
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise BadFolder(f"The data folder {settings.data} cannot be made: {error.strerror}.") from error
    if not os.access(settings.data, os.W_OK | os.X_OK):
        raise BadFolder(f"The data folder {settings.data} cannot be written; choose another with --data.")


def occupy(settings: Settings) -> FileLock:
    """The folder is this process's until the lock is released. Raises `Conflict` when a server runs on it."""
    for _ in range(3):  # `keyfob status` looks at the lock by taking it for an instant
        try:
            return FileLock(settings.lock_file)
        except Conflict:
            time.sleep(0.02)
    return FileLock(settings.lock_file)


def master_key(settings: Settings) -> bytes:
    """32 bytes from the key file, made at first start. It opens every sealed value in the database.

    With a shared database every node needs the same file; `KEYFOB_DATA/master.key` is to be copied there by hand.
    """
    path = settings.master_key_file
    with contextlib.suppress(FileExistsError):
        write(path, secrets.token_bytes(32), exclusive=True)
    key = path.read_bytes()
    if len(key) != 32:
        raise BadFolder(f"{path} is not a master key (32 bytes); put the right one back from your copy.")
    return key


def trust(settings: Settings, names: tuple[str, ...], now: float) -> Trust:
    """The authority, certificates for `names`, and the bundles, which are written again when they changed."""
    folder, moment = settings.certificates, datetime.fromtimestamp(now, UTC)
    authority = open_authority(folder, moment)
    made, _ = leaves(authority, folder, names, moment)
    found = Trust(authority, made, folder / "ca.crt", folder / "bundle.pem", folder / "truststore.p12")
    system = next((path.read_bytes() for path in map(Path, SYSTEM_BUNDLES) if path.is_file()), b"")
    wanted = bundle(authority.pem, system)
    if not found.bundle.exists() or found.bundle.read_bytes() != wanted:
        write(found.bundle, wanted, mode=0o644)
        write(found.truststore, java_truststore(authority.certificate, (), TRUSTSTORE_PASSWORD), mode=0o644)
    return found


@dataclass(frozen=True, slots=True)
class OperatorFile:
    """What the command line signs in with. Only the owner of the folder may read it."""

    cloud: str
    login: str
    resource_manager: str
    audience: str
    tenant_id: str
    subscription_id: str
    client_id: str
    object_id: str
    client_secret: str = field(repr=False)

    def document(self) -> Mapping[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def write_operator(path: Path, operator: OperatorFile) -> None:
    write(path, json.dumps(operator.document(), indent=2).encode() + b"\n")


def write(path: Path, data: bytes, *, mode: int = 0o600, exclusive: bool = False) -> None:
    """A whole file or none, on disk when this returns. `exclusive` raises `FileExistsError` rather than replace."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            os.link(temporary, path)
        else:
            os.replace(temporary, path)
            temporary = ""
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
