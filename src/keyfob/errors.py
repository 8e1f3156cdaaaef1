"""The one tree of errors. Any layer raises them; each dialect writes them in its own words, once.

A `Problem` knows no wire format: it carries what happened (`status`, `code`, `message`) and, for dialects that
want more, typed fields of its subclass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any


class Problem(Exception):
    """Something the caller must be told.

    `status` is the HTTP status the services use for it, `code` the service's error code, `target` the field or
    resource it is about, `details` further problems, `info` named values that a dialect may print.
    """

    status: int = 500
    code: str = "InternalServerError"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        target: str | None = None,
        details: Sequence[Problem] = (),
        info: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        self.target = target
        self.details = tuple(details)
        self.info: Mapping[str, Any] = info or {}


class InvalidInput(Problem):
    """The request cannot be understood or is not allowed in this form."""

    status = 400
    code = "BadRequest"


class Fault(StrEnum):
    """Why a credential was not accepted. Every dialect maps each of these to its own code and text."""

    MISSING = "missing"
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    KEY = "key"
    SIGNATURE = "signature"
    ISSUER = "issuer"
    TENANT = "tenant"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    CLAIMS = "claims"


class Unauthenticated(Problem):
    """No credential, or one that proves nothing. `fault` says which check failed.

    `info` may hold: `audience` (found), `issuer` (found), `expires_on` (epoch seconds), `tenant`.
    """

    status = 401
    code = "Unauthenticated"

    def __init__(self, fault: Fault, message: str, **more: Any) -> None:
        super().__init__(message, **more)
        self.fault = fault


class Forbidden(Problem):
    """A known caller may not do this. `info` holds `principal_id`, `action`, `scope`, `reason`."""

    status = 403
    code = "Forbidden"


class NotFound(Problem):
    status = 404
    code = "NotFound"


class MethodNotAllowed(Problem):
    status = 405
    code = "MethodNotAllowed"


class Conflict(Problem):
    status = 409
    code = "Conflict"


class PreconditionFailed(Problem):
    """The etag in the request is not the stored one."""

    status = 412
    code = "PreconditionFailed"


class TooLarge(Problem):
    status = 413
    code = "RequestEntityTooLarge"


class TooManyRequests(Problem):
    status = 429
    code = "TooManyRequests"


class Unavailable(Problem):
    status = 503
    code = "ServiceUnavailable"
