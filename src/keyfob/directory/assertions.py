"""Signed statements that clients prove themselves with: their own certificate's, or a trusted issuer's.

Foreign input, so `joserfc` does the work, with the algorithms fixed here. A statement may be used more than once within
its time: replays are not refused (nor does Azure refuse them).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfob.directory.aadsts import Refused, moment
from keyfob.directory.fetcher import IssuerUnreachable, KeyFetcher
from keyfob.directory.model import ClientCertificate, FederatedCredential

LONGEST = 32_768
CERTIFICATE_ALGORITHMS = ("RS256", "PS256")
FEDERATED_ALGORITHMS = ("RS256",)
"""Microsoft's page on federated identity considerations: only RS256."""
SKEW = 300.0
LONGEST_LIFE = 86_400.0
_LARGEST_KEY = 8_192


@dataclass(frozen=True, slots=True)
class Statement:
    """A compact JWT taken apart, not verified."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    def claim(self, name: str) -> str:
        value = self.claims.get(name)
        return value if isinstance(value, str) else ""

    @property
    def audiences(self) -> tuple[str, ...]:
        found = self.claims.get("aud")
        values = found if isinstance(found, list) else [found]
        return tuple(value for value in values if isinstance(value, str))


def take_apart(text: str) -> Statement:
    """Raises `Refused` 50027."""
    parts = text.split(".")
    if len(parts) != 3 or len(text) > LONGEST or not text.isascii():
        raise Refused(50027)
    try:
        header, claims = (msgspec.json.decode(_unbase64(part)) for part in parts[:2])
    except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
        raise Refused(50027) from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise Refused(50027)
    return Statement(text, header, claims)


def check_times(statement: Statement, now: float) -> None:
    """`exp` must be there, ahead and not further than a day; `nbf`, if there, behind. Raises `Refused` 700024."""
    ends, begins = _time(statement.claims.get("exp")), _time(statement.claims.get("nbf", 0))
    if ends is None or begins is None:
        raise Refused(50027)
    if not now - SKEW < ends <= now + LONGEST_LIFE or begins > now + SKEW:
        raise Refused(700024, now=moment(now), begins=moment(begins), ends=moment(ends))


def verify_with_certificate(
    statement: Statement, certificates: Sequence[ClientCertificate], *, audiences: Collection[str], now: float
) -> None:
    """A client's own statement (`iss` == `sub` == client id, checked by the caller). Raises `Refused`."""
    certificate = _named(statement, certificates)
    if now >= certificate.ends or now < certificate.starts:
        times = (certificate.starts, certificate.ends)
        begins, ends = (f"{datetime.fromtimestamp(t, UTC):%m/%d/%Y %H:%M:%S}" for t in times)
        raise Refused(
            700027,
            what="Client assertion contains an invalid signature.",
            reason=f"The key used is expired., Thumbprint of key used by client: '{_hex(certificate.x5t)}', "
            f"Found key 'Start={begins}, End={ends}'",
        )
    public = x509.load_der_x509_certificate(certificate.der).public_key()
    if not isinstance(public, RSAPublicKey):
        raise Refused(700027, what=_FAILED, reason="The key is not an RSA key.")
    key = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not _signed(statement, key, CERTIFICATE_ALGORITHMS):
        raise Refused(
            700027,
            what=_FAILED,
            reason="The key was found, but use of the key to verify the signature failed., Thumbprint of key used by "
            f"client: '{_hex(certificate.x5t)}'",
        )
    check_times(statement, now)
    if not set(statement.audiences) & set(audiences):
        raise Refused(700023)


