"""Settings: defaults, then the settings file, then the environment, then flags; one frozen object."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import platformdirs

from runner.model.errors import HistoryError, UsageError, is_condition, reason_of
from runner.model.links import open_parent
from runner.model.secrets import keep_secret
from runner.model.toml import Table, parse_toml, read_bounded
from runner.model.units import parse_duration
from runner.strategies.base import Cluster


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The settings of every command.

    Attributes:
        db: The database: a file's path or a URL.
        start_method: fork, forkserver or spawn for pool workers; empty for the best of the platform.
        runs_at_once: The number of concurrent runs; more than one disturbs the measurements.
        retain_for: The age at which the daemon deletes runs, a duration; empty for never.
        retain_runs: The number of runs of each job that the daemon keeps at any age; 0 for none.
        retain_failures: Whether it keeps failed runs at any age.
        log_format: The log format of the daemon: text or json.
        metrics_file: The file for Prometheus metrics of the daemon; empty for none.
        dask_scheduler: The address of a Dask scheduler, or local.
        dask_tls_ca: The file of the certificate authority for a tls:// address.
        dask_tls_cert: The file of the certificate.
        dask_tls_key: The file of its key.
    """

    db: str
    start_method: str = ""
    runs_at_once: int = 1
    retain_for: str = ""
    retain_runs: int = 0
    retain_failures: bool = False
    log_format: str = "text"
    metrics_file: str = ""
    dask_scheduler: str = "local"
    dask_tls_ca: str = ""
    dask_tls_cert: str = ""
    dask_tls_key: str = ""

    @property
    def cluster(self) -> Cluster:
        """The cluster of the strategy dask."""
        files = {"tls_ca": self.dask_tls_ca, "tls_cert": self.dask_tls_cert, "tls_key": self.dask_tls_key}
        return Cluster(self.dask_scheduler, **files)


def load_settings(db: str | None = None) -> Settings:
    """Load the settings.

    Args:
        db: The database of the option --db.

    Raises:
        UsageError: If the flag is empty, or the settings file can't be read, is named but missing, or says
            something that is not a setting.
    """
    if db == "":
        raise UsageError("the database given by --db is empty; give a file's path or a URL")
    given = _read(settings_path())
    chosen = db or os.environ.get("RUNNER_DB") or given.get("db")
    if chosen:
        keep_secret(chosen)  # before an error can contain it
    settings = Settings(**{**given, "db": chosen or _create_default()})
    if settings.dask_scheduler.startswith("tls://"):
        missing = [key for key in ("dask_tls_ca", "dask_tls_cert", "dask_tls_key") if key not in given]
        if missing:
            raise UsageError(
                f"dask_scheduler is a tls:// address, which needs {missing[0]} in the settings file as well"
            )
    return settings


def choose_database(db: str | None) -> None:
    """Make an option --db before a command's name the default of the command's own."""
    if db is not None:
        load_settings(db)  # refuses an empty name
        os.environ["RUNNER_DB"] = db


def settings_path() -> Path:
    """Return the settings file: RUNNER_SETTINGS, else in the user's configuration directory."""
    named = os.environ.get("RUNNER_SETTINGS")
    return Path(named) if named else platformdirs.user_config_path("runner") / "settings.toml"


def default_database() -> Path:
    """Return the default database."""
    return platformdirs.user_data_path("runner") / "runner.db"


def _create_default() -> str:
    """Create the directory of the default database; return the database."""
    path = default_database()
    try:
        with open_parent(os.fspath(path), create=True):
            return str(path)
    except OSError as error:
        kind = HistoryError if is_condition(error) else UsageError
        reason = reason_of(error)
        raise kind(f"the directory {path.parent} can't be made: {reason}; choose a database with --db") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = read_bounded(file, f"the settings file {path}")
    except FileNotFoundError as error:
        if os.environ.get("RUNNER_SETTINGS"):
            raise UsageError(f"the settings file {path} named by RUNNER_SETTINGS does not exist") from error
        return {}
    except OSError as error:
        kind = HistoryError if is_condition(error) else UsageError
        raise kind(f"the settings file {path} can't be read: {reason_of(error)}; check its path") from error
    entries = parse_toml(f"the settings file {path}", data)
    table = Table(f"the settings file {path}: ", entries)
    # An error lists the keys, of which most users need none of an extra.
    cluster = _CLUSTER_KEYS if any(key.startswith("dask") for key in entries) else {}
    for key, (expected, fits) in (_KEYS | cluster).items():
        value = table.take(key)
        if value is not None and not fits(value):
            raise table.wrong(key, expected, value)
    table.finish()
    return entries


def _is_whole(least: int, most: int = 2**63 - 1) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_scheduler(value: object) -> bool:
    return isinstance(value, str) and (value == "local" or bool(re.fullmatch(r"(tcp|tls)://.+:\d{1,5}", value)))


def _is_duration(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(parse_duration(value))
    except UsageError:
        return False


_Keys: TypeAlias = dict[str, tuple[str, Callable[[object], bool]]]
# For each key a description of its values and a predicate.
_KEYS: _Keys = {
    "db": ("the path of a file or a URL in quotes", _is_text),
    "start_method": ("one of 'fork', 'forkserver', 'spawn'", lambda value: value in ("fork", "forkserver", "spawn")),
    "runs_at_once": ("a whole number from 1 to 64", _is_whole(1, 64)),
    "retain_for": ("a duration such as '365d'", _is_duration),
    "retain_runs": ("a whole number from 1 on", _is_whole(1)),
    "retain_failures": ("true or false", lambda value: isinstance(value, bool)),
    "log_format": ("one of 'text', 'json'", lambda value: value in ("text", "json")),
    "metrics_file": ("the path of a file in quotes", _is_text),
}
_CLUSTER_KEYS: _Keys = {
    "dask_scheduler": ("'local', 'tcp://HOST:PORT' or 'tls://HOST:PORT'", _is_scheduler),
    "dask_tls_ca": ("the path of a file in quotes", _is_text),
    "dask_tls_cert": ("the path of a file in quotes", _is_text),
    "dask_tls_key": ("the path of a file in quotes", _is_text),
}
