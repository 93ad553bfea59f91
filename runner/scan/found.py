"""All that a scan of a whole tree found, as a trial sends it."""

from __future__ import annotations

from _blake2 import blake2b

from runner.scan.part import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Sequence

    from runner.scan.part import Part, Trouble


class Found:
    """What a scan of a whole tree found.

    Args:
        parts: Parts that together are the whole tree, in any order; each in encoded pieces, in the order in
            which they were read.
        directories: How many folders were read.
        entries: How many entries they have.
        files: How many of those were found.
        problems: What could not be read.
        digest: That of all findings, if it is known; see :func:`digest_findings`.

    Attributes:
        messages: What there is to say about how it was found.
        defect: Why what was found earlier may be wrong; None if nothing says so.
        mounts: Paths of the mount points at and below the root that the next scan has to compare.
    """

    __slots__ = (
        "_left_out",
        "defect",
        "digest",
        "directories",
        "entries",
        "files",
        "messages",
        "mounts",
        "parts",
        "problems",
    )

    def __init__(
        self,
        parts: Sequence[Sequence[bytes]],
        *,
        directories: int,
        entries: int,
        files: int,
        problems: Sequence[Trouble],
        digest: bytes | None = None,
    ) -> None:
        self.parts = parts
        self.directories = directories
        self.entries = entries
        self.files = files
        self.problems = problems
        self.digest = digest
        self.messages: list[str] = []
        self.defect: str | None = None
        self.mounts: tuple[bytes, ...] = ()
        self._left_out: frozenset[bytes] = frozenset()

    def leave_out(self, paths: Collection[bytes], problems: Sequence[Trouble]) -> None:
        """Leave out what was found in some directories and below them, which are problems."""
        before = sum(names.count(b"\0") + 1 for _, names, _ in self.findings())
        self._left_out = frozenset(paths)
        self.files += sum(names.count(b"\0") + 1 for _, names, _ in self.findings()) - before
        self.problems = [*self.problems, *problems]
        self.digest = None

    def findings(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Give path, found names and stats of each folder in which something was found, in any order."""
        for part in self.parts:
            for finding in decode(part).findings():
                if not self._left_out or not lies_in(finding[0], self._left_out):
                    yield finding


def lies_in(path: bytes, directories: Container[bytes]) -> bool:
    """Return whether a path is one of some directories or lies below one."""
    while path not in directories:
        if not path:
            return False
        path = path.rpartition(b"/")[0]
    return True


def whole(part: Part) -> Found:
    """Make one part that is the whole tree into all that was found."""
    directories, entries, files = part.count()
    return Found([[part.encode()]], directories=directories, entries=entries, files=files, problems=part.problems)


def digest_findings(findings: Iterable[tuple[bytes, bytes, bytes]], problems: Iterable[Trouble]) -> bytes:
    """Digest all that was found and could not be read, in whatever order it comes.

    Args:
        findings: Path, found names and stats of folders in which something was found.
        problems: Path, error number and text.

    Returns:
        128 bits of BLAKE2b.
    """
    digest = blake2b(digest_size=16)
    for path, names, stats in sorted(findings):
        # Lengths go first, so that the pieces can't run into each other.
        digest.update(b"%d %d %d " % (len(path), len(names), len(stats)))
        digest.update(path + names + stats)
    for path, number, text in sorted(problems):
        digest.update(b"%d %d " % (len(path), number) + path + text.encode())
    return digest.digest()
