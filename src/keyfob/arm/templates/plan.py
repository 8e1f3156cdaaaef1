"""What must come before what: `dependsOn`, and what expressions read. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from keyfob.arm.templates.evaluate import Frame, Pending, run
from keyfob.arm.templates.expressions import Access, Call, ExpressionError, Node, parse
from keyfob.arm.templates.source import Place
from keyfob.arm.templates.template import Known, Opened, Part, PlaceOf, invalid, texts
from keyfob.errors import Problem
from keyfob.resource_id import ResourceId


def plan(opened: Opened, place_of: PlaceOf = lambda path: Place(1, 1)) -> list[Part]:
    """The parts to deploy, each with the keys of those that come first. Raises `InvalidInput` (`InvalidTemplate`)."""
    known: Known = opened.frame.known
    for part in opened.parts:
        _explicit(part, known)
        _implied(part, known)
    _batches(opened.parts)
    by_key = {part.key: part for part in opened.parts if part.condition or part.existing}
    for part in opened.parts:
        part.needs = _through(part, by_key)
    wanted = [part for part in opened.parts if part.condition and not part.existing]
    _no_cycle(wanted)
    return wanted


def _explicit(part: Part, known: Known) -> None:
    for given in part.depends_on:
        if given is None or given == "":
            continue
        found = known.parts(given) if isinstance(given, str) else []
        if not found:
            raise invalid(
                f"The resource '{str(given)[:300]}' is not defined in the template. Please see "
                "https://aka.ms/arm-syntax for usage details."
            )
        for one in found:
            if one is part:
                raise _cycle(part)
            part.needs.add(one.key)


def _implied(part: Part, known: Known) -> None:
    """The resource a child or an extension belongs to, and those that `reference` and `list…` read."""
    parent: ResourceId = part.id.parent
    while parent.segments:
        if parent.namespace is not None or (parent.resource_group is not None and len(parent.segments) == 4):
            part.needs |= {one.key for one in known.parts(str(parent)) if one is not part}
        parent = parent.parent
    body = part.body
    if part.is_deployment and part.inner and isinstance(body.get("properties"), dict):
        properties = {name: value for name, value in body["properties"].items() if name != "template"}
        body = {**body, "properties": properties}
    for text, frame in texts(body, part.frame):
        low = text.lower()
        if "reference" not in low and "list" not in low:
            continue
        for name in _read_by(text, frame):
            for one in known.parts(name):
                if one is part:
                    raise _cycle(part)
                part.needs.add(one.key)


def _read_by(text: str, frame: Frame) -> Iterator[str]:
    tree = frame.trees.get(text)
    if tree is None:
        try:
            tree = frame.trees[text] = parse(text)
        except ExpressionError:
            return
    for call in _calls(tree):
        if call.arguments and not call.namespace and (call.key in ("reference", "references") or _lists(call.key)):
            try:
                named = run(call.arguments[0], frame)
            except (ExpressionError, Pending, Problem, RecursionError):
                continue
            if isinstance(named, str):
                yield named


def _lists(key: str) -> bool:
    return key.startswith("list")


def _calls(node: Node) -> Iterator[Call]:
    rest = [node]
    while rest:
        one = rest.pop()
        if isinstance(one, Call):
            yield one
            rest += one.arguments
        elif isinstance(one, Access):
            rest += (one.value, one.property)


def _batches(parts: list[Part]) -> None:
    """A serial loop waits for its batch before."""
    loops: dict[str, list[Part]] = {}
    for part in parts:
        if part.loop and part.batch:
            loops.setdefault(part.loop, []).append(part)
    for rows in loops.values():
        size = rows[0].batch
        for at, part in enumerate(rows):
            batch = at // size
            if batch:
                part.needs |= {one.key for one in rows[(batch - 1) * size : batch * size]}


def _through(part: Part, by_key: dict[str, Part]) -> set[str]:
    """Needs among what is deployed: an existing resource, or one whose condition is false, passes its own on."""
    made: set[str] = set()
    seen: set[str] = set()
    rest = list(part.needs)
    while rest:
        key = rest.pop()
        if key in seen:
            continue
        seen.add(key)
        one = by_key.get(key)
        if one is None:
            continue
        if one.existing:
            rest += one.needs
        elif one is not part:
            made.add(key)
    return made


def _no_cycle(parts: list[Part]) -> None:
    left = {part.key: set(part.needs) for part in parts}
    users: dict[str, list[str]] = {}
    for key, needs in left.items():
        for need in needs:
            users.setdefault(need, []).append(key)
    free = [key for key, needs in left.items() if not needs]
    while free:
        key = free.pop()
        del left[key]
        for user in users.get(key, ()):
            left[user].discard(key)
            if not left[user]:
                free.append(user)
    if left:
        # what only waits for the cycle is not in it
        key = next(iter(left))
        seen: set[str] = set()
        while key not in seen:
            seen.add(key)
            key = next(need for need in sorted(left[key]) if need in left)
        raise _cycle(next(part for part in parts if part.key == key))


def _cycle(part: Part) -> Problem:
    return invalid(
        f"Circular dependency detected on resource: '{part.id}'. Please see "
        "https://aka.ms/arm-syntax-resources for usage details."
    )
