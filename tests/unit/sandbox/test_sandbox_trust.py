"""HTTPS by real name, with an authority that only the sandbox trusts."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

pytestmark = pytest.mark.sandbox

NAME = "contoso.vault.azure.net"
URL = f"https://{NAME}/"
START = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)

JAVA = """
public class Fetch {
    public static void main(String[] a) throws Exception {
        System.out.print(new String(new java.net.URL(a[0]).openStream().readAllBytes()));
    }
}
"""


def certificate(subject: str, issuer: str, key, signer, extension: x509.ExtensionType) -> bytes:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder(
        issuer_name=name(issuer),
        subject_name=name(subject),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=START,
        not_valid_after=START + dt.timedelta(days=30),
    ).add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def pems() -> dict[str, bytes]:
    authority, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    names = x509.SubjectAlternativeName([x509.DNSName("*.vault.azure.net")])
    key = leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {
        "ca": certificate("Authority", "Authority", authority, authority, constraints),
        "other": certificate("Authority", "Authority", leaf, leaf, constraints),
        "leaf": certificate(NAME, "Authority", leaf, authority, names) + key,
    }


@pytest.fixture
def secure(place, pems):
    """A place whose server speaks TLS with our certificate."""
    place.write("ca.pem", pems["ca"])
    place.serve(str(place.write("leaf.pem", pems["leaf"])))
    return place


def test_curl_trusts_the_authority(secure):
    assert secure.run("curl", "-sS", URL).output == "secure"


def test_curl_without_variables_finds_the_authority_in_the_systems_bundle(secure):
    if not Path("/etc/ssl/certs/ca-certificates.crt").exists():
        pytest.skip("this system keeps its bundle elsewhere")
    command = ["curl", "-sS", "--cacert", "/etc/ssl/certs/ca-certificates.crt", URL]
    assert secure.run("env", "-i", *command).output == "secure"


def test_another_authority_of_the_same_name_is_not_trusted(secure, pems):
    secure.write("other.pem", pems["other"])
    fetched = secure.run("curl", "-sS", URL, ca=str(secure.folder / "other.pem"))
    assert (fetched.code in {35, 60}, fetched.output) == (
        True,
        "",
    )  # OpenSSL 3.0 calls the wrong signature an ASN.1 error


def test_without_the_authority_nothing_is_trusted(secure):
    secure.write("none.pem", b"# none\n")
    assert secure.run("curl", "-sS", URL, ca=str(secure.folder / "none.pem")).code == 60


def test_python_trusts_the_authority(secure):
    fetch = f"import urllib.request; print(urllib.request.urlopen({URL!r}).read().decode())"
    assert secure.run(secure.user.python, "-c", fetch).output == "secure\n"


def test_node_trusts_the_authority(secure):
    if shutil.which("node", path="/usr/local/bin:/usr/bin:/bin") is None:
        pytest.skip("no node in /usr")
    fetch = f"fetch('{URL}').then(r => r.text()).then(t => console.log(t))"
    assert secure.run("node", "-e", fetch).output == "secure\n"


def test_java_trusts_the_authority(secure):
    if shutil.which("java", path="/usr/local/bin:/usr/bin:/bin") is None:
        pytest.skip("no java in /usr")
    source = secure.write("Fetch.java", JAVA.encode())
    assert secure.run("java", str(source), URL).output == "secure"


def test_the_machines_own_bundle_is_untouched(secure, pems):
    for bundle in ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if not Path(bundle).exists():
            continue
        before = Path(bundle).read_bytes()
        inside = secure.start("cat", bundle).communicate(timeout=60)[0]
        assert inside == before + pems["ca"]
        assert Path(bundle).read_bytes() == before