async def verify_federated(
    statement: Statement,
    credentials: Sequence[FederatedCredential],
    *,
    fetcher: KeyFetcher,
    now: float,
    also: Collection[str] = (),
) -> FederatedCredential:
    """A trusted issuer's statement. Issuer, subject and audience compare exactly, case included. Raises `Refused`.

    `also`: names of the audience that the statement writes as an application id.
    """
    credential = _matching(statement, credentials, also)
    kid = statement.header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise Refused(5002723)
    try:
        keys = await fetcher.keys(credential.issuer, kid)
    except IssuerUnreachable as error:
        raise Refused(500031, issuer=credential.issuer, reason=error.message) from error
    jwk = next((key for key in keys if key.get("kid") == kid and key.get("kty") == "RSA"), None)
    if jwk is None or len(str(jwk.get("n", ""))) > _LARGEST_KEY:
        raise Refused(700027, what=_FAILED, reason="The key was not found.")
    key = {"kty": "RSA", "n": str(jwk.get("n")), "e": str(jwk.get("e"))}
    if not _signed(statement, key, FEDERATED_ALGORITHMS):
        raise Refused(
            700027, what=_FAILED, reason="The key was found, but use of the key to verify the signature failed."
        )
    check_times(statement, now)
    return credential


_FAILED = "Client assertion failed signature validation."


def _matching(
    statement: Statement, credentials: Sequence[FederatedCredential], also: Collection[str]
) -> FederatedCredential:
    issuer, subject, audiences = statement.claim("iss"), statement.claim("sub"), statement.audiences
    if not credentials:
        raise Refused(70021, issuer=issuer, subject=subject, audience=" ".join(audiences))
    of_issuer = [known for known in credentials if known.issuer == issuer]
    if not of_issuer:
        raise Refused(700211, issuer=issuer)
    of_subject = [known for known in of_issuer if known.subject == subject]
    if not of_subject:
        raise Refused(700213, subject=subject)
    for known in of_subject:
        if set(known.audiences) & {*audiences, *also}:
            return known
    raise Refused(700212, audience=" ".join(audiences))


def _named(statement: Statement, certificates: Sequence[ClientCertificate]) -> ClientCertificate:
    """The registered certificate that the header names: by SHA-256 or SHA-1 thumbprint, `kid`, or as `x5c`.

    MSAL for Python pads its thumbprints, others do not.
    """
    header = statement.header
    named = (header.get(name) for name in ("x5t#S256", "x5t", "kid"))
    marks = {value.rstrip("=") for value in named if isinstance(value, str) and value.rstrip("=")}
    chain = header.get("x5c")
    chain = [chain] if isinstance(chain, str) else chain
    sent = chain[0] if isinstance(chain, list) and chain and isinstance(chain[0], str) else None
    if not marks and sent is None:
        raise Refused(5002723)
    for known in certificates:
        spellings = {known.x5t, known.x5t_s256, _hex(known.x5t), _hex(known.x5t).lower()}
        if marks & spellings or (sent is not None and _same_certificate(sent, known.der)):
            return known
    shown = next((_hex(mark) for name in ("x5t", "kid") if isinstance(mark := header.get(name), str)), "")
    raise Refused(
        700027,
        what="The certificate with identifier used to sign the client assertion is not registered on application.",
        reason=f"The key was not found., Thumbprint of key used by client: '{shown}'",
    )


def _same_certificate(sent: str, der: bytes) -> bool:
    try:
        return base64.b64decode(sent, validate=True) == der
    except (binascii.Error, ValueError):
        return False


def _signed(statement: Statement, key: bytes | Mapping[str, str], algorithms: Sequence[str]) -> bool:
    """Raises `Refused` when the key cannot be read."""
    if statement.header.get("alg") not in algorithms or "crit" in statement.header:
        return False
    from keyfob.directory.jose import BadKey, signed  # 20 ms and 4 MB that most servers never need

    try:
        return signed(statement.text, key, algorithms)
    except BadKey as error:
        raise Refused(700027, what=_FAILED, reason="The issuer's key cannot be read.") from error


def _hex(thumbprint: str) -> str:
    try:
        return _unbase64(thumbprint).hex().upper()
    except (binascii.Error, ValueError):
        return thumbprint


def _time(value: object) -> float | None:
    """Epoch seconds; MSAL for Python writes floats."""
    if isinstance(value, int | float) and not isinstance(value, bool) and -1e12 < value < 1e12:
        return float(value)
    return None


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
