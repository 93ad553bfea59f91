"""Mount points at and below a root, and the check of those that the last saved run had."""

from __future__ import annotations

import errno
import os
from itertools import accumulate

from runner.scan.filesystems import read_mount_table
from runner.scan.match import Matcher
from runner.scan.snapshot import lies_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from runner.scan.match import Selecting
    from runner.scan.snapshot import Snapshot

_VANISHED = "is no longer a mount point; mount it, or accept that with `runner run JOB --accept-unmounted`"


def list_mounts(root: bytes, selection: Selecting, known: Collection[bytes] = ()) -> frozenset[bytes] | None:
    """Return the mount points that a scan reads, relative to the root, empty for the root itself; None if unknown.

    The *known* paths below the root are entered first, so that an automounter mounts them again.
    """
    for path in known:
        os.path.exists(os.path.join(root, path, b"."))  # noqa: PTH110  as light as it gets
    table = read_mount_table()
    try:
        device = os.stat(root).st_dev
    except OSError:  # the scan reports why
        return None
    if not table:
        return None
    real = os.path.realpath(root)
    prefix = real.rstrip(b"/") + b"/"
    mounts = {b"" for _, path, _ in table if path == real}
    for number, path, _ in table:
        # "//deleted" ends the path of a mount point that was removed.
        is_below = path.startswith(prefix) and path != prefix and b"//" not in path
        if is_below and (number == device or not selection.one_file_system):
            mounts.add(path.removeprefix(prefix))
    return _select(selection, mounts)


def check_mounts(
    snapshot: Snapshot, root: bytes, selection: Selecting, known: Collection[bytes], before: frozenset[bytes] | None
) -> None:
    """Record a problem for each mount of the last saved run that is none now, and leave out what is in its place.

    Its directory may be missing as well: desktops remove it when they unmount a disk.

    Args:
        snapshot: Receives the problems, and the mounts that the next run has to compare.
        root: Absolute path of the root.
        selection: What was looked for; mounts that it excludes are not compared.
        known: The mounts of the last saved run, relative to the root.
        before: The result of :func:`list_mounts` before the scan; one that was unmounted during the scan is only there.
    """
    after = list_mounts(root, selection, known)
    if before is None or after is None:
        snapshot.mounts = tuple(known)
        return
    mounted = before & after
    unknown = {path for path, _, _ in snapshot.problems}
    vanished, kept = [], set()
    for path in sorted(_select(selection, set(known) - mounted)):
        if lies_in(path, unknown):
            kept.add(path)
        else:
            vanished.append(path)
            unknown.add(path)
    snapshot.mounts = tuple(sorted(mounted.union(kept, vanished)))
    if vanished:
        snapshot.leave_out(vanished, [(path, errno.ENODEV, _VANISHED) for path in vanished])


def _select(selection: Selecting, paths: Collection[bytes]) -> frozenset[bytes]:
    """Return the directories that are not excluded, nor below an excluded one."""
    excludes = Matcher(selection).excludes
    if excludes is None:
        return frozenset(paths)

    def is_excluded(path: bytes) -> bool:
        names = path.split(b"/")
        above = accumulate((name + b"/" for name in names), initial=b"")
        return any(excludes(name, prefix, True) for name, prefix in zip(names, above, strict=False))  # noqa: FBT003

    return frozenset(path for path in paths if not path or not is_excluded(path))
