"""What somebody's own program does with Azure's management libraries for Python: nothing here knows of Keyfob.

python manage.py PART SUBSCRIPTION GROUP NAME      prints one JSON object
"""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.identity import DefaultAzureCredential

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


def identities(credential: Any, subscription: str, group: str, name: str) -> Any:
    from azure.mgmt.msi import ManagedServiceIdentityClient
    from azure.mgmt.msi.models import FederatedIdentityCredential, Identity, IdentityUpdate

    client = ManagedServiceIdentityClient(credential, subscription)
    made = client.user_assigned_identities.create_or_update(group, name, Identity(location="westeurope"))
    changed = client.user_assigned_identities.update(group, name, IdentityUpdate(tags={"team": "one"}))
    got = client.user_assigned_identities.get(group, name)
    listed = [one.name for one in client.user_assigned_identities.list_by_resource_group(group)]
    everywhere = [one.name for one in client.user_assigned_identities.list_by_subscription()]
    credential_ = client.federated_identity_credentials.create_or_update(
        group,
        name,
        "pipeline",
        FederatedIdentityCredential(
            issuer="https://token.actions.githubusercontent.com",
            subject="repo:contoso/app:ref:refs/heads/main",
            audiences=["api://AzureADTokenExchange"],
        ),
    )
    federated = [one.name for one in client.federated_identity_credentials.list(group, name)]
    client.federated_identity_credentials.delete(group, name, "pipeline")
    left = [one.name for one in client.federated_identity_credentials.list(group, name)]
    client.user_assigned_identities.delete(group, name)
    return {
        "same": made.principal_id == got.principal_id and made.client_id == got.client_id,
        "tenant": got.tenant_id,
        "tags": changed.tags,
        "listed": name in listed and name in everywhere,
        "federated": [credential_.subject, federated, left],
        "gone": name not in [one.name for one in client.user_assigned_identities.list_by_resource_group(group)],
    }


def machines(credential: Any, subscription: str, group: str, name: str) -> Any:
    from azure.mgmt.compute import ComputeManagementClient
    from azure.mgmt.compute.models import (
        UserAssignedIdentitiesValue,
        VirtualMachine,
        VirtualMachineIdentity,
        VirtualMachineUpdate,
    )
    from azure.mgmt.msi import ManagedServiceIdentityClient
    from azure.mgmt.msi.models import Identity

    own = ManagedServiceIdentityClient(credential, subscription).user_assigned_identities.create_or_update(
        group, f"{name}-user", Identity(location="westeurope")
    )
    client = ComputeManagementClient(credential, subscription)
    made = client.virtual_machines.begin_create_or_update(
        group,
        name,
        VirtualMachine(location="westeurope", identity=VirtualMachineIdentity(type="SystemAssigned")),
    ).result()
    both = client.virtual_machines.begin_update(
        group,
        name,
        VirtualMachineUpdate(
            identity=VirtualMachineIdentity(
                type="SystemAssigned, UserAssigned",
                user_assigned_identities={own.id: UserAssignedIdentitiesValue()},
            )
        ),
    ).result()
    user = client.virtual_machines.begin_update(
        group, name, VirtualMachineUpdate(identity=VirtualMachineIdentity(type="UserAssigned"))
    ).result()
    none = client.virtual_machines.begin_update(
        group, name, VirtualMachineUpdate(identity=VirtualMachineIdentity(type="None"))
    ).result()
    listed = [one.name for one in client.virtual_machines.list(group)]
    client.virtual_machines.begin_deallocate(group, name).result()
    client.virtual_machines.begin_start(group, name).result()
    view = client.virtual_machines.instance_view(group, name)
    client.virtual_machines.begin_delete(group, name).result()
    return {
        "state": made.provisioning_state,
        "principal": bool(made.identity and made.identity.principal_id),
        "kept": both.identity.principal_id == made.identity.principal_id,
        "attached": [value.principal_id for value in both.identity.user_assigned_identities.values()]
        == [own.principal_id],
        "types": [made.identity.type, both.identity.type, user.identity.type, none.identity and none.identity.type],
        "without": user.identity.principal_id,
        "listed": name in listed,
        "power": [status.code for status in view.statuses or []],
        "gone": name not in [one.name for one in client.virtual_machines.list(group)],
    }


def assignments(credential: Any, subscription: str, group: str, name: str) -> Any:
    from azure.mgmt.authorization import AuthorizationManagementClient
    from azure.mgmt.authorization.models import RoleAssignmentCreateParameters
    from azure.mgmt.msi import ManagedServiceIdentityClient
    from azure.mgmt.msi.models import Identity

    own = ManagedServiceIdentityClient(credential, subscription).user_assigned_identities.create_or_update(
        group, f"{name}-user", Identity(location="westeurope")
    )
    client = AuthorizationManagementClient(credential, subscription)
    scope = f"/subscriptions/{subscription}/resourceGroups/{group}"
    role = next(iter(client.role_definitions.list(scope, filter="roleName eq 'Reader'")))
    made = client.role_assignments.create(
        scope,
        str(uuid.uuid4()),
        RoleAssignmentCreateParameters(
            role_definition_id=role.id, principal_id=own.principal_id, principal_type="ServicePrincipal"
        ),
    )
    mine = [
        one.id for one in client.role_assignments.list_for_scope(scope, filter=f"principalId eq '{own.principal_id}'")
    ]
    client.role_assignments.delete_by_id(made.id)
    left = [
        one.id for one in client.role_assignments.list_for_scope(scope, filter=f"principalId eq '{own.principal_id}'")
    ]
    return {"role": role.name, "scope": made.scope.lower() == scope.lower(), "mine": mine == [made.id], "left": left}


