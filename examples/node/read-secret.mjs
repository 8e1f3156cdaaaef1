// Reads one secret with the identity of the host it runs on. Knows nothing of where it runs.
//
//   node read-secret.mjs https://<vault>.vault.azure.net <secret name> [client id of a user-assigned identity]

import { DefaultAzureCredential, ManagedIdentityCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

const [vault, name, clientId] = process.argv.slice(2);
const credential = clientId ? new ManagedIdentityCredential({ clientId }) : new DefaultAzureCredential();

try {
  const secret = await new SecretClient(vault, credential).getSecret(name);
  console.log(secret.value);
} catch (error) {
  console.error(`${error.name} ${error.statusCode ?? ""}: ${error.message}`);
  process.exitCode = 1;
}
