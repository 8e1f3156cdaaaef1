"""The keys document without leaving memory: every service that verifies tokens asks for it again and again.

What is answered is what the slow way would answer, made by the same function, and made again when the key ring or a
tenant changes, and each second, since retired keys leave the document when their last token is dead.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from keyfob.clock import Clock
from keyfob.clouds.cloud import Cloud
from keyfob.clouds.hostnames import resolve
from keyfob.directory import discovery
from keyfob.directory.cache import Directory
from keyfob.directory.exchange import ANY_TENANT
from keyfob.directory.keys import KeyRing
from keyfob.wire.http import Reply, parse_target
from keyfob.wire.http1 import write_reply

_LONGEST = 512
_REMEMBERED = 256
"""Documents at most: each tenant has a few spellings."""
_PATH = re.compile(r"/([^/]+)/discovery/(v2\.0/)?keys", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Ready:
    second: int
    version: tuple[int, int]
    answer: bytes


class HotKeys:
    def __init__(self, *, keys: KeyRing, directory: Directory, clouds: Mapping[str, Cloud], clock: Clock) -> None:
        self._keys = keys
        self._directory = directory
        self._clouds = clouds
        self._clock = clock
        self._ready: OrderedDict[tuple[bytes, bytes], _Ready] = OrderedDict()

    def __call__(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes | None:
        """A GET without body. The whole answer, without `Date`; None: take the slow way."""
        if b"/discovery/" not in target:
            return None
        host = b""
        for name, value in headers:
            if name == b"host":
                host = value
        second = int(self._clock.now())
        version = (self._keys.version, self._directory.tenant_changes)
        ready = self._ready.get((host, target))
        if ready is not None and ready.second == second and ready.version == version:
            return ready.answer
        answer = self._made(host, target, second)
        if answer is None:
            return None
        self._ready[host, target] = _Ready(second, version, answer)
        if len(self._ready) > _REMEMBERED:
            self._ready.popitem(last=False)
        return answer

    def _made(self, host: bytes, target: bytes, now: int) -> bytes | None:
        if len(target) > _LONGEST or not target.isascii() or b"#" in target or not host.isascii():
            return None
        name = host.decode("ascii").lower()
        found = resolve(name, self._clouds)  # names with a port go the slow way, which checks the port
        asked = _PATH.fullmatch(parse_target(target.decode("ascii"))[0])
        if found is None or asked is None or name not in found[0].login_hosts:
            return None
        cloud, tenant_id = found[0], None
        if asked[1].lower() not in ANY_TENANT:
            tenant = self._directory.tenant_now(asked[1])
            if tenant is None or tenant.cloud != cloud.name:
                return None
            tenant_id = tenant.id
        document = discovery.signing_keys(
            self._keys.published(now),
            cloud=cloud,
            version=2 if asked[2] else 1,
            login=f"https://{name}",
            tenant_id=tenant_id,
        )
        return write_reply(Reply.json(document, headers=discovery.ANYBODY))
