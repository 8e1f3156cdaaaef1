"""A deployment's request body, read into a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec

from keyfob.arm.templates.evaluate import member
from keyfob.arm.templates.functions.strings import murmur
from keyfob.arm.templates.source import Path, Place, Source, read_source
from keyfob.errors import InvalidInput

LARGEST = 12 * 1024 * 1024
"""Bytes of a request: a template, its parameters, and the templates it links to."""
HERE = "https://templates.keyfob.internal/"
"""Where templates that came along with a request are said to be: an address that nothing but this request answers."""
_MODES = {"incremental": "Incremental", "complete": "Complete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be deployed."""

    template: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)
    mode: str = "Incremental"
    location: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    template_link: Mapping[str, Any] | None = None
    parameters_link: Mapping[str, Any] | None = None
    linked: Mapping[str, Any] = field(default_factory=dict)
    """Address → template."""
    place_of: Callable[[Path], Place] = lambda path: Place(1, 1)
    what_if: Mapping[str, Any] = field(default_factory=dict)


def read_wanted(raw: bytes, name: str = "") -> Wanted:
    """Raises `InvalidInput` (`InvalidRequestContent`, `InvalidDeploymentParameterValue`, `InvalidContentLink`)."""
    source = read_source(raw, largest=LARGEST)
    body = source.value
    if not isinstance(body, dict):
        raise _unreadable("a JSON object is expected")
    found, properties = member(body, "properties")
    if not found or not isinstance(properties, dict):
        raise _unreadable("Required property 'properties' not found in JSON. Path '', line 1, position 2.")
    return wanted_of(
        properties,
        source,
        name=name,
        location=_text(member(body, "location")[1], "location"),
        tags=member(body, "tags")[1] or {},
    )


def wanted_of(
    properties: Mapping[str, Any],
    source: Source | None = None,
    *,
    name: str = "",
    location: str = "",
    tags: Any = None,
    linked: Mapping[str, Any] | None = None,
    base: str = "",
) -> Wanted:
    """From the `properties` of a deployment. `linked` and `base` are those of the template that holds it."""
    given = member(properties, "mode")[1]
    mode = _MODES.get(str(given or "").lower())
    if mode is None:
        raise InvalidInput(
            f"The value '{str(given or '')[:50]}' of the deployment property 'mode' is not valid: 'Incremental' or "
            "'Complete' is expected.",
            code="InvalidDeploymentMode" if given else "InvalidRequestContent",
        )
    if member(properties, "onErrorDeployment")[1] is not None:  # to deploy without it would be a promise not kept
        raise InvalidInput(
            "The deployment property 'onErrorDeployment' is not supported here: a deployment that fails is not rolled "
            "back. Leave it out.",
            code="InvalidDeployment",
        )
    if not isinstance(tags or {}, dict):
        raise _unreadable("the tags must be an object")
    own = member(properties, "linkedTemplates")[1]
    known = dict(linked or {})
    if isinstance(own, dict):
        known |= {urljoin(HERE, str(name)): template for name, template in own.items()}
    template, link, path = _template(properties, known, base)
    base = str(link["uri"]) if link else base
    given, parameters_link = _parameters(properties, known, base, name)
    return Wanted(
        template=template,
        parameters=read_parameters(given),
        mode=mode,
        location=location.replace(" ", "").lower(),
        tags={str(name): str(value) for name, value in (tags or {}).items()},
        template_link=link,
        parameters_link=parameters_link,
        linked=known,
        place_of=_places(source, path),
        what_if=member(properties, "whatIfSettings")[1] or {},
    )


