"""Where a browser may be sent back to. Plain functions of values."""

from __future__ import annotations

import html
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit, urlunsplit

from keyfob.directory.model import Application
from keyfob.errors import InvalidInput

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
_NEVER = frozenset({"javascript", "data", "vbscript", "file", "blob", "about"})
_LONGEST = 2_048


def check_redirect_uri(uri: str) -> None:
    """At registration: absolute, no fragment, no scheme that runs code. Raises `InvalidInput`."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        parts = urlsplit("")
    if not parts.scheme or parts.scheme in _NEVER or "#" in uri or not _plain(uri):
        raise InvalidInput(f"'{uri[:200]}' is not a redirect URI.", target="redirectUris")


def is_registered(application: Application, uri: str) -> bool:
    """Exactly as registered; for loopback addresses of public clients the port is free (RFC 8252 §7.3)."""
    if uri in application.redirect_uris:
        return True
    if not application.public_client or not _plain(uri):
        return False
    wanted = _without_port(uri)
    return wanted is not None and any(wanted == _without_port(known) for known in application.redirect_uris)


def with_parameters(uri: str, parameters: Mapping[str, str], *, fragment: bool) -> str:
    if fragment:
        return f"{uri}#{urlencode(parameters)}"
    parts = urlsplit(uri)
    query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def hidden_fields(parameters: Mapping[str, str]) -> str:
    return "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in parameters.items()
    )


def _without_port(uri: str) -> tuple[str, str, str, str] | None:
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme != "http" or host not in LOOPBACK or "@" in parts.netloc or parts.fragment:
        return None
    return parts.scheme, host or "", parts.path or "/", parts.query


def _plain(uri: str) -> bool:
    return uri.isascii() and uri.isprintable() and " " not in uri and "\\" not in uri and len(uri) <= _LONGEST
