"""A template, opened for a deployment: parameters bound, loops unrolled, every resource with its id."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyfob.arm.templates.evaluate import (
    Budget,
    Frame,
    Loop,
    Names,
    UserFunction,
    copy_count,
    evaluate,
    is_property_copy,
    property_copy,
)
from keyfob.arm.templates.expressions import ExpressionError, is_expression
from keyfob.arm.templates.facts import GROUP, Facts
from keyfob.arm.templates.parameters import Declared, InvalidTemplate, bind, declared
from keyfob.arm.templates.source import Path, Place
from keyfob.errors import InvalidInput, Problem
from keyfob.resource_id import ROOT, ResourceId

MOST_RESOURCES = 800
DEPLOYMENTS = "microsoft.resources/deployments"
_SCHEMA = re.compile(
    r"https?://schema\.management\.azure\.com/schemas/(\d{4}-\d\d-\d\d(?:-preview)?)/"
    r"(?:subscription|managementgroup|tenant)?deploymenttemplate\.json#?",
    re.IGNORECASE,
)
_SYNTAX = "Please see https://aka.ms/arm-syntax-resources for usage details."
_OWN = frozenset(
    {
        "type", "apiversion", "name", "dependson", "condition", "copy", "resources", "scope", "comments", "metadata",
        "existing", "import", "extension", "asserts",
    }
)  # fmt: skip
"""Members of a resource that are the template's own affair."""
_GROUPS = frozenset({"microsoft.resources/resourcegroups", "microsoft.resources/subscriptions/resourcegroups"})
_TENANT_TYPES = ("microsoft.management/", "microsoft.subscription/", "microsoft.billing/")


@dataclass(slots=True, kw_only=True)
class Part:
    """One resource to deploy."""

    id: ResourceId
    type: str
    name: str
    """With its parents': `server/database`."""
    api_version: str
    body: Mapping[str, Any]
    """As it stands in the template, without what is the template's own affair."""
    frame: Frame
    symbol: str = ""
    loop: str = ""
    """Name of the copy that made it, in lower case."""
    index: int = 0
    batch: int = 0
    """How many of its loop may be worked on at once; 0: all."""
    depends_on: list[Any] = field(default_factory=list)
    condition: bool = True
    existing: bool = False
    path: Path = ()
    parent: ResourceId | None = None
    needs: set[str] = field(default_factory=set)
    """Keys of the parts that come first."""

    @property
    def key(self) -> str:
        return self.id.key

    @property
    def is_deployment(self) -> bool:
        return self.type.lower() == DEPLOYMENTS

    @property
    def inner(self) -> bool:
        """Whether a nested template's expressions are its own."""
        properties = self.body.get("properties")
        options = properties.get("expressionEvaluationOptions") if isinstance(properties, Mapping) else None
        return isinstance(options, Mapping) and str(options.get("scope", "")).lower() == "inner"


class Known:
    """The template's resources, as `reference`, `list…` and `dependsOn` name them."""

    def __init__(self, outer: Known | None = None) -> None:
        self._outer = outer
        self._names: dict[str, list[Part]] = {}
        self._loops: dict[str, list[Part]] = {}

    def add(self, part: Part) -> None:
        for name in {part.name.lower(), f"{part.type}/{part.name}".lower(), part.key, _interleaved(part)}:
            self._names.setdefault(name, []).append(part)
        if part.symbol:
            symbol = part.symbol.lower()
            self._names.setdefault(f"{symbol}[{part.index}]" if part.loop else symbol, []).insert(0, part)
        if part.loop:
            for loop in {part.loop, part.symbol.lower()} - {""}:
                self._loops.setdefault(loop, []).append(part)

    def parts(self, text: str) -> list[Part]:
        """What a dependency names; empty when nothing has that name."""
        key = text.lower().rstrip("/")
        found = self._names.get(key) or self._loops.get(key)
        if not found and text.startswith("/"):
            try:
                found = self._names.get(ResourceId.parse(text).key)
            except Problem:
                return []
        return found or []

    def named(self, text: str) -> tuple[str, str] | None:
        found = self.parts(text)
        if found:
            return str(found[0].id), found[0].api_version
        return self._outer.named(text) if self._outer is not None else None

    def loop(self, name: str) -> list[tuple[str, str]] | None:
        rows = self._loops.get(name.lower())
        return [(str(part.id), part.api_version) for part in rows] if rows is not None else None


