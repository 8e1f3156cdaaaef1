"""What a site's program finds in its environment.

Names and meanings: learn.microsoft.com, "Environment variables and app settings in Azure App Service". Connection
strings have a prefix by their type; periods and colons in names are rewritten for Linux, where no variable may have
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from keyfob.arm.locations import display_name
from keyfob.hosts.app_service.site import Connection, Site

HOME = "/home"
ROOT = "/home/site/wwwroot"

PREFIXES = {
    "sqlserver": "SQLCONNSTR_",
    "sqlazure": "SQLAZURECONNSTR_",
    "mysql": "MYSQLCONNSTR_",
    "postgresql": "POSTGRESQLCONNSTR_",
    "custom": "CUSTOMCONNSTR_",
    "apihub": "APIHUBCONNSTR_",
    "docdb": "DOCDBCONNSTR_",
    "eventhub": "EVENTHUBCONNSTR_",
    "notificationhub": "NOTIFICATIONHUBCONNSTR_",
    "rediscache": "REDISCACHECONNSTR_",
    "servicebus": "SERVICEBUSCONNSTR_",
}

PLATFORM_S = frozenset({"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET", "HOME"})
"""What no setting may replace: the way to the site's own identity, and its home."""


def variables(
    site: Site, *, port: int, settings: Mapping[str, str], connections: Mapping[str, Connection]
) -> dict[str, str]:
    """`settings` and `connections` with references resolved."""
    made = platform(site, port)
    for name, value in settings.items():
        clean = _name(name)
        if clean and clean.upper() not in PLATFORM_S:
            made[clean] = value
            made[f"APPSETTING_{clean}"] = value
    for name, one in connections.items():
        clean = PREFIXES.get(one.type.lower(), PREFIXES["custom"]) + _name(name)
        made[clean] = one.value
    return {name: value for name, value in made.items() if "\0" not in value}


def platform(site: Site, port: int) -> dict[str, str]:
    properties = site.resource.properties
    region = display_name(site.resource.location)
    space = f"{site.id.resource_group}-{region.replace(' ', '')}webspace" + ("-Linux" if site.linux else "")
    return {
        "HOME": HOME,
        "PORT": str(port),
        "WEBSITES_PORT": str(port),
        "HTTP_PLATFORM_PORT": str(port),
        "SERVER_PORT": str(port),
        "WEBSITE_SITE_NAME": site.name,
        "WEBSITE_SLOT_NAME": site.slot or "Production",
        "WEBSITE_DEPLOYMENT_ID": site.name if not site.slot else f"{site.name}__{site.slot}",
        "WEBSITE_HOSTNAME": site.host,
        "WEBSITE_RESOURCE_GROUP": site.id.resource_group or "",
        "WEBSITE_OWNER_NAME": f"{site.id.subscription_id}+{space}",
        "WEBSITE_INSTANCE_ID": instance_id(site),
        "WEBSITE_ROLE_INSTANCE_ID": "0",
        "WEBSITE_SKU": str(properties.get("sku") or "Free"),
        "WEBSITE_STACK": stack(site).upper(),
        "WEBSITE_AUTH_ENABLED": "False",
        "REGION_NAME": region,
        "COMPUTERNAME": instance_id(site)[:12],
    }


def instance_id(site: Site) -> str:
    """64 hexadecimal digits; a site has one instance here."""
    return sha256(f"instance\n{site.id.key}\n{site.resource.created}".encode()).hexdigest()


def stack(site: Site) -> str:
    """`python` of `PYTHON|3.11`; "" when nothing is said."""
    return str(site.config.get("linuxFxVersion") or "").partition("|")[0].strip().lower()


def _name(name: str) -> str:
    return name.replace(":", "__").replace(".", "_").replace("=", "_").replace("\0", "")
