"""Who may call: access keys, of which this process knows digests only, since the app's own code shares its memory."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

ANONYMOUS, FUNCTION, ADMIN = "anonymous", "function", "admin"


def digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


@dataclass(frozen=True)
class Keys:
    """Digests (SHA-256, hex) of the keys. The master key opens everything, a host key every function. The platform's
    own key, which nobody is given, opens what the master key opens, and alone may change the keys."""

    platform: str = ""
    master: str = ""
    host: Sequence[str] = ()
    functions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name of the function, in lower case → its own keys."""

    @classmethod
    def read(cls, given: Any) -> Keys:
        """From the JSON object that the platform hands over; without one nothing but anonymous calls is let in."""
        given = given if isinstance(given, Mapping) else {}
        return cls(
            str(given.get("platform", "")),
            str(given.get("master", "")),
            list(given.get("host", ())),
            dict(given.get("functions", {})),
        )

    def admit(self, level: str, function: str, shown: str | None) -> bool:
        """Whether a call of `function`, whose trigger has this level, may go on with the key that was shown."""
        if level == ANONYMOUS:
            return True
        if not shown:
            return False
        accepted = [self.platform, self.master]
        if level == FUNCTION:
            accepted += [*self.host, *self.functions.get(function.lower(), ())]
        return _is_one_of(shown, accepted)

    def is_platform(self, shown: str | None) -> bool:
        return bool(shown) and _is_one_of(str(shown), [self.platform])


def _is_one_of(shown: str, accepted: Sequence[str]) -> bool:
    given = digest(shown)
    return any(hmac.compare_digest(given, one) for one in accepted if one)
