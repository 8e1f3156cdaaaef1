// `ask.mjs CLIENT SELECTORS`: azure-identity or msal for JavaScript, as `azure_identity.py`.
import { ManagedIdentityCredential } from "@azure/identity";
import { ManagedIdentityApplication } from "@azure/msal-node";

const RESOURCE = "https://vault.azure.net";
const NAMES = { client_id: "clientId", object_id: "objectId", resource_id: "resourceId" };
const MSAL_NAMES = {
  client_id: "userAssignedClientId",
  object_id: "userAssignedObjectId",
  resource_id: "userAssignedResourceId",
};

const clients = {
  async identity(selector) {
    const options = { retryOptions: { maxRetries: 0 } };
    const credential = selector
      ? new ManagedIdentityCredential({ [NAMES[selector[0]]]: selector[1], ...options })
      : new ManagedIdentityCredential(options);
    const token = await credential.getToken(`${RESOURCE}/.default`);
    return [token.token, Math.floor(token.expiresOnTimestamp / 1000)];
  },
  async msal(selector) {
    const managedIdentityIdParams = selector ? { [MSAL_NAMES[selector[0]]]: selector[1] } : undefined;
    const application = new ManagedIdentityApplication({ managedIdentityIdParams });
    const found = await application.acquireToken({ resource: RESOURCE });
    return [found.accessToken, Math.floor(found.expiresOn.getTime() / 1000)];
  },
};

const results = [];
for (const selector of JSON.parse(process.argv[3])) {
  try {
    const [token, expires_on] = await clients[process.argv[2]](selector);
    const claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
    results.push({ claims, expires_on });
  } catch (error) {
    results.push({ error: error.name ?? "Error", text: String(error.message ?? error) });
  }
}
console.log(JSON.stringify(results));
