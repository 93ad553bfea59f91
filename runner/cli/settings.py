"""Settings: defaults, then the settings file, then the environment, then flags; one frozen object."""

import os
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from runner.model.errors import UsageError
from runner.model.units import parse_duration
from runner.render.secrets import keep_secret


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What holds for every command.

    Attributes:
        db: The database: a file's path or a URL.
        start_method: How pool workers are started: fork, forkserver or spawn; empty for the platform's best.
        runs_at_once: How many runs may go on at the same time; more than one disturbs the measurements.
        retain_for: How old runs may grow before the daemon forgets them, a duration; empty for any age.
        retain_runs: How many runs of each job the daemon keeps whatever their age; 0 for none.
        retain_failures: Whether it keeps runs that failed whatever their age.
        log_format: How the daemon logs: text or json.
        metrics_file: The file into which the daemon writes what it measures for Prometheus; empty for none.
    """

    db: str
    start_method: str = ""
    runs_at_once: int = 1
    retain_for: str = ""
    retain_runs: int = 0
    retain_failures: bool = False
    log_format: str = "text"
    metrics_file: str = ""


def load_settings(db: str | None = None) -> Settings:
    """Load the settings.

    Args:
        db: The database named by a flag.

    Raises:
        UsageError: If the flag is empty, or the settings file can't be read, is named but missing, or says
            something that is not a setting.
    """
    if db == "":
        raise UsageError("the database given by --db is empty; give a file's path or a URL")
    given = _read(settings_path())
    chosen = db or os.environ.get("RUNNER_DB") or given.pop("db", None)
    given.pop("db", None)
    if chosen:
        keep_secret(chosen)  # before anything can fail with it
    return Settings(db=chosen or str(_with_folder(default_database())), **given)


def settings_path() -> Path:
    """Tell where the settings file is: named by RUNNER_SETTINGS, else in the platform's user configuration folder."""
    import platformdirs

    named = os.environ.get("RUNNER_SETTINGS")
    return Path(named) if named else platformdirs.user_config_path("runner") / "settings.toml"


def default_database() -> Path:
    """Tell where the database is that nobody has to name."""
    import platformdirs

    return platformdirs.user_data_path("runner") / "runner.db"


def _with_folder(path: Path) -> Path:
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {folder} can't be made: {error.strerror}; choose a database with --db") from error
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if os.environ.get("RUNNER_SETTINGS"):
            raise UsageError(f"the settings file {path} named by RUNNER_SETTINGS does not exist") from error
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings file {path} can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the settings file {path} is not TOML: {error}") from error
    allowed = [field.name for field in fields(Settings)]
    for key, value in given.items():
        if key not in allowed:
            raise UsageError(f"the settings file {path} has an unknown key {key!r}; the keys are {', '.join(allowed)}")
        if not _fits(key, value):
            raise UsageError(f"the settings file {path} has an unusable value for {key}: {value!r}")
    return given


_CHOICES = {"start_method": ("fork", "forkserver", "spawn"), "log_format": ("text", "json")}


def _fits(key: str, value: object) -> bool:
    match key:
        case "start_method" | "log_format":
            return value in _CHOICES[key]
        case "runs_at_once":
            return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 64
        case "retain_for":
            return isinstance(value, str) and _is_duration(value)
        case "retain_runs":
            return isinstance(value, int) and not isinstance(value, bool) and value >= 1
        case "retain_failures":
            return isinstance(value, bool)
        case _:
            return isinstance(value, str) and bool(value)


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except UsageError:
        return False
    return True
