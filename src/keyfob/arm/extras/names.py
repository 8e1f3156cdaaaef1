"""Questions about names.

The reserved words are those of "Resolve reserved resource name errors" in Azure's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyfob.arm.body import parse_object, unreadable
from keyfob.arm.versions import RESOURCES_VERSIONS
from keyfob.declare import Call, Provider, Route, SignedIn, Target
from keyfob.errors import InvalidInput
from keyfob.resource_id import ROOT, ResourceId
from keyfob.wire.http import Reply

RESERVED = frozenset(
    [
        *("access", "azure", "bing", "bizspark", "biztalk", "cortana", "directx", "dotnet", "dynamics", "excel"),
        *("exchange", "forefront", "groove", "hololens", "hyperv", "kinect", "lync", "msdn", "o365", "office"),
        *("office365", "onedrive", "onenote", "outlook", "powerpoint", "sharepoint", "skype", "visio"),
        "visualstudio",
    ]
)
"""Not as a whole name."""
NOWHERE, NOT_FIRST = ("microsoft", "windows"), ("login", "xbox")


def reserved(name: str) -> bool:
    low = name.lower()
    return low in RESERVED or any(word in low for word in NOWHERE) or low.startswith(NOT_FIRST)


def names_provider() -> Provider:
    return Provider(
        namespace="Microsoft.Resources",
        registered=True,
        routes=(
            Route(
                "POST",
                "/providers/Microsoft.Resources/checkResourceName",
                SignedIn("whether a word is reserved is the same for everybody"),
                check,
                _root,
                RESOURCES_VERSIONS,
            ),
        ),
    )


async def check(call: Call) -> Reply:
    body = parse_object(call.request.body)
    name, kind = body.get("name"), body.get("type")
    if not isinstance(name, str) or not isinstance(kind, str) or not name or not kind:
        raise unreadable("'name' and 'type' are required, as texts")
    if reserved(name):
        raise InvalidInput(
            f"The resource name '{name[:260]}' or a part of the name is a trademarked or reserved word.",
            code="ReservedResourceName",
        )
    return Reply.json({"name": name, "type": kind, "status": "Allowed"})


def _root(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    return ROOT
