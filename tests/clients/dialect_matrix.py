"""Which client speaks which token endpoint's dialect, and by what it can choose an identity there.

`test_dialect_matrix.py` runs every cell; `tools/matrix_page.py` prints them as docs/token-endpoint-matrix.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dialects import ALL


class Cell(NamedTuple):
    """`selectors` are those that the client sends and the endpoint honours; None: the client has no such path."""

    selectors: frozenset[str] | None
    note: str = ""


class Client(NamedTuple):
    name: str
    program: str
    """The fixture that gives the command; the JSON list of selectors is put behind it."""
    cells: Mapping[str, Cell]
    """Dialect → what the client makes of it."""


EVERY = Cell(ALL)
OWN = Cell(frozenset(), "sends no selector")
BY_CLIENT_ID = Cell(frozenset({"client_id"}))
NO_PATH = Cell(None)
AS_CLOUD_SHELL = Cell(frozenset(), "takes it for Cloud Shell")
DATES = Cell(None, "takes it for Azure ML and cannot read App Service's dates")

CLIENTS = (
    Client(
        "azure-identity, Python",
        "azure_identity_python",
        {
            "imds": EVERY,
            "vm-extension": AS_CLOUD_SHELL,
            "app-service-2019": EVERY,
            "app-service-2017": DATES,
            "azure-ml": BY_CLIENT_ID,
            "service-fabric": OWN,
            "arc": EVERY,
            "cloud-shell": OWN,
            "workload-identity": BY_CLIENT_ID,
        },
    ),
    Client(
        "MSAL, Python",
        "msal_python",
        {
            "imds": EVERY,
            "vm-extension": NO_PATH,
            "app-service-2019": EVERY,
            "app-service-2017": DATES,
            "azure-ml": BY_CLIENT_ID,
            "service-fabric": OWN,
            "arc": EVERY,
            "cloud-shell": NO_PATH,
            "workload-identity": NO_PATH,
        },
    ),
    Client(
        "azure-identity, Node",
        "azure_identity_node",
        {
            "imds": EVERY,
            "vm-extension": AS_CLOUD_SHELL,
            "app-service-2019": EVERY,
            "app-service-2017": Cell(frozenset({"client_id"}), "takes it for Azure ML"),
            "azure-ml": BY_CLIENT_ID,
            "service-fabric": OWN,
            "arc": EVERY,
            "cloud-shell": OWN,
            "workload-identity": BY_CLIENT_ID,
        },
    ),
    Client(
        "MSAL, Node",
        "msal_node",
        {
            "imds": EVERY,
            "vm-extension": AS_CLOUD_SHELL,
            "app-service-2019": EVERY,
            "app-service-2017": Cell(frozenset({"client_id"}), "takes it for Azure ML"),
            "azure-ml": BY_CLIENT_ID,
            "service-fabric": EVERY,
            "arc": EVERY,
            "cloud-shell": OWN,
            "workload-identity": NO_PATH,
        },
    ),
    Client(
        "azidentity, Go",
        "azidentity_go",
        {
            "imds": EVERY,
            "vm-extension": AS_CLOUD_SHELL,
            "app-service-2019": EVERY,
            "app-service-2017": DATES,
            "azure-ml": BY_CLIENT_ID,
            "service-fabric": OWN,
            "arc": EVERY,
            "cloud-shell": OWN,
            "workload-identity": BY_CLIENT_ID,
        },
    ),
    Client(
        "MSAL, Go",
        "msal_go",
        {
            "imds": EVERY,
            "vm-extension": AS_CLOUD_SHELL,
            "app-service-2019": EVERY,
            "app-service-2017": DATES,
            "azure-ml": BY_CLIENT_ID,
            "service-fabric": OWN,
            "arc": EVERY,
            "cloud-shell": OWN,
            "workload-identity": NO_PATH,
        },
    ),
    Client(
        "azure-identity, Java",
        "azure_identity_java",
        {
            "imds": EVERY,
            "vm-extension": AS_CLOUD_SHELL,
            "app-service-2019": EVERY,
            "app-service-2017": NO_PATH,
            "azure-ml": NO_PATH,
            "service-fabric": EVERY,
            "arc": OWN,
            "cloud-shell": OWN,
            "workload-identity": BY_CLIENT_ID,
        },
    ),
    Client(
        "curl",
        "curl",
        {
            "imds": EVERY,
            "vm-extension": EVERY,
            "app-service-2019": EVERY,
            "app-service-2017": BY_CLIENT_ID,
            "azure-ml": BY_CLIENT_ID,
            "service-fabric": OWN,
            "arc": EVERY,
            "cloud-shell": OWN,
            "workload-identity": BY_CLIENT_ID,
        },
    ),
)
