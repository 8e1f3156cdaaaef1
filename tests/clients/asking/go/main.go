// ask CLIENT SELECTORS: azidentity or MSAL for Go, as azure_identity.py.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/managedidentity"
)

const resource = "https://vault.azure.net"

type answer struct {
	Claims    map[string]any `json:"claims,omitempty"`
	ExpiresOn int64          `json:"expires_on,omitempty"`
	Error     string         `json:"error,omitempty"`
	Text      string         `json:"text,omitempty"`
}

func workload(ctx context.Context, selector []string) (string, time.Time, error) {
	options := &azidentity.WorkloadIdentityCredentialOptions{}
	if selector != nil && selector[0] == "client_id" {
		options.ClientID = selector[1]
	}
	credential, err := azidentity.NewWorkloadIdentityCredential(options)
	if err != nil {
		return "", time.Time{}, err
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{resource + "/.default"}})
	return token.Token, token.ExpiresOn, err
}

func identity(ctx context.Context, selector []string) (string, time.Time, error) {
	if os.Getenv("AZURE_FEDERATED_TOKEN_FILE") != "" {
		return workload(ctx, selector)
	}
	options := &azidentity.ManagedIdentityCredentialOptions{}
	options.Retry.MaxRetries = -1
	if selector != nil {
		switch selector[0] {
		case "client_id":
			options.ID = azidentity.ClientID(selector[1])
		case "object_id":
			options.ID = azidentity.ObjectID(selector[1])
		case "resource_id":
			options.ID = azidentity.ResourceID(selector[1])
		}
	}
	credential, err := azidentity.NewManagedIdentityCredential(options)
	if err != nil {
		return "", time.Time{}, err
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{resource + "/.default"}})
	return token.Token, token.ExpiresOn, err
}

func msal(ctx context.Context, selector []string) (string, time.Time, error) {
	id := managedidentity.SystemAssigned()
	var chosen managedidentity.ID = id
	if selector != nil {
		switch selector[0] {
		case "client_id":
			chosen = managedidentity.UserAssignedClientID(selector[1])
		case "object_id":
			chosen = managedidentity.UserAssignedObjectID(selector[1])
		case "resource_id":
			chosen = managedidentity.UserAssignedResourceID(selector[1])
		}
	}
	client, err := managedidentity.New(chosen, managedidentity.WithRetryPolicyDisabled())
	if err != nil {
		return "", time.Time{}, err
	}
	found, err := client.AcquireToken(ctx, resource)
	return found.AccessToken, found.ExpiresOn, err
}

func main() {
	clients := map[string]func(context.Context, []string) (string, time.Time, error){"identity": identity, "msal": msal}
	var selectors [][]string
	if err := json.Unmarshal([]byte(os.Args[2]), &selectors); err != nil {
		panic(err)
	}
	answers := []answer{}
	for _, selector := range selectors {
		token, expires, err := clients[os.Args[1]](context.Background(), selector)
		if err != nil {
			answers = append(answers, answer{Error: fmt.Sprintf("%T", err), Text: err.Error()})
			continue
		}
		body, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		if err != nil {
			panic(err)
		}
		found := answer{ExpiresOn: expires.Unix()}
		if err := json.Unmarshal(body, &found.Claims); err != nil {
			panic(err)
		}
		answers = append(answers, found)
	}
	printed, _ := json.Marshal(answers)
	fmt.Println(string(printed))
}
