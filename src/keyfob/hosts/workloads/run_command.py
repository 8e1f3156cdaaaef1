"""Run command: a script that Resource Manager is asked to run on a machine, here in a sandbox of that machine.

Two forms, for machines and for instances of scale sets alike. The action (`POST …/runCommand`) runs one of the
documented commands and answers with what it printed; the resource (`…/runCommands/{name}`) keeps its script and what
became of it. As on Azure, a script that fails is a success of the action: nobody is told its exit code (azure-cli
issue 14425), and each stream is cut to its last 4,096 bytes (learn.microsoft.com, virtual-machines/linux/run-command).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from keyfob.arm.model import Resource
from keyfob.arm.resources import RESOURCES, get_resource, resource_not_found
from keyfob.arm.shapes import OURS, Shaped, items, mapping, subscription_scope
from keyfob.clock import Clock, Ids, iso
from keyfob.declare import Action, Call, Change, PostAction, ResourceType, Route, Work
from keyfob.errors import Conflict, InvalidInput, NotFound, Problem
from keyfob.hosts.kinds import kind_of, runs
from keyfob.hosts.workloads.workshop import Result, Workshop
from keyfob.resource_id import ResourceId
from keyfob.store.port import Store
from keyfob.wire.http import Reply

LONGEST = 90 * 60.0
"""Seconds that a script may run."""

SHOWN = 4096
"""Bytes of each stream that are told."""

PLACE = "/var/lib/waagent/run-command/download/0"
"""Where Azure's agent puts the script, and what `$0` is below."""

LOG = "run-command"
LOGGED, MOST_LINES = 1_000_000, 20_000
"""Characters and lines of each stream that go to the machine's log, the last of them."""

_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BODY_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Command:
    """One of the commands that Azure documents. `script` is what it does here; None needs Windows."""

    id: str
    system: str
    label: str
    description: str
    script: str | None = None
    parameters: tuple[str, ...] = ()


COMMANDS = (
    Command("RunPowerShellScript", "Windows", "Executes a PowerShell script", "Custom multiline PowerShell script."),
    Command("DisableNLA", "Windows", "Disable Network Level Authentication", "Disables it for Remote Desktop."),
    Command("DisableWindowsUpdate", "Windows", "Disable Windows Update", "Disables automatic updates."),
    Command("EnableAdminAccount", "Windows", "Enable administrator account", "Enables the local administrator."),
    Command("EnableEMS", "Windows", "Enable EMS", "Enables the serial console of the machine."),
    Command("EnableRemotePS", "Windows", "Enable remote PowerShell", "Sets up remote PowerShell."),
    Command("EnableWindowsUpdate", "Windows", "Enable Windows Update", "Enables automatic updates."),
    Command("IPConfig", "Windows", "List IP configuration", "Addresses of every interface."),
    Command("RDPSettings", "Windows", "Verify RDP listener settings", "Registry settings of Remote Desktop."),
    Command("ResetRDPCert", "Windows", "Restore RDP authentication mode", "Removes the certificate of the listener."),
    Command(
        "SetRDPPort", "Windows", "Set Remote Desktop port", "The port that Remote Desktop uses.", None, ("RDPPort",)
    ),
    Command("RunShellScript", "Linux", "Executes a Linux shell script", "Custom multiline shell script.", ""),
    Command(
        "ifconfig",
        "Linux",
        "List network configuration",
        "The configuration of all network interfaces.",
        "command -v ifconfig >/dev/null && exec ifconfig\ncommand -v ip >/dev/null && exec ip addr\ncat /proc/net/dev",
    ),
)
_BY_ID = {command.id.lower(): command for command in COMMANDS}


