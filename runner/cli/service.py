"""``runner service``: runs the daemon as a service of systemd or launchd."""

import os
import pwd
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import options
from runner.cli.settings import load_settings
from runner.model.errors import UsageError
from runner.operations.service_files import (
    DEFAULT_KIND,
    Kind,
    Service,
    is_running,
    remove_service,
    service_path,
    start_commands,
    stop_commands,
    write_service,
)

_app = typer.Typer(name="service", help="Run the daemon as a service of systemd or launchd.")

# They decide where settings, database and caches are; a service manager lacks the environment of the user's shell.
_PLACES = ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")

System = Annotated[
    bool | None,
    typer.Option(
        "--system/--user", help="A service of the machine (default for root), or of a user.",
        show_default=False,
    ),
]  # fmt: skip
KindName = Annotated[
    Kind | None,
    typer.Option("--kind", help="The service manager, default that of the platform.", show_default=False),
]
Account = Annotated[
    str | None,
    typer.Option(
        "--user-account",
        metavar="NAME",
        help="The account of a service of the machine, default the caller, also through sudo.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    for name, command in (("print", show), ("install", install), ("uninstall", uninstall)):
        _app.command(name)(command)
    app.add_typer(_app, rich_help_panel=options.RUNNING)


def show(
    system: System = None,
    kind: KindName = None,
    user_account: Account = None,
    db: options.Db = None,
) -> None:
    """Print the systemd unit or launchd property list.

    It contains the database that --db or RUNNER_DB names; otherwise the daemon uses the default of every command.

    [bold]Example[/bold]

    runner service print --system --user-account backup
    """
    content = _render(kind or DEFAULT_KIND, _describe(system=_is_system(system), account=user_account, db=db))
    sys.stdout.flush()
    sys.stdout.buffer.write(content)


def install(
    system: System = None,
    kind: KindName = None,
    user_account: Account = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that differs.")] = False,  # noqa: FBT002
    db: options.Db = None,
) -> None:
    """Install the service file, and show the commands that enable it.

    [bold]Example[/bold]

    runner service install --user
    """
    kind = kind or DEFAULT_KIND
    service = _describe(system=_is_system(system), account=user_account, db=db)
    path = service_path(kind, system=service.account is not None)
    replaced = write_service(path, _render(kind, service), force=force)
    sys.stdout.write(f"{path}\n")
    for line in start_commands(kind, service, path, replaced=replaced):
        typer.echo(line, err=True)
    if not is_running(kind):
        typer.echo(f"note: {kind} does not run here; the commands are for when it does", err=True)


def uninstall(system: System = None, kind: KindName = None) -> None:
    """Remove the service file, and show the commands that stop the daemon.

    Jobs and history stay as they are.

    [bold]Example[/bold]

    runner service uninstall --user
    """
    from runner.operations.launchd import is_plist
    from runner.operations.systemd import is_unit

    kind, machine = kind or DEFAULT_KIND, _is_system(system)
    path = service_path(kind, system=machine)
    if not os.path.lexists(path) and os.path.lexists(service_path(kind, system=not machine)):
        other = "you have one of your own: --user" if machine else "the machine has one: --system"
        raise UsageError(f"no service is installed at {path}; {other}")
    for removed in remove_service(path, is_unit if kind is Kind.SYSTEMD else is_plist):
        sys.stdout.write(f"{removed}\n")
    added = path.with_name(f"{path.name}.d")
    if added.is_dir():
        typer.echo(f"{added} is left as it is: what it adds to the service is yours", err=True)
    for line in stop_commands(kind, system=machine):
        typer.echo(line, err=True)


def _is_system(system: bool | None) -> bool:  # noqa: FBT001  as the option has it
    return os.geteuid() == 0 if system is None else system


def _render(kind: Kind, service: Service) -> bytes:
    from runner.operations.launchd import launchd_plist
    from runner.operations.systemd import systemd_unit

    return systemd_unit(service) if kind is Kind.SYSTEMD else launchd_plist(service)


def _describe(*, system: bool, account: str | None, db: str | None) -> Service:
    """Describe the daemon of this installation as a service."""
    from runner.history.database import Database, locate
    from runner.history.upgrade import find_revision

    if account is not None and not system:
        raise UsageError("a user's own service runs as that user; leave --user-account out, or choose --system")
    command, environment, server = [*_program(), "daemon"], {}, False
    if settings := os.environ.get("RUNNER_SETTINGS"):
        environment["RUNNER_SETTINGS"] = os.path.abspath(settings)  # noqa: PTH100  links stay as they were named
    named = db is not None or bool(os.environ.get("RUNNER_DB"))
    # The caller and the account of a service of the machine may have different settings.
    if named or settings or not system:
        location = locate(load_settings(db).db)
        server = location.serves()
        if not server:  # a file that the daemon would refuse is refused; a server may be down only now
            location.check()
            with closing(Database(location)) as database:
                find_revision(database)
        if named:
            command += ["--db", location.address()]
    if system:
        entry = _find_account(account)
        account, home = entry.pw_name, Path(entry.pw_dir)
    else:
        environment |= {name: os.environ[name] for name in _PLACES if os.environ.get(name)}
        home = Path.home()
    return Service(command=command, environment=environment, account=account, home=home, server=server)


def _program() -> list[str]:
    """Return the absolute path of this program, or a command that starts it."""
    started_as = os.path.abspath(sys.argv[0])  # noqa: PTH100  a link stays as it was named
    if not started_as.endswith(".py") and os.path.isfile(started_as) and os.access(started_as, os.X_OK):  # noqa: PTH113
        return [started_as]
    # -P: a module named runner in the working directory is another one.
    return [sys.executable, "-P", "-m", "runner"]


def _find_account(name: str | None) -> pwd.struct_passwd:
    """Return the account of a service of the machine."""
    if name == "":
        raise UsageError("the name given by --user-account is empty; name an account of this machine")
    # A caller of sudo has created the jobs without it.
    name = name or (os.environ.get("SUDO_USER") if os.geteuid() == 0 else None)
    try:
        return pwd.getpwnam(name) if name else pwd.getpwuid(os.geteuid())
    except KeyError:
        account = name or os.geteuid()
        raise UsageError(f"there is no account {account!r} on this machine; name one by --user-account") from None
