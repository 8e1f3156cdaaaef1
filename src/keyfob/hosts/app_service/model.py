"""Names, versions and tables of `Microsoft.Web`."""

from __future__ import annotations

PLAN = "Microsoft.Web/serverfarms"
SITE = "Microsoft.Web/sites"
SLOT = "Microsoft.Web/sites/slots"
RESTARTED = "keyfob.restarted"
"""How often a site was restarted by its owner: a program that was started before is started anew."""
SWAPPED = "keyfob.swapped"
"""A slot's last swap: its `generation`, and the key of the site it was `with`."""
NAMED_ALIKE = (
    "Site",
    "Slot",
    "HostingEnvironment",
    "PublishingUser",
    "Microsoft.Web/sites",
    "Microsoft.Web/sites/slots",
    "Microsoft.Web/hostingEnvironments",
    "Microsoft.Web/publishingUsers",
)
"""What a name may be checked for (ResourceProvider.json): all of them are DNS names of one zone."""
NAME = r"(?=.{1,60}$)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
API_VERSIONS = (
    "2014-04-01",
    "2014-06-01",
    "2014-11-01",
    "2015-02-01",
    "2015-04-01",
    "2015-05-01",
    "2015-06-01",
    "2015-07-01",
    "2015-08-01",
    "2016-03-01",
    "2016-08-01",
    "2016-09-01",
    "2018-02-01",
    "2018-11-01",
    "2019-08-01",
    "2020-06-01",
    "2020-09-01",
    "2020-10-01",
    "2020-12-01",
    "2021-01-01",
    "2021-01-15",
    "2021-02-01",
    "2021-03-01",
    "2022-03-01",
    "2022-09-01",
    "2023-01-01",
    "2023-12-01",
    "2024-04-01",
    "2024-11-01",
    "2025-03-01",
    "2025-05-01",
)
TIERS = {
    "F": "Free",
    "D": "Shared",
    "B": "Basic",
    "S": "Standard",
    "P": "Premium",
    "PV2": "PremiumV2",
    "PV3": "PremiumV3",
    "P0V3": "Premium0V3",
    "Y": "Dynamic",
    "EP": "ElasticPremium",
    "FC": "FlexConsumption",
    "I": "Isolated",
    "IV2": "IsolatedV2",
    "WS": "WorkflowStandard",
}
"""Family of a plan's SKU, or all of its name → its tier."""
KINDS = {
    "Dynamic": "functionapp",
    "FlexConsumption": "functionapp",
    "ElasticPremium": "elastic",
    "WorkflowStandard": "elastic",
}
"""Tier → kind of a plan that says none; the others are `linux` or `app`."""
MOST_WORKERS = {"Free": 1, "Shared": 1, "Basic": 3, "Standard": 10}

WEB_CONFIG = {
    "numberOfWorkers": 1,
    "defaultDocuments": ["Default.htm", "Default.html", "index.html"],
    "netFrameworkVersion": "v4.0",
    "phpVersion": "",
    "pythonVersion": "",
    "nodeVersion": "",
    "linuxFxVersion": "",
    "windowsFxVersion": None,
    "requestTracingEnabled": False,
    "remoteDebuggingEnabled": False,
    "httpLoggingEnabled": False,
    "detailedErrorLoggingEnabled": False,
    "scmType": "None",
    "use32BitWorkerProcess": True,
    "webSocketsEnabled": False,
    "alwaysOn": False,
    "appCommandLine": "",
    "managedPipelineMode": "Integrated",
    "virtualApplications": [{"virtualPath": "/", "physicalPath": "site\\wwwroot", "preloadEnabled": False}],
    "loadBalancing": "LeastRequests",
    "autoHealEnabled": False,
    "vnetName": "",
    "localMySqlEnabled": False,
    "ipSecurityRestrictions": [{"ipAddress": "Any", "action": "Allow", "priority": 2147483647, "name": "Allow all"}],
    "scmIpSecurityRestrictionsUseMain": False,
    "http20Enabled": False,
    "minTlsVersion": "1.2",
    "scmMinTlsVersion": "1.2",
    "ftpsState": "FtpsOnly",
    "preWarmedInstanceCount": 0,
}
"""What `config/web` has that nobody set."""

SECRET_CONFIG = (
    "appsettings",
    "connectionstrings",
    "authsettings",
    "azurestorageaccounts",
    "backup",
    "metadata",
    "pushsettings",
    "publishingcredentials",
)
"""Read only by `POST …/list`, whose action a reader does not have."""
OPEN_CONFIG = ("web", "logs", "slotConfigNames", "authsettingsV2")
DEFAULTS: dict[str, dict[str, object]] = {
    "web": dict(WEB_CONFIG),
    "logs": {
        "applicationLogs": {"fileSystem": {"level": "Off"}},
        "httpLogs": {"fileSystem": {"retentionInMb": 35, "retentionInDays": 0, "enabled": False}},
        "failedRequestsTracing": {"enabled": False},
        "detailedErrorMessages": {"enabled": False},
    },
    "slotConfigNames": {},
    "authsettingsV2": {"platform": {"enabled": False}},
    "appsettings": {},
    "connectionstrings": {},
    "authsettings": {"enabled": False},
    "azurestorageaccounts": {},
    "backup": {},
    "metadata": {},
    "pushsettings": {},
    "publishingcredentials": {},
}
SPELLED = {name.lower(): name for name in DEFAULTS}
