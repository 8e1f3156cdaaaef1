"""Settings: one table, read and validated once, frozen afterwards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyfob.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: its name (`KEYFOB_NAME` in the environment), default, and what it is for."""

    name: str
    default: str
    help: str


TABLE = (
    Setting("data", "", "Folder of the database, keys and certificates. Default: keyfob under XDG_DATA_HOME."),
    Setting(
        "database", "", "postgresql://… when several nodes share one database. Default: SQLite in the data folder."
    ),
    Setting(
        "port", "4443", "Loopback port of the front door (TLS, every service by its host name). 0 takes a free one."
    ),
    Setting("address", "127.0.0.1", "Address the front door listens on."),
    Setting("cloud", "AzureCloud", "Cloud of the tenant made at first start."),
    Setting("availability", "current", "Edition of the availability tables: current, 2019-06-19 or 2018-11-28."),
    Setting("operation_seconds", "0", "How long a long-running operation takes before it succeeds."),
    Setting("password_grant", "false", "Whether the token service takes passwords (grant_type=password)."),
    Setting("decisions", "10000", "How many access decisions the log keeps."),
    Setting("log", "info", "Log level: debug, info, warning, error."),
)


@dataclass(frozen=True, slots=True)
class Settings:
    data: Path
    database: str
    port: int
    address: str
    cloud: str
    availability: str
    operation_seconds: float
    password_grant: bool
    decisions: int
    log: str

    @property
    def master_key_file(self) -> Path:
        return self.data / "master.key"

    @property
    def database_file(self) -> Path:
        return self.data / "keyfob.db"

    @property
    def certificates(self) -> Path:
        return self.data / "ca"

    @property
    def operator_file(self) -> Path:
        return self.data / "operator.json"

    @property
    def server_file(self) -> Path:
        return self.data / "server.json"

    @property
    def lock_file(self) -> Path:
        """Locked while a server runs on the folder."""
        return self.data / "server.lock"

    @property
    def control_socket(self) -> Path:
        return self.data / "control.sock"

    @property
    def log_file(self) -> Path:
        return self.data / "keyfob.log"


def default_data_folder(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_DATA_HOME") or str(
        Path(environment.get("HOME") or "~").expanduser() / ".local" / "share"
    )
    return Path(base) / "keyfob"


def read_settings(environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """Given values win over `KEYFOB_*` variables, those over defaults. Raises `InvalidInput` naming the setting."""
    environment = os.environ if environment is None else environment
    raw: dict[str, str] = {}
    for row in TABLE:
        value = given.pop(row.name, None)
        raw[row.name] = str(value) if value is not None else environment.get(f"KEYFOB_{row.name.upper()}", row.default)
    if given:
        raise InvalidInput(f"There is no setting called '{sorted(given)[0]}'.")
    database = raw["database"]
    if database and not database.startswith(("postgresql://", "postgres://")):
        raise InvalidInput("The setting database takes postgresql://user@host/name, or nothing for SQLite.")
    return Settings(
        data=Path(raw["data"]).expanduser().absolute() if raw["data"] else default_data_folder(environment),
        database=database,
        port=int(_number(raw, "port", 0, 65535)),
        address=raw["address"],
        cloud=_one_of(raw, "cloud", ("AzureCloud", "AzureUSGovernment", "AzureChinaCloud", "AzureGermanCloud")),
        availability=_one_of(raw, "availability", ("current", "2019-06-19", "2018-11-28")),
        operation_seconds=_number(raw, "operation_seconds", 0, 86_400),
        password_grant=_one_of(raw, "password_grant", ("true", "false")) == "true",
        decisions=int(_number(raw, "decisions", 100, 10_000_000)),
        log=_one_of(raw, "log", ("debug", "info", "warning", "error")),
    )


def _number(raw: Mapping[str, str], name: str, low: float, high: float) -> float:
    try:
        value = float(raw[name])
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise InvalidInput(f"The setting {name} takes a number from {low:g} to {high:g}, not '{raw[name]}'.")
    return value


def _one_of(raw: Mapping[str, str], name: str, values: tuple[str, ...]) -> str:
    for value in values:
        if raw[name].lower() == value.lower():
            return value
    raise InvalidInput(f"The setting {name} takes one of {', '.join(values)}, not '{raw[name]}'.")
