// Reads one secret with the identity of the host it runs on. Knows nothing of where it runs.
//
//	read-secret https://<vault>.vault.azure.net <secret name> [client id of a user-assigned identity]
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

func credential(arguments []string) (azcore.TokenCredential, error) {
	if len(arguments) > 3 {
		return azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{
			ID: azidentity.ClientID(arguments[3]),
		})
	}
	return azidentity.NewDefaultAzureCredential(nil)
}

func read(arguments []string) (string, error) {
	identity, err := credential(arguments)
	if err != nil {
		return "", err
	}
	client, err := azsecrets.NewClient(arguments[1], identity, nil)
	if err != nil {
		return "", err
	}
	secret, err := client.GetSecret(context.Background(), arguments[2], "", nil)
	if err != nil {
		return "", err
	}
	return *secret.Value, nil
}

func main() {
	value, err := read(os.Args)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(value)
}
