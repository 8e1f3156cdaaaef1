"""The private certificate authority and the certificates of the front door.

The authority is made once, at the first start, and kept: clients trust it by its certificate. Leaves are cheap and
are made again when they near their end or when the names change. All keys are ECDSA P-256: a handshake's signature
costs 25 µs where RSA's costs 300.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import stat
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = datetime.timedelta(days=3650)
LEAF_LIFE = datetime.timedelta(days=397)
"""Apple and browsers refuse longer ones, private authorities excepted only in part."""
RENEW_BEFORE = datetime.timedelta(days=30)
BACKDATED = datetime.timedelta(hours=1)
"""For clients (containers, virtual machines) whose clock is behind."""
NAMES_PER_LEAF = 100

_PEM = serialization.Encoding.PEM


class BadAuthority(Exception):
    """What lies where the authority should be is not one. It is never replaced by itself: clients trust the old."""


@dataclass(frozen=True, slots=True)
class Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def pem(self) -> bytes:
        """The certificate: what clients trust."""
        return self.certificate.public_bytes(_PEM)


@dataclass(frozen=True, slots=True)
class Leaf:
    names: tuple[str, ...]
    certificate: x509.Certificate
    path: Path
    """Certificate and key in one PEM file that only its owner may read."""


def open_authority(directory: Path, now: datetime.datetime, name: str = "Keyfob") -> Authority:
    """Reads `directory/authority.pem` (key and certificate), or makes it; the certificate alone is beside it as
    `ca.crt`, for others to read. Two processes that start together end up with the same one."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    path = directory / "authority.pem"
    if not path.exists():
        made = _make_authority(now, name)
        _write(path, _key_pem(made.key) + made.pem, mode=0o600, replace=False)
    authority = _read_authority(path)
    public = directory / "ca.crt"
    if not public.exists() or public.read_bytes() != authority.pem:
        _write(public, authority.pem, mode=0o644)
    return authority


def leaves(
    authority: Authority, directory: Path, names: Sequence[str], now: datetime.datetime
) -> tuple[tuple[Leaf, ...], bool]:
    """Certificates for all `names` (host names, wildcards `*.vault.azure.net`, IP addresses), at most 100 to each,
    and whether any was made anew. Kept in `directory/leaf-N.pem`."""
    found: list[Leaf] = []
    changed = False
    ordered = tuple(dict.fromkeys(name.lower().rstrip(".") for name in names))
    if not ordered:
        raise ValueError("a certificate needs at least one name")
    end = authority.certificate.not_valid_after_utc
    if now >= end:
        raise BadAuthority(f"the certificate authority ended on {end:%Y-%m-%d}; move its folder away to make a new one")
    for number, start in enumerate(range(0, len(ordered), NAMES_PER_LEAF)):
        chunk = ordered[start : start + NAMES_PER_LEAF]
        path = directory / f"leaf-{number}.pem"
        certificate = _read_leaf(path)
        if certificate is None or not _fits(certificate, authority, chunk, now):
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = issue(authority, key.public_key(), chunk, now)
            _write(path, _key_pem(key) + certificate.public_bytes(_PEM), mode=0o600)
            changed = True
        found.append(Leaf(chunk, certificate, path))
    return tuple(found), changed


def issue(
    authority: Authority, key: ec.EllipticCurvePublicKey, names: Sequence[str], now: datetime.datetime
) -> x509.Certificate:
    """A server certificate. With the extensions that OpenSSL's VERIFY_X509_STRICT (Python 3.13's default) asks for."""
    issuer = authority.certificate
    until = min(now + LEAF_LIFE, issuer.not_valid_after_utc)
    subject_key = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Keyfob front door")]))
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(max(now - BACKDATED, issuer.not_valid_before_utc))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def server_context(certificates: Sequence[Leaf]) -> ssl.SSLContext:
    """TLS 1.2 and later, HTTP/1.1 by ALPN. With several leaves the client's SNI chooses; unknown names get the
    first, so that the client can say what it misses."""
    contexts = [_context(leaf.path) for leaf in certificates]
    if len(contexts) > 1:
        by_name = {name: context for leaf, context in zip(certificates, contexts, strict=True) for name in leaf.names}

        def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            chosen = _by_sni(by_name, name)
            if chosen is not None:
                connection.context = chosen

        contexts[0].sni_callback = choose
    return contexts[0]


def bundle(ca_pem: bytes, system_bundle: bytes = b"") -> bytes:
    """One PEM file that trusts the authority and everything the machine trusted before: for `SSL_CERT_FILE`,
    `REQUESTS_CA_BUNDLE` and their like, which replace the machine's list."""
    head = system_bundle if not system_bundle or system_bundle.endswith(b"\n") else system_bundle + b"\n"
    return head + ca_pem


def java_truststore(authority: x509.Certificate, others: Sequence[x509.Certificate], password: str) -> bytes:
    """A PKCS #12 trust store (`-Djavax.net.ssl.trustStoreType=PKCS12`). Java wants a password of six characters."""
    from cryptography.hazmat.primitives.serialization import pkcs12

    entries = [pkcs12.PKCS12Certificate(authority, b"keyfob")]
    entries += [pkcs12.PKCS12Certificate(other, f"system-{i}".encode()) for i, other in enumerate(others)]
    protection = serialization.BestAvailableEncryption(password.encode())
    return pkcs12.serialize_java_truststore(entries, protection)


# --- making ---


def _make_authority(now: datetime.datetime, name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            # two authorities on one machine differ by name, so that a trust store never mixes them up
            x509.NameAttribute(NameOID.COMMON_NAME, f"{name} local authority {serial:x}"[:40]),
        ]
    )
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


# --- keeping ---


def _read_authority(path: Path) -> Authority:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)
    data = path.read_bytes()
    try:
        key = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
    except ValueError:
        raise BadAuthority(f"{path} is not a certificate authority; move it away to make a new one") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise BadAuthority(f"the key and the certificate in {path} do not belong together")
    return Authority(certificate, key)


def _read_leaf(path: Path) -> x509.Certificate | None:
    """None when there is none that can be used: a leaf is replaced without asking."""
    try:
        data = path.read_bytes()
        key = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
    except (OSError, ValueError):
        return None
    return certificate if key.public_key() == certificate.public_key() else None


def _fits(certificate: x509.Certificate, authority: Authority, names: Sequence[str], now: datetime.datetime) -> bool:
    try:
        certificate.verify_directly_issued_by(authority.certificate)
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # whatever is wrong with it, it is not ours
        return False
    if set(listed) != {_general_name(name) for name in names}:
        return False
    return certificate.not_valid_before_utc <= now and now + RENEW_BEFORE < certificate.not_valid_after_utc


def _write(path: Path, data: bytes, *, mode: int, replace: bool = True) -> None:
    """Whole or not at all, and on the disk when it returns. Without `replace`, who is first wins."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # 0600 from the start
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        if replace:
            os.replace(temporary, path)
        else:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    if os.name == "nt":  # a folder is no file there
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# --- serving ---


def _context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(path)
    return context


def _by_sni(by_name: Mapping[str, ssl.SSLContext], name: str | None) -> ssl.SSLContext | None:
    if name is None:
        return None
    low = name.lower()
    _, dot, parent = low.partition(".")
    return by_name.get(low) or (by_name.get(f"*.{parent}") if dot else None)
