"""What is stored of deployments. Values of secure parameters are only in what is sealed while a deployment runs; what
`list…` read is nowhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from keyfob.clock import iso
from keyfob.store.records import Records

ACCEPTED, RUNNING, SUCCEEDED, FAILED, CANCELED = "Accepted", "Running", "Succeeded", "Failed", "Canceled"
ACTIVE = frozenset({ACCEPTED, RUNNING})


class Deployment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Key: `ResourceId.key` of `{scope}/providers/Microsoft.Resources/deployments/{name}`."""

    id: str
    name: str = ""
    tenant_id: str = ""
    location: str = ""
    tags: dict[str, str] = {}
    mode: str = "Incremental"
    state: str = ACCEPTED
    template_hash: str = ""
    template_link: dict[str, Any] | None = None
    parameters_link: dict[str, Any] | None = None
    parameters: dict[str, Any] = {}
    outputs: dict[str, Any] | None = None
    output_resources: tuple[str, ...] = ()
    dependencies: list[dict[str, Any]] = []
    providers: list[dict[str, Any]] = []
    error: dict[str, Any] | None = None
    correlation_id: str = ""
    operation: str = ""
    """The last part of its `Azure-AsyncOperation` address."""
    principal_id: str = ""
    api_version: str = ""
    began: float = 0.0
    changed: float = 0.0
    beat: float = 0.0
    """When the process that runs it last said so."""
    owner: str = ""
    cancel: bool = False
    parent: str = ""
    """Key of the deployment that this one is nested in."""


class DeploymentOperation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Key: the deployment's, `/operations/`, the operation's id."""

    id: str
    number: int = 0
    kind: str = "Create"
    state: str = RUNNING
    began: float = 0.0
    changed: float = 0.0
    tracking_id: str = ""
    status: str = ""
    message: Any = None
    target: dict[str, str] | None = None


class Sealed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What another process needs to go on with a deployment, under the master key. Gone when it has ended."""

    sealed: bytes = b""


class Owner(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose a running deployment is: small, since it is looked at before each resource."""

    owner: str = ""
    operation: str = ""


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A template, or a result that is asked for once."""

    body: Any = None
    made: float = 0.0


def _active(deployment: Deployment) -> dict[str, str]:
    return {"active": "yes"} if deployment.state in ACTIVE else {}


RECORDS = Records("arm.deployments", Deployment, index=_active)
OPERATIONS = Records("arm.deployment_operations", DeploymentOperation)
TEMPLATES = Records("arm.deployment_templates", Kept)
MEMORIES = Records("arm.deployment_memories", Sealed)
OWNERS = Records("arm.deployment_owners", Owner)
RESULTS = Records("arm.deployment_results", Kept)
"""Of what-if. Key: the deployment's, `/`, a GUID."""


def duration(seconds: float) -> str:
    """`PT2M3.5S`."""
    whole = timedelta(seconds=max(0.0, seconds))
    minutes, rest = divmod(whole.total_seconds(), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:.7f}".rstrip("0").rstrip(".")
    return "PT" + (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "") + f"{text or '0'}S"


def present_deployment(one: Deployment, validated: list[str] | None = None) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    if one.template_link:
        properties["templateLink"] = one.template_link
    properties |= {
        "templateHash": one.template_hash,
        "parameters": one.parameters,
        "mode": one.mode,
        "provisioningState": one.state,
        "timestamp": iso(one.changed),
        "duration": duration(one.changed - one.began),
        "correlationId": one.correlation_id,
        "providers": one.providers,
        "dependencies": one.dependencies,
    }
    if one.parameters_link:
        properties["parametersLink"] = one.parameters_link
    if one.outputs is not None:
        properties["outputs"] = one.outputs
    if one.state == SUCCEEDED and validated is None:
        properties["outputResources"] = [{"id": id} for id in one.output_resources]
    if validated is not None:
        properties["validatedResources"] = [{"id": id} for id in validated]
    if one.error is not None:
        properties["error"] = one.error
    shown: dict[str, Any] = {"id": one.id, "name": one.name, "type": "Microsoft.Resources/deployments"}
    if one.location:
        shown["location"] = one.location
    if one.tags:
        shown["tags"] = one.tags
    return shown | {"properties": properties}


def present_operation(deployment: Deployment, one: DeploymentOperation) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "provisioningOperation": one.kind,
        "provisioningState": one.state,
        "timestamp": iso(one.changed),
        "duration": duration(one.changed - one.began),
        "trackingId": one.tracking_id,
        "serviceRequestId": one.tracking_id,
    }
    if one.status:
        properties["statusCode"] = one.status
    if one.message is not None:
        properties["statusMessage"] = one.message
    if one.target is not None:
        properties["targetResource"] = one.target
    return {"id": f"{deployment.id}/operations/{one.id}", "operationId": one.id, "properties": properties}
