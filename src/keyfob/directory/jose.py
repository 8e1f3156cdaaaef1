"""Foreign signatures, by `joserfc`: imported when somebody shows one, for most servers never see any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

LONGEST = 32_768
"""Characters of a header or payload that are read."""


class BadKey(ValueError):
    """What should be a public RSA key is none."""


def signed(text: str, key: str | bytes | Mapping[str, str], algorithms: Sequence[str]) -> bool:
    """Whether a compact JWS is signed with a public RSA key (PEM, or a JSON Web Key) by one of the algorithms.

    Raises `BadKey`.
    """
    try:
        public = RSAKey.import_key(key if isinstance(key, str | bytes) else dict(key))
    except (JoseError, ValueError) as error:
        raise BadKey(str(error)) from error
    registry = _Registry(algorithms=list(algorithms), strict_check_header=False)
    try:
        jws.deserialize_compact(text, public, algorithms=list(algorithms), registry=registry)
    except (JoseError, ValueError):
        return False
    return True


class _Registry(jws.JWSRegistry):
    """Room for a certificate chain in the header (`x5c`), and no refusal of headers that we do not read."""

    max_header_length = LONGEST
    max_payload_length = LONGEST
