"""Which functions an app has: the decorators of `function_app.py`, or a `function.json` in a folder of each."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

log = logging.getLogger("host")

DEFAULT_SCRIPT = "function_app.py"
HTTP, TIMER = "httpTrigger", "timerTrigger"
_SERVED = {one.lower(): one for one in (HTTP, TIMER, "http")}
"""Types of bindings, by their lower case."""

CONTEXT = "context"
"""An argument of this name gets the context, unless a binding has the name."""

CONSUMPTION_TIMEOUT, CONSUMPTION_LONGEST, OTHER_TIMEOUT = 300.0, 600.0, 1800.0
"""Seconds a function may run (learn.microsoft.com, functions-scale, "Function app timeout duration")."""
_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.\d+)?")


class AppError(Exception):
    """The app cannot be run; the message is a sentence for its developer."""


@dataclass(frozen=True)
class Function:
    """One function. `bindings` are as `function.json` has them, the trigger among them."""

    name: str
    call: Callable[..., Any] = field(repr=False)
    bindings: Sequence[Mapping[str, Any]]
    folder: str
    disabled: bool = False

    @property
    def trigger(self) -> Mapping[str, Any]:
        return next(one for one in self.bindings if str(one["type"]).lower().endswith("trigger"))

    @property
    def kind(self) -> str:
        """`httpTrigger`, `timerTrigger`, …"""
        kind = str(self.trigger["type"])
        return _SERVED.get(kind.lower(), kind)

    @property
    def unserved(self) -> Sequence[str]:
        """Types of its bindings that this host does not serve."""
        return [str(one["type"]) for one in self.bindings if str(one["type"]).lower() not in _SERVED]

    def __post_init__(self) -> None:
        triggers = [one for one in self.bindings if str(one.get("type", "")).lower().endswith("trigger")]
        if len(triggers) != 1:
            raise AppError(f"The function '{self.name}' has {len(triggers)} triggers; it needs exactly one.")


@dataclass(frozen=True)
class HostFile:
    """`host.json`, as far as this host acts on it."""

    route_prefix: str = "api"
    timeout: float | None = OTHER_TIMEOUT
    """Seconds that a function may run; None: without end."""
    levels: Mapping[str, str] = field(default_factory=dict)
    """`logging.logLevel`: category → least level."""


def read_host_file(folder: Path, settings: Mapping[str, str]) -> HostFile:
    """Raises AppError."""
    path = folder / "host.json"
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise AppError("There is no host.json: it belongs beside the functions.") from None
    except ValueError as error:
        raise AppError(f"Unable to parse host configuration file '{path}': {error}.") from None
    if not isinstance(content, dict) or content.get("version") != "2.0":
        raise AppError(f"The '{path}' file is missing required property 'version', which is \"2.0\".")
    http = _section(_section(content, "extensions"), "http")
    levels = _section(_section(content, "logging"), "logLevel")
    return HostFile(
        route_prefix=str(http.get("routePrefix", "api")).strip("/"),
        timeout=_timeout(content.get("functionTimeout"), consumption=settings.get("WEBSITE_SKU") == "Dynamic"),
        levels={str(name): str(level) for name, level in levels.items()},
    )


def _section(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = content.get(name)
    return found if isinstance(found, dict) else {}


def _timeout(said: Any, *, consumption: bool) -> float | None:
    if said is None:
        return CONSUMPTION_TIMEOUT if consumption else OTHER_TIMEOUT
    if str(said) == "-1" and not consumption:
        return None
    found = _SPAN.fullmatch(str(said))
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
    span = float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    if span < 1 or (consumption and span > CONSUMPTION_LONGEST):
        most = " and at most 00:10:00 on a Consumption plan" if consumption else ""
        raise AppError(f"The functionTimeout of host.json is '{said}': it must be at least 00:00:01{most}.")
    return span


def discover(folder: Path, settings: Mapping[str, str]) -> list[Function]:
    """Every function of the app in `folder`. Raises AppError; what the app's own code raises comes through."""
    packages = folder / ".python_packages" / "lib" / "site-packages"
    for path in (str(packages), str(folder)):
        if path not in sys.path:
            sys.path.insert(0, path)
    os.chdir(folder)
    script = folder / settings.get("PYTHON_SCRIPT_FILE_NAME", DEFAULT_SCRIPT)
    found = _decorated(script) if script.is_file() else _described(folder)
    if not found:
        raise AppError(f"No functions were found: neither a FunctionApp in {script.name} nor a function.json.")
    names = [function.name.lower() for function in found]
    for name in names:
        if names.count(name) > 1:
            raise AppError(f"Two functions have the name '{name}'.")
    return [replace(_served(one), disabled=_is_disabled(one, settings)) for one in found]


def _served(function: Function) -> Function:
    """A function with a binding that is not served here fails when it is called: what it sets would be lost."""
    if function.kind not in (HTTP, TIMER) or not function.unserved:
        return function
    kinds = ", ".join(function.unserved)
    return replace(
        function, call=_failing(AppError(f"This host does not serve the binding {kinds} of '{function.name}'."))
    )


