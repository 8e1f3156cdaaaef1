"""Tenants, principals, signing keys and the token service."""
