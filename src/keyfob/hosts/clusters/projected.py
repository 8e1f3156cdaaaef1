"""Projected service account tokens, as the kubelet puts them into pods."""

from __future__ import annotations

import re
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

import msgspec

from keyfob.clock import Ids
from keyfob.directory.keys import Key, b64url
from keyfob.errors import InvalidInput
from keyfob.hosts.clusters.issuers import Issuer

LIFE = 3600
"""Seconds: what the webhook of Azure Workload Identity asks for unless the pod says otherwise."""
RENEWED_AT = 0.8
"""Part of a token's life after which the kubelet writes a new one."""

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_ACCOUNT = re.compile(rf"({_LABEL})/((?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*)")


class ServiceAccount(NamedTuple):
    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> ServiceAccount:
        """`namespace/name`. Raises `InvalidInput`."""
        found = _ACCOUNT.fullmatch(text)
        if found is None:
            raise InvalidInput(
                "A program on a Kubernetes cluster runs as a service account: give --service-account NAMESPACE/NAME."
            )
        return cls(found[1], found[2])

    @property
    def subject(self) -> str:
        """As federated credentials name it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


def project(issuer: Issuer, key: Key, account: ServiceAccount, *, audience: str, now: float, ids: Ids) -> str:
    """A token that says: the cluster's issuer knows this service account."""
    issued = int(now)
    claims = {
        "aud": [audience],
        "exp": issued + LIFE,
        "iat": issued,
        "iss": issuer.url,
        "jti": ids.guid(),
        "kubernetes.io": {
            "namespace": account.namespace,
            "serviceaccount": {"name": account.name, "uid": str(uuid5(NAMESPACE_URL, issuer.url + account.subject))},
        },
        "nbf": issued,
        "sub": account.subject,
    }
    head = b64url(msgspec.json.encode({"alg": "RS256", "kid": key.kid}))
    signed = f"{head}.{b64url(msgspec.json.encode(claims))}"
    return f"{signed}.{b64url(key.sign(signed.encode()))}"
