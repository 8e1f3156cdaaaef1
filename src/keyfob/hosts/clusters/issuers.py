"""The OIDC issuers of clusters: their keys, sealed in the store, and the two documents that tell the public ones.

The token service verifies what they sign without asking anybody: it finds the keys here, in the same process.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from keyfob.clock import Clock
from keyfob.declare import Address
from keyfob.directory.fetcher import KeyFetcher
from keyfob.directory.keys import Key, make_key, parse_key
from keyfob.directory.model import SigningKey
from keyfob.directory.seal import Seal
from keyfob.errors import NotFound
from keyfob.store.port import Store
from keyfob.store.records import Records
from keyfob.wire.http import Reply, Request

_URL = re.compile(r"https://[^/]+/[^/]+/([0-9a-f-]{36})/")
_DISCOVERY = ".well-known/openid-configuration"
_KEYS = "openid/v1/jwks"
_MOST = 256


class Issuer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cluster's issuer. Its key is made when it is first needed."""

    id: str = ""
    url: str = ""
    """As tokens and federated credentials spell it, with the slash behind."""
    cluster: str = ""
    tenant_id: str = ""
    key: SigningKey | None = None


ISSUERS = Records("hosts.cluster_issuers", Issuer, index=lambda issuer: {"cluster": issuer.cluster.lower()})
"""Key: the GUID in the URL."""


class ClusterIssuers:
    """A `KeyFetcher` that knows the clusters of this store and asks `others` for every other issuer; and the plane
    that answers at the issuers' addresses."""

    def __init__(self, *, store: Store, seal: Seal, clock: Clock, others: KeyFetcher) -> None:
        self._store = store
        self._seal = seal
        self._clock = clock
        self._others = others
        self._parsed: dict[str, Key] = {}

    async def of(self, cluster: str) -> Issuer:
        """The issuer of a cluster, by resource id. Raises `NotFound` when it has none."""
        found = await ISSUERS.find(self._store, "cluster", cluster.lower())
        if not found:
            raise NotFound(
                f"The cluster '{cluster.rpartition('/')[2]}' has no OIDC issuer: set "
                "properties.oidcIssuerProfile.enabled to true (az aks update --enable-oidc-issuer)."
            )
        return found[0].value

    async def key(self, issuer_id: str) -> Key:
        """What the issuer signs with. Raises `NotFound` when it is gone."""
        row = await ISSUERS.get(self._store, issuer_id)
        if row is None:
            raise NotFound("There is no such issuer.")
        stored = row.value.key or await self._make(issuer_id)
        parsed = self._parsed.get(stored.kid)
        if parsed is None:
            if len(self._parsed) >= _MOST:
                self._parsed.clear()
            parsed = self._parsed[stored.kid] = parse_key(stored, self._seal)
        return parsed

    async def _make(self, issuer_id: str) -> SigningKey:
        made = await asyncio.to_thread(make_key, self._seal, self._clock.now())
        async with self._store.transaction() as tx:
            row = await ISSUERS.get(tx, issuer_id)
            if row is None:
                raise NotFound("There is no such issuer.")
            if row.value.key is not None:  # another request, or another node, was first
                return row.value.key
            await ISSUERS.put(tx, issuer_id, msgspec.structs.replace(row.value, key=made))
        return made

    # --- for the token service

    async def keys(self, issuer: str, kid: str) -> Sequence[Mapping[str, Any]]:
        found = _URL.fullmatch(issuer)
        row = await ISSUERS.get(self._store, found[1]) if found else None
        if row is None or row.value.url != issuer:
            return await self._others.keys(issuer, kid)
        return [_public(await self.key(row.key))]

    # --- for everybody

    async def __call__(self, request: Request, address: Address) -> Reply:
        if request.method not in {"GET", "HEAD"}:
            return Reply(405, headers=(("Allow", "GET, HEAD"),))
        parts = request.path.strip("/").split("/", 2)
        row = await ISSUERS.get(self._store, parts[1].lower()) if len(parts) == 3 else None
        if row is None or row.value.url != f"https://{request.host}/{parts[0].lower()}/{parts[1].lower()}/":
            return Reply(404)
        if parts[2] == _KEYS:
            return Reply.json({"keys": [_public(await self.key(row.key))]})
        return Reply.json(_discovery(row.value.url)) if parts[2] == _DISCOVERY else Reply(404)


def _discovery(url: str) -> Mapping[str, Any]:
    """As the API server of Kubernetes writes it."""
    return {
        "issuer": url,
        "jwks_uri": url + _KEYS,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


def _public(key: Key) -> Mapping[str, Any]:
    return {"use": "sig", "kty": "RSA", "kid": key.kid, "alg": "RS256", "n": key.jwk["n"], "e": key.jwk["e"]}