def _interleaved(part: Part) -> str:
    """`Microsoft.Sql/servers/a/databases/b`."""
    at = part.id._provider_at()
    return "/".join(part.id.segments[at + 1 :]).lower() if at is not None else part.key


@dataclass(slots=True)
class Opened:
    """A template ready to be planned and run."""

    template: Mapping[str, Any]
    frame: Frame
    parts: list[Part]
    shown_parameters: dict[str, Any]
    outputs: dict[str, tuple[Declared, Mapping[str, Any]]]
    symbolic: bool = False


PlaceOf = Callable[[Path], Place]


def invalid(message: str, place: Place | None = None, path: str = "") -> InvalidInput:
    """The problem that clients see for a template that cannot be deployed."""
    info = None
    if place is not None:
        line = {"lineNumber": place.line, "linePosition": place.column, "path": path}
        info = {"additionalInfo": [{"type": "TemplateViolation", "info": line}]}
    return InvalidInput(f"Deployment template validation failed: '{message}'.", code="InvalidTemplate", info=info)


def open_template(
    template: Any,
    given: Mapping[str, Any],
    facts: Facts,
    *,
    place_of: PlaceOf = lambda path: Place(1, 1),
    outer: Frame | None = None,
    budget: Budget | None = None,
) -> Opened:
    """Raises `InvalidInput` (`InvalidTemplate`, `InvalidRequestContent`). `outer` is the frame of the template that
    holds this one, when expressions here are evaluated in its scope."""
    try:
        return _Opening(template, facts, place_of, outer, budget).open(given)
    except InvalidTemplate as error:
        raise invalid(str(error), error.place) from None
    except ExpressionError as error:
        raise invalid(str(error)) from None
    except RecursionError:
        raise invalid("The template is nested too deep.") from None