@dataclass(frozen=True, slots=True)
class Script:
    """What is to run: parameters are the script's arguments in their order, and variables by their names."""

    text: str = field(repr=False)
    parameters: Sequence[tuple[str, str]] = field(default=(), repr=False)
    protected: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables only: arguments of programs are for everybody to see."""
    patience: float = LONGEST


class RunCommands:
    """Runs scripts on machines. One for every kind of machine."""

    def __init__(self, *, store: Store, workshop: Workshop, clock: Clock, ids: Ids) -> None:
        self._store = store
        self._workshop = workshop
        self._clock = clock
        self._ids = ids

    # --- declarations

    def action(self, type_name: str) -> PostAction:
        """`POST {machine}/runCommand`."""
        return PostAction(
            action=Action(f"{type_name}/runCommand/action"),
            operation=_check_asked,
            long_running=True,
            work=Work(self._asked, LONGEST + 60),
        )

    def type(self, type_name: str, api_versions: tuple[str, ...]) -> ResourceType:
        """`{machine}/runCommands`."""
        return ResourceType(
            name=f"{type_name}/runCommands",
            api_versions=api_versions,
            operations=_Kept(),
            long_running=frozenset({"PUT", "PATCH", "DELETE"}),
            work=Work(self._kept, LONGEST + 60),
            note="The script runs in a sandbox of the machine, at every PUT that has one. Output goes to no blob.",
        )

    # --- running

    async def _asked(self, machine: Resource, body: Mapping[str, Any]) -> Any:
        result = await self.run(ResourceId.parse(machine.id), asked_script(body))
        if result.timed_out:
            raise Conflict(
                f"The script did not end within {LONGEST / 60:.0f} minutes and was ended.", code="VMExtensionTimeout"
            )
        message = f"Enable succeeded: \n[stdout]\n{_tail(result.output)}\n[stderr]\n{_tail(result.errors)}"
        status = {
            "code": "ProvisioningState/succeeded",
            "level": "Info",
            "displayStatus": "Provisioning succeeded",
            "message": message,
        }
        return {"value": [status]}

    async def _kept(self, command: Resource, body: Mapping[str, Any]) -> None:
        """Of the resource: what happens is written into it. A script that fails does not fail the PUT, unless it asks
        for that (`treatFailureAsDeploymentFailure`)."""
        id = ResourceId.parse(command.id)
        secret = mapping(body.get("properties")).get("protectedParameters")
        script = kept_script(command.properties, parameters_of(secret, "protectedParameters"))
        if command.properties.get("asyncExecution") is True:
            # the PUT has ended by then, and with it whoever could be told
            self._workshop.later(self._follow(id, script, quiet=True))
            return
        await self._follow(id, script)

    async def _follow(self, id: ResourceId, script: Script, *, quiet: bool = False) -> None:
        began = self._clock.now()
        ident = self._ids.guid()
        seen: dict[str, Any] = {"executionState": "Running", "startTime": iso(began), "keyfob": ident}
        await self._note(id, seen, "")
        try:
            result = await self.run(id.parent, script)
        except Problem as problem:
            ended = {"executionState": "Failed", "executionMessage": problem.message}
            await self._note(id, {**seen, **ended, "endTime": iso(self._clock.now())}, ident)
            if quiet:
                return
            raise
        seen |= {
            "executionState": "TimedOut" if result.timed_out else "Failed" if result.code else "Succeeded",
            "executionMessage": f"Execution {'timed out' if result.timed_out else 'completed'}",
            "exitCode": result.code,
            "output": _tail(result.output),
            "error": _tail(result.errors),
            "endTime": iso(self._clock.now()),
        }
        failed = await self._note(id, seen, ident)
        if failed and result.code and not quiet:
            raise Conflict(f"The script ended with exit code {result.code}.", code="VMExtensionProvisioningError")

    async def _note(self, id: ResourceId, view: Mapping[str, Any], ident: str) -> bool:
        """Writes what happened, unless a later script has taken over; whether a failure is to fail the PUT."""
        async with self._store.transaction() as tx:
            row = await RESOURCES.get(tx, id.key)
            if row is None or (ident and mapping(row.value.properties.get(VIEW)).get("keyfob") != ident):
                return False
            changed = msgspec.structs.replace(row.value, properties={**row.value.properties, VIEW: dict(view)})
            await RESOURCES.put(tx, id.key, changed)
            return row.value.properties.get("treatFailureAsDeploymentFailure") is True

    async def run(self, machine: ResourceId, script: Script) -> Result:
        """One script, to its end. What it prints is in the machine's log too. Raises SandboxUnavailable."""
        folder = self._workshop.folder_of(machine) / LOG / self._ids.token(8)
        folder.mkdir(parents=True, mode=0o700)
        try:
            return await self._run(machine, script, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _run(self, machine: ResourceId, script: Script, folder: Path) -> Result:
        file = folder / "script.sh"
        file.write_text(script.text if script.text.endswith("\n") else script.text + "\n")
        file.chmod(0o700)
        command = [f"{PLACE}/script.sh", *(value for _, value in script.parameters)]
        if not script.text.startswith("#!"):
            command = ["/bin/sh", *command]
        named = {name: value for name, value in script.parameters if _PARAMETER.fullmatch(name)}
        log = self._workshop.log_of(machine, LOG)
        log.write("host", "a script is run")
        result = await self._workshop.run(
            machine,
            command,
            folder=PLACE,
            environment={**named, **script.protected},
            grafts=[(folder, PLACE)],
            patience=script.patience,
            admit=lambda: self._still_runs(machine),
        )
        for stream, text in (("out", result.output), ("err", result.errors)):
            log.write_all([(stream, line, "") for line in text[-LOGGED:].splitlines()[-MOST_LINES:]])
        log.write("host", f"the script ended with exit code {result.code}")
        return result

    async def _still_runs(self, machine: ResourceId) -> None:
        found = await get_resource(self._store, machine)
        if found is None:
            raise resource_not_found(machine)
        must_run(found)


# --- what is asked


async def _check_asked(change: Change) -> Reply:
    must_run(change.before)
    asked_script(change.body)
    return Reply(200)


def must_run(machine: Any) -> None:
    """Raises Azure's refusal when programs of a stored machine cannot run."""
    kind = kind_of(machine.type)
    if kind is None or not runs(kind, machine.properties):
        raise Conflict("Cannot modify extensions in the VM when the VM is not running.", code="OperationNotAllowed")


def asked_script(body: Mapping[str, Any]) -> Script:
    """Of the action's body. Raises InvalidInput."""
    ident = body.get("commandId")
    if not isinstance(ident, str) or not ident:
        raise _invalid("commandId", "Required parameter 'commandId' is missing (null).")
    command = _command(ident)
    lines = body.get("script")
    if lines is not None and (not isinstance(lines, list) or not all(isinstance(line, str) for line in lines)):
        raise _invalid("script", "The value of parameter 'script' is a list of lines.")
    text = "\n".join(lines or ()) or command.script or _SAMPLE
    return Script(_checked(text), tuple(parameters_of(body.get("parameters"), "parameters").items()))


_SAMPLE = 'echo "This is a sample script"\necho "Optional parameters: $*"'
"""What RunShellScript does when nobody gives it a script (azure-cli issue 32286)."""


def kept_script(properties: Mapping[str, Any], protected: Mapping[str, str]) -> Script:
    """Of the resource's properties. Raises InvalidInput."""
    source = mapping(properties.get("source"))
    text, ident, uri = (source.get(name) for name in ("script", "commandId", "scriptUri"))
    if isinstance(uri, str) and uri:
        raise _invalid("source.scriptUri", "Scripts are not fetched: give the text of the script ('source.script').")
    if not isinstance(text, str) or not text:
        if not isinstance(ident, str) or not ident:
            raise _invalid("source", "The property 'source' needs one of 'script' and 'commandId'.")
        text = _command(ident).script or _SAMPLE
    limit = properties.get("timeoutInSeconds")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= LONGEST):
        raise _invalid("timeoutInSeconds", f"The value of 'timeoutInSeconds' is between 0 and {LONGEST:.0f}.")
    given = tuple(parameters_of(properties.get("parameters"), "parameters").items())
    return Script(_checked(text), given, protected, float(limit or LONGEST))


