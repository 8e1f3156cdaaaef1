"""Managed identities: what is attached to which resource, and the namespace Microsoft.ManagedIdentity."""
