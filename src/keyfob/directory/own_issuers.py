"""Our own tenants as issuers: a managed identity's token as another application's federated credential.

Microsoft's page "Configure an application to trust a managed identity": the credential's issuer is
`https://login.microsoftonline.com/{tenant}/v2.0`, its subject the identity's object id, its audience
`api://AzureADTokenExchange`; the token itself carries that application's id in `aud`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from keyfob.clock import Clock
from keyfob.clouds.cloud import Cloud
from keyfob.directory.claims import v1_issuer, v2_issuer
from keyfob.directory.fetcher import KeyFetcher
from keyfob.directory.keys import KeyRing
from keyfob.directory.tenants import get_tenant
from keyfob.store.port import Store

_TENANT = re.compile(r"https://[^/]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:/|/v2\.0)")


def tenant_of(issuer: str, clouds: Mapping[str, Cloud]) -> str | None:
    """The tenant id in an issuer as tokens of our clouds spell it, v1 or v2; None for every other text."""
    found = _TENANT.fullmatch(issuer)
    if found is None:
        return None
    spellings = {v1_issuer(name, found[1]) for name in clouds}
    spellings |= {v2_issuer(cloud.login, found[1]) for cloud in clouds.values()}
    return found[1] if issuer in spellings else None


class OwnIssuers:
    """A `KeyFetcher`: the key ring for tenants of this store, `others` for every other issuer."""

    def __init__(
        self, *, store: Store, keys: KeyRing, clouds: Mapping[str, Cloud], clock: Clock, others: KeyFetcher
    ) -> None:
        self._store = store
        self._keys = keys
        self._clouds = clouds
        self._clock = clock
        self._others = others

    async def keys(self, issuer: str, kid: str) -> Sequence[Mapping[str, Any]]:
        tenant_id = tenant_of(issuer, self._clouds)
        if tenant_id is None or await get_tenant(self._store, tenant_id) is None:
            return await self._others.keys(issuer, kid)
        now = self._clock.now()
        if self._keys.find(kid, now) is None:
            await self._keys.settled()
        return self._keys.published(now)
