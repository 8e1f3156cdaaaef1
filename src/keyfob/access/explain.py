"""What to say about a refusal: what was looked at, which roles would have allowed it, and the command that gives one.

Pure: a value from values. The narrowest role comes first: the one whose patterns reach least far. Roles that are made
for something else (`CosmosDB Fleet Analytics Storage Data Writer`, for a blob) come after those that are not, though
they may be narrower: their names begin with no word of the action's own type.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from keyfob.access.log import Entry
from keyfob.access.roles import Grants, RoleDefinition
from keyfob.resource_id import ResourceId

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_GENERAL = frozenset({"Owner", "Contributor", "Reader"})


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A role that would allow it. `breadth` ranks: an operation named in full counts 1, a wildcard many."""

    id: str
    name: str
    description: str
    breadth: int


@dataclass(frozen=True, slots=True)
class Explanation:
    entry: Entry
    roles: tuple[Suggestion, ...] = ()
    """Empty when no role would help: a deny assignment, an access policy, or a principal that is gone."""
    scope: str = ""
    """Where to assign it: the narrowest place that makes sense."""
    remedy: str = ""
    """The command, or ""."""


def explain(entry: Entry, roles: Iterable[RoleDefinition], *, most: int = 5) -> Explanation:
    """`roles`: all there are to choose from."""
    if entry.allowed or not entry.curable:
        return Explanation(entry)
    found = suggestions(entry.action, entry.data, roles)[:most]
    scope = str(remedy_scope(ResourceId.parse(entry.scope), entry.action, entry.data))
    if not found:
        return Explanation(entry, scope=scope)
    command = ["az role assignment create", f"--assignee-object-id {entry.principal_id}"]
    if entry.principal_type:
        command.append(f"--assignee-principal-type {entry.principal_type}")
    command += [f'--role "{found[0].name}"', f"--scope {shlex.quote(scope)}"]
    return Explanation(entry, found, scope, " ".join(command))


def suggestions(action: str, data: bool, roles: Iterable[RoleDefinition]) -> tuple[Suggestion, ...]:
    """Every role that grants the action, the narrowest first."""
    name = action.lower()
    found = [
        Suggestion(role.id, role.name, role.description, breadth(role))
        for role in roles
        if Grants(role.permissions).grant(name, data)
    ]
    words = {word.lower().rstrip("s") for word in _WORD.findall(action.removeprefix("Microsoft."))}
    return tuple(sorted(found, key=lambda s: (not _made_for(s.name, words), s.breadth, s.name)))


def _made_for(role_name: str, words: set[str]) -> bool:
    first = role_name.removeprefix("Azure ").partition(" ")[0].lower().rstrip("s")
    return role_name in _GENERAL or first in words


def breadth(role: RoleDefinition) -> int:
    return sum(_reach(pattern) for p in role.permissions for pattern in (*p.actions, *p.data_actions))


def _reach(pattern: str) -> int:
    """1 for an operation; for a wildcard a number that shrinks with each segment named before the star or after it."""
    head, star, tail = pattern.partition("*")
    if not star:
        return 1
    if not head:
        return 20_000 if tail else 100_000
    named = head.count("/") + tail.count("/")
    return 1 << 2 * max(1, 6 - named)


def remedy_scope(scope: ResourceId, action: str, data: bool) -> ResourceId:
    """For data actions the account, not the single secret or blob; to create something the group it would be in."""
    if data:
        while scope.type.count("/") > 1:
            scope = scope.parent
        return scope
    if action.lower().endswith("/write") and scope.namespace is not None:
        return scope.parent
    return scope
