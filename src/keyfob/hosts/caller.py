"""Which host is asking? The listener a connection was accepted on tells; never what the request says.

Each host has listeners of its own: those inside a sandbox, and a loopback port for `keyfob env`. Where a dialect has a
secret it is asked for as well, as on Azure, and there it guards against what else runs on the machine. It is made for
one opening of one host and kept in memory only, so a new start of the server makes a new one.
"""

from __future__ import annotations

import hmac

from keyfob.clock import Ids
from keyfob.errors import Fault, Unauthenticated


class Secret:
    """What a host's programs show. Compared in constant time, printed as ***."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if not text:
            raise ValueError("an empty secret guards nothing")
        self._text = text

    @classmethod
    def new(cls, ids: Ids) -> Secret:
        """Letters and digits: App Service's are 32 upper-case ones, and no client minds others."""
        return cls(ids.token(24))

    def reveal(self) -> str:
        """The text, for the variables of the host's own programs."""
        return self._text

    def check(self, shown: str | None) -> None:
        """Raises `Unauthenticated`: `MISSING` when nothing was shown, `SIGNATURE` when it is not this secret."""
        if not shown:
            raise Unauthenticated(Fault.MISSING, "The request carries no host secret.")
        if not hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), self._text.encode()):
            raise Unauthenticated(Fault.SIGNATURE, "The host secret is not known.")

    def __repr__(self) -> str:
        return "Secret(***)"
