"""What applications offer as resources, and which properties Microsoft Graph's types have: package data, read once."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import msgspec

from keyfob.directory.first_party import GRAPH
from keyfob.directory.model import AppRole

MICROSOFT = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"
"""The tenant that owns Azure's own applications."""


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    roles: Mapping[str, tuple[AppRole, ...]]
    """App id of one of Azure's applications → the app roles it offers."""
    scopes: Mapping[str, tuple[Mapping[str, Any], ...]]
    properties: Mapping[str, frozenset[str]]


def load_catalog() -> Catalog:
    folder = files("keyfob.directory").joinpath("data")

    def read(name: str) -> Any:
        return msgspec.json.decode(folder.joinpath(f"{name}.json").read_bytes())

    first_party = read("first_party")
    roles = {app["app_id"]: tuple(_role(role) for role in app.get("app_roles", ())) for app in first_party}
    roles[GRAPH] = tuple(_role(role) for role in read("graph_app_roles"))
    properties = {name: frozenset(found) for name, found in read("graph_properties").items()}
    properties["servicePrincipal"] |= {"createdDateTime", "samlSingleSignOnSettings"}  # shown, but not in the metadata
    properties["domain"] = frozenset({"id", "isDefault", "isInitial", "isVerified", "authenticationType"})
    return Catalog(
        roles=roles,
        scopes={app["app_id"]: tuple(app.get("scopes", ())) for app in first_party},
        properties=properties,
    )


def _role(role: Mapping[str, Any]) -> AppRole:
    return AppRole(
        id=role["id"],
        value=role["value"],
        display_name=role["display_name"],
        description=role.get("description", ""),
    )
