"""What Microsoft Graph shows of each kind of object, in the order and with the nulls of recorded replies. Pure."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from keyfob.directory.graph.catalog import MICROSOFT, Catalog
from keyfob.directory.graph.dialect import written
from keyfob.directory.model import (
    Application,
    AppRole,
    AppRoleAssignment,
    ClientCertificate,
    ClientSecret,
    FederatedCredential,
    Group,
    PermissionGrant,
    ServicePrincipal,
    Tenant,
    User,
)

USER_DEFAULT = (
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
    "id",
)
"""What a user shows without `$select`."""
_INFO = {
    "logoUrl": None,
    "marketingUrl": None,
    "privacyStatementUrl": None,
    "supportUrl": None,
    "termsOfServiceUrl": None,
}
_VERIFIED = {"displayName": None, "verifiedPublisherId": None, "addedDateTime": None}


def user(value: User) -> dict[str, Any]:
    more = dict.fromkeys(USER_DEFAULT[1:9]) | {"mailNickname": value.principal_name.partition("@")[0]} | value.more
    return {
        "businessPhones": [],
        **more,
        "displayName": value.display_name,
        "userPrincipalName": value.principal_name,
        "id": value.id,
        "accountEnabled": value.enabled,
        "createdDateTime": written(value.created),
        "deletedDateTime": None,
        "userType": "Member",
        "securityIdentifier": _sid(value.id),
    }


def group(value: Group) -> dict[str, Any]:
    kept: dict[str, Any] = {
        "classification": None,
        "creationOptions": [],
        "description": None,
        "expirationDateTime": None,
        "groupTypes": [],
        "isAssignableToRole": None,
        "mail": None,
        "mailEnabled": False,
        "mailNickname": value.id,
        "membershipRule": None,
        "membershipRuleProcessingState": None,
        "onPremisesDomainName": None,
        "onPremisesLastSyncDateTime": None,
        "onPremisesNetBiosName": None,
        "onPremisesSamAccountName": None,
        "onPremisesSecurityIdentifier": None,
        "onPremisesSyncEnabled": None,
        "preferredDataLocation": None,
        "preferredLanguage": None,
        "proxyAddresses": [],
        "resourceBehaviorOptions": [],
        "resourceProvisioningOptions": [],
        "securityEnabled": True,
        "theme": None,
        "visibility": None,
        "onPremisesProvisioningErrors": [],
    }
    return {
        "id": value.id,
        "deletedDateTime": None,
        "createdDateTime": written(value.created),
        "displayName": value.display_name,
        **kept,
        **value.more,
        "renewedDateTime": written(value.created),
        "securityIdentifier": _sid(value.id),
    }


def application(value: Application, tenant: Tenant) -> dict[str, Any]:
    more = value.more
    fresh: dict[str, Any] = {
        "applicationTemplateId": None,
        "disabledByMicrosoftStatus": None,
        "description": None,
        "groupMembershipClaims": None,
        "isDeviceOnlyAuthSupported": None,
        "isFallbackPublicClient": True if value.public_client else None,
        "notes": None,
        "serviceManagementReference": None,
        "tags": [],
        "tokenEncryptionKeyId": None,
        "samlMetadataUrl": None,
        "defaultRedirectUri": None,
        "certification": None,
        "optionalClaims": None,
        "servicePrincipalLockConfiguration": None,
        "requestSignatureVerification": None,
        "addIns": [],
        "info": _INFO,
        "parentalControlSettings": {"countriesBlockedForMinors": [], "legalAgeGroupRule": "Allow"},
        "requiredResourceAccess": [],
        "verifiedPublisher": _VERIFIED,
    }
    kept = {**fresh, **{name: one for name, one in more.items() if name not in ("api", "web", "spa", "publicClient")}}
    web: dict[str, Any] = {
        "homePageUrl": None,
        "logoutUrl": None,
        "redirectUris": [] if more else list(value.redirect_uris),
        "implicitGrantSettings": {"enableAccessTokenIssuance": False, "enableIdTokenIssuance": False},
        "redirectUriSettings": [],
    }
    api: dict[str, Any] = {
        "acceptMappedClaims": None,
        "knownClientApplications": [],
        "requestedAccessTokenVersion": 2 if value.access_token_version == 2 else None,
        "oauth2PermissionScopes": [],
        "preAuthorizedApplications": [],
    }
    return {
        "id": value.id,
        "deletedDateTime": None,
        "appId": value.app_id,
        "createdDateTime": written(value.created),
        "displayName": value.display_name,
        "identifierUris": list(value.identifier_uris),
        "publisherDomain": tenant.domains[0] if tenant.domains else None,
        "signInAudience": value.sign_in_audience,
        **kept,
        "api": {**api, **(more.get("api") or {})},
        "appRoles": [app_role(one) for one in value.app_roles],
        "keyCredentials": [certificate(one) for one in value.certificates],
        "passwordCredentials": [secret(one) for one in value.secrets],
        "publicClient": {"redirectUris": [], **(more.get("publicClient") or {})},
        "web": {**web, **(more.get("web") or {})},
        "spa": {"redirectUris": [], **(more.get("spa") or {})},
    }


def service_principal(value: ServicePrincipal, app: Application | None, catalog: Catalog) -> dict[str, Any]:
    first_party, managed = value.kind == "FirstParty", value.kind == "ManagedIdentity"
    kept: dict[str, Any] = {
        "appDescription": None,
        "applicationTemplateId": None,
        "appRoleAssignmentRequired": False,
        "description": None,
        "disabledByMicrosoftStatus": None,
        "homepage": None,
        "loginUrl": None,
        "logoutUrl": None,
        "notes": None,
        "notificationEmailAddresses": [],
        "preferredSingleSignOnMode": None,
        "preferredTokenSigningKeyThumbprint": None,
        "tokenEncryptionKeyId": None,
        "samlSingleSignOnSettings": None,
        "addIns": [],
        "info": _INFO,
        "resourceSpecificApplicationPermissions": [],
        "verifiedPublisher": _VERIFIED,
    }
    roles = offered(value, app, catalog)
    scopes: Sequence[Any] = (
        catalog.scopes.get(value.app_id, ())
        if app is None
        else ((app.more.get("api") or {}).get("oauth2PermissionScopes") or [])
    )
    return {
        "id": value.id,
        "deletedDateTime": None,
        "accountEnabled": value.enabled,
        "alternativeNames": list(value.alternative_names),
        "appDisplayName": None if managed else value.display_name,
        "appId": value.app_id,
        "appOwnerOrganizationId": MICROSOFT if first_party else app.tenant_id if app else None,
        "createdDateTime": written(value.created),
        "displayName": value.display_name,
        **kept,
        **value.more,
        "replyUrls": list(app.redirect_uris) if app else [],
        "servicePrincipalNames": [name for name in value.names if "*" not in name],
        "servicePrincipalType": "ManagedIdentity" if managed else "Application",
        "signInAudience": "AzureADMultipleOrgs" if first_party else app.sign_in_audience if app else None,
        "tags": list(value.tags),
        "appRoles": [app_role(one) for one in roles],
        "keyCredentials": [certificate(one) for one in value.certificates],
        "oauth2PermissionScopes": [scope(one) for one in scopes],
        "passwordCredentials": [secret(one) for one in value.secrets],
    }


def offered(value: ServicePrincipal, app: Application | None, catalog: Catalog) -> tuple[AppRole, ...]:
    """The app roles of a resource: its registration's, or for Azure's own applications the catalog's."""
    if app is not None:
        return app.app_roles
    return catalog.roles.get(value.app_id, ()) if value.kind == "FirstParty" else ()