class _Opening:
    def __init__(
        self, template: Any, facts: Facts, place_of: PlaceOf, outer: Frame | None, budget: Budget | None
    ) -> None:
        self._template = _checked(template)
        self._facts = facts
        self._place_of = place_of
        self._outer = outer
        self._budget = budget or Budget()
        self._known = Known(outer.known if outer is not None else None)
        self._parts: list[Part] = []

    def open(self, given: Mapping[str, Any]) -> Opened:
        template = self._template
        frame = Frame(
            parameters=Names("parameter"),
            variables=Names("variable"),
            functions=_functions(template),
            facts=self._facts,
            budget=self._budget,
        )
        shown: dict[str, Any] = {}
        if self._outer is not None:
            outer = self._outer
            frame = outer.within(known=self._known, budget=self._budget, runtime=None)
        else:
            names, shown = bind(template, given, frame, lambda name: self._place_of(("parameters", name)))
            frame = frame.within(parameters=names, known=self._known)
            variables = _variables(template, frame)
            frame = frame.within(variables=variables)
            for name in list(variables.waiting):
                variables.get(frame, name)
        resources = template.get("resources")
        symbolic = isinstance(resources, Mapping)
        rows = resources.items() if isinstance(resources, Mapping) else enumerate(resources or ())
        for key, resource in rows:
            self._resource(resource, frame, ("resources", key), str(key) if symbolic else "")
        self._duplicates()
        return Opened(template, frame, self._parts, shown, self._outputs(), symbolic)

    # --- resources

    def _resource(
        self, resource: Any, frame: Frame, path: Path, symbol: str, above: tuple[str, str] | None = None
    ) -> None:
        place = self._place_of(path)
        if not isinstance(resource, Mapping):
            raise InvalidTemplate(f"The template resource must be an object. {_SYNTAX}", place)
        copy = resource.get("copy")
        try:
            if not isinstance(copy, Mapping):
                self._one(resource, frame, path, symbol, above, None, 0)
                return
            name = str(evaluate(copy.get("name", symbol), frame))
            count = copy_count(evaluate(copy.get("count"), frame), name)
            batch = 0
            if str(copy.get("mode", "")).lower() == "serial":
                size = evaluate(copy.get("batchSize", 1), frame)
                batch = max(1, size) if isinstance(size, int) else 1
            for index in range(count):
                inside = frame.within(loops=(*frame.loops, Loop(name.lower(), index)))
                self._one(resource, inside, path, symbol, above, (name.lower(), batch), index)
        except ExpressionError as error:
            name = str(resource.get("name", ""))[:200]
            raise InvalidTemplate(
                f"The template resource '{name}' at line '{place.line}' and column '{place.column}' is not valid: "
                f"{_sentence(str(error))} Please see https://aka.ms/arm-template-expressions for usage details.",
                place,
            ) from None

    def _one(
        self,
        resource: Mapping[str, Any],
        frame: Frame,
        path: Path,
        symbol: str,
        above: tuple[str, str] | None,
        loop: tuple[str, int] | None,
        index: int,
    ) -> None:
        self._budget.spend()
        condition = self._condition(resource, frame)
        try:
            kind, name = self._type_and_name(resource, frame, path, above)
            id = self._id(resource, frame, kind, name)
        except ExpressionError:
            if condition:
                raise
            # what is not deployed need not have a name: those of optional resources often cannot be evaluated
            kind = str(resource.get("type", ""))
            kind = kind if "/" in kind else f"{kind}/-"
            name = "/".join("-" * kind.count("/"))
            id = ROOT.provider(kind, *name.split("/"))
        if len(self._parts) >= MOST_RESOURCES:
            raise InvalidTemplate(
                f"The number of template resources limit exceeded. Limit: '{MOST_RESOURCES}' and actual: "
                f"'{len(self._parts) + 1}'. Please see https://aka.ms/arm-template-limits for usage details."
            )
        version = evaluate(resource.get("apiVersion"), frame)
        if not isinstance(version, str) or not version:
            place = self._place_of(path)
            raise InvalidTemplate(
                f"The template resource '{name}' at line '{place.line}' and column '{place.column}' is not valid. The "
                f"api-version is missing. {_SYNTAX}",
                place,
            )
        depends = resource.get("dependsOn") or []
        part = Part(
            id=id,
            type=kind,
            name=name,
            api_version=version,
            body={member: value for member, value in resource.items() if member.lower() not in _OWN},
            frame=frame,
            symbol=symbol,
            loop=loop[0] if loop else "",
            batch=loop[1] if loop else 0,
            index=index,
            depends_on=[evaluate(one, frame) for one in (depends if isinstance(depends, list) else [depends])],
            condition=condition,
            existing=resource.get("existing") is True,
            path=path,
        )
        self._parts.append(part)
        self._known.add(part)
        children = resource.get("resources") or ()
        rows = children.items() if isinstance(children, Mapping) else enumerate(children)
        for key, child in rows:
            below = str(key) if isinstance(children, Mapping) else ""
            stopped = {**child, "condition": False} if isinstance(child, Mapping) and not condition else child
            self._resource(stopped, frame, (*path, "resources", key), below, (kind, name))

    def _condition(self, resource: Mapping[str, Any], frame: Frame) -> bool:
        condition = evaluate(resource.get("condition", True), frame)
        if isinstance(condition, str) and condition.lower() in ("true", "false"):
            return condition.lower() == "true"
        if not isinstance(condition, bool):
            raise ExpressionError("the condition must evaluate to a boolean.")
        return condition

    def _type_and_name(
        self, resource: Mapping[str, Any], frame: Frame, path: Path, above: tuple[str, str] | None
    ) -> tuple[str, str]:
        kind, given = evaluate(resource.get("type"), frame), resource.get("name")
        place = self._place_of(path)
        at = f"at line '{place.line}' and column '{place.column}'"
        if not isinstance(kind, str) or not kind:
            raise InvalidTemplate(f"The template resource '{str(given)[:200]}' {at} has no type. {_SYNTAX}", place)
        name = evaluate(given, frame)
        if not isinstance(name, str) or not name:
            raise InvalidTemplate(
                f"The template resource {at} is not valid: the name property cannot be null or empty. {_SYNTAX}", place
            )
        if above is not None and not kind.lower().startswith(above[0].lower() + "/"):
            kind, name = f"{above[0]}/{kind}", f"{above[1]}/{name}"
        if "/" not in kind:
            raise InvalidTemplate(
                f"The template resource '{name[:200]}' of type '{kind[:200]}' {at} is not valid. The type property is "
                f"invalid. {_SYNTAX}",
                place,
            )
        if kind.count("/") != name.count("/") + 1:
            raise InvalidTemplate(
                f"The template resource '{name[:200]}' for type '{kind[:200]}' {at} has incorrect segment lengths. A "
                "nested resource type must have identical number of segments as its resource name. A root resource "
                f"type must have segment length one greater than its resource name. {_SYNTAX}",
                place,
            )
        return kind, name

    def _id(self, resource: Mapping[str, Any], frame: Frame, kind: str, name: str) -> ResourceId:
        scope = self._scope(resource, frame, kind)
        low = kind.lower()
        if low in _GROUPS and scope.subscription_id is not None:
            return _parsed(f"/subscriptions/{scope.subscription_id}/resourceGroups/{name.rpartition('/')[2]}")
        if low.startswith(_TENANT_TYPES) and "scope" not in resource:
            scope = ROOT
        namespace, *types = kind.split("/")
        pairs = "/".join(f"{one}/{part}" for one, part in zip(types, name.split("/"), strict=True))
        return _parsed(f"{scope if scope.segments else ''}/providers/{namespace}/{pairs}")

    def _scope(self, resource: Mapping[str, Any], frame: Frame, kind: str) -> ResourceId:
        """Where a resource goes: here, into another group or subscription, or onto another resource."""
        here = self._facts.scope
        scope = evaluate(resource.get("scope"), frame)
        if isinstance(scope, str) and scope:
            return scope_of(scope, here)
        subscription = evaluate(resource.get("subscriptionId"), frame)
        group = evaluate(resource.get("resourceGroup"), frame)
        if isinstance(group, str) and group:
            sub = subscription if isinstance(subscription, str) and subscription else here.subscription_id
            return _parsed(f"/subscriptions/{sub}/resourceGroups/{group}")
        if isinstance(subscription, str) and subscription:
            return _parsed(f"/subscriptions/{subscription}")
        return here

    def _duplicates(self) -> None:
        seen: set[str] = set()
        for part in self._parts:
            if part.existing or not part.condition:
                continue
            if part.key in seen:
                place = self._place_of(part.path)
                raise InvalidTemplate(
                    f"The resource '{part.type}/{part.name}' at line '{place.line}' and column '{place.column}' is "
                    f"defined multiple times in a template. {_SYNTAX}",
                    place,
                )
            seen.add(part.key)

    def _outputs(self) -> dict[str, tuple[Declared, Mapping[str, Any]]]:
        outputs = self._template.get("outputs") or {}
        if not isinstance(outputs, Mapping):
            raise InvalidTemplate("The template outputs must be an object.")
        return {
            name: (declared(name, schema, self._template), schema)
            for name, schema in outputs.items()
            if isinstance(schema, Mapping)
        }


