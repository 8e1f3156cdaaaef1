"""Resource ids and scopes: one value, the only place where their rules of case live.

`/subscriptions/{s}/resourceGroups/{g}/providers/{namespace}/{type}/{name}[/{type}/{name}…]`, with extensions
(`…/providers/…` again), subscriptions, resource groups, tenant-level resources and the root `/` as shorter forms.
Two ids are equal when their segments are, without regard to case; the spelling they were given in is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyfob.errors import InvalidInput

_FORBIDDEN = frozenset('<>*%&:?\\"#')
_LONGEST = 2048
_CANONICAL = {"subscriptions": "subscriptions", "resourcegroups": "resourceGroups", "providers": "providers"}


class ResourceId:
    """A resource id, or a scope. `str()` gives the spelling with canonical keywords; `key` compares."""

    __slots__ = ("key", "segments")

    segments: tuple[str, ...]
    key: str

    def __init__(self, segments: tuple[str, ...]) -> None:
        object.__setattr__(self, "segments", segments)
        object.__setattr__(self, "key", ("/" + "/".join(segments)).lower())

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is a value: {name} cannot be set")

    @classmethod
    def parse(cls, text: str) -> ResourceId:
        """Any spelling → the value. Raises `InvalidInput` (`InvalidResourceId`) when it is no id at all.

        Doubled slashes and a trailing one are ignored. Keywords get their canonical spelling.
        """
        if not text.startswith("/") or len(text) > _LONGEST:
            raise _invalid(text)
        parts = [part for part in text.split("/") if part]
        if any(part in {".", ".."} or not _FORBIDDEN.isdisjoint(part) or not part.isprintable() for part in parts):
            raise _invalid(text)
        at = 0
        if at < len(parts) and parts[0].lower() == "subscriptions":
            if len(parts) < 2:
                raise _invalid(text)
            parts[0] = "subscriptions"
            at = 2
            if len(parts) > 2 and parts[2].lower() == "resourcegroups":
                if len(parts) < 4:
                    raise _invalid(text)
                parts[2] = "resourceGroups"
                at = 4
        while at < len(parts):
            if parts[at].lower() != "providers" or len(parts) < at + 4:
                raise _invalid(text)
            parts[at] = "providers"
            at += 4  # providers, namespace, type, name
            while at < len(parts) and parts[at].lower() != "providers":
                if at + 1 >= len(parts):
                    raise _invalid(text)
                at += 2
        return cls(tuple(parts))

    @classmethod
    def subscription(cls, subscription_id: str) -> ResourceId:
        return cls(("subscriptions", subscription_id))

    @classmethod
    def group(cls, subscription_id: str, name: str) -> ResourceId:
        return cls(("subscriptions", subscription_id, "resourceGroups", name))

    def provider(self, type_name: str, *names: str) -> ResourceId:
        """This scope's resource (or extension): `group.provider("Microsoft.Compute/virtualMachines", "vm1")`."""
        namespace, *types = type_name.split("/")
        parts = ["providers", namespace]
        for kind, name in zip(types, names, strict=True):
            parts += [kind, name]
        return ResourceId(self.segments + tuple(parts))

    def child(self, kind: str, name: str) -> ResourceId:
        """A child of a resource: `vault.child("secrets", "s1")`."""
        return ResourceId((*self.segments, kind, name))

    # --- what it is made of

    @property
    def subscription_id(self) -> str | None:
        return self.segments[1] if len(self.segments) > 1 and self.segments[0] == "subscriptions" else None

    @property
    def resource_group(self) -> str | None:
        return self.segments[3] if len(self.segments) > 3 and self.segments[2] == "resourceGroups" else None

    def _provider_at(self) -> int | None:
        """Where the last `providers` keyword stands; names can be called `providers` too, so walk from the left."""
        at, found = 0, None
        parts = self.segments
        if parts and parts[0] == "subscriptions":
            at = 4 if len(parts) > 2 and parts[2] == "resourceGroups" else 2
        while at < len(parts):
            if parts[at].lower() == "providers":
                found = at
                at += 4
            else:
                at += 2
        return found

    @property
    def namespace(self) -> str | None:
        at = self._provider_at()
        return None if at is None else self.segments[at + 1]

    @property
    def type(self) -> str:
        """`Microsoft.Compute/virtualMachines`; of a group or subscription `Microsoft.Resources/…`; of the root ""."""
        at = self._provider_at()
        if at is not None:
            return "/".join((self.segments[at + 1], *self.segments[at + 2 :: 2]))
        if self.resource_group is not None:
            return "Microsoft.Resources/subscriptions/resourceGroups"
        return "Microsoft.Resources/subscriptions" if self.segments else ""

    @property
    def names(self) -> tuple[str, ...]:
        """The instance names, outermost first, of the last provider part."""
        at = self._provider_at()
        return self.segments[-1:] if at is None else self.segments[at + 3 :: 2]

    @property
    def name(self) -> str:
        return self.segments[-1] if self.segments else ""

    @property
    def parent(self) -> ResourceId:
        """The scope just above: of a child its resource, of a resource its group, of an extension what it extends."""
        at = self._provider_at()
        if at is not None:
            return ResourceId(self.segments[:at] if len(self.segments) == at + 4 else self.segments[:-2])
        return ResourceId(self.segments[:-2])

    # --- comparing

    def contains(self, other: ResourceId) -> bool:
        """Whether `other` is this scope or lies below it, by whole segments: `…/rg` never contains `…/rg2`."""
        return not self.segments or other.key == self.key or other.key.startswith(self.key + "/")

    def chain(self) -> Iterator[str]:
        """The keys of every scope that contains this one, itself first, the root `/` last."""
        scope = self
        while scope.segments:
            yield scope.key
            scope = scope.parent
        yield "/"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ResourceId) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return "/" + "/".join(self.segments)

    def __repr__(self) -> str:
        return f"ResourceId({str(self)!r})"


Scope = ResourceId
ROOT = ResourceId(())


def _invalid(text: str) -> InvalidInput:
    return InvalidInput(
        f"The resource identifier '{text[:200]}' is not valid.", code="InvalidResourceId", target=text[:200]
    )
