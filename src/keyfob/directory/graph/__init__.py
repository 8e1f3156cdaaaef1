"""Microsoft Graph, the part of it that managing identities needs. `graph()` builds the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyfob.clock import Clock, Ids
from keyfob.directory.graph.legacy import AadGraph
from keyfob.store.port import Store

if TYPE_CHECKING:
    from keyfob.directory.graph.asked import Gate
    from keyfob.directory.graph.plane import Graph

__all__ = ["AadGraph", "graph"]


def graph(*, store: Store, gate: Gate, clock: Clock, ids: Ids) -> Graph:
    """`gate` says who is calling and keeps the decisions: the guard. The plane's modules are imported here and not
    above, so that a server starts without them."""
    from keyfob.directory.graph.asked import Parts
    from keyfob.directory.graph.catalog import load_catalog
    from keyfob.directory.graph.plane import Graph

    return Graph(Parts(store=store, gate=gate, catalog=load_catalog(), clock=clock, ids=ids))
