"""A service's file: where a service manager looks for it, and how it gets there."""

import os
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The daemon as a service manager starts it.

    Attributes:
        command: The program's absolute path and its arguments.
        environment: What it finds in its environment besides what the manager puts there.
        account: Whom it runs as when it is the system's; None when it is a user's own.
        home: The home folder of whom it runs as.
        server: Whether its database is known to be a server's.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    account: str | None
    home: Path
    server: bool = False


def service_path(kind: Kind, *, system: bool) -> Path:
    """Tell where a service's file belongs."""
    if kind is Kind.LAUNCHD:
        return (_SYSTEM_DAEMONS if system else Path.home() / "Library/LaunchAgents") / f"{LABEL}.plist"
    if system:
        return _SYSTEM_UNITS / "runner.service"
    configuration = os.environ.get("XDG_CONFIG_HOME", "")
    # The specification has what is not absolute ignored.
    folder = Path(configuration) if os.path.isabs(configuration) else Path.home() / ".config"  # noqa: PTH117
    return folder / "systemd/user/runner.service"


def is_there(kind: Kind) -> bool:
    """Whether a service manager runs on this machine, as far as it can be told."""
    return kind is Kind.LAUNCHD or _SYSTEMD_RUNS.is_dir()


def write_service(path: Path, content: bytes, *, force: bool) -> bool:
    """Put a service's file in its place, whole or not at all, unless it is there already.

    Args:
        path: Its place.
        content: What is to be in it.
        force: Whether another file may be replaced.

    Returns:
        Whether another file was replaced.

    Raises:
        UsageError: If there is another file and it may not be, or this one can't be written.
    """
    try:
        there = os.path.lexists(path)
        if there and _is_file(path) and path.read_bytes() == content:
            return False
        if there and not force:
            raise UsageError(f"{path} is there already and differs; look at it, then replace it with --force")
        replace_file(path, content, durable=True, create=True)
    except OSError as error:
        raise UsageError(
            f"the service's file {path} can't be written: {reason_of(error)}; "
            "write it as somebody who may, or take what `runner service print` writes"
        ) from error
    return there


def remove_service(path: Path, is_own: Callable[[bytes], bool]) -> list[Path]:
    """Remove a service's file, and the links by which a manager was told to start it or to know it by other names.

    Args:
        path: Its place.
        is_own: Tells from what is in a file whether it is a service of runner.

    Returns:
        What was removed, the file first.

    Raises:
        UsageError: If it is not there, is somebody else's, or can't be removed; the file stays while a link does.
    """
    if not os.path.lexists(path):
        raise UsageError(f"no service is installed at {path}; there is nothing to remove")
    what = f"the service's file {path}"
    try:
        if path.is_symlink() or path.is_fifo() or not is_own(path.read_bytes()):
            raise UsageError(f"{path} is not what `runner service install` writes; look at it, then remove it yourself")
        # As `systemctl disable` would, which refuses to when the unit is gone.
        beside = [*path.parent.glob("*"), *path.parent.glob("*/*")]
        links = [one for one in beside if one.is_symlink() and (one.name == path.name or _leads_to(one, path))]
        # The file last: it is what a second attempt looks for.
        for link in links:
            what = f"the link {link} to the service's file"
            link.unlink()
        what = f"the service's file {path}"
        path.unlink()
    except OSError as error:
        raise UsageError(f"{what} can't be removed: {reason_of(error)}; remove it as somebody who may") from error
    return [path, *links]


def _is_file(path: Path) -> bool:
    """Return whether it is a regular file: a link may lead anywhere, and a FIFO would be waited for."""
    return S_ISREG(path.lstat().st_mode)


def _leads_to(link: Path, path: Path) -> bool:
    # pathlib raises where links go round in circles.
    return os.path.realpath(link) == os.path.realpath(path)


def find_drop_ins(path: Path) -> Path | None:
    """Give the folder of what a person has added to a systemd unit, which is not runner's to remove; None without."""
    folder = path.with_name(f"{path.name}.d")
    return folder if folder.is_dir() else None