def _decorated(script: Path) -> list[Function]:
    import_functions_library()
    module = _load(script, script.stem)
    apps = [value for value in vars(module).values() if hasattr(value, "get_functions") and not isinstance(value, type)]
    apps = [one for one in apps if type(one).__name__ != "Blueprint"]
    if len(apps) != 1:
        raise AppError(f"{script.name} has {len(apps)} objects of FunctionApp at its top level; it needs exactly one.")
    found = [
        Function(
            name=str(each.get_function_name()),
            call=each.get_user_function(),
            bindings=plain(each.get_dict_repr()["bindings"]),
            folder=str(script.parent),
        )
        for each in apps[0].get_functions()
    ]
    for function in found:
        if wrong := mismatch(function):
            raise AppError(f"Worker failed to index functions: {wrong}")
    return found


def _described(folder: Path) -> list[Function]:
    found = []
    for path in sorted(folder.glob("*/function.json")):
        name = path.parent.name
        try:
            described = json.loads(path.read_text("utf-8"))
            bindings = [dict(one) for one in described["bindings"]]
        except (ValueError, KeyError, TypeError) as error:
            raise AppError(f"The function.json of '{name}' cannot be read: {error}.") from None
        script = (path.parent / described.get("scriptFile", "__init__.py")).resolve()
        if not script.is_relative_to(folder.resolve()) or not script.is_file():
            raise AppError(f"The function '{name}' names a scriptFile that is not there.")
        if described.get("entryPoint") is not None and not isinstance(described["entryPoint"], str):
            raise AppError(f"The entryPoint of the function '{name}' is no name.")
        call = _entry(script, name, described.get("entryPoint", "main"))
        function = Function(name, call, bindings, str(path.parent), described.get("disabled") is True)
        if wrong := mismatch(function):
            log.error("Worker was unable to load function %s: '%s'", name, wrong)
            function = replace(function, call=_failing(AppError(wrong)))
        found.append(function)
    return found


def _entry(script: Path, name: str, entry: str) -> Callable[..., Any]:
    """The function's code. What cannot be loaded fails when it is called; the app's other functions run."""
    try:
        module = _load(script, f"{name}.{script.stem}" if script.stem != "__init__" else name)
        call: Callable[..., Any] | None = getattr(module, entry, None)
        if call is None or not callable(call):
            raise AppError(f"cannot load the {name} function: there is no '{entry}' in {script.name}")
    except Exception as error:
        log.exception("Worker was unable to load function %s: '%s: %s'", name, type(error).__name__, error)
        return _failing(error)
    return call


def _failing(error: Exception) -> Callable[..., Any]:
    def fail(**_: Any) -> None:
        raise error

    fail.loads = False  # type: ignore[attr-defined]
    return fail


def mismatch(function: Function) -> str:
    """What is wrong between a function's parameters and its bindings, in the words of Azure's Python worker
    (azure-functions-python-worker, functions.py); "" when nothing is."""
    start = f"cannot load the {function.name} function: "
    if not getattr(function.call, "loads", True):
        return ""
    bound = set()
    for binding in function.bindings:
        name, direction = str(binding.get("name", "")), str(binding.get("direction", "in")).lower()
        if direction == "inout":
            return f'{start}"inout" bindings are not supported'
        if name == "$return" and direction != "out":
            return f'{start}"$return" binding must have direction set to "out"'
        if name != "$return":
            bound.add(name)
    parameters = set(inspect.signature(function.call).parameters)
    if CONTEXT not in bound:
        parameters.discard(CONTEXT)
    if parameters - bound:
        return (
            f"{start}the following parameters are declared in Python but not in the function definition "
            f"(function.json or function decorators): {sorted(parameters - bound)}"
        )
    if bound - parameters:
        return (
            f"{start}the following parameters are declared in the function definition (function.json or function "
            f"decorators) but not in Python: {sorted(bound - parameters)}"
        )
    return ""


def _load(script: Path, name: str) -> ModuleType:
    places = [str(script.parent)] if script.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, script, submodule_search_locations=places)
    if spec is None or spec.loader is None:
        raise AppError(f"{script.name} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def import_functions_library() -> ModuleType:
    """`azure.functions`, which on Azure is always there and here comes with the app. Raises AppError."""
    try:
        return importlib.import_module("azure.functions")
    except ImportError:
        raise AppError(
            "The app's Python has no azure-functions: add it to requirements.txt, or install it into "
            ".python_packages/lib/site-packages with pip install --target."
        ) from None


def plain(value: Any) -> Any:
    """The library's dictionaries hold members of enumerations; function.json has their names, or numbers for
    directions."""
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name.lower()
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(one) for one in value]
    return value


def _is_disabled(function: Function, settings: Mapping[str, str]) -> bool:
    said = settings.get(f"AzureWebJobs.{function.name}.Disabled")
    said = said if said is not None else settings.get(f"AzureWebJobs__{function.name}__Disabled")
    return function.disabled if said is None else said.strip().lower() in {"true", "1"}
