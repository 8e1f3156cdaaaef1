"""What can be managed here: namespaces, their types and routes, and which api-versions each takes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from keyfob.arm.kept import is_kept, kept_namespaces, kept_type, usual_types
from keyfob.declare import Level, Provider, ResourceType, Route, RouteTable
from keyfob.errors import InvalidInput, NotFound

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-[a-z0-9]+(\.[a-z0-9]+)?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Namespace:
    """One namespace, of every folder that declares something in it."""

    name: str
    registered: bool
    types: Mapping[str, ResourceType] = field(default_factory=dict)
    """By the part after the namespace, lower-case."""


class Registry:
    """Two declarations of one type, or of one route, collide here, at start."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._namespaces: dict[str, Namespace] = {}
        for provider in providers:
            key = provider.namespace.lower()
            known = self._namespaces.get(key, Namespace(provider.namespace, False))
            types = dict(known.types)
            for kind in provider.types:
                namespace, _, rest = kind.name.partition("/")
                if namespace.lower() != key or not rest:
                    raise ValueError(f"{kind.name} is not a type of {provider.namespace}")
                if kind.level is Level.TENANT:  # ids without a subscription would be shared by all tenants
                    raise ValueError(f"{kind.name}: tenant level types are not supported, declare routes")
                if rest.lower() in types:
                    raise ValueError(f"{kind.name} is declared twice")
                types[rest.lower()] = kind
            self._namespaces[key] = Namespace(known.name, known.registered or provider.registered, types)
        self._kept = {key: name for key, name in kept_namespaces().items() if key not in self._namespaces}
        self.routes = RouteTable([route for provider in providers for route in provider.routes])
        self._owners = {id(route): provider.namespace for provider in providers for route in provider.routes}

    @property
    def namespaces(self) -> list[Namespace]:
        """Those that folders declare."""
        return sorted(self._namespaces.values(), key=lambda n: n.name.lower())

    @property
    def offered(self) -> list[Namespace]:
        """Those and the ones that are kept whole, as a list of providers shows them: kept types are named too."""
        kept = [Namespace(name, True) for name in self._kept.values()]
        return sorted([with_usual(one) for one in [*self._namespaces.values(), *kept]], key=lambda n: n.name.lower())

    def owner(self, route: Route) -> str:
        """The namespace whose folder declared the route."""
        return self._owners[id(route)]

    def namespace(self, name: str) -> Namespace:
        """Raises `NotFound` (`InvalidResourceNamespace`)."""
        found = self._namespaces.get(name.lower())
        if found is None and name.lower() in self._kept:
            found = Namespace(self._kept[name.lower()], True)
        if found is None:
            raise NotFound(f"The resource namespace '{name[:100]}' is invalid.", code="InvalidResourceNamespace")
        return found

    def find(self, type_name: str) -> ResourceType | None:
        """The declared type, or the generic one where it is kept, or None."""
        namespace, _, rest = type_name.partition("/")
        known = self._namespaces.get(namespace.lower())
        if known is None:
            return kept_type(f"{self._kept[namespace.lower()]}/{rest}") if namespace.lower() in self._kept else None
        declared = known.types.get(rest.lower())
        if declared is None and is_kept(known.name, rest):
            return kept_type(f"{known.name}/{rest}")
        return declared

    def type(self, type_name: str, api_version: str) -> ResourceType:
        """Raises `NotFound` when there is no such namespace or type. The version is checked by `version_of`."""
        namespace, _, rest = type_name.partition("/")
        self.namespace(namespace)
        kind = self.find(type_name)
        if kind is None:
            raise NotFound(
                f"The resource type '{rest[:100]}' could not be found in the namespace '{namespace[:100]}' for api "
                f"version '{api_version[:40]}'.",
                code="InvalidResourceType",
            )
        return kind


def version_of(kind: ResourceType, api_version: str, *, location: str = "", locations: Sequence[str] = ()) -> str:
    """The declared spelling of a version that the type takes. Raises `InvalidInput` (`NoRegisteredProviderFound`)."""
    for known in kind.api_versions:
        if known.lower() == api_version.lower():
            return known
    if kind.any_version:
        return api_version
    raise InvalidInput(
        f"No registered resource provider found for location '{location}' and API version '{api_version[:40]}' for "
        f"type '{kind.name.partition('/')[2]}'. The supported api-versions are '{', '.join(newest_first(kind))}'. "
        f"The supported locations are '{', '.join(locations)}'.",
        code="NoRegisteredProviderFound",
    )


def with_usual(namespace: Namespace) -> Namespace:
    """The namespace with those of its kept types that are worth naming."""
    usual = {kind.name.partition("/")[2].lower(): kind for kind in usual_types(namespace.name)}
    return Namespace(namespace.name, namespace.registered, {**usual, **namespace.types})


def newest_first(kind: ResourceType) -> list[str]:
    return sorted(kind.api_versions, key=str.lower, reverse=True)


def required_version(given: str | None) -> str:
    """Raises `InvalidInput`: `MissingApiVersionParameter`, or `InvalidApiVersionParameter` for what is no version."""
    if not given:
        raise InvalidInput(
            "The api-version query parameter (?api-version=) is required for all requests.",
            code="MissingApiVersionParameter",
        )
    if not _VERSION.fullmatch(given) and given != "1.0":
        raise _invalid(given, ())
    return given


def listed_version(given: str | None, known: Collection[str]) -> str:
    """As `required_version`, and one of these, in their spelling; any when there are none."""
    version = required_version(given)
    for one in known:
        if one.lower() == version.lower():
            return one
    if known:
        raise _invalid(version, known)
    return version


def _invalid(given: str, known: Collection[str]) -> InvalidInput:
    supported = f" The supported versions are '{','.join(sorted(known, reverse=True))}'." if known else ""
    return InvalidInput(f"The api-version '{given[:40]}' is invalid.{supported}", code="InvalidApiVersionParameter")