def parameters_of(given: Any, target: str) -> dict[str, str]:
    """`[{"name": …, "value": …}]` → values by name. Raises InvalidInput."""
    if given is None:
        return {}
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise _invalid(target, f"The value of parameter '{target}' is a list of names with values.")
    found: dict[str, str] = {}
    for one in items(given):
        name, value = one.get("name"), one.get("value")
        if not isinstance(name, str) or not isinstance(value, str) or "\0" in name + value or "=" in name or not name:
            raise _invalid(target, f"Each of '{target}' has a 'name' and a 'value', both text.")
        found[name] = value
    if sum(map(len, found.values())) > SHOWN * 32:
        raise _invalid(target, f"The values of '{target}' are too long.")
    return found


def _command(ident: str) -> Command:
    command = _BY_ID.get(ident.lower())
    if command is None:
        raise _invalid("commandId", f"The command '{ident[:80]}' is not a run command; there is 'RunShellScript'.")
    if command.script is None:
        raise _invalid(
            "commandId", f"The command '{command.id}' is for Windows; programs of machines run on Linux here."
        )
    return command


def _checked(text: str) -> str:
    if len(text) > _BODY_LIMIT or "\0" in text:
        raise _invalid("script", "The script is too long, or is no text.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _invalid("script", "The script is no text.") from None
    return text


def _invalid(target: str, sentence: str) -> InvalidInput:
    return InvalidInput(sentence, code="InvalidParameter", target=target)


def _tail(text: str) -> str:
    return text.encode()[-SHOWN:].decode("utf-8", "ignore")


# --- the resource

VIEW = f"{OURS}view"


class _Kept(Shaped):
    def __init__(self) -> None:
        super().__init__(write_only=("protectedParameters", "runAsPassword"), view=_shown)

    async def accept(self, change: Change) -> Mapping[str, Any]:
        machine = await RESOURCES.get(change.transaction, change.id.parent.key)
        if machine is not None:
            must_run(machine.value)
        given = mapping(change.body.get("properties"))
        secret = parameters_of(given.get("protectedParameters"), "protectedParameters")
        kept_script(given, secret)
        return {"asyncExecution": False, "timeoutInSeconds": 0, **await super().accept(change)}


def _shown(resource: Any, shown: dict[str, Any], expand: str) -> Mapping[str, Any]:
    if "instanceview" in expand.lower():
        view = mapping(resource.properties.get(VIEW))
        shown["instanceView"] = {name: value for name, value in view.items() if name != "keyfob"}
    return shown


# --- the list of commands


def routes(api_versions: tuple[str, ...]) -> tuple[Route, ...]:
    """`…/locations/{location}/runCommands`: what there is. Declared once, by one of the machines' folders."""
    place = "/subscriptions/{subscriptionId}/providers/Microsoft.Compute/locations/{location}/runCommands"
    read = Action("Microsoft.Compute/locations/runCommands/read")

    async def several(call: Call) -> Reply:
        return Reply.json({"value": [_document(command) for command in COMMANDS]})

    async def one(call: Call) -> Reply:
        command = _BY_ID.get(call.parameters["commandId"].lower())
        if command is None:
            raise NotFound(
                f"The entity was not found: run command '{call.parameters['commandId'][:80]}'.", code="NotFound"
            )
        text = _SAMPLE if command.script == "" else command.script or ""
        names = [{"name": name, "type": "string", "required": False} for name in command.parameters]
        return Reply.json({**_document(command), "script": text.split("\n"), "parameters": names})

    return (
        Route("GET", place, read, several, subscription_scope, api_versions),
        Route("GET", f"{place}/{{commandId}}", read, one, subscription_scope, api_versions),
    )


def _document(command: Command) -> dict[str, Any]:
    return {
        "$schema": "http://schema.management.azure.com/schemas/2016-11-17/runcommands.json",
        "id": command.id,
        "osType": command.system,
        "label": command.label,
        "description": command.description,
    }
