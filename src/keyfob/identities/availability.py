"""Whether a host may have an identity of a kind, in a cloud, by an edition of the availability tables. A plain
function: the tables go in, what to tell the caller comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyfob.clouds.availability import Availability, Host, IdentityType, Status
from keyfob.errors import InvalidInput

_PART_OF = {
    "microsoft.web/sites/slots": "microsoft.web/sites",
    "microsoft.compute/virtualmachinescalesets/virtualmachines": "microsoft.compute/virtualmachinescalesets",
}
"""Types that are rows of the tables under another type's name."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The tables and the edition that counts."""

    availability: Availability
    edition: str

    def judge(
        self, *, cloud: str, type: str, kind: str | None, os_type: str | None, system: bool, user: bool
    ) -> tuple[str, ...]:
        """Sentences about what is in preview, none when nothing is. Raises `InvalidInput` for what is not offered.

        `kind` tells functions from other sites, `os_type` Linux from Windows container groups.
        """
        rows = self.availability.edition(self.edition).hosts
        service = service_of(rows, type, kind)
        if service is None:
            return ()
        title = rows[service].name + (f" ({os_type})" if service == "container-instances" and os_type else "")
        wanted: tuple[tuple[IdentityType, bool], ...] = (("SystemAssigned", system), ("UserAssigned", user))
        asked = [name for name, given in wanted if given]
        for one in asked:
            if self.availability.refuses(self.edition, service, one, cloud, os_type):
                raise InvalidInput(
                    f"The identity type '{one}' is not available for {title} in {cloud} by the edition "
                    f"'{self.edition}' of the availability tables: {self._instead(service, one, cloud, os_type)} "
                    "(`keyfob services` shows the tables).",
                    code="IdentityTypeNotSupported",
                    target="identity.type",
                )
        return tuple(
            f"The identity type '{one}' is in preview for {title} in {cloud} by the edition '{self.edition}' of the "
            "availability tables"
            for one in asked
            if self.availability.status(self.edition, service, one, cloud, os_type) is Status.PREVIEW
        )

    def _instead(self, service: str, refused: IdentityType, cloud: str, os_type: str | None) -> str:
        other: IdentityType = "UserAssigned" if refused == "SystemAssigned" else "SystemAssigned"
        ways = []
        if not self.availability.refuses(self.edition, service, other, cloud, os_type):
            ways.append(f"use '{other}'")
        if os_type is not None and not self.availability.refuses(self.edition, service, refused, cloud):
            ways.append("use another operating system")
        if cloud != "AzureCloud" and not self.availability.refuses(
            self.edition, service, refused, "AzureCloud", os_type
        ):
            ways.append("use AzureCloud")
        if not self.availability.refuses("current", service, refused, cloud, os_type):
            ways.append("start the server with --availability current")
        return ", or ".join(ways) if ways else "leave the identity out"


def service_of(hosts: Mapping[str, Host], type: str, kind: str | None) -> str | None:
    """The key of the row for a resource type, None when it has none. Functions share their type with other sites and
    are told by the word `functionapp` in `kind`."""
    wanted = _PART_OF.get(type.lower(), type.lower())
    keys = [key for key, host in hosts.items() if wanted in map(str.lower, host.types)]
    if "functions" in keys:
        return "functions" if "functionapp" in (kind or "").lower().split(",") else "app-service"
    return keys[0] if keys else None
