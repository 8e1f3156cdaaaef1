"""The attested document: what this machine is, signed so that somebody else can check it.

PKCS #7 over a small JSON value, signed with a certificate whose name is `metadata.azure.com` (or its like in the other
clouds) under Keyfob's own authority: whoever trusts that authority can verify it, nobody else will.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate

from keyfob.errors import InvalidInput

LIFE = 6 * 3600
"""Seconds between `createdOn` and `expiresOn`."""
LONGEST_NONCE = 32


@dataclass(frozen=True, slots=True)
class SigningCertificate:
    """A certificate with its key, and what leads to the authority."""

    certificate: Certificate
    key: RSAPrivateKey | EllipticCurvePrivateKey = field(repr=False)
    chain: Sequence[Certificate] = ()


Signer = Callable[[str], SigningCertificate]
"""A subject alternative name (`*.metadata.azure.com`) → the certificate to sign with. Given by the application."""


def payload(resource: Any, *, nonce: str | None, now: float, version: str) -> dict[str, Any]:
    """What is signed. A nonce that is not given is the time, as the service does. Raises `InvalidInput`."""
    if nonce is None or nonce == "":
        nonce = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d-%H%M%S")
    elif len(nonce) > LONGEST_NONCE:
        raise InvalidInput(f"Bad request. nonce is longer than {LONGEST_NONCE} characters.")
    properties = resource.properties
    plan = resource.plan if isinstance(resource.plan, dict) else {}
    storage = properties.get("storageProfile")
    image = storage.get("imageReference") if isinstance(storage, dict) else None
    value: dict[str, Any] = {
        "licenseType": str(properties.get("licenseType") or ""),
        "nonce": nonce,
        "plan": {key: str(plan.get(key) or "") for key in ("name", "product", "publisher")},
        "sku": str(image.get("sku") or "") if isinstance(image, dict) else "",
        "subscriptionId": resource.id.split("/")[2],
        "timeStamp": {"createdOn": _stamp(now), "expiresOn": _stamp(now + LIFE)},
        "vmId": str(properties.get("vmId") or ""),
    }
    if version < "2020-09-01":
        del value["licenseType"]
    return value


def sign(value: dict[str, Any], signing: SigningCertificate) -> str:
    """The PKCS #7 signed data (DER) as base64, the value inside it."""
    # here, because the email package comes with it
    from cryptography.hazmat.primitives.serialization.pkcs7 import PKCS7Options, PKCS7SignatureBuilder

    builder = (
        PKCS7SignatureBuilder()
        .set_data(msgspec.json.encode(value))
        .add_signer(signing.certificate, signing.key, SHA256())
    )
    for certificate in signing.chain:
        builder = builder.add_certificate(certificate)
    return base64.b64encode(builder.sign(Encoding.DER, [PKCS7Options.Binary])).decode("ascii")


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%m/%d/%y %H:%M:%S -0000")
