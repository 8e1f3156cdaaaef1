"""The private authority, its leaves, and clients that check them."""

from __future__ import annotations

import datetime
import http.client
import os
import shutil
import socket
import ssl
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from keyfob.servers.http import Limits
from keyfob.servers.tls import (
    Authority,
    BadAuthority,
    bundle,
    issue,
    java_truststore,
    leaves,
    open_authority,
    server_context,
)
from keyfob.wire.http import Reply, Request

NOW = datetime.datetime(2018, 11, 28, 10, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


# --- the authority ---


def test_the_authority_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "ca"
    first = open_authority(folder, NOW)
    assert stat.S_IMODE((folder / "authority.pem").stat().st_mode) == 0o600
    assert (folder / "ca.crt").read_bytes() == first.pem
    assert b"PRIVATE" not in (folder / "ca.crt").read_bytes()
    again = open_authority(folder, NOW + 300 * DAY)
    assert again.certificate == first.certificate
    assert sorted(path.name for path in folder.iterdir()) == ["authority.pem", "ca.crt"]


def test_the_key_is_not_in_a_repr(tmp_path: Path) -> None:
    assert "key=" not in repr(open_authority(tmp_path, NOW))


def test_a_key_that_others_could_read_is_closed_again(tmp_path: Path) -> None:
    open_authority(tmp_path, NOW)
    (tmp_path / "authority.pem").chmod(0o644)
    open_authority(tmp_path, NOW)
    assert stat.S_IMODE((tmp_path / "authority.pem").stat().st_mode) == 0o600


def test_a_lost_public_copy_comes_back(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, NOW)
    (tmp_path / "ca.crt").write_bytes(b"something else")
    open_authority(tmp_path, NOW)
    assert (tmp_path / "ca.crt").read_bytes() == authority.pem


def test_who_is_first_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes that both saw no authority."""
    first = open_authority(tmp_path, NOW)
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path.name != "authority.pem" and real(path))
    assert open_authority(tmp_path, NOW).certificate == first.certificate
    assert sorted(path.name for path in tmp_path.iterdir()) == ["authority.pem", "ca.crt"]


@pytest.mark.parametrize(
    "content", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_broken_authority_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "authority.pem").write_bytes(content)
    with pytest.raises(BadAuthority, match="move it away"):
        open_authority(tmp_path, NOW)
    assert (tmp_path / "authority.pem").read_bytes() == content


def test_a_key_of_another_authority_is_noticed(tmp_path: Path) -> None:
    open_authority(tmp_path / "a", NOW)
    open_authority(tmp_path / "b", NOW)
    key, mark, _ = (tmp_path / "a" / "authority.pem").read_bytes().partition(b"-----BEGIN CERTIFICATE")
    certificate = (tmp_path / "b" / "authority.pem").read_bytes().partition(b"-----BEGIN CERTIFICATE")[2]
    (tmp_path / "a" / "authority.pem").write_bytes(key + mark + certificate)
    with pytest.raises(BadAuthority, match="do not belong together"):
        open_authority(tmp_path / "a", NOW)


def test_the_authoritys_certificate(tmp_path: Path) -> None:
    certificate = open_authority(tmp_path, NOW).certificate
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.digital_signature) == (True, False)
    assert certificate.not_valid_after_utc == NOW + 3650 * DAY
    certificate.verify_directly_issued_by(certificate)


# --- leaves ---


def test_a_leafs_certificate(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, NOW)
    (leaf,), changed = leaves(
        authority, tmp_path, ["Login.Microsoftonline.COM.", "*.vault.azure.net", "127.0.0.1"], NOW
    )
    assert changed
    assert stat.S_IMODE(leaf.path.stat().st_mode) == 0o600
    certificate = leaf.certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["login.microsoftonline.com", "*.vault.azure.net"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    subject = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    assert issuer == subject
    assert certificate.not_valid_after_utc - NOW == 397 * DAY
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    certificate.verify_directly_issued_by(authority.certificate)


def test_a_leaf_is_kept_until_it_nears_its_end_and_the_authority_stays(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, NOW)
    (first,), _ = leaves(authority, tmp_path, ["localhost"], NOW)
    (same,), changed = leaves(authority, tmp_path, ["localhost"], NOW + 366 * DAY)
    assert not changed
    assert same.certificate == first.certificate
    (renewed,), changed = leaves(open_authority(tmp_path, NOW), tmp_path, ["localhost"], NOW + 368 * DAY)
    assert changed
    assert renewed.certificate.serial_number != first.certificate.serial_number
    assert renewed.certificate.issuer == first.certificate.issuer
    renewed.certificate.verify_directly_issued_by(authority.certificate)


def test_a_leaf_is_renewed_when_names_change_or_it_is_not_ours(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, NOW)
    leaves(authority, tmp_path, ["a", "b"], NOW)
    assert not leaves(authority, tmp_path, ["b", "a", "a"], NOW)[1]
    assert leaves(authority, tmp_path, ["a", "b", "c"], NOW)[1]
    other = open_authority(tmp_path / "other", NOW)
    assert leaves(other, tmp_path, ["a", "b", "c"], NOW)[1]
    (tmp_path / "leaf-0.pem").write_bytes(b"noise")
    assert leaves(other, tmp_path, ["a", "b", "c"], NOW)[1]


def test_a_leaf_does_not_outlive_its_authority(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, NOW)
    (leaf,), _ = leaves(authority, tmp_path, ["localhost"], NOW + 3500 * DAY)
    assert leaf.certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc


def test_an_authority_at_its_end_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadAuthority, match="ended"):
        leaves(open_authority(tmp_path, NOW), tmp_path, ["localhost"], NOW + 3651 * DAY)


def test_no_names_no_certificate(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one name"):
        leaves(open_authority(tmp_path, NOW), tmp_path, [], NOW)


# --- what clients say ---


def refused(edge: Any, listening: Any, context: ssl.SSLContext, name: str) -> str:
    with pytest.raises(ssl.SSLError) as caught:
        edge.peer(listening, context, name)
    return str(caught.value)


def test_names_and_wildcards_are_accepted_and_others_refused(
    edge: Any, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    listening = edge.listen(tls=server_tls)
    for name in ("localhost", "acct.vault.azure.net", "127.0.0.1"):
        peer = edge.peer(listening, client_tls, name)
        assert peer.sock.selected_alpn_protocol() == "http/1.1"
        assert peer.sock.version() == "TLSv1.3"
        assert b'"scheme":"https"' in peer.send(GET).reply()[2]
    for name in ("vault.azure.net", "a.b.vault.azure.net", "acct.vault.azure.com", "127.0.0.2"):
        assert "CERTIFICATE_VERIFY_FAILED" in refused(edge, listening, client_tls, name)


def test_an_authority_with_the_same_name_is_not_trusted(edge: Any, server_tls: ssl.SSLContext, tmp_path: Path) -> None:
    stranger = ssl.create_default_context(cadata=open_authority(tmp_path, NOW).pem.decode())
    assert "CERTIFICATE_VERIFY_FAILED" in refused(edge, edge.listen(tls=server_tls), stranger, "localhost")


def test_a_renewed_leaf_is_trusted_through_the_same_authority(edge: Any, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = open_authority(tmp_path, now - 380 * DAY)
    client = ssl.create_default_context(cadata=authority.pem.decode())
    old, _ = leaves(authority, tmp_path, ["localhost"], now - 380 * DAY)
    before = edge.peer(edge.listen(tls=server_context(old)), client, "localhost").sock.getpeercert()
    new, changed = leaves(authority, tmp_path, ["localhost"], now)
    assert changed
    after = edge.peer(edge.listen(tls=server_context(new)), client, "localhost").sock.getpeercert()
    assert before["serialNumber"] != after["serialNumber"]


def test_an_expired_leaf_is_refused(edge: Any, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = open_authority(tmp_path, now - 500 * DAY)
    old, _ = leaves(authority, tmp_path, ["localhost"], now - 400 * DAY)
    client = ssl.create_default_context(cadata=authority.pem.decode())
    assert "expired" in refused(edge, edge.listen(tls=server_context(old)), client, "localhost")


def test_many_names_are_spread_over_leaves_chosen_by_sni(edge: Any, tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = open_authority(tmp_path, now)
    names = [f"host{i}.example" for i in range(150)] + ["*.vault.azure.cn"]
    found, _ = leaves(authority, tmp_path, names, now)
    assert [len(leaf.names) for leaf in found] == [100, 51]
    client = ssl.create_default_context(cadata=authority.pem.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    listening = edge.listen(tls=server_context(found))
    for name in ("host0.example", "HOST149.example", "a.vault.azure.cn"):
        assert edge.peer(listening, client, name).send(GET).reply()[0] == 200
    assert "CERTIFICATE_VERIFY_FAILED" in refused(edge, listening, client, "host150.example")


def test_old_versions_are_refused_and_12_is_not(
    edge: Any, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    listening = edge.listen(tls=server_tls)
    client_tls.maximum_version = ssl.TLSVersion.TLSv1_2
    peer = edge.peer(listening, client_tls, "localhost")
    assert peer.sock.version() == "TLSv1.2"
    assert peer.send(GET).reply()[0] == 200
    assert server_tls.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_large_body_through_tls_and_back(edge: Any, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def handler(request: Request) -> Reply:
        return Reply(200, request.body)

    host, port = edge.listen(handler, tls=server_tls).address
    client = http.client.HTTPSConnection(host, port, timeout=10, context=client_tls)
    blob = os.urandom(1 << 20) * 8
    for _ in range(2):
        client.request("PUT", "/", body=blob)
        assert client.getresponse().read() == blob
    client.close()


def test_a_client_that_never_shakes_hands_is_dropped(edge: Any, server_tls: ssl.SSLContext) -> None:
    listening = edge.listen(tls=server_tls, limits=Limits(handshake=0.05))
    silent = socket.create_connection(listening.address, timeout=10)
    assert silent.recv(1) == b""
    silent.close()


def test_plain_http_to_the_tls_port_ends(edge: Any, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    listening = edge.listen(tls=server_tls)
    assert b"HTTP" not in (edge.peer(listening).send(GET).sock.recv(1 << 16) or b"")
    assert edge.peer(listening, client_tls, "localhost").send(GET).reply()[0] == 200


# --- trust elsewhere ---


def test_a_bundle_trusts_both(tmp_path: Path) -> None:
    ours = open_authority(tmp_path / "a", NOW).pem
    theirs = open_authority(tmp_path / "b", NOW).pem
    combined = bundle(ours, theirs.rstrip(b"\n"))
    context = ssl.create_default_context(cadata=combined.decode())
    assert len(context.get_ca_certs()) == 2
    assert bundle(ours) == ours


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_openssl_verifies_strictly(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = open_authority(tmp_path, now)
    (leaf,), _ = leaves(authority, tmp_path, ["localhost", "*.vault.azure.net"], now)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", str(tmp_path / "ca.crt")]
    good = subprocess.run(
        [*command, "-verify_hostname", "a.vault.azure.net", str(leaf.path)], capture_output=True, check=False
    )
    bad = subprocess.run(
        [*command, "-verify_hostname", "vault.azure.net", str(leaf.path)], capture_output=True, check=False
    )
    assert good.returncode == 0, good.stderr
    assert bad.returncode != 0


@pytest.mark.skipif(shutil.which("keytool") is None, reason="no keytool on this machine")
def test_java_reads_the_trust_store(tmp_path: Path) -> None:
    authority = open_authority(tmp_path, NOW)
    other = open_authority(tmp_path / "other", NOW)
    store = tmp_path / "trust.p12"
    store.write_bytes(java_truststore(authority.certificate, [other.certificate], "changeit"))
    command = ["keytool", "-list", "-keystore", str(store), "-storetype", "PKCS12", "-storepass", "changeit"]
    listed = subprocess.run(command, capture_output=True, check=False, text=True).stdout
    assert listed.count("trustedCertEntry") == 2
    wrong = subprocess.run([*command[:-1], "otherwise"], capture_output=True, check=False, text=True)
    assert wrong.returncode != 0


def test_every_certificate_has_a_number_of_its_own(ca: tuple[Authority, Path]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    one = issue(ca[0], key.public_key(), ["a"], now)
    two = issue(ca[0], key.public_key(), ["a"], now)
    assert one.serial_number != two.serial_number


CLIENTS = {
    "curl": ("curl", "-sS", "--max-time", "10", "--cacert", "{ca}", "https://localhost:{port}/from-client"),
    "node": (
        "node",
        "-e",
        "require('https').get({host:'localhost',port:+process.argv[2],path:'/from-client',"
        "ca:require('fs').readFileSync(process.argv[1])},r=>r.pipe(process.stdout))"
        ".on('error',e=>{console.error(e.code);process.exit(1)})",
        "{ca}",
        "{port}",
    ),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_other_peoples_clients(
    edge: Any, client: str, ca: tuple[Authority, Path], server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    if shutil.which(client) is None:
        pytest.skip(f"no {client} on this machine")
    port = edge.listen(tls=server_tls).address[1]
    open_authority(tmp_path, datetime.datetime.now(datetime.UTC))

    def run(trusted: Path) -> subprocess.CompletedProcess[str]:
        command = [part.replace("{ca}", str(trusted)).replace("{port}", str(port)) for part in CLIENTS[client]]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert '"path":"/from-client"' in run(ca[1] / "ca.crt").stdout
    assert run(tmp_path / "ca.crt").returncode != 0
