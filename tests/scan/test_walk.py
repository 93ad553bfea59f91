import errno
import os
import resource
import tempfile
from collections.abc import Callable
from itertools import count as naturals
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import directories, find, found, in_child, read, scratch, write_comb, write_tree

from runner.model.errors import ScanError
from runner.model.jobs import Selection, Track
from runner.scan import pending, walk
from runner.scan.pending import Pending
from runner.scan.snapshot import STAMPS, Part, unpack_stats
from runner.scan.walk import Walker
from tests.benchmarks.snapshots import joined, stored

NAMES_ONLY = Selection(track=Track.NAMES)


@pytest.mark.parametrize("time_ns", [14 * 10**18, -14 * 10**18])
def test_a_time_beyond_64_bits_is_kept_as_it_is(time_ns: int) -> None:
    with scratch("/dev/shm") as root:  # noqa: S108  tmpfs keeps any year
        (root / "far.md").touch()
        for path in (root / "far.md", root):
            os.utime(path, ns=(time_ns, time_ns))
        walker = Walker(os.fsencode(root), Selection(), settle=True)
        part = joined(walker.read([b""], lambda *_: None))
        walker.close()

    [(_, mtime_ns)] = unpack_stats(part.stats[0])
    nearest = 2**63 - 1 if time_ns > 0 else -(2**63) + 1
    assert (time_ns, nearest) == (mtime_ns, STAMPS.unpack(part.stamps)[2])


def with_descriptors(count: int, function: Callable[[], Any]) -> Any:
    """Call a function in a process that may open this number of further files, and a third of those that are open.

    A walk opens a quarter of the limit, which counts the open ones.
    """
    taken = set(map(int, os.listdir("/proc/self/fd")))
    count += len(taken) // 3
    # Numbers are given from below, so a high one that is taken leaves many more under it.
    limit = next(islice((fd for fd in naturals() if fd not in taken), count, None))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return function()


@pytest.mark.parametrize(("levels", "teeth"), [(5_000, 1), (300, 3)], ids=["chain", "comb"])
def test_a_deep_tree_is_read_with_few_descriptors(levels: int, teeth: int) -> None:
    with scratch() as root:
        write_comb(root, levels, teeth)
        expected = find(root, "-name", "*.md")
        part = in_child(lambda: with_descriptors(20, lambda: read(root)))

    assert [] == part.problems
    assert expected == found(part)
    assert 1 + levels * teeth == len(part.names)


def test_a_process_out_of_descriptors_fails_in_one_line(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a/b/c.md": 0})

    def read_without_descriptors() -> None:
        walker = Walker(os.fsencode(tmp_path), Selection())
        while True:
            try:
                os.open("/", os.O_RDONLY)
            except OSError:
                joined(walker.read([b""], lambda *_: None))

    with pytest.raises(ScanError, match="ran short: Too many open files; raise the limit"):
        in_child(lambda: with_descriptors(10, read_without_descriptors))


def test_the_walk_leaves_no_descriptor_open(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"{n}/{m}/x.md": 0 for n in range(3) for m in range(3)})
    before = os.listdir("/proc/self/fd")
    read(tmp_path)
    walker = Walker(os.fsencode(tmp_path), Selection())
    walker.pending.add_starts([b""])
    walker.read_some(Part(), 100)
    assert walker.pending.directories
    walker.close()
    assert before == os.listdir("/proc/self/fd")


def test_an_unreadable_directory_is_a_problem() -> None:
    with scratch() as root:
        write_tree(root, {"a/x.md": 0, "shut/x.md": 0, "z/x.md": 0})
        (root / "shut").chmod(0)
        part = in_child(lambda: read(root), as_nobody=True)

    assert [(b"shut", errno.EACCES, "Permission denied")] == part.problems
    assert [b"a/x.md", b"z/x.md"] == found(part)


def test_a_directory_that_may_not_be_entered_has_unknown_stats() -> None:
    with scratch() as root:
        write_tree(root, {"list/x.md": 5, "list/below/y.md": 0})
        (root / "list").chmod(0o444)
        part = in_child(lambda: read(root), as_nobody=True)

    assert [b"list/x.md"] == found(part)
    assert [(None, None)] == [pair for _, _, packed in part.findings() for pair in unpack_stats(packed)]
    denied = (errno.EACCES, "Permission denied")
    assert [(b"list/below", *denied), (b"list/x.md", *denied)] == sorted(part.problems)


