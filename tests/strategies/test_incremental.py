"""What an incremental scan remembers, relies on, and says when it can't."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.model.errors import ScanError
from runner.model.jobs import Selection, Track
from runner.scan import walk
from runner.scan.cache import Clock, load, store
from runner.scan.snapshot import Snapshot, join_path, unpack_stats
from runner.strategies import incremental
from runner.strategies.base import ScanRequest
from runner.strategies.incremental import Incremental
from runner.strategies.sequential import Sequential
from tests.benchmarks.fuzz import compare, counted_listings, findings, two_ticks_ns
from tests.benchmarks.snapshots import scanned, stored

FILE_SYSTEMS = ["/tmp", "/dev/shm"]  # noqa: S108  ext4 on most machines, and tmpfs


@pytest.fixture(params=FILE_SYSTEMS)
def scratch(request: pytest.FixtureRequest) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(dir=request.param))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def tree(scratch: Path) -> Path:
    root = scratch / "tree"
    for name in ("a", "a/b", "a/b/c", "d", "e"):
        (root / name).mkdir(parents=True)
        (root / name / "x.md").write_bytes(b"1")
    return root


@pytest.fixture(autouse=True)
def _stamps_are_relied_on_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "SETTLED_AFTER_NS", two_ticks_ns())


def rest() -> None:
    """Wait until all stamps can be relied on."""
    time.sleep(2 * two_ticks_ns() / 1e9)


def request_for(
    root: Path, cache: str | None = "remembered", full_every_s: int = 3600, **selection: Any
) -> ScanRequest:
    return ScanRequest(
        root=os.fsencode(root),
        selection=Selection(**selection),
        workers=1,
        start_method="fork",
        cache=os.fsencode(root.parent / cache) if cache else None,
        full_every_s=full_every_s,
    )


def scan(root: Path, **options: Any) -> tuple[Snapshot, int]:
    """Scan incrementally; gives what was found and how many directories were read."""
    request = request_for(root, **options)
    with counted_listings() as counts:
        found, done = scanned(Incremental(), request)
    done.end()
    assert findings(scanned(Sequential(), request)[0]) == findings(found)
    return found, counts[0]


def known(root: Path, **selection: Any) -> None:
    """Scan twice, so that everything is remembered and relied on."""
    scan(root, **selection)
    rest()
    scan(root, **selection)


def names(found: Snapshot) -> list[bytes]:
    return sorted(join_path(path, name) for path, joined, _ in found.findings() for name in joined.split(b"\0"))


@pytest.mark.parametrize("track", Track)
def test_of_an_unchanged_tree_no_directory_is_read(tree: Path, track: Track) -> None:
    first, read = scan(tree, track=track)
    message = "every directory was read: there is no earlier incremental scan of this tree"
    assert (6, [message]) == (read, first.messages)
    rest()
    scan(tree, track=track)
    again, read = scan(tree, track=track)
    assert (0, [], None) == (read, again.messages, again.defect)
    assert (6, 5, first.digest) == (again.directories, again.files, again.digest)


def make_below(tree: Path) -> None:
    (tree / "d" / "new" / "below").mkdir(parents=True)
    (tree / "d" / "new" / "below" / "y.md").touch()


def put_link(tree: Path) -> None:
    (tree / "a").rename(tree.parent / "away")
    (tree / "a").symlink_to(tree.parent / "away")


@pytest.mark.parametrize(
    ("change", "read", "left"),
    [
        (lambda tree: (tree / "a" / "b" / "new.md").touch(), 1, "a/b/c/x a/b/new a/b/x a/x d/x e/x"),
        (make_below, 3, "a/b/c/x a/b/x a/x d/new/below/y d/x e/x"),
        (lambda tree: shutil.rmtree(tree / "a"), 1, "d/x e/x"),
        (put_link, 1, "d/x e/x"),
        (lambda tree: (tree / "a" / "b").rename(tree / "e" / "b"), 4, "a/x d/x e/b/c/x e/b/x e/x"),
    ],
    ids=["file", "directories", "removal", "link", "move"],
)
def test_only_what_a_change_touches_is_read(tree: Path, change: Callable[[Path], object], read: int, left: str) -> None:
    known(tree)
    change(tree)
    found, directories_read = scan(tree)
    assert [f"{path}.md".encode() for path in left.split()] == names(found)
    assert (read, []) == (directories_read, found.problems)


def test_a_directory_away_for_a_moment_loses_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its subdirectories only the way to them was gone, which their parents' stamps do not tell."""
    known(tree, track=Track.NAMES)
    plain_lstat = os.lstat

    def lstat(path: Any) -> os.stat_result:
        if path == b"a/b/c":
            (tree / "a").rename(tree.parent / "away")
        try:
            return plain_lstat(path)
        finally:
            if path == b"a/b/c":
                (tree.parent / "away").rename(tree / "a")

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", lstat)
        found, done = scanned(Incremental(), request_for(tree, track=Track.NAMES))
    done.end()
    assert b"a/b/c/x.md" in names(found)
    assert 5 == scan(tree, track=Track.NAMES)[0].files


