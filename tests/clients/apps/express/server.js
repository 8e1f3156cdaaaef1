// An Express app that shows one secret it was given as a setting and one that it reads itself.
const express = require("express");
const { DefaultAzureCredential } = require("@azure/identity");
const { SecretClient } = require("@azure/keyvault-secrets");

const app = express();

app.get("/", (request, response) => {
  response.json({ reference: process.env.FROM_REFERENCE, slot: process.env.WEBSITE_SLOT_NAME });
});

app.get("/sdk", async (request, response) => {
  try {
    const client = new SecretClient(process.env.VAULT_URL, new DefaultAzureCredential());
    const secret = await client.getSecret("greeting");
    response.json({ secret: secret.value });
  } catch (error) {
    response.status(500).json({ error: error.name, status: error.statusCode, text: error.message });
  }
});

app.listen(process.env.PORT, () => console.log(`listening on ${process.env.PORT}`));
