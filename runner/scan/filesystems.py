"""What kind of file system a folder lies on, by the mount table and never by guess."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_MOUNT_TABLE = "/proc/self/mountinfo"

# Here a folder's link count is 2 plus its subfolders (ext4 says 1 once it stops counting), so that a count of 2
# proves that there are none. btrfs, overlay and network file systems promise no such thing.
_COUNTS_SUBFOLDERS = frozenset({"ext4", "xfs", "tmpfs"})

# Here every change of a folder's list gives the folder the time of the change, by this machine's clock. Network file
# systems and FUSE take their times from elsewhere or keep them for a while; FAT and overlay do not keep all of them.
_STAMPS_CHANGES = frozenset({"ext4", "xfs", "btrfs", "tmpfs"})

# What lies on these changes only through this machine.
_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "vfat", "squashfs", "erofs", "iso9660"})


def read_mount_table() -> list[tuple[int, bytes, str]]:
    """Read the mounted file systems.

    Returns:
        Device number, mount point and type of each, in the order of mounting; empty where there is no such table.

    Source:
        proc(5), /proc/pid/mountinfo.
    """
    try:
        with open(_MOUNT_TABLE, "rb") as file:  # noqa: PTH123  pathlib takes as long to import as Python to start
            table = file.read()
    except FileNotFoundError:
        return []
    mounts = []
    for line in table.removesuffix(b"\n").split(b"\n"):  # a mount point may hold any other line break
        fields, _, tail = line.partition(b" - ")
        _, _, device, _, mount_point, *_ = fields.split(b" ")
        major, _, minor = device.partition(b":")
        # The table writes space, tab, newline and backslash as octal escapes.
        unescaped = mount_point.replace(b"\\040", b" ").replace(b"\\011", b"\t").replace(b"\\012", b"\n")
        mounts.append(
            (
                os.makedev(int(major), int(minor)),
                unescaped.replace(b"\\134", b"\\"),
                tail.split(b" ", 1)[0].decode("ascii", "replace"),
            )
        )
    return mounts


def is_unchangeable(path: bytes) -> bool:
    """Return whether nobody can change what lies on the file system of *path*, through whatever mount.

    A mount may be read-only while another one of the same file system is not, and a server changes what it likes; so
    only the options of the file system itself count, and only of those that are local.
    """
    try:
        device = os.stat(path).st_dev
        with open(_MOUNT_TABLE, "rb") as file:  # noqa: PTH123  see read_mount_table
            table = file.read()
    except OSError:
        return False
    options = []
    for line in table.removesuffix(b"\n").split(b"\n"):
        fields, _, tail = line.partition(b" - ")
        major, _, minor = fields.split(b" ")[2].partition(b":")
        kind, _, rest = tail.partition(b" ")
        if os.makedev(int(major), int(minor)) == device and kind.decode("ascii", "replace") in _LOCAL:
            options.append(rest.rpartition(b" ")[2].split(b","))
    return bool(options) and all(b"ro" in one for one in options)


def devices_counting_subfolders() -> frozenset[int]:
    """Find the devices on which a folder with a link count of 2 has no subfolders."""
    return frozenset(device for device, _, kind in read_mount_table() if kind in _COUNTS_SUBFOLDERS)


def devices_stamping_changes(devices: Mapping[int, bytes]) -> frozenset[int]:
    """Find the devices whose folders tell by their stamps whether their lists have changed.

    Args:
        devices: Device numbers, each with the path of a folder on it.
    """
    mounts = read_mount_table()
    known = {device for device, _, _ in mounts}
    trusted = set()
    for device, path in devices.items():
        kind = _kind(device, path, mounts)
        if kind in _STAMPS_CHANGES and (device in known or kind == "btrfs"):
            trusted.add(device)
    return frozenset(trusted)


def find_filesystem(path: bytes) -> str:
    """Find the type of the file system that holds *path*, such as ``ext4``; empty where it can't be told."""
    try:
        device = os.stat(path).st_dev
    except OSError:
        return ""
    return _kind(device, path, read_mount_table())


def _kind(device: int, path: bytes, mounts: list[tuple[int, bytes, str]]) -> str:
    by_device = [kind for number, _, kind in mounts if number == device]
    if by_device:
        return by_device[-1]
    # btrfs gives each subvolume a device number of its own, which the mount table does not know.
    real = os.path.realpath(path)
    holding = [(mount_point, kind) for _, mount_point, kind in mounts if _lies_below(real, mount_point)]
    return max(holding, key=lambda mount: len(mount[0]), default=(b"", ""))[1]


def _lies_below(path: bytes, mount_point: bytes) -> bool:
    return path == mount_point or path.startswith(mount_point.rstrip(b"/") + b"/")
