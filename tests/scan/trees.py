"""Trees for the scan tests, the oracle that says what is in them, and scans as another user."""

import os
import pickle
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.model.jobs import Selection
from runner.scan.snapshot import Part, Snapshot, found_names, join_path
from runner.scan.walk import Walker
from tests.benchmarks.snapshots import joined

NOBODY = 65534


def write_tree(root: Path, files: dict[str, int]) -> None:
    """Write files of given sizes, with their directories; a trailing slash makes an empty directory."""
    for path, size in files.items():
        target = root / path
        (target if path.endswith("/") else target.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            target.write_bytes(bytes(size))


def find(root: Path, *conditions: str, user: int | None = None) -> list[bytes]:
    """Return the sorted relative paths of the entries that find finds, without those in unreadable directories."""
    listing = subprocess.run(
        ["find", ".", *conditions, "-print0"],
        cwd=root, user=user, check=user is None, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
    ).stdout  # fmt: skip
    return sorted(path[2:] for path in listing.split(b"\0")[:-1])


def found(read: Part | Snapshot) -> list[bytes]:
    return sorted(join_path(path, name) for path, names, _ in read.findings() for name in found_names(names))


def directories(read: Part | Snapshot) -> list[bytes]:
    pieces = read.pieces() if isinstance(read, Snapshot) else [read]
    return sorted(piece.path(row) for piece in pieces for row in range(piece.first_row, len(piece.names)))


def read(root: Path, selection: Selection | None = None, **limits: Any) -> Part:
    """Read a tree whole."""
    walker = Walker(os.fsencode(root), selection or Selection())
    try:
        part = joined(walker.read([b""], lambda *_: None, **limits))
        walker.check_root()
        return part
    finally:
        walker.close()


def in_child(function: Callable[[], Any], *, as_nobody: bool = False) -> Any:
    """Call a function in a forked process, whose limits and rights are its own; gives or raises what it does.

    The interpreter may lie where nobody may read, so that no program could be started instead.
    """
    with tempfile.TemporaryFile() as file:
        pid = os.fork()
        if pid == 0:
            try:
                if as_nobody and os.getuid() == 0:
                    os.setgroups([])
                    os.setgid(NOBODY)
                    os.setuid(NOBODY)
                outcome: tuple[bool, Any] = True, function()
            except BaseException as error:  # noqa: BLE001  told to the test
                outcome = False, error
            file.write(pickle.dumps(outcome))
            file.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        file.seek(0)
        succeeded, value = pickle.load(file)  # noqa: S301  from our own child
    if not succeeded:
        raise value
    return value


@contextmanager
def scratch(where: str = "/tmp") -> Iterator[Path]:  # noqa: S108  open to every user, unlike pytest's directory
    """Yield a directory that every user may enter; rm removes it, at any depth."""
    directory = Path(tempfile.mkdtemp(dir=where))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        subprocess.run(["chmod", "u+rwx", "-R", directory], check=False, capture_output=True)
        subprocess.run(["rm", "-rf", directory], check=True)


def write_comb(root: Path, levels: int, teeth: int = 3) -> None:
    """Write a directory of *teeth* directories, one of which contains the next such directory; a file in each."""
    directory = os.open(root, os.O_RDONLY)
    next_directory = directory
    for level in range(levels):
        for tooth in range(teeth):
            name = f"{tooth}"
            os.mkdir(name, dir_fd=directory)
            below = os.open(name, os.O_RDONLY, dir_fd=directory)
            os.close(os.open("x.md", os.O_CREAT | os.O_WRONLY, dir_fd=below))
            if tooth == level % teeth:
                next_directory = below
            else:
                os.close(below)
        os.close(directory)
        directory = next_directory
    os.close(directory)
