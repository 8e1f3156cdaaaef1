"""The token service's refusals: AADSTS code → OAuth error, HTTP status, text.

Texts are what login.microsoftonline.com writes where a public capture shows it (issue threads of Azure/login,
MSAL for .NET, azure-workload-identity), else the wording of Microsoft's list of error codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import msgspec

from keyfob.errors import Problem

_LONGEST_VALUE = 256


@dataclass(frozen=True, slots=True)
class Row:
    error: str
    status: int
    text: str


_FEDERATED_HELP = (
    "Check your federated identity credential Subject, Audience and Issuer against the presented assertion. "
    "https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
)
_RESOURCE = (
    "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the "
    "application has not been installed by the administrator of the tenant or consented to by any user in the tenant. "
    "You might have sent your authentication request to the wrong tenant."
)

TABLE: Mapping[int, Row] = {
    # the request
    900144: Row("invalid_request", 400, "The request body must contain the following parameter: '{name}'."),
    9002313: Row("invalid_request", 400, "Invalid request. Request is malformed or invalid."),
    900561: Row("invalid_request", 400, "The endpoint only accepts {accepted} requests. Received a {method} request."),
    90100: Row("invalid_request", 400, "{name} parameter is empty or not valid."),
    70003: Row("unsupported_grant_type", 400, "The app requested an unsupported grant type '{grant_type}'."),
    70005: Row("unsupported_response_type", 400, "The response_type '{response_type}' is not supported."),
    70007: Row("invalid_request", 400, "'{response_mode}' is not a supported value of 'response_mode'."),
    901002: Row("invalid_request", 400, "The 'resource' request parameter is not supported."),
    # tenant and instance
    90002: Row(
        "invalid_tenant",
        400,
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the "
        "correct cloud. Check with your subscription administrator, this may happen if there are no active "
        "subscriptions for the tenant.",
    ),
    90019: Row(
        "invalid_request",
        400,
        "No tenant-identifying information found in either the request or implied by any provided credentials.",
    ),
    50049: Row("invalid_instance", 400, "Unknown or invalid instance."),
    50194: Row(
        "invalid_request",
        400,
        "Application '{app_id}'({name}) is not configured as a multi-tenant application. Usage of the /common "
        "endpoint is not supported for such apps created after '10/15/2018'. Use a tenant-specific endpoint or "
        "configure the application to be multi-tenant.",
    ),
    # the client
    700016: Row(
        "unauthorized_client",
        400,
        "Application with identifier '{app_id}' was not found in the directory '{tenant}'. This can happen if the "
        "application has not been installed by the administrator of the tenant or consented to by any user in the "
        "tenant. You may have sent your authentication request to the wrong tenant.",
    ),
    7000112: Row("unauthorized_client", 400, "Application '{app_id}'({name}) is disabled."),
    7000215: Row(
        "invalid_client",
        401,
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not "
        "the client secret ID, for a secret added to app '{app_id}'.",
    ),
    7000222: Row(
        "invalid_client",
        401,
        "The provided client secret keys for app '{app_id}' are expired. Visit the Azure portal to create new keys for "
        "your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: "
        "https://aka.ms/certCreds.",
    ),
    7000216: Row(
        "invalid_request",
        400,
        "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
    ),
    7000218: Row(
        "invalid_client",
        401,
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
    ),
    700025: Row(
        "invalid_client",
        401,
        "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
    ),
    # client assertions
    50027: Row("invalid_client", 401, "JWT token is invalid or malformed."),
    5002723: Row(
        "invalid_client",
        401,
        "Invalid JWT token. No certificate SHA-1 thumbprint, certificate SHA-256 thumbprint, nor keyId specified in "
        "token header.",
    ),
    700027: Row(
        "invalid_client",
        401,
        "{what} [Reason - {reason}]",
    ),
    700023: Row(
        "invalid_client",
        401,
        "Client assertion audience claim does not match Realm issuer. Review the documentation at "
        "https://learn.microsoft.com/entra/identity-platform/certificate-credentials.",
    ),
    700021: Row(
        "invalid_client",
        401,
        "Client assertion application identifier doesn't match 'client_id' parameter. Review the documentation at "
        "https://learn.microsoft.com/entra/identity-platform/certificate-credentials.",
    ),
    700024: Row(
        "invalid_client",
        401,
        "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {begins}, "
        "expiry time of assertion {ends}. Review the documentation at "
        "https://learn.microsoft.com/entra/identity-platform/certificate-credentials.",
    ),
    # federated assertions
    70021: Row(
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'. "
        "Assertion Subject: '{subject}'. Assertion Audience: '{audience}'. "
        "https://learn.microsoft.com/entra/workload-id/workload-identity-federation",
    ),
    700211: Row(
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion issuer '{issuer}'. " + _FEDERATED_HELP,
    ),
    700212: Row(
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion audience '{audience}'. " + _FEDERATED_HELP,
    ),
    700213: Row(
        "invalid_client",
        401,
        "No matching federated identity record found for presented assertion subject '{subject}'. " + _FEDERATED_HELP,
    ),
    500031: Row(
        "invalid_client",
        401,
        "Cannot find signing certificate configured. The keys of issuer '{issuer}' could not be fetched: {reason}",
    ),
    # resource and scope
    500011: Row("invalid_resource", 400, _RESOURCE),
    70011: Row("invalid_scope", 400, "The provided value for the input parameter 'scope' is not valid. {reason}"),
    28000: Row(
        "invalid_scope",
        400,
        "Provided value for the input parameter scope is not valid because it contains more than one resource. "
        "Scope {scope} is not valid.",
    ),
    28002: Row(
        "invalid_scope",
        400,
        "Provided value for the input parameter scope '{scope}' is not valid when requesting an access token. "
        "Please specify a valid scope.",
    ),
    1002012: Row(
        "invalid_scope",
        400,
        "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with "
        "/.default suffixed to the resource identifier (application ID URI).",
    ),
    # users and what they hold
    50126: Row("invalid_grant", 400, "Error validating credentials due to invalid username or password."),
    50034: Row(
        "invalid_grant",
        400,
        "The user account {user} does not exist in the {tenant} directory. To sign into this application, the account "
        "must be added to the directory.",
    ),
    50020: Row("invalid_grant", 400, "User account '{user}' does not exist in tenant '{tenant}'."),
    50058: Row("login_required", 400, "A silent sign-in request was sent but no user is signed in."),
    50057: Row("invalid_grant", 400, "The user account is disabled."),
    50053: Row(
        "invalid_grant",
        400,
        "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.",
    ),
    7000219: Row(
        "unauthorized_client", 400, "The password grant is switched off in tenant '{tenant}' (setting password_grant)."
    ),
    70000: Row("invalid_grant", 400, "Provided grant is invalid or malformed."),
    70008: Row(
        "invalid_grant",
        400,
        "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive "
        "authorization request for this user and resource.",
    ),
    700082: Row(
        "invalid_grant",
        400,
        "The refresh token has expired due to inactivity. The token was issued on {issued} and was inactive for "
        "{inactive}.",
    ),
    54005: Row(
        "invalid_grant",
        400,
        "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh "
        "token.",
    ),
    501481: Row(
        "invalid_grant",
        400,
        "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
    ),
    500112: Row(
        "invalid_client",
        400,
        "The reply address '{found}' does not match the reply address '{expected}' provided when requesting "
        "Authorization code.",
    ),
    50011: Row(
        "invalid_request",
        400,
        "The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs configured for "
        "the application '{app_id}'. Make sure the redirect URI sent in the request matches one added to your "
        "application in the Azure portal.",
    ),
    90014: Row("invalid_request", 400, "The required field '{name}' is missing from the credential."),
    # device code
    70016: Row("authorization_pending", 400, "OAuth 2.0 device flow error. Authorization is pending."),
    70018: Row("bad_verification_code", 400, "Invalid verification code due to User typing in wrong user code."),
    70019: Row("expired_token", 400, "Verification code expired."),
    70020: Row("expired_token", 400, "The provided value for the input parameter 'device_code' is not valid."),
    65004: Row("authorization_declined", 400, "User declined to consent to access the app."),
    90055: Row("temporarily_unavailable", 429, "Too many sign-ins are waiting. Try again later."),
    # on behalf of
    50013: Row("invalid_grant", 400, "Assertion failed signature validation. [Reason - {reason}]"),
    500131: Row(
        "invalid_grant",
        400,
        "Assertion audience does not match the Client app presenting the assertion. The audience in the assertion was "
        "'{audience}' and the expected audience is '{expected}' or one of the Application Uris of this application "
        "with App ID '{app_id}'.",
    ),
    500133: Row(
        "invalid_grant",
        400,
        "Assertion is not within its valid time range. Ensure that the access token is not expired before using it for "
        "user assertion, or request a new token. Current time: {now}, expiry time of assertion {ends}.",
    ),
    240002: Row(
        "invalid_grant",
        400,
        "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant.",
    ),
    7000114: Row("invalid_grant", 400, "Application '{app_id}' is not allowed to make application on-behalf-of calls."),
}


class Refused(Problem):
    """A refusal of the token service. `aadsts` is the number; the message begins with it."""

    def __init__(self, aadsts: int, *, error: str | None = None, suberror: str = "", **values: object) -> None:
        row = TABLE[aadsts]
        shown = {name: _short(value) for name, value in values.items()}
        super().__init__(
            f"AADSTS{aadsts}: {row.text.format_map(shown)}", code=error or row.error, status=row.status, info=shown
        )
        self.aadsts = aadsts
        self.suberror = suberror


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"


class Description(msgspec.Struct, frozen=True):
    """A row of Microsoft's list of error codes."""

    name: str | None = None
    message: str | None = None


