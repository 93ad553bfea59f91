"""The service file: its path, how it is installed and removed, and the commands that start and stop the service."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG

from runner.model.errors import UsageError, reason_of
from runner.model.file_replacement import replace_file

# As sd_booted(3) has it.
_SYSTEMD_RUNS = Path("/run/systemd/system")
_SYSTEM_UNITS = Path("/etc/systemd/system")
_SYSTEM_DAEMONS = Path("/Library/LaunchDaemons")

LABEL = "runner.daemon"


class Kind(StrEnum):
    """A service manager."""

    SYSTEMD = "systemd"
    LAUNCHD = "launchd"


DEFAULT_KIND = Kind.LAUNCHD if sys.platform == "darwin" else Kind.SYSTEMD


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The daemon as a service.

    Attributes:
        command: The program's absolute path and its arguments.
        environment: Variables added to those of the service manager.
        account: The account of a system service; None for a user's service.
        home: The home directory of its account.
        server: Whether its database is on a server.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    account: str | None
    home: Path
    server: bool = False


def service_path(kind: Kind, *, system: bool) -> Path:
    """Return the path of the service file."""
    if kind is Kind.LAUNCHD:
        return (_SYSTEM_DAEMONS if system else Path.home() / "Library/LaunchAgents") / f"{LABEL}.plist"
    if system:
        return _SYSTEM_UNITS / "runner.service"
    configuration = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG specification ignores relative paths.
    directory = Path(configuration) if os.path.isabs(configuration) else Path.home() / ".config"  # noqa: PTH117
    return directory / "systemd/user/runner.service"


def is_running(kind: Kind) -> bool:
    """Return whether a service manager runs on this machine; launchd is not checked."""
    return kind is Kind.LAUNCHD or _SYSTEMD_RUNS.is_dir()


def write_service(path: Path, content: bytes, *, force: bool) -> bool:
    """Write the service file as a whole, unless it has this content; return whether another file was replaced.

    Raises:
        UsageError: If there is another file without *force*, or the file can't be written.
    """
    try:
        exists = os.path.lexists(path)
        # Only a regular file is read: a link may lead anywhere, and a FIFO would block.
        if exists and S_ISREG(path.lstat().st_mode) and path.read_bytes() == content:
            return False
        if exists and not force:
            raise UsageError(f"{path} is there already and differs; look at it, then replace it with --force")
        replace_file(path, content, durable=True, create=True)
    except OSError as error:
        raise UsageError(
            f"the service file {path} can't be written: {reason_of(error)}; "
            "write it as somebody who may, or take what `runner service print` writes"
        ) from error
    return exists


def remove_service(path: Path, is_own: Callable[[bytes], bool]) -> list[Path]:
    """Remove the service file and the links to it, by which a manager starts it or knows it by other names.

    Args:
        path: The service file.
        is_own: Returns whether a file's content is a service of runner.

    Raises:
        UsageError: If it does not exist, is of another service, or can't be removed; the file stays while a link does.

    Returns:
        The removed paths, the file first.
    """
    if not os.path.lexists(path):
        raise UsageError(f"no service is installed at {path}; there is nothing to remove")
    what = f"the service file {path}"
    try:
        if path.is_symlink() or path.is_fifo() or not is_own(path.read_bytes()):
            raise UsageError(f"{path} is not what `runner service install` writes; look at it, then remove it yourself")
        # `systemctl disable` does the same, but not once the unit is gone.
        beside = [*path.parent.glob("*"), *path.parent.glob("*/*")]
        # os.path, since pathlib raises on circular links.
        target = os.path.realpath(path)
        links = [
            one for one in beside if one.is_symlink() and (one.name == path.name or os.path.realpath(one) == target)
        ]
        # The file last: a second attempt looks for it.
        for link in links:
            what = f"the link {link} to the service file"
            link.unlink()
        what = f"the service file {path}"
        path.unlink()
    except OSError as error:
        raise UsageError(f"{what} can't be removed: {reason_of(error)}; remove it as somebody who may") from error
    return [path, *links]


def start_commands(kind: Kind, service: Service, path: Path, *, replaced: bool) -> list[str]:
    """Return the commands that start the service, now and with the machine, with explanations between them."""
    own = service.account is None
    if kind is Kind.LAUNCHD:
        domain = "gui/$(id -u)" if own else "system"
        lines = [f"launchctl bootout {domain}/{LABEL}"] if replaced else []
        lines.append(f"launchctl bootstrap {domain} {shlex.quote(str(path))}")
    else:
        manager = "systemctl --user" if own else "systemctl"
        enable = f"enable runner && {manager} restart runner" if replaced else "enable --now runner"
        lines = [f"{manager} daemon-reload && {manager} {enable}"]
        if own:
            lines += ["And let it run while you are not logged in:", "loginctl enable-linger"]
    if own:
        return ["Start it, now and whenever you log in:", *lines]
    return [f"It will run as {service.account}. Start it, now and with the machine:", *lines]


def stop_commands(kind: Kind, *, system: bool) -> list[str]:
    """Return the commands that stop the daemon of a removed service, with explanations between them."""
    lines = ["It is not started any more. One that runs goes on until it is stopped:"]
    if kind is Kind.LAUNCHD:
        return [*lines, f"launchctl bootout {'system' if system else 'gui/$(id -u)'}/{LABEL}"]
    if system:
        return [*lines, "systemctl stop runner && systemctl daemon-reload"]
    return [
        *lines,
        "`loginctl disable-linger` if nothing else of yours runs while you are not logged in. And:",
        "systemctl --user stop runner && systemctl --user daemon-reload",
    ]
