"""Reads one secret with the identity of the host it runs on. Knows nothing of where it runs.

python read_secret.py https://<vault>.vault.azure.net <secret name> [client id of a user-assigned identity]
"""

import sys

from azure.core.exceptions import AzureError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient


def main() -> int:
    vault, name, *client_id = sys.argv[1:]
    credential = ManagedIdentityCredential(client_id=client_id[0]) if client_id else DefaultAzureCredential()
    try:
        with SecretClient(vault, credential) as client:
            secret = client.get_secret(name)
    except AzureError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(secret.value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
