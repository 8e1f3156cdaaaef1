"""Who wants to hear of which changes, on this node."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from keyfob.store.port import EVERYTHING, Watcher

Change = tuple[str, str]
"""A topic and a key."""


class Watchers:
    """Calls watchers in the order they registered. One that fails is logged and keeps nobody else from hearing."""

    def __init__(self) -> None:
        self._of: dict[str, list[Watcher]] = {}

    def add(self, topic: str, watcher: Watcher) -> None:
        self._of.setdefault(topic, []).append(watcher)

    def tell(self, changes: Iterable[Change]) -> None:
        for topic, key in changes:
            for watcher in tuple(self._of.get(topic, ())):
                try:
                    watcher(key)
                except Exception:
                    logging.getLogger("keyfob.store").exception("a watcher of %s failed", topic)

    def tell_everything(self) -> None:
        self.tell([(topic, EVERYTHING) for topic in self._of])
