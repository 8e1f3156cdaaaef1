"""One JSON document of a foreign issuer, read over the network in a worker thread."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from keyfob.directory.fetcher import IssuerUnreachable

_SECONDS = 5.0
_LARGEST = 256 * 1024


def read_json(url: str, *, trusted: Sequence[Path] = ()) -> Mapping[str, Any]:
    """The object at a URL that the caller has checked: no proxies, no redirects, bounded in time and size.

    `trusted` are PEM files beside the machine's own authorities. Raises `IssuerUnreachable`.
    """
    context = ssl.create_default_context()
    for file in trusted:
        context.load_verify_locations(file)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirects()
    )
    asked = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked by the caller
    try:
        with opener.open(asked, timeout=_SECONDS) as answer:
            data = answer.read(_LARGEST + 1)
    except urllib.error.HTTPError as error:  # a redirect too
        error.close()
        raise IssuerUnreachable(f"{urlsplit(url).netloc}: it answered {error.code}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise IssuerUnreachable(f"{urlsplit(url).netloc}: {reason}") from error
    if len(data) > _LARGEST:
        raise IssuerUnreachable(f"{urlsplit(url).netloc}: the answer is too large")
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise IssuerUnreachable(f"{urlsplit(url).netloc}: the answer is not JSON") from error
    if not isinstance(value, dict):
        raise IssuerUnreachable(f"{urlsplit(url).netloc}: the answer is not a JSON object")
    return value


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_more: Any) -> None:
        return None