def describe(code: str) -> Description | None:
    """What Microsoft's list says about a code (package data, read each time: the error page is rare)."""
    data = files("keyfob.directory").joinpath("data/aadsts.json").read_bytes()
    known: dict[str, Description] = msgspec.json.decode(data, type=dict[str, Description])
    found = known.get(code)
    if found is not None and found.message:
        return found
    row = TABLE.get(int(code)) if code.isascii() and code.isdigit() and len(code) < 10 else None
    return Description(found.name if found else None, row.text) if row else None


def moment(seconds: float) -> str:
    """`2024-10-02T22:05:03.6755165Z`: how texts write a time."""
    if not 0 <= seconds < 253_402_300_800:
        return "an impossible time"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def error_body(
    *, aadsts: int | None, error: str, message: str, now: float, trace_id: str, correlation_id: str, login: str
) -> dict[str, Any]:
    """The JSON of a refusal; `login` is the authority whose error page `error_uri` names."""
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    body: dict[str, Any] = {
        "error": error,
        "error_description": (
            f"{message}\r\nTrace ID: {trace_id}\r\nCorrelation ID: {correlation_id}\r\nTimestamp: {stamp}"
        ),
        "error_codes": [] if aadsts is None else [aadsts],
        "timestamp": stamp,
        "trace_id": trace_id,
        "correlation_id": correlation_id,
    }
    if aadsts is not None:
        body["error_uri"] = f"{login}/error?code={aadsts}"
    return body
