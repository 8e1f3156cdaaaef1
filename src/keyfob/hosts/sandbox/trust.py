"""Where this machine keeps its certificate authorities, and a Java truststore written by hand."""

from __future__ import annotations

import glob
import os
import struct
from binascii import a2b_base64
from collections.abc import Iterable, Mapping, Sequence

SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # RHEL, Fedora
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",  # Alpine, Void
)
"""The list Go's crypto/x509 keeps (root_linux.go), in its order but for the real file behind RHEL's link."""

_JAVA = ("lib/security/cacerts", "jre/lib/security/cacerts")
_CERTIFI = (
    "lib/python3*/site-packages/certifi/cacert.pem",
    "lib/python3*/dist-packages/certifi/cacert.pem",
    "lib/python3/dist-packages/certifi/cacert.pem",
)


def system_bundles() -> list[str]:
    """Those that exist, as real paths, each once."""
    return _real(SYSTEM_BUNDLES)


def certifi_bundles(environ: Mapping[str, str], program: str) -> list[str]:
    """The certifi bundles of the Pythons `program` is likely to be or to start, found without running any.

    Some clients name certifi's file themselves and look at no variable (azure-eventhub's and azure-servicebus's AMQP).
    """
    path = environ.get("PATH", os.defpath)
    prefixes = [environ.get("VIRTUAL_ENV"), environ.get("CONDA_PREFIX"), ".venv", "/opt/az"]
    for name in (program, "python3", "python"):
        found = find_program(name, path)
        if found is None:
            continue
        folder = os.path.dirname(os.path.abspath(found))
        prefixes.append(os.path.dirname(folder))
        if os.path.basename(folder) == "shims":  # pyenv: the name on PATH is a script that chooses a version
            prefixes.extend(glob.glob(os.path.join(glob.escape(os.path.dirname(folder)), "versions", "*")))
    patterns = [
        os.path.join(glob.escape(prefix), tail) for prefix in dict.fromkeys(prefixes) if prefix for tail in _CERTIFI
    ]
    return _real(match for pattern in patterns for match in glob.glob(pattern))


def java_truststores(environ: Mapping[str, str]) -> list[str]:
    """The cacerts files of the Java installations on this machine."""
    homes = [environ[name] for name in ("JAVA_HOME", "JDK_HOME", "GRAALVM_HOME") if environ.get(name)]
    java = find_program("java", environ.get("PATH", os.defpath))
    if java is not None:
        homes.append(os.path.dirname(os.path.dirname(os.path.realpath(java))))
    homes.extend(glob.glob("/usr/lib/jvm/*"))
    files = [os.path.join(home, tail) for home in homes for tail in _JAVA]
    return _real(["/etc/ssl/certs/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts", *files])


def has_java(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("JAVA_HOME")) or find_program("java", environ.get("PATH", os.defpath)) is not None


def find_program(name: str, path: str) -> str | None:
    """As the shell does: a name with a slash is itself, another is looked for in the folders of `path`."""
    if os.path.dirname(name):
        return name if os.access(name, os.X_OK) else None
    for folder in path.split(os.pathsep):
        candidate = os.path.join(folder, name)
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    return None


def java_truststore(bundle: bytes) -> bytes:
    """A JKS keystore of the certificates in a PEM bundle, password `changeit` as in every JDK's cacerts.

    JKS rather than PKCS12, since Java opens cacerts without a password and then skips the encrypted certificates of
    a PKCS12 file. The layout is that of sun.security.provider.JavaKeyStore: magic, version, count; for each entry its
    tag, alias, time in ms, type and DER; at the end SHA-1 over the password in UTF-16, a fixed phrase and the rest.
    """
    try:
        from _sha1 import sha1  # type: ignore[import-not-found]  # hashlib takes 4 ms to load OpenSSL
    except ImportError:
        from hashlib import sha1

    certificates = list(dict.fromkeys(_der(bundle)))
    out = [struct.pack(">III", 0xFEEDFEED, 2, len(certificates))]
    for number, der in enumerate(certificates):
        out += [struct.pack(">I", 2), _utf(f"keyfob-{number}"), struct.pack(">Q", 0)]
        out += [_utf("X.509"), struct.pack(">I", len(der)), der]
    body = b"".join(out)
    salted = "changeit".encode("utf-16-be") + b"Mighty Aphrodite" + body
    return body + bytes(sha1(salted, usedforsecurity=False).digest())


def _der(bundle: bytes) -> Iterable[bytes]:
    for part in bundle.split(b"-----BEGIN CERTIFICATE-----")[1:]:
        yield a2b_base64(part.partition(b"-----END CERTIFICATE-----")[0])


def _utf(text: str) -> bytes:
    encoded = text.encode("ascii")
    return struct.pack(">H", len(encoded)) + encoded


def _real(paths: Sequence[str] | Iterable[str]) -> list[str]:
    return list(dict.fromkeys(os.path.realpath(path) for path in paths if os.path.isfile(path)))
