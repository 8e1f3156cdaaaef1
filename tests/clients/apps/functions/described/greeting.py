"""What both functions do."""

import os

from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient


def greeting() -> str:
    return SecretClient(os.environ["VAULT_URL"], DefaultAzureCredential()).get_secret("greeting").value or ""