def test_a_changed_file_is_seen_where_sizes_and_times_are_kept(tree: Path) -> None:
    known(tree)
    (tree / "a" / "x.md").write_bytes(b"longer")
    found, read = scan(tree)
    sizes = {path: [size for size, _ in unpack_stats(stats)] for path, _, stats in found.findings()}
    assert (0, [6]) == (read, sizes[b"a"])
    assert found.digest != scan(tree, track=Track.NAMES)[0].digest


def test_a_change_in_the_tick_of_the_scan_is_seen_by_the_next(tree: Path) -> None:
    for number in range(50):
        scan(tree, track=Track.NAMES)
        (tree / "a" / f"{number}.md").touch()
        assert f"a/{number}.md".encode() in names(scan(tree, track=Track.NAMES)[0])


@pytest.mark.parametrize("seed", range(3))
def test_after_random_changes_it_equals_a_full_scan(scratch: Path, seed: int) -> None:
    read, there = compare(scratch, rounds=120, seed=seed, settled_after_ns=two_ticks_ns())
    assert read < there


def test_by_the_rule_as_it_is_young_directories_are_read_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    scan(tree)
    assert 6 == scan(tree)[1]
    year_ago = time.time_ns() - 365 * 86_400 * 10**9
    os.utime(tree / "a", ns=(year_ago, year_ago))  # its change time is young
    assert 6 == scan(tree)[1]


def test_a_directory_from_the_future_is_never_relied_on(tree: Path) -> None:
    future = time.time_ns() + 10**12
    os.utime(tree / "d", ns=(future, future))
    known(tree)
    assert 1 == scan(tree)[1]


def test_a_problem_is_tried_again_until_it_is_none(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_REPORT_WORK", "PIECE_WORK"):
        monkeypatch.setattr(walk, name, 1)  # a piece for each directory
    plain_open = os.open

    def refusing(path: Any, *arguments: Any, **options: Any) -> int:
        if path == b"d":
            raise PermissionError(13, "Permission denied")
        return plain_open(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing)
        known(tree)
        found, _ = scan(tree)
        assert ([(b"d", 13, "Permission denied")], False) == (list(found.problems), b"d/x.md" in names(found))
    found, _ = scan(tree)
    assert ([], True) == (found.problems, b"d/x.md" in names(found))
    rest()
    scan(tree)
    assert 0 == scan(tree)[1]


def test_unreliable_stamps_are_reported_and_all_is_read(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.scan.rescan.devices_stamping_changes", lambda _: frozenset())
    known(tree)
    found, read = scan(tree)
    said = ["6 directories are read every time: the stamps of their file system can't be relied on"]
    assert (6, said) == (read, found.messages)


def test_the_cache_of_another_selection_is_not_used(tree: Path) -> None:
    known(tree)
    assert 6 == scan(tree, patterns=("*",))[1]
    assert 6 == scan(tree, excludes=("d",))[1] + 1


def set_clock(monkeypatch: pytest.MonkeyPatch, attribute: str, change: Callable[[Any], Any]) -> None:
    class OtherClock(Clock):
        def __init__(self) -> None:
            super().__init__()
            setattr(self, attribute, change(getattr(self, attribute)))

    monkeypatch.setattr(incremental, "Clock", OtherClock)


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("boot", "another", "the machine was started again"),
        ("boot", "", "the machine was started again"),
        ("ahead_ns", -(10**18), "the clock was set back"),
        ("now_ns", 10**18, "the clock was set back"),
    ],
)
def test_after_a_boot_or_a_step_of_the_clock_everything_is_read(
    tree: Path, monkeypatch: pytest.MonkeyPatch, attribute: str, value: Any, said: str
) -> None:
    known(tree)
    set_clock(monkeypatch, attribute, lambda _: value)
    found, read = scan(tree)
    assert (6, True) == (read, said in found.messages[0])


