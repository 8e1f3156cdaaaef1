// What somebody's own program does with Azure's management libraries for Go: it makes a user-assigned identity with a
// federated credential, gives it a role, puts it on a virtual machine beside the machine's own identity, takes both
// away again, and cleans up. Prints one JSON object.
//
//	manage SUBSCRIPTION GROUP NAME
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v6"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/msi/armmsi"
	"github.com/google/uuid"
)

func manage(ctx context.Context, subscription, group, name string) (map[string]any, error) {
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, err
	}
	found := map[string]any{}
	identities, err := armmsi.NewUserAssignedIdentitiesClient(subscription, credential, nil)
	if err != nil {
		return nil, err
	}
	federated, err := armmsi.NewFederatedIdentityCredentialsClient(subscription, credential, nil)
	if err != nil {
		return nil, err
	}
	assignments, err := armauthorization.NewRoleAssignmentsClient(subscription, credential, nil)
	if err != nil {
		return nil, err
	}
	machines, err := armcompute.NewVirtualMachinesClient(subscription, credential, nil)
	if err != nil {
		return nil, err
	}

	identity, err := identities.CreateOrUpdate(ctx, group, name, armmsi.Identity{Location: to.Ptr("westeurope")}, nil)
	if err != nil {
		return nil, err
	}
	found["tenant"] = identity.Properties.TenantID
	_, err = federated.CreateOrUpdate(ctx, group, name, "cluster", armmsi.FederatedIdentityCredential{
		Properties: &armmsi.FederatedIdentityCredentialProperties{
			Issuer:    to.Ptr("https://oidc.example.com/cluster"),
			Subject:   to.Ptr("system:serviceaccount:default:app"),
			Audiences: []*string{to.Ptr("api://AzureADTokenExchange")},
		},
	}, nil)
	if err != nil {
		return nil, err
	}
	names := []string{}
	for pager := federated.NewListPager(group, name, nil); pager.More(); {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range page.Value {
			names = append(names, *one.Name)
		}
	}
	found["federated"] = names

	scope := fmt.Sprintf("/subscriptions/%s/resourceGroups/%s", subscription, group)
	role := fmt.Sprintf("/subscriptions/%s/providers/Microsoft.Authorization/roleDefinitions/"+
		"acdd72a7-3385-48ef-bd42-f606fba81ae7", subscription)
	assignment, err := assignments.Create(ctx, scope, uuid.NewString(), armauthorization.RoleAssignmentCreateParameters{
		Properties: &armauthorization.RoleAssignmentProperties{
			PrincipalID:      identity.Properties.PrincipalID,
			PrincipalType:    to.Ptr(armauthorization.PrincipalTypeServicePrincipal),
			RoleDefinitionID: to.Ptr(role),
		},
	}, nil)
	if err != nil {
		return nil, err
	}
	if _, err = assignments.DeleteByID(ctx, *assignment.ID, nil); err != nil {
		return nil, err
	}
	_, err = assignments.GetByID(ctx, *assignment.ID, nil)
	var refused *azcore.ResponseError
	if errors.As(err, &refused) {
		found["assignment"] = refused.ErrorCode
	}

	making, err := machines.BeginCreateOrUpdate(ctx, group, name, armcompute.VirtualMachine{
		Location: to.Ptr("westeurope"),
		Identity: &armcompute.VirtualMachineIdentity{
			Type: to.Ptr(armcompute.ResourceIdentityTypeSystemAssignedUserAssigned),
			UserAssignedIdentities: map[string]*armcompute.UserAssignedIdentitiesValue{
				*identity.ID: {},
			},
		},
	}, nil)
	if err != nil {
		return nil, err
	}
	made, err := making.PollUntilDone(ctx, nil)
	if err != nil {
		return nil, err
	}
	found["type"] = made.Identity.Type
	found["principal"] = made.Identity.PrincipalID != nil
	for _, value := range made.Identity.UserAssignedIdentities {
		found["attached"] = *value.PrincipalID == *identity.Properties.PrincipalID
	}
	changing, err := machines.BeginUpdate(ctx, group, name, armcompute.VirtualMachineUpdate{
		Identity: &armcompute.VirtualMachineIdentity{Type: to.Ptr(armcompute.ResourceIdentityTypeNone)},
	}, nil)
	if err != nil {
		return nil, err
	}
	changed, err := changing.PollUntilDone(ctx, nil)
	if err != nil {
		return nil, err
	}
	found["none"] = changed.Identity == nil
	deleting, err := machines.BeginDelete(ctx, group, name, nil)
	if err != nil {
		return nil, err
	}
	if _, err = deleting.PollUntilDone(ctx, nil); err != nil {
		return nil, err
	}
	if _, err = identities.Delete(ctx, group, name, nil); err != nil {
		return nil, err
	}
	_, err = identities.Get(ctx, group, name, nil)
	if errors.As(err, &refused) {
		found["gone"] = refused.ErrorCode
	}
	return found, nil
}

func main() {
	found, err := manage(context.Background(), os.Args[1], os.Args[2], os.Args[3])
	var refused *azcore.ResponseError
	if errors.As(err, &refused) {
		found = map[string]any{"status": refused.StatusCode, "code": refused.ErrorCode}
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(found)
}
