"""Parameters: what a template declares, what a deployment gives, and whether they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyfob.arm.templates.evaluate import Frame, Names, evaluate, member
from keyfob.arm.templates.expressions import ExpressionError
from keyfob.arm.templates.functions.strings import to_text
from keyfob.arm.templates.functions.table import same, type_name
from keyfob.arm.templates.source import Place

_KINDS: Mapping[str, tuple[str, type | tuple[type, ...], str]] = {
    "string": ("String", str, "String, Uri"),
    "securestring": ("SecureString", str, "String, Uri"),
    "int": ("Int", int, "Integer"),
    "bool": ("Bool", bool, "Boolean"),
    "object": ("Object", dict, "Object"),
    "secureobject": ("SecureObject", dict, "Object"),
    "array": ("Array", list, "Array"),
}
"""Type in lower case → as replies show it, Python's, and what errors call it."""
SECURE = frozenset({"securestring", "secureobject"})
_SEE = "Please see https://aka.ms/arm-syntax-parameters for usage details."


class InvalidTemplate(Exception):
    """A template, or its parameters, that cannot be deployed; the message is what stands in the quotes."""

    def __init__(self, message: str, place: Place | None = None) -> None:
        super().__init__(message)
        self.place = place


@dataclass(frozen=True, slots=True)
class Declared:
    """A parameter, output or definition, its `$ref` resolved."""

    name: str
    kind: str
    """In lower case."""
    schema: Mapping[str, Any]

    @property
    def shown_type(self) -> str:
        return _KINDS[self.kind][0]

    @property
    def secure(self) -> bool:
        return self.kind in SECURE


def declared(name: str, schema: Any, template: Mapping[str, Any]) -> Declared:
    """Raises `InvalidTemplate` for a type that there is not."""
    resolved = _resolved(schema, template)
    kind = str(resolved.get("type", "")).lower()
    if kind not in _KINDS:
        raise InvalidTemplate(
            f"The template parameter '{name}' is not valid: the type '{resolved.get('type', '')}' is not one of "
            f"'{', '.join(shown for shown, _, _ in _KINDS.values())}'. {_SEE}"
        )
    return Declared(name, kind, resolved)


