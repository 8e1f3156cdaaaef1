"""Which functions an app has: the decorators of `function_app.py`, or a `function.json` in a folder of each."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

DEFAULT_SCRIPT = "function_app.py"


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
        return str(self.trigger["type"])

    def __post_init__(self) -> None:
        triggers = [one for one in self.bindings if str(one.get("type", "")).lower().endswith("trigger")]
        if len(triggers) != 1:
            raise AppError(f"The function '{self.name}' has {len(triggers)} triggers; it needs exactly one.")


@dataclass(frozen=True)
class HostFile:
    """`host.json`, as far as this host acts on it."""

    route_prefix: str = "api"


def read_host_file(folder: Path) -> HostFile:
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
    http = content.get("extensions", {}).get("http", {})
    return HostFile(route_prefix=str(http.get("routePrefix", "api")).strip("/"))


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
    return [Function(one.name, one.call, one.bindings, one.folder, _is_disabled(one, settings)) for one in found]


def _decorated(script: Path) -> list[Function]:
    import_functions_library()
    module = _load(script, script.stem)
    apps = [value for value in vars(module).values() if hasattr(value, "get_functions") and not isinstance(value, type)]
    apps = [one for one in apps if type(one).__name__ != "Blueprint"]
    if len(apps) != 1:
        raise AppError(f"{script.name} has {len(apps)} objects of FunctionApp at its top level; it needs exactly one.")
    return [
        Function(
            name=str(each.get_function_name()),
            call=each.get_user_function(),
            bindings=plain(each.get_dict_repr()["bindings"]),
            folder=str(script.parent),
        )
        for each in apps[0].get_functions()
    ]


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
        entry = described.get("entryPoint", "main")
        call = getattr(_load(script, f"{name}.{script.stem}" if script.stem != "__init__" else name), entry, None)
        if not callable(call):
            raise AppError(f"The function '{name}' has no '{entry}' in {script.name}.")
        found.append(Function(name, call, bindings, str(path.parent), bool(described.get("disabled"))))
    return found


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
