"""Where an application runs, and how it learns its tokens there.

One folder for each kind of host (virtual machine, App Service, …): what Resource Manager knows of it and the
endpoint its applications ask. `dialects` holds the wire formats those endpoints share; `sandbox` starts a program
inside a host. The folders do not know each other.
"""
