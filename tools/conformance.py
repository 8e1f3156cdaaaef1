"""Replays every official example of the operations that are served here, and prints the share that conforms.

    python tools/conformance.py [WORDS…]      only documents whose path has one of the words

Exit status 1 when something does not conform that `tests/conformance/known.py` does not know.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from conformance_documents import KEPT, PROJECT, Documents, folder
from conformance_planes import MetadataReplay, VaultReplay
from conformance_replay import Replay, Result, Server

from keyfob.app.parts import build
from keyfob.clock import SystemClock, SystemIds
from keyfob.settings import read_settings

VAULT_DOCUMENTS = (
    "keyvault/data-plane/Microsoft.KeyVault/preview/7.0/keyvault.json",
    "keyvault/data-plane/Microsoft.KeyVault/stable/7.5/secrets.json",
)
METADATA = "imds/data-plane/"


async def replayed(documents: Documents, words: Sequence[str] = ()) -> list[Result]:
    """Every example of every operation served."""
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="keyfob-conformance-") as data:
        settings = read_settings({}, data=f"{data}/data")
        app = await build(settings, clock=SystemClock(), ids=SystemIds())
        try:
            server = Server(app, json.loads(settings.operator_file.read_text()))
            for audience in (server.operator["audience"], "https://vault.azure.net"):
                await server.token(audience)
            await server.remember()
            plane, vaults = Replay(server, documents), VaultReplay(server, documents)
            metadata = MetadataReplay(server, documents)
            for file in documents.files():
                name = str(file.relative_to(documents.root))
                if words and not any(word in name for word in words):
                    continue
                if name in VAULT_DOCUMENTS:
                    results += [one async for one in vaults.run(name)]
                elif name.startswith(METADATA):
                    results += [one async for one in metadata.run(name)]
                elif "/data-plane/" not in name:
                    for operation in documents.operations(file):
                        for example in operation.examples:
                            if (one := await plane.run(operation, example)) is not None:
                                results.append(one)
        finally:
            await app.stop()
    return results


def known_deviations() -> Mapping[tuple[str, str, str], str]:
    """`tests/conformance/known.py`: (document, operation, example or *) → why it does not conform."""
    file = PROJECT / "tests" / "conformance" / "known.py"
    spec = importlib.util.spec_from_file_location("conformance_known", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Mapping[tuple[str, str, str], str] = module.KNOWN
    return found


def reason(result: Result, known: Mapping[tuple[str, str, str], str]) -> tuple[str, str, str] | None:
    """The entry that knows it."""
    document, operation, example = result.key
    for key in known:
        if document.endswith(key[0]) and fnmatchcase(operation, key[1]) and key[2] in ("*", example):
            return key
    return None


def unknown(results: Iterable[Result], known: Mapping[tuple[str, str, str], str]) -> list[Result]:
    return [one for one in results if one.problems and reason(one, known) is None]


def stale(results: Sequence[Result], known: Mapping[tuple[str, str, str], str]) -> list[tuple[str, str, str]]:
    """Entries that nothing needs."""
    needed = {reason(one, known) for one in results if one.problems}
    return [key for key in known if key not in needed]


def summary(results: Sequence[Result]) -> Iterator[str]:
    """A line per document and the total: how many of the examples conform."""
    documents = dict.fromkeys(one.operation.document for one in results)
    width = max(map(len, documents), default=0)
    for document in documents:
        here = [one for one in results if one.operation.document == document]
        yield f"{document:{width}}  {_share(here)}"
    yield f"{'operations that do something':{width}}  {_share([one for one in results if one.standing != KEPT])}"
    yield f"{'operations of kept types':{width}}  {_share([one for one in results if one.standing == KEPT])}"


def share(results: Sequence[Result]) -> float:
    return sum(not one.problems for one in results) / max(1, len(results))


def _share(results: Sequence[Result]) -> str:
    good = sum(not one.problems for one in results)
    return f"{good:4} of {len(results):4}" + (f"  {share(results):7.1%}" if results else "")


def main() -> int:
    root = folder()
    if root is None:
        print("The official documents are not here; KEYFOB_OPENAPI names their folder.", file=sys.stderr)
        return 2
    results = asyncio.run(replayed(Documents(root), sys.argv[1:]))
    known = known_deviations()
    for line in summary(results):
        print(line)
    bad = unknown(results, known)
    for one in bad:
        print(f"\n{' | '.join(one.key)}")
        for problem in one.problems[:5]:
            print(f"    {problem[:400]}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
