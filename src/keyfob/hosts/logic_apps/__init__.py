"""Logic Apps: `Microsoft.Logic/workflows`, their versions and triggers."""

from __future__ import annotations

from keyfob.arm.keys import DerivedKeys
from keyfob.arm.shapes import Shaped, answering, posting, setting
from keyfob.clock import Ids
from keyfob.declare import IdentitySupport, Provider, ResourceType
from keyfob.hosts.logic_apps import operations
from keyfob.hosts.logic_apps.operations import API_VERSIONS, TRIGGER, TYPE

__all__ = ["logic_apps"]


def logic_apps(*, ids: Ids, master_key: bytes) -> Provider:
    work = operations.Workflows(ids)
    urls = operations.CallbackUrls(DerivedKeys(master_key))
    types = (
        ResourceType(
            name=TYPE,
            api_versions=API_VERSIONS,
            operations=Shaped(compute=work.accept, children=work.with_workflow, required=("definition",)),
            identity=IdentitySupport(system=True, user=True),
            bodiless=frozenset({"PATCH"}),  # its document has none
            ignored=frozenset({"sku", "kind", "plan", "zones"}),
            name_pattern=r"[A-Za-z0-9_().-]{1,80}",
            actions={
                "enable": posting(TYPE, "enable", setting({"state": "Enabled"})),
                "disable": posting(TYPE, "disable", setting({"state": "Disabled"})),
                "listCallbackUrl": posting(TYPE, "listCallbackUrl", urls.of_workflow),
                "regenerateAccessKey": posting(TYPE, "regenerateAccessKey", operations.regenerate),
                "validate": posting(TYPE, "validate", answering(200)),
            },
            note="Definitions are kept; nothing runs them. A program that runs as the workflow is its software.",
        ),
        _read_only(f"{TYPE}/versions"),
        ResourceType(
            name=TRIGGER,
            api_versions=API_VERSIONS,
            operations=operations.ReadOnly(),
            tracked=False,
            actions={
                "listCallbackUrl": posting(TRIGGER, "listCallbackUrl", urls.of_trigger),
                "reset": posting(TRIGGER, "reset", answering(200)),
                "run": posting(TRIGGER, "run", answering(202)),
            },
            note="Made from the definition; running one starts nothing.",
        ),
    )
    return Provider(namespace="Microsoft.Logic", types=types, registered=True)


def _read_only(name: str) -> ResourceType:
    return ResourceType(
        name=name, api_versions=API_VERSIONS, operations=operations.ReadOnly(), tracked=False, location_kept=True
    )
