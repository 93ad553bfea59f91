"""``runner service``: runs the daemon as a service of systemd or launchd."""

import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from runner.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from runner.history.backend import Backend
    from runner.operations.service_files import Kind, Service

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
    Literal["systemd", "launchd"] | None,
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
    _, _, content = _described(kind, system=system, account=user_account, db=db)
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
    from runner.operations.service_files import is_running, service_path, write_service

    chosen, service, content = _described(kind, system=system, account=user_account, db=db)
    path = service_path(chosen, system=service.account is not None)
    replaced = write_service(path, content, force=force)
    sys.stdout.write(f"{path}\n")
    for line in _advice(chosen, service, path, replaced=replaced):
        typer.echo(line, err=True)
    if not is_running(chosen):
        typer.echo(f"note: {chosen} does not run here; the commands are for when it does", err=True)


def uninstall(system: System = None, kind: KindName = None) -> None:
    """Remove the service file, and show the commands that stop the daemon.

    Jobs and history stay as they are.

    [bold]Example[/bold]

    runner service uninstall --user
    """
    from runner.model.errors import UsageError
    from runner.operations.launchd import is_plist
    from runner.operations.service_files import Kind, find_drop_ins, remove_service, service_path
    from runner.operations.systemd import is_unit

    chosen = _kind(kind)
    machine = os.geteuid() == 0 if system is None else system
    path = service_path(chosen, system=machine)
    if not os.path.lexists(path) and os.path.lexists(service_path(chosen, system=not machine)):
        other = "you have one of your own: --user" if machine else "the machine has one: --system"
        raise UsageError(f"no service is installed at {path}; {other}")
    for removed in remove_service(path, is_unit if chosen is Kind.SYSTEMD else is_plist):
        sys.stdout.write(f"{removed}\n")
    if (added := find_drop_ins(path)) is not None:
        typer.echo(f"{added} is left as it is: what it adds to the service is yours", err=True)
    for line in _farewell(chosen, machine=machine):
        typer.echo(line, err=True)


def _kind(name: str | None) -> "Kind":
    from runner.operations.service_files import Kind

    return Kind(name or ("launchd" if sys.platform == "darwin" else "systemd"))


def _described(
    name: str | None, *, system: bool | None, account: str | None, db: str | None
) -> "tuple[Kind, Service, bytes]":
    from runner.operations.launchd import launchd_plist
    from runner.operations.service_files import Kind
    from runner.operations.systemd import systemd_unit

    kind = _kind(name)
    service = _service(system=os.geteuid() == 0 if system is None else system, account=account, db=db)
    return kind, service, systemd_unit(service) if kind is Kind.SYSTEMD else launchd_plist(service)


def _service(*, system: bool, account: str | None, db: str | None) -> "Service":
    """Describe the daemon of this installation as a service."""
    from pathlib import Path

    from runner.cli.settings import load_settings
    from runner.history.database import locate
    from runner.model.errors import UsageError
    from runner.operations.service_files import Service

    if account is not None and not system:
        raise UsageError("a user's own service runs as that user; leave --user-account out, or choose --system")
    command, environment = [*_program(), "daemon"], {}
    if settings := os.environ.get("RUNNER_SETTINGS"):
        environment["RUNNER_SETTINGS"] = os.path.abspath(settings)  # noqa: PTH100  links stay as they were named
    named = db is not None or bool(os.environ.get("RUNNER_DB"))
    # The caller and the account of a service of the machine may have different settings.
    chosen = load_settings(db) if named or settings or not system else None
    location = locate(chosen.db) if chosen is not None else None
    if location is not None:
        _check_database(location)
    if named and location is not None:
        command += ["--db", location.address()]
    server = location is not None and location.serves()
    if not system:
        environment |= {name: os.environ[name] for name in _PLACES if os.environ.get(name)}
        return Service(command=command, environment=environment, account=None, home=Path.home(), server=server)
    runs_as, home = _account(account)
    return Service(command=command, environment=environment, account=runs_as, home=home, server=server)


def _check_database(location: "Backend") -> None:
    """Refuse a database file that the daemon would refuse; a server may be down only now."""
    from runner.history.database import Database
    from runner.history.upgrade import find_revision

    if location.serves():
        return
    location.check()
    database = Database(location)
    try:
        find_revision(database)
    finally:
        database.close()


def _program() -> list[str]:
    """Return the absolute path of this program, or a command that starts it."""
    started_as = os.path.abspath(sys.argv[0])  # noqa: PTH100  a link stays as it was named
    if not started_as.endswith(".py") and os.path.isfile(started_as) and os.access(started_as, os.X_OK):  # noqa: PTH113
        return [started_as]
    # -P: a module named runner in the working directory is another one.
    return [sys.executable, "-P", "-m", "runner"]


def _account(name: str | None) -> "tuple[str, Path]":
    """Return the account of a service of the machine, and its home directory."""
    import pwd
    from pathlib import Path

    from runner.model.errors import UsageError

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


def _advice(kind: "Kind", service: "Service", path: "Path", *, replaced: bool) -> list[str]:
    """Return the commands that start the service, now and with the machine."""
    from runner.operations.service_files import LABEL

    own = service.account is None
    if kind == "launchd":
        domain = "gui/$(id -u)" if own else "system"
        lines = [f"launchctl bootout {domain}/{LABEL}"] if replaced else []
        lines.append(f"launchctl bootstrap {domain} {shlex.quote(str(path))}")
    else:
        manager = "systemctl --user" if own else "systemctl"
        enable = "enable runner && {0} restart runner" if replaced else "enable --now runner"
        lines = [f"{manager} daemon-reload && {manager} {enable.format(manager)}"]
    if not own:
        lines = [f"It will run as {service.account}. Start it, now and with the machine:", *lines]
    else:
        lines = ["Start it, now and whenever you log in:", *lines]
        if kind == "systemd":
            lines += ["And let it run while you are not logged in:", "loginctl enable-linger"]
    return lines


def _farewell(kind: "Kind", *, machine: bool) -> list[str]:
    """Return the commands that stop the daemon of a removed service."""
    from runner.operations.service_files import LABEL

    if kind == "launchd":
        lines = [f"launchctl bootout {'system' if machine else 'gui/$(id -u)'}/{LABEL}"]
    else:
        manager = "systemctl" if machine else "systemctl --user"
        lines = [f"{manager} stop runner && {manager} daemon-reload"]
    if kind == "systemd" and not machine:
        lines = ["`loginctl disable-linger` if nothing else of yours runs while you are not logged in. And:", *lines]
    return ["It is not started any more. One that runs goes on until it is stopped:", *lines]
