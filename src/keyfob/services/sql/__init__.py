"""SQL servers through Resource Manager: servers, databases, Azure AD administrators, firewall rules."""

from __future__ import annotations

from keyfob.arm.shapes import Shaped, check_name_route, posting, setting, unique
from keyfob.declare import IdentitySupport, OnPut, Provider, ResourceType
from keyfob.services.sql import operations
from keyfob.services.sql.model import API_VERSIONS, DATABASE, NAME, TYPE
from keyfob.store.port import Store

__all__ = ["sql"]

_LONG = frozenset({"PUT", "PATCH", "DELETE"})


def sql(*, store: Store) -> Provider:
    servers = ResourceType(
        name=TYPE,
        api_versions=API_VERSIONS,
        operations=Shaped(
            compute=operations.server,
            claim=unique((TYPE,), operations.name_taken),
            children=operations.with_server,
            write_only=("administratorLoginPassword", "administrators.administratorLoginPassword"),
        ),
        identity=IdentitySupport(
            system=True, user=True, joined="SystemAssigned,UserAssigned", absent_on_put=OnPut.KEEP
        ),
        long_running=_LONG,
        name_pattern=NAME,
        provisioning_state=False,
        finish=operations.server_kind,
        note="The control plane. A login's password is not kept; the server's identity is not used by anything yet.",
    )
    databases = ResourceType(
        name=DATABASE,
        api_versions=API_VERSIONS,
        operations=Shaped(compute=operations.database, removed=operations.keep_master),
        identity=IdentitySupport(user=True),
        long_running=_LONG,
        provisioning_state=False,
        name_pattern=r"[^<>*%&:\\/?]{1,127}[^<>*%&:\\/?. ]",
        finish=operations.database_sku,
        actions={
            "pause": posting(DATABASE, "pause", setting({"status": "Paused"}), long_running=True),
            "resume": posting(DATABASE, "resume", setting({"status": "Online"}), long_running=True),
        },
        note="A name and its settings.",
    )
    below = [
        _child(
            "administrators", operations.administrator, required=("login", "sid"), long=True, name="ActiveDirectory"
        ),
        _child("azureADOnlyAuthentications", operations.only_directory, long=True, name="Default"),
        _child("firewallRules", operations.firewall_rule, required=("startIpAddress", "endIpAddress")),
        _child("virtualNetworkRules", operations.network_rule, required=("virtualNetworkSubnetId",), long=True),
        _child("connectionPolicies", operations.connection_policy, name="default", created=200),
        ResourceType(
            name=f"{DATABASE}/transparentDataEncryption",
            api_versions=API_VERSIONS,
            operations=Shaped(),
            tracked=False,
            provisioning_state=False,
            name_pattern="(?i:current)",
        ),
    ]
    check = check_name_route(
        store,
        "/subscriptions/{subscriptionId}/providers/Microsoft.Sql/checkNameAvailability",
        "Microsoft.Sql/checkNameAvailability/action",
        types=(TYPE,),
        pattern=NAME,
        api_versions=API_VERSIONS,
        invalid="Specified server name is invalid: 1 to 63 lower-case letters, digits and hyphens, no hyphen first or "
        "last.",
        in_use=lambda name: f"Specified server name '{name}' is already used",
        echo=True,
        asked=(TYPE,),
    )
    return Provider(namespace="Microsoft.Sql", types=(servers, databases, *below), routes=(check,), registered=True)


def _child(
    kind: str,
    compute: operations.Compute,
    *,
    required: tuple[str, ...] = (),
    long: bool = False,
    name: str = "",
    created: int = 201,
) -> ResourceType:
    return ResourceType(
        name=f"{TYPE}/{kind}",
        api_versions=API_VERSIONS,
        operations=Shaped(
            compute=compute,
            required=required,
            children=operations.AFTER.get(kind),
            removed=operations.REMOVED.get(kind),
        ),
        tracked=False,
        provisioning_state=False,
        long_running=_LONG if long else frozenset(),
        created=created,
        name_pattern=f"(?i:{name})" if name else r"[^/<>*%&:\\?]{1,128}",
    )