def _template(
    properties: Mapping[str, Any], linked: Mapping[str, Any], base: str
) -> tuple[Any, Mapping[str, Any] | None, Path]:
    link = member(properties, "templateLink")[1]
    inline = member(properties, "template")[1]
    if isinstance(inline, str):  # a template quoted as text, as some clients send it
        inline = read_source(inline.encode()).value
    if isinstance(link, dict) and inline is None:
        found, address = _linked(link, linked, base)
        return found, {"uri": address, "contentVersion": "1.0.0.0"}, ()
    if inline is None:
        raise InvalidInput(
            "The request content is not valid: the deployment has neither 'template' nor 'templateLink'.",
            code="InvalidRequestContent",
        )
    if isinstance(link, dict):  # ours alone: where a template that came inline stood among its linked ones
        address = urljoin(HERE, str(member(link, "relativePath")[1] or member(link, "uri")[1] or ""))
        if address.startswith(HERE):
            return inline, {"uri": address, "contentVersion": "1.0.0.0"}, ("properties", "template")
    return inline, None, ("properties", "template")


def _linked(link: Mapping[str, Any], linked: Mapping[str, Any], base: str) -> tuple[Any, str]:
    """What a link leads to, and its address. Raises `InvalidInput` (`InvalidContentLink`)."""
    address = str(member(link, "uri")[1] or "")
    if not address:
        relative = member(link, "relativePath")[1]
        if relative:
            address = urljoin(base or HERE, str(relative))
    bare = address.partition("?")[0]
    if bare in linked:
        return linked[bare], address
    raise InvalidInput(
        f"Unable to download deployment content from '{address[:300]}': nothing outside of this server is asked. "
        "Please see https://aka.ms/arm-deploy for usage details.",
        code="InvalidContentLink",
    )


def _parameters(
    properties: Mapping[str, Any], linked: Mapping[str, Any], base: str, name: str
) -> tuple[Any, Mapping[str, Any] | None]:
    """The parameters, inline or behind a link. The words: MicrosoftDocs/azure-docs issue 15341."""
    given, link = member(properties, "parameters")[1], member(properties, "parametersLink")[1]
    if link is None:
        return given, None
    if given:
        raise InvalidInput(
            f"The deployment '{name}' cannot have both the ParameterLink and Parameter property set. Please use one or "
            "the other.",
            code="InvalidDeployment",
        )
    if not isinstance(link, dict):
        raise _unreadable("the parametersLink must be an object")
    found, address = _linked(link, linked, base)
    if not isinstance(found, dict) or not isinstance(found.get("parameters"), dict):
        raise InvalidInput(
            f"The content of '{address[:300]}' is not a parameter file: an object with the member 'parameters' is "
            "expected. Please see https://aka.ms/arm-parameter-file for usage details.",
            code="InvalidRequestContent",
        )
    version = found.get("contentVersion")
    shown = {"uri": address} | ({"contentVersion": version} if isinstance(version, str) else {})
    return found["parameters"], shown


def _places(source: Source | None, within: Path) -> Callable[[Path], Place]:
    if source is None or not within:
        return lambda path: Place(1, 1)
    return lambda path: source.place((*within, *path), within=within)


def read_parameters(given: Any) -> dict[str, Any]:
    """Name → `{"value": …}`; a whole parameter file is taken for its `parameters`."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _unreadable("the parameters must be an object")
    if "$schema" in given and isinstance(given.get("parameters"), dict):
        given = given["parameters"]
    for name, value in given.items():
        if not isinstance(value, dict) or not ({"value", "reference", "expression"} & value.keys()):
            raise InvalidInput(
                "The request content was invalid and could not be deserialized: the value of the deployment parameter "
                f"'{name[:100]}' must be an object with the member 'value'. Please see "
                "https://aka.ms/arm-create-parameter-file for details.",
                code="InvalidRequestContent",
            )
    return dict(given)


def template_hash(template: Any) -> str:
    """A number that is the same for templates that say the same. Azure's own numbers are others."""
    return str(murmur(msgspec.json.encode(template, order="deterministic")))


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _unreadable(f"the {name} must be a string")
    return value


def _unreadable(reason: str) -> InvalidInput:
    return InvalidInput(
        f"The request content was invalid and could not be deserialized: '{reason}'.", code="InvalidRequestContent"
    )


def is_local(address: str) -> bool:
    return urlsplit(address).scheme == "https"
