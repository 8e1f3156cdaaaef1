"""Resource Manager: one engine for every resource type, and the phases that every request passes."""
