"""Checks a value against a schema of an OpenAPI 2.0 document, in the dialect that Azure's documents use.

Not enforced, as Azure does not: enumerations that a document marks `modelAsString`, null for a member that is not
required, required members that only the other direction has (`readOnly` in requests, secrets and members that cannot be
read in replies), and the few formats that are not checked below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from conformance_documents import Documents

_PRIMITIVE = {"string": str, "boolean": bool, "array": list, "object": dict}


@dataclass
class Shape:
    """An object schema with everything its `allOf` adds."""

    properties: dict[str, tuple[Any, Path]] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    additional: Any = None
    """None: nothing is said. False, True, or (schema, file)."""
    discriminator: str = ""


class Checker:
    """`reply` says which direction is checked; `strict` reports members that no document knows."""

    def __init__(self, documents: Documents, *, reply: bool, strict: bool = True) -> None:
        self._documents = documents
        self._reply = reply
        self._strict = strict
        self._shapes: dict[int, Shape] = {}
        self._derived: dict[tuple[int, str], tuple[Any, Path] | None] = {}

    def problems(self, value: Any, schema: Any, file: Path) -> list[str]:
        """Sentences, each beginning with where in the value it is."""
        return list(self._check(value, schema, file, "$"))

    # ---

    def _check(self, value: Any, schema: Any, file: Path, at: str, *, exact: bool = False) -> Iterator[str]:
        node, file = self._documents.follow(schema, file)
        if not isinstance(node, Mapping):
            return
        kind = node.get("type")
        if kind is None and ("properties" in node or "allOf" in node or "additionalProperties" in node):
            kind = "object"
        if kind is None or (kind == "object" and not isinstance(value, dict) and _anything(node)):
            return
        if kind in ("integer", "number"):
            fits = isinstance(value, int | float) and not isinstance(value, bool)
            if fits and kind == "integer" and value != int(value):
                fits = False
        else:
            fits = isinstance(value, _PRIMITIVE.get(kind, object))
        if not fits:
            yield f"{at}: {_short(value)} is no {kind}"
            return
        if kind == "object":
            yield from self._object(value, node, file, at, exact)
        elif kind == "array":
            yield from _size(len(value), node, at, "Items")
            for index, item in enumerate(value):
                yield from self._check(item, node.get("items", {}), file, f"{at}[{index}]")
        elif kind == "string":
            yield from self._string(value, node, at)
        elif kind in ("integer", "number"):
            if "minimum" in node and value < node["minimum"]:
                yield f"{at}: {value} is less than {node['minimum']}"
            if "maximum" in node and value > node["maximum"]:
                yield f"{at}: {value} is more than {node['maximum']}"

    def _object(self, value: dict[str, Any], node: Any, file: Path, at: str, exact: bool) -> Iterator[str]:
        shape = self._shape(node, file)
        if shape.discriminator and not exact:
            said = value.get(shape.discriminator)
            derived = self._derive(node, file, str(said)) if said is not None else None
            if derived is not None:
                yield from self._check(value, *derived, at, exact=True)
                return
        for name in sorted(shape.required - value.keys()):
            inner, _ = self._documents.follow(*shape.properties.get(name, ({}, file)))
            if self._optional(inner):
                continue
            yield f"{at}: {name} is missing"
        for name, item in value.items():
            here = f"{at}.{name}"
            if name in shape.properties:
                if item is None and (name not in shape.required or self._nullable(shape.properties[name])):
                    continue
                if not self._reply and self._read_only(*shape.properties[name]):
                    continue
                yield from self._check(item, *shape.properties[name], here)
            elif isinstance(shape.additional, tuple):
                if item is not None:
                    yield from self._check(item, *shape.additional, here)
            elif shape.additional is False or (
                self._strict and self._reply and shape.additional is None and shape.properties
            ):
                yield f"{here}: no such member"

    def _string(self, value: str, node: Any, at: str) -> Iterator[str]:
        loose = (node.get("x-ms-enum") or {}).get("modelAsString", "x-ms-enum" not in node)
        if "enum" in node and not loose and value not in node["enum"]:
            known = [str(one).lower() for one in node["enum"]]
            if self._reply or value.lower() not in known:
                yield f"{at}: {_short(value)} is none of {node['enum']}"
        yield from _size(len(value), node, at, "Length")
        if "pattern" in node and not _matches(node["pattern"], value):
            yield f"{at}: {_short(value)} does not match {node['pattern']}"
        form = node.get("format")
        if (form == "uuid" and not _is_guid(value)) or (form == "date-time" and not _is_moment(value)):
            yield f"{at}: {_short(value)} is no {form}"

    # ---

    def _shape(self, node: Any, file: Path) -> Shape:
        known = self._shapes.get(id(node))
        if known is not None:
            return known
        shape = Shape()
        for part in node.get("allOf", ()):
            inner, where = self._documents.follow(part, file)
            base = self._shape(inner, where)
            shape.properties |= base.properties
            shape.required |= base.required
            shape.additional = base.additional if shape.additional is None else shape.additional
            shape.discriminator = shape.discriminator or base.discriminator
        shape.properties |= {name: (inner, file) for name, inner in node.get("properties", {}).items()}
        shape.required |= set(node.get("required", ()))
        if "additionalProperties" in node:
            more = node["additionalProperties"]
            shape.additional = (more, file) if isinstance(more, Mapping) else bool(more)
        shape.discriminator = node.get("discriminator", shape.discriminator)
        self._shapes[id(node)] = shape
        return shape

    def _derive(self, node: Any, file: Path, said: str) -> tuple[Any, Path] | None:
        """The definition that the discriminator's value names."""
        key = (id(node), said)
        if key not in self._derived:
            self._derived[key] = None
            for name, inner in (self._documents.load(file).get("definitions") or {}).items():
                names = {name, inner.get("x-ms-discriminator-value")}
                if said in names and inner is not node and self._descends(inner, node, file):
                    self._derived[key] = (inner, file)
        return self._derived[key]

    def _descends(self, inner: Any, base: Any, file: Path) -> bool:
        for part in inner.get("allOf", ()):
            found, where = self._documents.follow(part, file)
            if found is base or self._descends(found, base, where):
                return True
        return False

    def _optional(self, node: Any) -> bool:
        if self._reply:
            mutable = node.get("x-ms-mutability")
            return bool(node.get("x-ms-secret")) or (mutable is not None and "read" not in mutable)
        return bool(node.get("readOnly"))

    def _read_only(self, schema: Any, file: Path) -> bool:
        return bool(schema.get("readOnly") or self._documents.follow(schema, file)[0].get("readOnly"))

    def _nullable(self, place: tuple[Any, Path]) -> bool:
        return bool(place[0].get("x-nullable") or self._documents.follow(*place)[0].get("x-nullable"))


def _anything(node: Any) -> bool:
    """`type: object` without members stands for any value in Azure's documents."""
    return not any(word in node for word in ("properties", "allOf", "additionalProperties"))


def _size(size: int, node: Any, at: str, what: str) -> Iterator[str]:
    if size < node.get(f"min{what}", 0):
        yield f"{at}: shorter than {node[f'min{what}']}"
    if size > node.get(f"max{what}", size):
        yield f"{at}: longer than {node[f'max{what}']}"


@lru_cache(maxsize=1000)
def _pattern(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:  # JavaScript knows what Python does not
        return None


def _matches(pattern: str, value: str) -> bool:
    compiled = _pattern(pattern)
    return compiled is None or compiled.search(value) is not None


def _is_guid(value: str) -> bool:
    try:
        UUID(value)
    except ValueError:
        return False
    return True


def _is_moment(value: str) -> bool:
    try:
        datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.replace("Z", "+00:00")))
    except ValueError:
        return False
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
