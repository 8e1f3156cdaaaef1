"""How a command says that it did not go well."""

from __future__ import annotations

from keyfob.errors import Problem


class Failure(Problem):
    """What the command line says when a call did not go well."""

    status = 1
    code = "CommandFailed"