def groups(credential: Any, subscription: str, group: str, name: str) -> Any:
    from azure.mgmt.resource.resources import ResourceManagementClient

    client = ResourceManagementClient(credential, subscription)
    made = client.resource_groups.create_or_update(name, {"location": "westeurope", "tags": {"a": "b"}})
    there = client.resource_groups.check_existence(name)
    kept = client.resources.begin_create_or_update_by_id(
        f"{made.id}/providers/Microsoft.Databricks/accessConnectors/one",
        {"location": "westeurope", "identity": {"type": "SystemAssigned"}},
        api_version="2024-05-01",
    ).result()
    listed = [one.name for one in client.resources.list_by_resource_group(name)]
    provider = client.providers.get("Microsoft.Compute").registration_state
    client.resource_groups.begin_delete(name).result()
    return {
        "state": made.properties.provisioning_state,
        "there": there,
        "principal": bool(kept.identity.principal_id),
        "listed": listed,
        "provider": provider,
        "gone": not client.resource_groups.check_existence(name),
    }


def vaults(credential: Any, subscription: str, group: str, name: str) -> Any:
    from azure.mgmt.keyvault import KeyVaultManagementClient
    from azure.mgmt.keyvault.models import Sku, VaultCreateOrUpdateParameters, VaultProperties
    from azure.mgmt.msi import ManagedServiceIdentityClient
    from azure.mgmt.msi.models import Identity

    tenant = (
        ManagedServiceIdentityClient(credential, subscription)
        .user_assigned_identities.create_or_update(group, f"{name}-user", Identity(location="westeurope"))
        .tenant_id
    )
    client = KeyVaultManagementClient(credential, subscription)
    made = client.vaults.begin_create_or_update(
        group,
        name,
        VaultCreateOrUpdateParameters(
            location="westeurope",
            properties=VaultProperties(
                tenant_id=tenant, sku=Sku(family="A", name="standard"), enable_rbac_authorization=True
            ),
        ),
    ).result()
    listed = [one.name for one in client.vaults.list_by_resource_group(group)]
    client.vaults.delete(group, name)
    return {
        "uri": made.properties.vault_uri,
        "listed": name in listed,
        "gone": name not in [one.name for one in client.vaults.list_by_resource_group(group)],
    }


def sites(credential: Any, subscription: str, group: str, name: str) -> Any:
    from azure.mgmt.web import WebSiteManagementClient
    from azure.mgmt.web.models import AppServicePlan, ManagedServiceIdentity, Site, SkuDescription, StringDictionary

    client = WebSiteManagementClient(credential, subscription)
    plan = client.app_service_plans.begin_create_or_update(
        group, f"{name}-plan", AppServicePlan(location="westeurope", sku=SkuDescription(name="B1", tier="Basic"))
    ).result()
    made = client.web_apps.begin_create_or_update(
        group,
        name,
        Site(location="westeurope", server_farm_id=plan.id, identity=ManagedServiceIdentity(type="SystemAssigned")),
    ).result()
    client.web_apps.update_application_settings(group, name, StringDictionary(properties={"COLOUR": "blue"}))
    settings = client.web_apps.list_application_settings(group, name)
    listed = [one.name for one in client.web_apps.list_by_resource_group(group)]
    client.web_apps.delete(group, name)
    return {
        "type": made.identity.type,
        "principal": bool(made.identity.principal_id),
        "host": made.default_host_name,
        "settings": settings.properties,
        "listed": name in listed,
        "gone": name not in [one.name for one in client.web_apps.list_by_resource_group(group)],
    }


def containers(credential: Any, subscription: str, group: str, name: str) -> Any:
    from azure.mgmt.containerinstance import ContainerInstanceManagementClient
    from azure.mgmt.containerinstance.models import (
        Container,
        ContainerGroup,
        ContainerGroupIdentity,
        ResourceRequests,
        ResourceRequirements,
    )

    client = ContainerInstanceManagementClient(credential, subscription)
    resources = ResourceRequirements(requests=ResourceRequests(memory_in_gb=1, cpu=1))
    made = client.container_groups.begin_create_or_update(
        group,
        name,
        ContainerGroup(
            location="westeurope",
            os_type="Linux",
            containers=[Container(name="one", image="nginx", resources=resources)],
            identity=ContainerGroupIdentity(type="SystemAssigned"),
        ),
    ).result()
    listed = [one.name for one in client.container_groups.list_by_resource_group(group)]
    client.container_groups.begin_delete(group, name).result()
    return {
        "state": made.provisioning_state,
        "type": made.identity.type,
        "principal": bool(made.identity.principal_id),
        "listed": name in listed,
        "gone": name not in [one.name for one in client.container_groups.list_by_resource_group(group)],
    }


PARTS = {part.__name__: part for part in (identities, machines, assignments, groups, vaults, sites, containers)}


def main() -> None:
    part, subscription, group, name = sys.argv[1:]
    try:
        result = PARTS[part](DefaultAzureCredential(), subscription, group, name)
    except HttpResponseError as error:
        result = {"status": error.status_code, "code": error.error and error.error.code, "message": str(error)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
