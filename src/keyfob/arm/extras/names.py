"""Questions about names, and what cannot be done with resources here: moving them.

The reserved words are those of "Resolve reserved resource name errors" in Azure's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

from keyfob.arm.body import parse_object, unreadable
from keyfob.arm.versions import RESOURCES_VERSIONS
from keyfob.declare import Action, Call, Provider, Route, SignedIn, Target
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
    group = "/subscriptions/{subscription}/resourceGroups/{group}"
    kind = "Microsoft.Resources/subscriptions/resourceGroups"
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
            Route(
                "POST",
                f"{group}/moveResources",
                Action(f"{kind}/moveResources/action"),
                unmoved,
                api_versions=RESOURCES_VERSIONS,
            ),
            Route(
                "POST",
                f"{group}/validateMoveResources",
                Action(f"{kind}/validateMoveResources/action"),
                unmoved,
                api_versions=RESOURCES_VERSIONS,
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


async def unmoved(call: Call) -> Reply:
    raise InvalidInput(
        "Resources cannot be moved here: create them where they should be and delete them where they are.",
        code="ResourceMoveNotSupported",
    )


def _root(parameters: Mapping[str, str], target: Target | None) -> ResourceId:
    return ROOT