def test_small_steps_of_the_clock_add_up(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(tree)
    said = []
    for step in (1, 2, 3):
        with monkeypatch.context() as patch:
            set_clock(patch, "ahead_ns", (-step * 9 * 10**8).__add__)
            (tree / "a" / f"{step}.md").touch()
            said.append(scan(tree)[0].messages)
    assert [[], ["every directory was read: the clock was set back since the last scan"], []] == said


def test_a_tree_deeper_than_a_path_may_be_is_read_as_a_whole(tree: Path) -> None:
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("n" * 200, dir_fd=fd)
        below = os.open("n" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("deep.md", os.O_CREAT, dir_fd=fd))
    os.close(fd)
    for _ in range(2):
        found, read = scan(tree)
        assert (36, 36) == (read, found.directories)
        assert "longer than the kernel takes" in found.messages[-1]
    subprocess.run(["rm", "-rf", str(tree / ("n" * 200))], check=True)


def test_a_root_that_may_not_be_entered_is_read_as_a_whole(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(tree)
    plain_fchdir = os.fchdir
    root = tree.stat().st_ino

    def fchdir(fd: int) -> None:
        if os.fstat(fd).st_ino == root:
            raise PermissionError(13, "Permission denied")
        plain_fchdir(fd)

    monkeypatch.setattr(os, "fchdir", fchdir)
    found, read = scan(tree)
    assert (6, ["every directory was read: the root may be read but not entered"]) == (read, found.messages)


def test_the_clock_has_a_boot_and_a_lead() -> None:
    first, second = Clock(), Clock()
    assert first.boot == second.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert abs(second.ahead_ns - first.ahead_ns) < 10**8
    assert abs(first.now_ns - time.time_ns()) < 10**9


@pytest.mark.parametrize("content", [b"", b"torn", b"\0" * 100, None])
def test_an_unreadable_cache_counts_as_none(tree: Path, content: bytes | None) -> None:
    known(tree)
    remembered = tree.parent / "remembered"
    whole = remembered.read_bytes()
    remembered.write_bytes(whole[: len(whole) // 2] if content is None else content)
    found, read = scan(tree)
    assert (6, True) == (read, "every directory was read: what was remembered of it is damaged" in found.messages[0])


def test_an_unwritable_cache_is_reported(tree: Path) -> None:
    (tree.parent / "file").touch()
    found, done = scanned(Incremental(), request_for(tree, "file/remembered"))
    done.end()
    assert 5 == found.files
    assert "can't be written: " in found.messages[-1]
    assert [] == [name for name in os.listdir(tree.parent) if "remembered" in name]


def test_a_full_scan_is_due_now_and_then_and_says_so(tree: Path) -> None:
    known(tree)
    found, read = scan(tree, full_every_s=0)
    assert (6, ["every directory was read: a full scan was due, which verifies the others"]) == (read, found.messages)
    assert found.defect is None


@pytest.mark.parametrize("change", ["name", "folder"])
def test_a_full_scan_finds_out_what_should_never_happen(tree: Path, change: str) -> None:
    """Use a false cache like one of a file system with unreliable stamps."""
    known(tree)
    path = os.fsencode(tree.parent / "remembered")
    loaded = load(path)
    assert not isinstance(loaded, str)
    cache, old = loaded
    part = old.tree()
    number = next(number for number in range(len(part.names)) if part.path(number) == b"a/b")
    if change == "name":
        part.found[number] = b"other.md"
    else:
        child = next(number for number in range(len(part.names)) if part.path(number) == b"a/b/c")
        part.names[child] = b"elsewhere"
    old = stored([part])
    cache.sizes = old.sizes
    store(path, cache, old)

    found, _ = scan(tree, full_every_s=0)

    assert found.defect is not None
    assert found.defect.startswith("a defect of the strategy: 'a/b' changed without a change of stamps")
    assert scan(tree)[0].defect is None


def test_a_full_scan_takes_no_honest_change_for_a_defect(tree: Path) -> None:
    known(tree)
    (tree / "a" / "new.md").touch()
    shutil.rmtree(tree / "a" / "b")
    (tree / "d").rename(tree / "e" / "d")
    assert scan(tree, full_every_s=0)[0].defect is None


def test_a_scan_without_a_cache_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="needs a place"):
        scanned(Incremental(), request_for(tmp_path, cache=None))


def test_a_torn_write_leaves_what_was_there(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(tree)
    before = (tree.parent / "remembered").read_bytes()
    loaded = load(os.fsencode(tree.parent / "remembered"))
    assert not isinstance(loaded, str)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        store(os.fsencode(tree.parent / "remembered"), *loaded)
    assert before == (tree.parent / "remembered").read_bytes()
    assert {"remembered", "tree"} == set(os.listdir(tree.parent))