def test_a_root_that_may_be_read_but_not_entered_is_listed() -> None:
    with scratch() as root:
        write_tree(root, {"open/x.md": 0, "open/below/y.md": 0})
        (root / "open").chmod(0o444)
        part = in_child(lambda: read(root / "open", NAMES_ONLY), as_nobody=True)

    assert [b"x.md"] == found(part)
    assert [(b"below", errno.EACCES, "Permission denied")] == part.problems


@pytest.mark.parametrize("track", Track)
def test_a_directory_made_while_a_leaf_is_listed_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, track: Track
) -> None:
    write_tree(tmp_path, {"leaf/x.md": 0})
    plain_listdir = os.listdir

    def listdir(path: Any) -> list[Any]:
        (tmp_path / "leaf" / "new.md").mkdir(exist_ok=True)
        return plain_listdir(path)

    monkeypatch.setattr(os, "listdir", listdir)
    assert [b"leaf/x.md"] == found(read(tmp_path, Selection(track=track)))


@pytest.mark.parametrize("mode", [0, 0o111])
def test_an_unreadable_root_is_one_line(mode: int) -> None:
    with scratch() as root:
        (root / "shut").mkdir(mode=mode)
        (root / "shut").chmod(mode)
        with pytest.raises(ScanError, match="can't be read: Permission denied; grant this user read access"):
            in_child(lambda: read(root / "shut"), as_nobody=True)


def before_opening(monkeypatch: pytest.MonkeyPatch, name: str, action: Callable[[], object]) -> None:
    """Call something once, right before a directory of this name is opened."""
    waiting = [action]
    plain_open = os.open

    def acting_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == name.encode() and waiting:
            waiting.pop()()
        return plain_open(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", acting_open)


def test_a_directory_swapped_for_a_link_does_not_lead_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write_tree(tmp_path, {"root/victim/x.md": 0, "outside/secret.md": 0})

    def swap() -> None:
        (root / "victim").rename(tmp_path / "away")
        (root / "victim").symlink_to(outside)

    before_opening(monkeypatch, "victim", swap)
    part = read(root)

    assert [] == found(part)
    assert [(b"victim", errno.ENOTDIR)] == [problem[:2] for problem in part.problems]


@pytest.mark.parametrize("swapped_for", ["link", "folder"])
def test_a_replaced_parent_does_not_lead_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swapped_for: str
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    write_tree(root, {f"{parent}/{child}/below/x.md": 0 for parent in "ab" for child in "12"})
    write_tree(outside, {f"{child}/below/secret.md": 0 for child in "12"})
    monkeypatch.setattr(pending, "MAX_OPEN", 1)

    closed: list[bytes] = []
    plain_close = pending.Pending._close

    def close(self: Any, directory: Any) -> None:
        is_evicted = directory.fd >= 0 and directory.pending
        plain_close(self, directory)
        if not is_evicted:
            return
        closed.append(directory.name)
        if len(closed) == 1:
            (root / os.fsdecode(directory.name)).rename(tmp_path / "away")
            if swapped_for == "link":
                (root / os.fsdecode(directory.name)).symlink_to(outside)
            else:
                outside.rename(root / os.fsdecode(directory.name))

    monkeypatch.setattr(pending.Pending, "_close", close)
    part = read(root)

    # The swapped one was closed when the first of its subdirectories was entered, which is the only one that was read.
    [other] = {b"a", b"b"} - {closed[0]}
    entered = [path for path in directories(part) if path.startswith(closed[0] + b"/")]
    assert [entered[0], entered[0] + b"/below"] == entered
    expected = [*(other + f"/{child}/below/x.md".encode() for child in "12"), entered[1] + b"/x.md"]
    assert sorted(expected) == found(part)


def test_a_vanished_directory_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, {"gone/": 0, "kept/x.md": 0})
    before_opening(monkeypatch, "gone", (tmp_path / "gone").rmdir)

    part = read(tmp_path)

    assert ([], [b"kept/x.md"]) == (part.problems, found(part))


