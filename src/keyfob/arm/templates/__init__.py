"""ARM templates: the language, and deployments of them."""
