"""How content comes to a site: its SCM site, deployments, builds."""