def secure_values(opened: Opened) -> set[str]:
    """Texts in the parameters whose values are not shown."""
    values = opened.frame.parameters.values
    rest = [values.get(name.lower()) for name, shown in opened.shown_parameters.items() if "value" not in shown]
    found: set[str] = set()
    while rest:
        one = rest.pop()
        if isinstance(one, dict | list):
            rest += one.values() if isinstance(one, dict) else one
        elif isinstance(one, str) and one:
            found.add(one)
    return found


def _sentence(text: str) -> str:
    return text if text.endswith(".") else text + "."


def scope_of(text: str, here: ResourceId) -> ResourceId:
    """The value of a `scope` property: an id, or `Microsoft.KeyVault/vaults/v` below where the deployment is."""
    if text.startswith("/"):
        return _parsed(text)
    base = "" if text.lower().startswith(_TENANT_TYPES) or not here.segments else str(here)
    return _parsed(f"{base}/providers/{text}")


def _parsed(text: str) -> ResourceId:
    try:
        return ResourceId.parse(text)
    except Problem as problem:
        raise ExpressionError(problem.message) from None


def _checked(template: Any) -> Mapping[str, Any]:
    if not isinstance(template, Mapping):
        raise InvalidInput(
            "The request content was invalid: the template must be an object.", code="InvalidRequestContent"
        )
    schema = template.get("$schema")
    if not isinstance(schema, str) or not _SCHEMA.fullmatch(schema.strip()):
        raise InvalidTemplate(
            f"Template schema '{str(schema or '')[:200]}' is not supported. Supported versions are "
            "'2014-04-01-preview,2015-01-01,2018-05-01,2019-04-01,2019-08-01'. Please see https://aka.ms/arm-template "
            "for usage details."
        )
    for name in ("contentVersion", "resources"):
        if name not in template:
            raise InvalidInput(
                "The request content was invalid and could not be deserialized: 'Required property "
                f"'{name}' not found in JSON. Path 'properties.template', line 1, position 1.'.",
                code="InvalidRequestContent",
            )
    if not isinstance(template["resources"], list | Mapping):
        raise InvalidTemplate(f"The template resources must be an array or an object. {_SYNTAX}")
    return template


