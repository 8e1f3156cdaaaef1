"""Names and versions of `Microsoft.ServiceBus`."""

TYPE = "Microsoft.ServiceBus/namespaces"
API_VERSIONS = (
    "2014-09-01",
    "2015-08-01",
    "2017-04-01",
    "2018-01-01-preview",
    "2021-01-01-preview",
    "2021-06-01-preview",
    "2021-11-01",
    "2022-01-01-preview",
    "2022-10-01-preview",
    "2024-01-01",
    "2025-05-01-preview",
    "2026-01-01",  # azure-cli 2.91
)
FOREVER = "P10675199DT2H48M5.4775807S"