def test_a_file_that_vanishes_before_its_stat_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path, {"a.md": 1, "b.md": 2, "c.md": 3})
    plain_lstat, waiting = os.lstat, [True]

    def acting_lstat(path: Any) -> os.stat_result:
        if path == b"a.md" and waiting:
            waiting.pop()
            (tmp_path / "a.md").unlink()
            (tmp_path / "b.md").unlink()
            (tmp_path / "b.md").mkdir()
        return plain_lstat(path)

    monkeypatch.setattr(os, "lstat", acting_lstat)
    part = read(tmp_path)

    assert ([], [b"c.md"]) == (part.problems, found(part))
    assert [3] == [size for size, _ in unpack_stats(part.stats[0])]


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("where", ["/tmp", "/dev/shm"])  # noqa: S108  two file systems
def test_link_counts_are_used_only_where_they_are_trusted(
    monkeypatch: pytest.MonkeyPatch, where: str, *, trusted: bool
) -> None:
    cheap: list[int] = []
    plain_listdir = os.listdir

    def listdir(fd: Any) -> list[Any]:
        cheap.append(fd)
        return plain_listdir(fd)

    with scratch(where) as root:
        write_tree(root, {"a/x.md": 0, "a/empty/": 0, "b/c/d/y.md": 0, "b/c/d.md/z.md": 0})
        monkeypatch.setattr(
            walk, "devices_counting_subdirectories", lambda: frozenset({root.stat().st_dev} if trusted else ())
        )
        monkeypatch.setattr(os, "listdir", listdir)
        part = read(root)
        monkeypatch.undo()
        assert find(root, "!", "-type", "d", "-name", "*.md") == found(part)
        leaves = [path for path in [root, *root.rglob("*")] if path.is_dir() and path.stat().st_nlink == 2]

    assert (len(leaves) if trusted else 0) == len(cheap)
    assert 7 == len(part.names)


@pytest.mark.parametrize(
    ("excludes", "left"),
    [
        (("skip",), ["deep/a/x.md", "deep/other.md", "keep/x.md", "x.md"]),
        (("deep/a",), ["deep/other.md", "deep/skip/x.md", "keep/x.md", "skip/x.md", "x.md"]),
        (("/skip",), ["deep/a/x.md", "deep/other.md", "deep/skip/x.md", "keep/x.md", "x.md"]),
        (("**/x.md",), ["deep/other.md"]),
        (("deep/**/x.md",), ["deep/other.md", "keep/x.md", "skip/x.md", "x.md"]),
        (("deep/**",), ["keep/x.md", "skip/x.md", "x.md"]),
        (("deep/*/x.md",), ["deep/other.md", "keep/x.md", "skip/x.md", "x.md"]),
        (("x.md/", "keep/"), ["deep/a/x.md", "deep/other.md", "deep/skip/x.md", "skip/x.md", "x.md"]),
        (("*/x.md",), ["deep/a/x.md", "deep/other.md", "deep/skip/x.md", "x.md"]),
    ],
)
def test_excludes_prune_by_name_and_by_path(tmp_path: Path, excludes: tuple[str, ...], left: list[str]) -> None:
    files = ["x.md", "skip/x.md", "keep/x.md", "deep/other.md", "deep/skip/x.md", "deep/a/x.md"]
    write_tree(tmp_path, dict.fromkeys(files, 0))
    part = read(tmp_path, Selection(excludes=excludes))
    assert [path.encode() for path in left] == found(part)
    if excludes == ("skip",):  # what is pruned is not read
        assert [b"", b"deep", b"deep/a", b"keep"] == directories(part)


def test_other_file_systems_are_left_unread_only_on_request() -> None:
    # /dev with /dev/shm below it: on every Linux two file systems, and small.
    def read_devices(*, one_file_system: bool) -> tuple[Part, int]:
        reported = []
        selection = Selection(patterns=("*",), track=Track.NAMES, one_file_system=one_file_system)
        walker = Walker(b"/dev", selection, settle=True)
        part = joined(walker.read([b""], lambda directories, _entries, _files: reported.append(directories)))
        walker.close()
        return part, sum(reported)

    with scratch("/dev/shm"):  # noqa: S108  the other file system
        one, reported = read_devices(one_file_system=True)
        all_of_them, _ = read_devices(one_file_system=False)

    device = Path("/dev").stat().st_dev
    assert {device} == {stamps[0] for stamps in STAMPS.iter_unpack(one.stamps)}
    assert Path("/dev/shm").stat().st_dev in {stamps[0] for stamps in STAMPS.iter_unpack(all_of_them.stamps)}  # noqa: S108
    assert len(one.names) == reported