def _functions(template: Mapping[str, Any]) -> dict[str, UserFunction]:
    made: dict[str, UserFunction] = {}
    for group in template.get("functions") or ():
        if not isinstance(group, Mapping) or not isinstance(group.get("members"), Mapping):
            raise InvalidTemplate("The template functions are not valid: a namespace and its members are expected.")
        for name, one in group["members"].items():
            output = one.get("output") if isinstance(one, Mapping) else None
            if not isinstance(output, Mapping):
                raise InvalidTemplate(f"The template function '{name}' has no output.")
            parameters = tuple(str(p.get("name", "")) for p in one.get("parameters") or () if isinstance(p, Mapping))
            full = f"{group.get('namespace', '')}.{name}"
            made[full.lower()] = UserFunction(full, parameters, output.get("value"))
    return made


def _variables(template: Mapping[str, Any], frame: Frame) -> Names:
    names = Names("variable")
    given = template.get("variables") or {}
    if not isinstance(given, Mapping):
        raise InvalidTemplate("The template variables must be an object.")
    inside = frame.within(variables=names)
    for name, value in given.items():
        if name.lower() == "copy" and is_property_copy(value):
            for loop in value:
                names.waiting[str(evaluate(loop["name"], inside)).lower()] = _looped(loop, inside)
        else:
            names.waiting[name.lower()] = _later(value, inside)
    return names


def _later(value: Any, frame: Frame) -> Callable[[Frame], Any]:
    return lambda _asking: evaluate(value, frame)


def _looped(loop: Mapping[str, Any], frame: Frame) -> Callable[[Frame], Any]:
    return lambda _asking: property_copy(loop, frame)


def texts(value: Any, frame: Frame) -> Iterator[tuple[str, Frame]]:
    """Every expression in a value with the frame it stands in: property loops are gone through."""
    if isinstance(value, str):
        if is_expression(value):
            yield value, frame
    elif isinstance(value, Mapping):
        for name, one in value.items():
            if name.lower() == "copy" and is_property_copy(one):
                for loop in one:
                    yield from _loop_texts(loop, frame)
            else:
                yield from texts(one, frame)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one, frame)


def _loop_texts(loop: Mapping[str, Any], frame: Frame) -> Iterator[tuple[str, Frame]]:
    try:
        name, count = str(evaluate(loop["name"], frame)), evaluate(loop["count"], frame)
        count = copy_count(count, name)
    except Exception:
        count = 0
        name = ""
    for index in range(count):
        yield from texts(loop["input"], frame.within(loops=(*frame.loops, Loop(name.lower(), index))))


__all__ = ["GROUP", "Known", "Opened", "Part", "invalid", "open_template", "scope_of", "secure_values", "texts"]
