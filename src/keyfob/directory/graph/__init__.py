"""Microsoft Graph, the part of it that managing identities needs. `graph()` builds the plane."""

from __future__ import annotations

from keyfob.clock import Clock, Ids
from keyfob.directory.graph.asked import Gate, Parts
from keyfob.directory.graph.catalog import load_catalog
from keyfob.directory.graph.legacy import AadGraph
from keyfob.directory.graph.plane import Graph
from keyfob.store.port import Store

__all__ = ["AadGraph", "Graph", "graph"]


def graph(*, store: Store, gate: Gate, clock: Clock, ids: Ids) -> Graph:
    """`gate` says who is calling and keeps the decisions: the guard."""
    return Graph(Parts(store=store, gate=gate, catalog=load_catalog(), clock=clock, ids=ids))
