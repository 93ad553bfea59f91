"""Types of file systems, from the mount table."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOUNT_TABLE = "/proc/self/mountinfo"

# Here a directory's link count is 2 plus its subdirectories (ext4 uses 1 once it stops counting), so that a count of 2
# proves that there are none. btrfs, overlay and network file systems promise no such thing.
_COUNTS_SUBDIRECTORIES = frozenset({"ext4", "xfs", "tmpfs"})

# Here every change of a directory's list sets its times, by this machine's clock. Network file systems and FUSE take
# times from elsewhere or cache them; FAT and overlay do not store all of them.
_STAMPS_CHANGES = frozenset({"ext4", "xfs", "btrfs", "tmpfs"})

# These change only through this machine.
_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "vfat", "squashfs", "erofs", "iso9660"})


def read_mount_table() -> list[tuple[int, bytes, str]]:
    """Return device number, mount point and type of each mount, in mounting order; empty without such a table."""
    try:
        return [mount[:3] for mount in _mounts()]
    except FileNotFoundError:
        return []


def _mounts() -> Iterator[tuple[int, bytes, str, list[bytes]]]:
    """Yield device number, mount point, type and file system options of each mount; see proc(5), mountinfo."""
    with open(_MOUNT_TABLE, "rb") as file:  # noqa: PTH123  pathlib takes as long to import as Python to start
        table = file.read()
    for line in table.removesuffix(b"\n").split(b"\n"):  # a mount point may contain any other line break
        fields, _, tail = line.partition(b" - ")
        _, _, device, _, mount_point, *_ = fields.split(b" ")
        major, _, minor = device.partition(b":")
        # The table writes space, tab, newline and backslash as octal escapes.
        for escape, character in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
            mount_point = mount_point.replace(escape, character)
        kind, _, rest = tail.partition(b" ")
        options = rest.rpartition(b" ")[2].split(b",")
        yield os.makedev(int(major), int(minor)), mount_point, kind.decode("ascii", "replace"), options


def is_unchangeable(path: bytes) -> bool:
    """Return whether nothing on the file system of *path* can change, through any mount.

    A mount may be read-only while another one of the same file system is not, and a server changes what it likes; so
    only the options of the file system itself count, and only for local ones.
    """
    try:
        device = os.stat(path).st_dev
        options = [options for number, _, kind, options in _mounts() if number == device and kind in _LOCAL]
    except OSError:
        return False
    return bool(options) and all(b"ro" in one for one in options)


def devices_counting_subdirectories() -> frozenset[int]:
    """Return the devices on which a directory with a link count of 2 has no subdirectories."""
    return frozenset(device for device, _, kind in read_mount_table() if kind in _COUNTS_SUBDIRECTORIES)


def devices_stamping_changes(devices: Mapping[int, bytes]) -> frozenset[int]:
    """Return those of *devices*, each with a path on it, whose directories get new stamps with every change."""
    mounts = read_mount_table()
    known = {device for device, _, _ in mounts}
    kinds = {device: _kind(device, path, mounts) for device, path in devices.items()}
    return frozenset(
        device for device, kind in kinds.items() if kind in _STAMPS_CHANGES and (device in known or kind == "btrfs")
    )


def find_filesystem(path: bytes) -> str:
    """Return the type of the file system of *path*, such as ``ext4``; empty if unknown."""
    try:
        device = os.stat(path).st_dev
    except OSError:
        return ""
    return _kind(device, path, read_mount_table())


def _kind(device: int, path: bytes, mounts: list[tuple[int, bytes, str]]) -> str:
    by_device = [kind for number, _, kind in mounts if number == device]
    if by_device:
        return by_device[-1]
    # btrfs gives each subvolume its own device number, which the mount table does not contain.
    real = os.path.realpath(path)
    above = [mount for mount in mounts if real == mount[1] or real.startswith(mount[1].rstrip(b"/") + b"/")]
    return max(above, key=lambda mount: len(mount[1]), default=(0, b"", ""))[2]
