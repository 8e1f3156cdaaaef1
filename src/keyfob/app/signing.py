"""Certificates for attested documents, under our own authority, made when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec

from keyfob.clock import Clock
from keyfob.hosts.virtual_machines import SigningCertificate
from keyfob.servers.tls import Authority, issue


def attested_signer(authority: Authority, clock: Clock) -> Callable[[str], SigningCertificate]:
    """Name → certificate and key. They live as long as the process; who verifies follows the chain to the authority."""
    made: dict[str, SigningCertificate] = {}

    def sign_with(name: str) -> SigningCertificate:
        if name not in made:
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = issue(authority, key.public_key(), [name], datetime.fromtimestamp(clock.now(), UTC))
            made[name] = SigningCertificate(certificate, key, (authority.certificate,))
        return made[name]

    return sign_with