def _resolved(schema: Any, template: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(schema) if isinstance(schema, Mapping) else {}
    for _ in range(20):
        target = made.pop("$ref", None)
        if not isinstance(target, str):
            return made
        definitions = template.get("definitions")
        found = definitions.get(target.removeprefix("#/definitions/")) if isinstance(definitions, Mapping) else None
        if not isinstance(found, Mapping):
            raise InvalidTemplate(f"The template definition reference '{target[:200]}' could not be resolved. {_SEE}")
        made = {**found, **made}
    raise InvalidTemplate("The template definitions refer to each other without end.")


def bind(
    template: Mapping[str, Any], given: Mapping[str, Any], frame: Frame, place_of: Any
) -> tuple[Names, dict[str, Any]]:
    """Names for `parameters()`, and how replies show them. Raises `InvalidTemplate`.

    `given` is name → `{"value": …}`. `place_of(name)` tells where the template declares one.
    """
    schemas = template.get("parameters") or {}
    if not isinstance(schemas, Mapping):
        raise InvalidTemplate(f"The template parameters must be an object. {_SEE}")
    values = {name.lower(): value for name, value in given.items()}
    extra = [name for name in given if name.lower() not in {known.lower() for known in schemas}]
    if extra:
        raise InvalidTemplate(
            "The following parameters were supplied, but do not correspond to any parameters defined in the template: "
            f"'{', '.join(extra)}'. The parameters defined in the template are: '{', '.join(schemas)}'. Please see "
            "https://aka.ms/arm-pass-parameter-values for usage details."
        )
    names = Names("parameter")
    inside = frame.within(parameters=names, variables=Names("variable"), only="default")
    missing = []
    for name, schema in schemas.items():
        one = declared(name, schema, template)
        value = values.get(name.lower())
        if isinstance(value, Mapping) and "value" in value:
            names.values[name.lower()] = value["value"]
        elif "defaultValue" in one.schema:
            names.waiting[name.lower()] = _default(one.schema["defaultValue"], inside)
        elif one.schema.get("nullable") is True:
            names.values[name.lower()] = None
        else:
            missing.append(name)
    if missing:
        place = place_of(missing[0])
        raise InvalidTemplate(
            f"The value for the template parameter '{missing[0]}' at line '{place.line}' and column '{place.column}' "
            "is not provided. Please see https://aka.ms/arm-create-parameter-file for usage details.",
            place,
        )
    shown: dict[str, Any] = {}
    for name, schema in schemas.items():
        one = declared(name, schema, template)
        value = names.get(inside, name)
        row = values.get(name.lower())
        reference = row.get("reference") if isinstance(row, Mapping) else None
        hidden = one.secure or reference is not None
        check(one, value, template, name, hidden=hidden)
        shown[name] = {"type": one.shown_type}
        if reference is not None:
            shown[name]["reference"] = reference
        elif not hidden:
            shown[name]["value"] = value
    return names, shown


def _default(value: Any, frame: Frame) -> Any:
    return lambda _asking: evaluate(value, frame)


def check(
    one: Declared, value: Any, template: Mapping[str, Any], name: str, depth: int = 0, *, hidden: bool = False
) -> None:
    """Raises `InvalidTemplate` unless the value is one that the declaration allows; a `hidden` one is not quoted."""
    schema = one.schema
    if value is None and schema.get("nullable") is True:
        return
    _, wanted, called = _KINDS[one.kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and one.kind == "int"):
        raise InvalidTemplate(
            f"Template parameter JToken type is not valid. Expected '{called}'. Actual '{type_name(value)}'. Please "
            "see https://aka.ms/arm-parameter-file for usage details."
        )
    _limits(schema, value, name, hidden)
    if depth < 20:
        _inside(one, value, template, name, depth, hidden)


def _limits(schema: Mapping[str, Any], value: Any, name: str, hidden: bool) -> None:
    allowed = schema.get("allowedValues")
    if isinstance(allowed, list) and allowed:
        values = value if isinstance(value, list) and not any(isinstance(one, list) for one in allowed) else [value]
        for one in values:
            if not any(same(one, known) or _alike(one, known) for known in allowed):
                quoted = "" if hidden else f" '{to_text(one)[:200]}'"
                raise InvalidTemplate(
                    f"The provided value{quoted} for the template parameter '{name}' is not valid. The "
                    f"parameter value is not part of the allowed value(s): '{','.join(map(to_text, allowed))}'."
                )
    start = f"The provided value for the template parameter '{name}' is not valid."
    if isinstance(value, int) and not isinstance(value, bool):
        least, most = schema.get("minValue"), schema.get("maxValue")
        if isinstance(least, int) and value < least:
            raise InvalidTemplate(f"{start} Value should be greater than or equal to '{least}'. {_SEE}")
        if isinstance(most, int) and value > most:
            raise InvalidTemplate(f"{start} Value should be less than or equal to '{most}'. {_SEE}")
    if isinstance(value, str | list):
        low, high = schema.get("minLength"), schema.get("maxLength")
        if isinstance(low, int) and len(value) < low:
            raise InvalidTemplate(f"{start} Length of the value should be greater than or equal to '{low}'. {_SEE}")
        if isinstance(high, int) and len(value) > high:
            raise InvalidTemplate(f"{start} Length of the value should be less than or equal to '{high}'. {_SEE}")


def _alike(a: Any, b: Any) -> bool:
    return isinstance(a, str) and isinstance(b, str) and a.lower() == b.lower()


def _inside(one: Declared, value: Any, template: Mapping[str, Any], name: str, depth: int, hidden: bool) -> None:
    schema = one.schema
    if isinstance(value, list):
        items = schema.get("items")
        if isinstance(items, Mapping) and (items.get("type") or items.get("$ref")):
            for at, row in enumerate(value):
                check(declared(name, items, template), row, template, f"{name}[{at}]", depth + 1, hidden=hidden)
        return
    if not isinstance(value, dict):
        return
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or "discriminator" in schema:
        return
    for key, inner in properties.items():
        found, there = member(value, key)
        deeper = declared(f"{name}.{key}", inner, template)
        if found:
            check(deeper, there, template, f"{name}.{key}", depth + 1, hidden=hidden)
        elif deeper.schema.get("nullable") is not True:
            raise InvalidTemplate(
                f"The provided value for the template parameter '{name}' is not valid. The value is missing the "
                f"required property '{key}'. {_SEE}"
            )
    if schema.get("additionalProperties") is False:
        extra = [key for key in value if key.lower() not in {known.lower() for known in properties}]
        if extra:
            raise InvalidTemplate(
                f"The provided value for the template parameter '{name}' is not valid. The following properties are "
                f"not expected: '{', '.join(extra)}'. {_SEE}"
            )


__all__ = ["SECURE", "Declared", "ExpressionError", "InvalidTemplate", "bind", "check", "declared"]
