"""``runner service``: runs the daemon as a service of systemd or launchd."""

import os
import pwd
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from runner.cli import options, settings
from runner.history import backend, upgrade
from runner.history import database as databases
from runner.model.errors import UsageError
from runner.operations import launchd, service_files, systemd

app = typer.Typer(help="Run the daemon as a service of systemd or launchd.", add_completion=False)

# They decide where settings, database and caches are; a service manager lacks the environment of the user's shell.
_PLACES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")

System = Annotated[
    bool | None, options.option("A service of the machine (default for root), or of a user.", "--system/--user")
]
KindName = Annotated[
    Literal["systemd", "launchd"] | None, options.option("The service manager, default that of the platform.", "--kind")
]
Account = Annotated[
    str | None,
    options.option("The account of a service of the machine, default the caller, also through sudo.", metavar="NAME"),
]


@app.command("print")
def show(*, system: System = None, kind: KindName = None, user_account: Account = None, db: options.Db = None) -> None:
    """Print the systemd unit or launchd property list.

    It contains the database that --db or RUNNER_DB names; otherwise the daemon uses the default of every command.

    [bold]Example[/bold]

    runner service print --system --user-account backup
    """
    sys.stdout.flush()
    sys.stdout.buffer.write(_render(_kind(kind), _describe(system=system, account=user_account, db=db)))


@app.command()
def install(
    *,
    system: System = None,
    kind: KindName = None,
    user_account: Account = None,
    force: Annotated[bool, options.option("Replace a file that differs.", "--force")] = False,
    db: options.Db = None,
) -> None:
    """Install the service file, and show the commands that enable it.

    [bold]Example[/bold]

    runner service install --user
    """
    chosen = _kind(kind)
    service = _describe(system=system, account=user_account, db=db)
    path = service_files.service_path(chosen, system=service.account is not None)
    replaced = service_files.write_service(path, _render(chosen, service), force=force)
    sys.stdout.write(f"{path}\n")
    for line in service_files.start_commands(chosen, service, path, replaced=replaced):
        options.echo(line)
    if not service_files.is_running(chosen):
        options.echo(f"note: {chosen} does not run here; the commands are for when it does")


@app.command()
def uninstall(*, system: System = None, kind: KindName = None) -> None:
    """Remove the service file, and show the commands that stop the daemon.

    Jobs and history stay as they are.

    [bold]Example[/bold]

    runner service uninstall --user
    """
    chosen = _kind(kind)
    machine = _is_system(system)
    path = service_files.service_path(chosen, system=machine)
    other = service_files.service_path(chosen, system=not machine)
    if not os.path.lexists(path) and os.path.lexists(other):
        hint = "you have one of your own: --user" if machine else "the machine has one: --system"
        raise UsageError(f"no service is installed at {path}; {hint}")
    is_own = systemd.is_unit if chosen == "systemd" else launchd.is_plist
    for removed in service_files.remove_service(path, is_own):
        sys.stdout.write(f"{removed}\n")
    added = path.with_name(f"{path.name}.d")
    if added.is_dir():
        options.echo(f"{added} is left as it is: what it adds to the service is yours")
    for line in service_files.stop_commands(chosen, system=machine):
        options.echo(line)


def _kind(name: str | None) -> "service_files.Kind":
    return service_files.Kind(name or service_files.DEFAULT_KIND)


def _is_system(chosen: bool | None) -> bool:  # noqa: FBT001  the value of a flag
    return os.geteuid() == 0 if chosen is None else chosen


def _render(kind: "service_files.Kind", service: "service_files.Service") -> bytes:
    return systemd.systemd_unit(service) if kind == "systemd" else launchd.launchd_plist(service)


def _describe(*, system: bool | None, account: str | None, db: str | None) -> "service_files.Service":
    """Describe the daemon of this installation as a service."""
    machine = _is_system(system)
    if account is not None and not machine:
        raise UsageError("a user's own service runs as that user; leave --user-account out, or choose --system")
    command, environment = [*_program(), "daemon"], {}
    if named_settings := os.environ.get("RUNNER_SETTINGS"):
        environment["RUNNER_SETTINGS"] = os.path.abspath(named_settings)  # noqa: PTH100  links stay as they were named
    named = db is not None or bool(os.environ.get("RUNNER_DB"))
    server = False
    # The caller and the account of a service of the machine may have different settings.
    if named or named_settings or not machine:
        location = databases.locate(settings.load_settings(db).db)
        server = location.serves()
        if not server:  # which may be down only now
            _check_database(location)
        if named:
            command += ["--db", location.address()]
    if machine:
        runs_as, home = _find_account(account)
    else:
        environment |= {name: os.environ[name] for name in _PLACES if os.environ.get(name)}
        runs_as, home = None, Path.home()
    return service_files.Service(command=command, environment=environment, account=runs_as, home=home, server=server)


def _check_database(location: "backend.Backend") -> None:
    """Refuse a database file that the daemon would refuse."""
    location.check()
    database = databases.Database(location)
    try:
        upgrade.find_revision(database)
    finally:
        database.close()


def _program() -> list[str]:
    """Return the absolute path of this program, or a command that starts it."""
    started_as = os.path.abspath(sys.argv[0])  # noqa: PTH100  a link stays as it was named
    if not started_as.endswith(".py") and os.path.isfile(started_as) and os.access(started_as, os.X_OK):  # noqa: PTH113
        return [started_as]
    # -P: a module named runner in the working directory is another one.
    return [sys.executable, "-P", "-m", "runner"]


def _find_account(name: str | None) -> tuple[str, Path]:
    """Return the account of a service of the machine, and its home directory."""
    if name == "":
        raise UsageError("the name given by --user-account is empty; name an account of this machine")
    # A caller of sudo has created the jobs without it.
    name = name or (os.environ.get("SUDO_USER") if os.geteuid() == 0 else None)
    try:
        entry = pwd.getpwnam(name) if name else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise UsageError(
            f"there is no account {name or os.geteuid()!r} on this machine; name one by --user-account"
        ) from None
    return entry.pw_name, Path(entry.pw_dir)
