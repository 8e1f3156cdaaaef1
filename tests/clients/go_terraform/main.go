// What terraform's azurerm provider does, by the client libraries it is made of: it learns a cloud from
// `metadata_host`, signs in with the machine's managed identity (`use_msi`), and makes, reads and removes the resources
// of a small configuration. Prints one JSON object.
//
//	terraform-clients cloud METADATA_HOST                          what the provider learns of a cloud
//	terraform-clients apply METADATA_HOST SUBSCRIPTION GROUP NAME  the resources
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/go-azure-helpers/resourcemanager/commonids"
	"github.com/hashicorp/go-azure-helpers/resourcemanager/identity"
	"github.com/hashicorp/go-azure-sdk/resource-manager/authorization/2022-04-01/roleassignments"
	"github.com/hashicorp/go-azure-sdk/resource-manager/compute/2025-04-01/virtualmachines"
	"github.com/hashicorp/go-azure-sdk/resource-manager/managedidentity/2024-11-30/identities"
	"github.com/hashicorp/go-azure-sdk/sdk/auth"
	"github.com/hashicorp/go-azure-sdk/sdk/environments"
)

func learn(environment *environments.Environment) map[string]any {
	manager, _ := environment.ResourceManager.Endpoint()
	resource, _ := environment.ResourceManager.ResourceIdentifier()
	graph, _ := environment.MicrosoftGraph.Endpoint()
	vaults, _ := environment.KeyVault.DomainSuffix()
	storage, _ := environment.Storage.DomainSuffix()
	return map[string]any{
		"name": environment.Name, "login": environment.Authorization.LoginEndpoint,
		"audiences": environment.Authorization.Audiences, "manager": manager, "resource": resource, "graph": graph,
		"vaults": vaults, "storage": storage,
	}
}

func apply(ctx context.Context, environment *environments.Environment, subscription, group, name string) (map[string]any, error) {
	authorizer, err := auth.NewAuthorizerFromCredentials(ctx, auth.Credentials{
		Environment:                              *environment,
		EnableAuthenticatingUsingManagedIdentity: true,
	}, environment.ResourceManager)
	if err != nil {
		return nil, err
	}
	found := map[string]any{}

	users, err := identities.NewIdentitiesClientWithBaseURI(environment.ResourceManager)
	if err != nil {
		return nil, err
	}
	users.Client.SetAuthorizer(authorizer)
	userID := commonids.NewUserAssignedIdentityID(subscription, group, name)
	absent, err := users.UserAssignedIdentitiesGet(ctx, userID)
	if err == nil || absent.HttpResponse == nil || absent.HttpResponse.StatusCode != http.StatusNotFound {
		return nil, fmt.Errorf("looking for an identity that is not there: %+v", err)
	}
	if _, err = users.UserAssignedIdentitiesCreateOrUpdate(ctx, userID, identities.Identity{
		Location: "westeurope", Tags: &map[string]string{"by": "terraform"},
	}); err != nil {
		return nil, err
	}
	user, err := users.UserAssignedIdentitiesGet(ctx, userID)
	if err != nil {
		return nil, err
	}
	found["tags"] = user.Model.Tags

	machines, err := virtualmachines.NewVirtualMachinesClientWithBaseURI(environment.ResourceManager)
	if err != nil {
		return nil, err
	}
	machines.Client.SetAuthorizer(authorizer)
	machineID := virtualmachines.NewVirtualMachineID(subscription, group, name)
	if err = machines.CreateOrUpdateThenPoll(ctx, machineID, virtualmachines.VirtualMachine{
		Location: "westeurope",
		Identity: &identity.SystemAndUserAssignedMap{
			Type:        identity.TypeSystemAssignedUserAssigned,
			IdentityIds: map[string]identity.UserAssignedIdentityDetails{userID.ID(): {}},
		},
	}, virtualmachines.DefaultCreateOrUpdateOperationOptions()); err != nil {
		return nil, err
	}
	machine, err := machines.Get(ctx, machineID, virtualmachines.DefaultGetOperationOptions())
	if err != nil {
		return nil, err
	}
	found["type"] = machine.Model.Identity.Type
	found["principal"] = machine.Model.Identity.PrincipalId != ""
	for id, value := range machine.Model.Identity.IdentityIds {
		found["attached"] = id == userID.ID() && *value.PrincipalId == *user.Model.Properties.PrincipalId
	}

	roles, err := roleassignments.NewRoleAssignmentsClientWithBaseURI(environment.ResourceManager)
	if err != nil {
		return nil, err
	}
	roles.Client.SetAuthorizer(authorizer)
	scope := commonids.NewResourceGroupID(subscription, group).ID()
	roleID := roleassignments.NewScopedRoleAssignmentID(scope, uuid.NewString())
	if _, err = roles.Create(ctx, roleID, roleassignments.RoleAssignmentCreateParameters{
		Properties: roleassignments.RoleAssignmentProperties{
			PrincipalId: machine.Model.Identity.PrincipalId,
			RoleDefinitionId: fmt.Sprintf("/subscriptions/%s/providers/Microsoft.Authorization/roleDefinitions/"+
				"acdd72a7-3385-48ef-bd42-f606fba81ae7", subscription),
		},
	}); err != nil {
		return nil, err
	}
	assigned, err := roles.Get(ctx, roleID, roleassignments.DefaultGetOperationOptions())
	if err != nil {
		return nil, err
	}
	found["assigned"] = assigned.Model.Properties.PrincipalId == machine.Model.Identity.PrincipalId
	if _, err = roles.Delete(ctx, roleID, roleassignments.DefaultDeleteOperationOptions()); err != nil {
		return nil, err
	}

	if err = machines.DeleteThenPoll(ctx, machineID, virtualmachines.DefaultDeleteOperationOptions()); err != nil {
		return nil, err
	}
	if _, err = users.UserAssignedIdentitiesDelete(ctx, userID); err != nil {
		return nil, err
	}
	gone, _ := machines.Get(ctx, machineID, virtualmachines.DefaultGetOperationOptions())
	found["gone"] = gone.HttpResponse.StatusCode
	return found, nil
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	environment, err := environments.FromEndpoint(ctx, "https://"+os.Args[2])
	var found map[string]any
	if err == nil {
		found = learn(environment)
		if os.Args[1] == "apply" {
			found, err = apply(ctx, environment, os.Args[3], os.Args[4], os.Args[5])
		}
	}
	if err != nil {
		found = map[string]any{"error": err.Error()}
	}
	_ = json.NewEncoder(os.Stdout).Encode(found)
}
