"""Functions that read a secret: on a call, on a call as an identity of the caller's choice, and every two seconds."""

import logging
import os

import azure.functions as func
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)


def greeting(**which: str) -> str:
    client = SecretClient(os.environ["VAULT_URL"], DefaultAzureCredential(**which))
    return client.get_secret("greeting").value or ""


@app.route(route="read", methods=["GET"])
def read(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(greeting())


@app.route(route="read-as/{client}", methods=["GET"])
def read_as(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(greeting(managed_identity_client_id=req.route_params["client"]))


@app.timer_trigger(schedule="*/2 * * * * *", arg_name="timer")
def tick(timer: func.TimerRequest) -> None:
    logging.info("the timer read: %s", greeting())