def app_role(value: AppRole) -> dict[str, Any]:
    return {
        "allowedMemberTypes": list(value.members),
        "description": value.description or None,
        "displayName": value.display_name,
        "id": value.id,
        "isEnabled": value.enabled,
        "origin": "Application",
        "value": value.value or None,
    }


def scope(value: Mapping[str, Any]) -> dict[str, Any]:
    """As it came, or (of Azure's own) made from the catalog's three members."""
    if "display_name" not in value:
        return dict(value)
    return {
        "adminConsentDescription": value["display_name"],
        "adminConsentDisplayName": value["display_name"],
        "id": value["id"],
        "isEnabled": True,
        "type": "User",
        "userConsentDescription": value["display_name"],
        "userConsentDisplayName": value["display_name"],
        "value": value["value"],
    }


def secret(value: ClientSecret) -> dict[str, Any]:
    return {
        "customKeyIdentifier": None,
        "displayName": value.display_name or None,
        "endDateTime": written(value.ends),
        "hint": value.hint,
        "keyId": value.id,
        "secretText": None,
        "startDateTime": written(value.starts),
    }


def certificate(value: ClientCertificate) -> dict[str, Any]:
    return {
        "customKeyIdentifier": value.thumbprint,
        "displayName": value.display_name or None,
        "endDateTime": written(value.ends),
        "key": None,
        "keyId": value.id,
        "startDateTime": written(value.starts),
        "type": "AsymmetricX509Cert",
        "usage": "Verify",
    }


def federated(value: FederatedCredential) -> dict[str, Any]:
    return {
        "id": value.id or value.name,
        "name": value.name,
        "issuer": value.issuer,
        "subject": value.subject,
        "description": value.description or None,
        "audiences": list(value.audiences),
    }


def assignment(
    value: AppRoleAssignment, assignment_id: str, principal: User | Group | ServicePrincipal, resource: ServicePrincipal
) -> dict[str, Any]:
    return {
        "id": assignment_id,
        "deletedDateTime": None,
        "appRoleId": value.role_id,
        "createdDateTime": written(value.created),
        "principalDisplayName": principal.display_name,
        "principalId": value.principal_id,
        "principalType": type(principal).__name__,
        "resourceDisplayName": resource.display_name,
        "resourceId": resource.id,
    }


def grant(value: PermissionGrant) -> dict[str, Any]:
    return {
        "clientId": value.client_id,
        "consentType": "Principal" if value.principal_id else "AllPrincipals",
        "id": value.id,
        "principalId": value.principal_id or None,
        "resourceId": value.resource_id,
        "scope": value.scope,
    }


def _sid(object_id: str) -> str:
    """`S-1-12-1-` and the four little-endian words of the GUID (as in recorded groups)."""
    return "S-1-12-1-" + "-".join(str(word) for word in struct.unpack("<4I", uuid.UUID(object_id).bytes_le))