TREES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.just({}),
    lambda below: st.dictionaries(st.sampled_from(["a", "b", "c.md", "d"]), below, max_size=4),
    max_leaves=25,
)


def write_nested(directory: Path, tree: dict[str, Any]) -> None:
    (directory / "x.md").touch()
    for name, below in tree.items():
        (directory / name).mkdir()
        write_nested(directory / name, below)


@settings(max_examples=60, deadline=None)
@given(tree=TREES, budgets=st.lists(st.integers(1, 400), min_size=1), most_open=st.integers(1, 4), data=st.data())
def test_two_readers_that_share_lose_and_double_nothing(
    tree: dict[str, Any], budgets: list[int], most_open: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pending, "MAX_OPEN", most_open)
        root = Path(directory)
        write_nested(root, tree)
        walkers, parts = [Walker(os.fsencode(root), Selection()) for _ in range(2)], [Part(), Part()]
        whole = stored()
        walkers[0].pending.add_starts([b""])
        turns = cycle(budgets)
        while any(walker.pending.directories for walker in walkers):
            for number in (0, 1):
                waiting, other = walkers[number].pending, walkers[1 - number].pending
                walkers[number].read_some(parts[number], next(turns))
                assert len(waiting._open) <= most_open
                if data.draw(st.booleans()):
                    whole.append(parts[number].encode(), source=number)
                    parts[number] = parts[number].following()
                if waiting.can_split() and data.draw(st.booleans()):
                    other.add_starts(waiting.take_half())
        for number, walker in enumerate(walkers):
            whole.append(parts[number].encode(), source=number)
            walker.close()
        there = [b"", *(os.fsencode(path.relative_to(root)) for path in root.rglob("*") if path.is_dir())]
        expected = find(root, "!", "-type", "d", "-name", "*.md")

    assert sorted(there) == directories(whole)
    assert expected == found(whole)


def test_a_directory_is_closed_with_its_last_subdirectory(tmp_path: Path) -> None:
    write_tree(tmp_path, {f"above/{number}/": 0 for number in range(3)})
    walker = Walker(os.fsencode(tmp_path), Selection())
    walker.pending.add_starts([b"above"])
    walker.read_some(Part(), 1)

    counts = []
    for _ in range(3):
        counts.append((len(walker.pending.directories), len(walker.pending._open)))
        walker.pending.take_half()
    walker.close()

    assert [(3, 1), (1, 1), (0, 0)] == counts


def test_deep_or_large_shares_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "_LONGEST", 8)
    monkeypatch.setattr(pending, "_MOST_TAKEN", 10)
    waiting = Pending(-1)
    waiting.add_starts(b"near/%d" % number for number in range(8))
    waiting.add_starts(b"far/away/%d" % number for number in range(8))

    assert [b"near/0", b"near/2"] == waiting.take_half()
    assert [b"near/1", b"near/4"] == waiting.take_half()
    assert [b"near/3", b"near/6"] == waiting.take_half()
    assert [b"near/5"] == waiting.take_half()
    assert [b"near/7"] == waiting.take_half()
    assert not waiting.can_split()
    assert [b"far/away/%d" % number for number in range(8)] == waiting.paths()


def test_stamps_are_recorded_on_request(tmp_path: Path) -> None:
    write_tree(tmp_path, {"a.md": 0, "b.txt": 0, "below/": 0})
    walker = Walker(os.fsencode(tmp_path), Selection(), settle=True)
    part = joined(walker.read([b""], lambda *_: None))
    walker.close()
    reported = tmp_path.stat()
    assert (b"", b"a.md", 3) == (part.path(0), part.found[0], part.count()[1])
    assert (reported.st_dev, reported.st_ino, reported.st_mtime_ns, reported.st_ctime_ns) == STAMPS.unpack_from(
        part.stamps
    )
    assert b"" == read(tmp_path).stamps
    assert [b"", b""] == read(tmp_path, NAMES_ONLY).stats
