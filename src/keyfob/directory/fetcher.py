"""The keys of foreign issuers, for federated assertions.

Only issuers that a stored federated credential names are ever asked, so a request cannot make us fetch an address of
its choosing. https only (http for loopback issuers), no redirects, bounded in time and size, remembered a while.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from keyfob.clock import Clock
from keyfob.errors import Problem

_REMEMBER = 600.0
_AGAIN = 30.0
"""An unknown key id makes us ask the issuer again, at most this often."""
_ISSUERS = 256


class IssuerUnreachable(Problem):
    """The issuer's keys could not be had; the message says why."""

    status = 401
    code = "invalid_client"


class KeyFetcher(Protocol):
    async def keys(self, issuer: str, kid: str) -> Sequence[Mapping[str, Any]]:
        """The issuer's JSON Web Keys, asked for anew when `kid` is not among those remembered.

        Raises `IssuerUnreachable`.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    keys: tuple[Mapping[str, Any], ...]
    at: float


class HttpKeyFetcher:
    """`trusted` are PEM files with further certificate authorities: our own, for issuers on this machine."""

    def __init__(self, *, clock: Clock, trusted: Sequence[Path] = ()) -> None:
        self._clock = clock
        self._trusted = tuple(trusted)
        self._known: dict[str, _Known] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def keys(self, issuer: str, kid: str) -> Sequence[Mapping[str, Any]]:
        if len(self._asking) > _ISSUERS:
            self._asking.clear()
            self._known.clear()
        async with self._asking.setdefault(issuer, asyncio.Lock()):
            now = self._clock.now()
            known = self._known.get(issuer)
            if known is not None:
                fits = any(key.get("kid") == kid for key in known.keys)
                if now - known.at < (_REMEMBER if fits else _AGAIN):
                    return known.keys
            fetched = await asyncio.to_thread(self._fetch, issuer)
            self._known[issuer] = _Known(fetched, now)
            return fetched

    def _fetch(self, issuer: str) -> tuple[Mapping[str, Any], ...]:
        document = self._json(issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != issuer:
            raise IssuerUnreachable(f"its discovery document names the issuer '{document.get('issuer')}'")
        where = document.get("jwks_uri")
        if not isinstance(where, str):
            raise IssuerUnreachable("its discovery document has no jwks_uri")
        keys = self._json(where).get("keys")
        if not isinstance(keys, list):
            raise IssuerUnreachable("its key document has no keys")
        return tuple(key for key in keys if isinstance(key, dict))

    def _json(self, url: str) -> Mapping[str, Any]:
        from keyfob.directory.reading import read_json  # urllib takes 15 ms, and most servers have no foreign issuer

        require_safe(url)
        return read_json(url, trusted=self._trusted)


def require_safe(url: str) -> None:
    """https anywhere; http only to this machine. Raises `IssuerUnreachable`."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname and _is_loopback(parts.hostname):
        return
    raise IssuerUnreachable("issuers are reached by https (http only on loopback addresses)")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
