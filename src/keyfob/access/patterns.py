"""Action patterns of role definitions: `*` stands for any run of characters, slashes included; case never matters.

`/*/` stands for a single slash too: Managed Identity Operator has `…/userAssignedIdentities/*/assign/action`, and it
is what lets its holder do `…/userAssignedIdentities/assign/action` (the action that Resource Manager's
LinkedAuthorizationFailed names).

Pure. Patterns are cut up once and matched without regular expressions, so that a hostile custom role cannot make
matching slow: the pieces between stars are found greedily from the left, in time linear in the action's length.
"""

from __future__ import annotations

from collections.abc import Iterable


def matches(pattern: str, action: str) -> bool:
    """Whether one pattern covers one action: `Microsoft.Authorization/*/Write` covers `…/roleAssignments/write`."""
    return Patterns((pattern,)).cover(action.lower())


class Patterns:
    """A set of patterns, prepared for the one question whether any of them covers an action."""

    __slots__ = ("_everything", "_exact", "_heads", "_others", "_tails")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact: set[str] = set()
        heads: set[str] = set()
        tails: set[str] = set()
        others: set[tuple[str, ...]] = set()
        self._everything = False
        for pattern in patterns:
            head, *rest = pattern.lower().split("*")
            pieces = (head, *(piece for piece in rest[:-1] if piece), rest[-1]) if rest else (head,)
            match pieces:
                case (whole,):
                    exact.add(whole)
                case _ if not any(pieces):
                    self._everything = True
                case (head, ""):
                    heads.add(head)
                case ("", tail):
                    tails.add(tail)
                case _:
                    others.add(pieces)
        self._exact = frozenset(exact)
        self._heads = tuple(sorted(heads))
        self._tails = tuple(sorted(tails))
        self._others = tuple(sorted(others))

    def cover(self, action: str) -> bool:
        """`action` must be in lower case already: callers ask many sets about one action."""
        return (
            self._everything
            or action in self._exact
            or action.startswith(self._heads)
            or action.endswith(self._tails)
            or any(_pieces_match(pieces, action) for pieces in self._others)
        )

    def __bool__(self) -> bool:
        return bool(self._everything or self._exact or self._heads or self._tails or self._others)


def _pieces_match(pieces: tuple[str, ...], action: str) -> bool:
    """At least one star: the first piece begins the action, the last ends it, the rest follow in order between.

    Two pieces may share the slash between which a star stands.
    """
    head, *middle, tail = pieces
    if not action.startswith(head):
        return False
    at, before = len(head), head
    for piece in middle:
        found = action.find(piece, at - _shared(before, piece))
        if found < 0:
            return False
        at, before = found + len(piece), piece
    return action.endswith(tail) and len(action) - len(tail) >= at - _shared(before, tail)


def _shared(before: str, after: str) -> bool:
    return before.endswith("/") and after.startswith("/")
