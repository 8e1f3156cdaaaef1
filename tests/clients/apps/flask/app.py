"""A Flask app that shows one secret it was given as a setting and one that it reads itself."""

import os

from azure.core.exceptions import HttpResponseError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential
from azure.keyvault.secrets import SecretClient
from flask import Flask, jsonify

app = Flask(__name__)


@app.get("/")
def shown():
    return jsonify(reference=os.environ.get("FROM_REFERENCE"), slot=os.environ.get("WEBSITE_SLOT_NAME"))


@app.get("/sdk")
def read():
    client = SecretClient(os.environ["VAULT_URL"], DefaultAzureCredential())
    try:
        return jsonify(secret=client.get_secret("greeting").value)
    except (HttpResponseError, CredentialUnavailableError) as error:
        return jsonify(error=type(error).__name__, status=getattr(error, "status_code", None), text=str(error)), 500
