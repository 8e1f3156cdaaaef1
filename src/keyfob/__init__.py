"""Managed identities for Azure resources, running anywhere."""

__version__ = "0.1.0"
