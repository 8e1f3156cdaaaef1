// Drives MSAL for Node through every grant it has. Reads {url, tenant, …} from argv[2]; writes one line of JSON: name → outcome.
import { ConfidentialClientApplication, PublicClientApplication, CryptoProvider } from "@azure/msal-node";

const world = JSON.parse(process.argv[2]);
const host = new URL(world.url).host;
const ARM = ["https://management.core.windows.net//.default"];
const VAULT = ["https://vault.azure.net/.default"];
const system = { loggerOptions: { loggerCallback() {} } };
const authority = (tenant) => `${world.url}/${tenant}`;

const daemon = (credential) =>
  new ConfidentialClientApplication({
    auth: { clientId: world.clientId, authority: authority(world.tenant), knownAuthorities: [host], ...credential },
    system,
  });
const device = () =>
  new PublicClientApplication({
    auth: { clientId: world.cli, authority: authority("organizations"), knownAuthorities: [host] },
    system,
  });

// What a browser does with a sign-in page: the form's hidden fields and cookie go back with name and password.
async function signIn(address, fields) {
  const page = await fetch(address);
  const text = await page.text();
  const unescape = (s) =>
    s.replaceAll("&quot;", '"').replaceAll("&#x27;", "'").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
  const form = new URLSearchParams();
  for (const [, name, value] of text.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g))
    form.set(unescape(name), unescape(value));
  for (const [name, value] of Object.entries({ username: world.user, password: world.password, ...fields }))
    form.set(name, value);
  const action = unescape(text.match(/<form method="post" action="([^"]*)"/)[1]);
  return fetch(world.url + action, {
    method: "POST",
    body: form,
    redirect: "manual",
    headers: { cookie: page.headers.get("set-cookie").split(";")[0] },
  });
}

async function outcome(work) {
  try {
    const result = await work();
    return { token: result.accessToken, account: result.account?.homeAccountId ?? null };
  } catch (error) {
    return { error: error.errorCode ?? String(error), codes: error.errorMessage ?? "" };
  }
}

async function byCode(change = {}) {
  const app = device();
  const { verifier, challenge } = await new CryptoProvider().generatePkceCodes();
  const redirectUri = "http://localhost:51999";
  const address = await app.getAuthCodeUrl({
    scopes: ARM, redirectUri, codeChallenge: challenge, codeChallengeMethod: "S256", responseMode: "query", state: "s",
  });
  const location = (await signIn(address, {})).headers.get("location");
  const code = new URL(location).searchParams.get("code");
  return { app, redeem: () => app.acquireTokenByCode({ code, scopes: ARM, redirectUri, codeVerifier: verifier, ...change }) };
}

const results = {};
const record = async (name, work) => { results[name] = await outcome(work); };

const keep = daemon({ clientSecret: world.secret });
await record("secret", () => keep.acquireTokenByClientCredential({ scopes: VAULT }));
await record("wrong secret", () => daemon({ clientSecret: "wrong" }).acquireTokenByClientCredential({ scopes: VAULT }));
await record("certificate", () =>
  daemon({ clientCertificate: { thumbprintSha256: world.thumbprint256, privateKey: world.privateKey } })
    .acquireTokenByClientCredential({ scopes: VAULT }));
await record("certificate with chain", () =>
  daemon({ clientCertificate: { thumbprintSha256: world.thumbprint256, privateKey: world.privateKey, x5c: world.certificate } })
    .acquireTokenByClientCredential({ scopes: VAULT }));
await record("another certificate", () =>
  daemon({ clientCertificate: { thumbprintSha256: "0".repeat(64), privateKey: world.privateKey } })
    .acquireTokenByClientCredential({ scopes: VAULT }));
await record("federated assertion", () =>
  daemon({ clientAssertion: world.federated }).acquireTokenByClientCredential({ scopes: VAULT }));
await record("foreign issuer", () =>
  daemon({ clientAssertion: world.foreign }).acquireTokenByClientCredential({ scopes: VAULT }));

await record("device code", () =>
  device().acquireTokenByDeviceCode({
    scopes: ARM,
    deviceCodeCallback: (answer) => { void signIn(answer.verificationUri, { user_code: answer.userCode }); },
  }));

const flow = await byCode();
await record("authorization code", flow.redeem);
await record("authorization code again", flow.redeem);
const [account] = await flow.app.getTokenCache().getAllAccounts();
const fresh = await byCode();
await record("authorization code anew", fresh.redeem);
const [signedIn] = await fresh.app.getTokenCache().getAllAccounts();
await record("silent for another resource", () => fresh.app.acquireTokenSilent({ account: signedIn, scopes: VAULT }));
await record("another verifier", async () => (await byCode({ codeVerifier: "w".repeat(64) })).redeem());
await record("revoked by the second use", () => flow.app.acquireTokenSilent({ account, scopes: VAULT }));

const incoming = await fresh.app.acquireTokenSilent({ account: signedIn, scopes: ["api://daemon/.default"] });
await record("on behalf of", () => keep.acquireTokenOnBehalfOf({ oboAssertion: incoming.accessToken, scopes: VAULT }));
await record("on behalf of, wrong audience", () =>
  keep.acquireTokenOnBehalfOf({ oboAssertion: results["device code"].token, scopes: VAULT, skipCache: true }));

console.log(JSON.stringify(results));
