"""What every strategy must do; find says what there is to find."""

import errno
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.measure.trial import ScanTask, TrialResult
from runner.measure.trials import Progress, carry_out
from runner.model.errors import ScanError
from runner.model.jobs import Selection, Track
from runner.model.runs import Status
from runner.scan.snapshot import Snapshot, found_names, join_path, unpack_stats
from runner.strategies import STRATEGIES, load_strategy
from runner.strategies.base import Cluster, ScanRequest
from tests.benchmarks.dask_cluster import RealCluster
from tests.benchmarks.snapshots import scanned

PLAIN_NAMES = [
    b"plain.md",
    b".md",
    b" .md",
    b"-name.md",
    b"A.MD",
    b"notes.txt",
    b"a.md.bak",
    b"*.md",
    b"back\\slash.md",
]
ODD_NAMES = [
    b"caf\xe9.md", "café.md".encode(), b"a\n\x1b]0;x\x07.md", b"[b].md", b"\x7f\x01.md", b"\xff\xfe",
    "\u202egnp.md".encode(),
    b"n" * 252 + b".md", b"[",
]  # fmt: skip


# An incremental scan that remembers the tree goes other ways than one that does not.
AGAIN = "incremental, again"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with RealCluster(tmp_path_factory.mktemp("cluster")) as real:
        yield real.cluster


_clusters: list[Cluster] = []


@pytest.fixture(params=[*sorted(STRATEGIES), AGAIN, "dask"])
def strategy(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "dask":
        _clusters.append(request.getfixturevalue("cluster"))
    yield str(request.param)
    _clusters.clear()


def scan(strategy: str, root: Path, start_method: str = "fork", workers: int = 2, **selection: Any) -> TrialResult:
    with tempfile.TemporaryDirectory() as directory:
        request = request_for(
            root, directory, workers=workers, start_method=start_method, selection=Selection(**selection)
        )
        outcomes = [
            carry_out(ScanTask(strategy=strategy.partition(",")[0], request=request), timeout_s=30)
            for _ in range(2 if strategy == AGAIN else 1)
        ]
    return outcomes[-1]


def request_for(
    root: Path,
    directory: str | Path,
    *,
    workers: int = 2,
    start_method: str = "fork",
    selection: Selection | None = None,
) -> ScanRequest:
    return ScanRequest(
        root=os.fsencode(root),
        selection=selection or Selection(),
        workers=workers,
        start_method=start_method,
        cache=os.path.join(os.fsencode(directory), b"remembered"),
        cluster=_clusters[0] if _clusters else None,
    )


def snapshot_of(outcome: TrialResult) -> Snapshot:
    assert (Status.SUCCEEDED, None, None) == (outcome.status, outcome.message, outcome.defect)
    snapshot: Snapshot = outcome.value
    return snapshot


def found(outcome: TrialResult) -> list[bytes]:
    findings = snapshot_of(outcome).findings()
    return sorted(join_path(path, name) for path, names, _ in findings for name in found_names(names))


def directories(outcome: TrialResult) -> list[bytes]:
    return sorted(
        part.path(number)
        for part in snapshot_of(outcome).pieces()
        for number in range(part.first_row, part.first_row + len(part.found))
    )


def find(root: Path, *conditions: str) -> list[bytes]:
    listing = subprocess.run(["find", ".", *conditions, "-print0"], cwd=root, check=True, capture_output=True).stdout
    return sorted(path[2:] for path in listing.split(b"\0")[:-1])  # without "./"; the root itself becomes empty


@pytest.fixture(scope="module")
def zoo() -> Iterator[Path]:
    """A tree with every kind of entry and of name."""
    root = Path(tempfile.mkdtemp(prefix="zoo"))
    for directory in (b"", b"sub", b"sub/x.md", b"caf\xe9", b"a\nb.md", b"d" * 255):
        path = os.path.join(os.fsencode(root), directory)
        Path(os.fsdecode(path)).mkdir(parents=True, exist_ok=True)
        for name in PLAIN_NAMES + ODD_NAMES:
            Path(os.fsdecode(os.path.join(path, name))).touch()
    makers: dict[str, Callable[[Path], object]] = {
        "folder": Path.mkdir,
        "fifo": os.mkfifo,
        "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
        "dangling": lambda path: path.symlink_to("nowhere"),
        "loop": lambda path: path.symlink_to("x.md"),
        "link-out": lambda path: path.symlink_to("/"),
    }
    for kind, make in makers.items():
        (root / kind).mkdir()
        make(root / kind / "x.md")
    (root / "to-sub").symlink_to("sub")
    yield root
    shutil.rmtree(root)


@pytest.mark.parametrize("patterns", [("*.md",), ("*",), ("*.md", "*.txt"), ("?.md", "[[*]*"), ("x.md",)])
@pytest.mark.parametrize("track", Track)
def test_it_finds_what_find_finds(strategy: str, zoo: Path, patterns: tuple[str, ...], track: Track) -> None:
    tests = [word for pattern in patterns for word in ("-o", "-name", pattern)][1:]
    outcome = scan(strategy, zoo, patterns=patterns, track=track)

    assert find(zoo, "!", "-type", "d", "(", *tests, ")") == found(outcome)
    assert find(zoo, "-type", "d") == directories(outcome)
    assert [] == outcome.value.problems


def test_regardless_of_case_it_finds_what_find_finds(strategy: str, zoo: Path) -> None:
    expected = find(zoo, "!", "-type", "d", "-iname", "*.md")
    assert expected == found(scan(strategy, zoo, ignore_case=True))
    assert b"A.MD" in expected


def test_every_size_and_time_is_that_of_lstat(strategy: str, zoo: Path) -> None:
    for path, names, stats in snapshot_of(scan(strategy, zoo)).findings():
        paths = [os.path.join(os.fsencode(zoo), path, name) for name in found_names(names)]
        expected = [(os.lstat(path).st_size, os.lstat(path).st_mtime_ns) for path in paths]
        assert expected == list(unpack_stats(stats))


def test_an_empty_root_is_one_directory(strategy: str, tmp_path: Path) -> None:
    outcome = scan(strategy, tmp_path)
    assert ([], [b""]) == (found(outcome), directories(outcome))


@pytest.mark.parametrize("shape", ["one huge subtree", "2,000 folders at the root", "chain", "one huge folder"])
def test_lopsided_trees_lose_nothing(strategy: str, tmp_path: Path, shape: str) -> None:
    names = {
        "one huge subtree": [f"huge/{a}/{b}/{c}" for a in range(4) for b in range(12) for c in range(25)] + ["small"],
        "2,000 folders at the root": [str(number) for number in range(2_000)],
        "chain": ["/".join(["below"] * 300)],
        "one huge folder": ["flat"],
    }[shape]
    for name in names:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.md").touch()
    if shape == "one huge folder":
        for number in range(5_000):
            (tmp_path / "flat" / f"{number}.md").touch()

    outcome = scan(strategy, tmp_path)

    assert find(tmp_path, "!", "-type", "d", "-name", "*.md") == found(outcome)
    assert find(tmp_path, "-type", "d") == directories(outcome)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_the_number_of_workers_changes_nothing(strategy: str, zoo: Path, workers: int) -> None:
    assert found(scan("sequential", zoo)) == found(scan(strategy, zoo, workers=workers))


@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"])
def test_the_start_method_changes_nothing(strategy: str, zoo: Path, start_method: str) -> None:
    outcome = scan(strategy, zoo, start_method)
    assert found(scan("sequential", zoo)) == found(outcome)
    assert outcome.message is None
    if load_strategy(strategy.partition(",")[0]).parallel:
        assert 0 < outcome.startup_s < outcome.wall_s
        assert outcome.workers_user_s + outcome.workers_system_s > 0
    else:
        assert 0 == outcome.startup_s


def test_progress_only_grows_and_ends_at_what_was_found(strategy: str, zoo: Path, tmp_path: Path) -> None:
    reported: list[Progress] = []
    request = request_for(zoo, tmp_path)
    name = strategy.partition(",")[0]
    if strategy == AGAIN:
        carry_out(ScanTask(strategy=name, request=request))
    outcome = carry_out(ScanTask(strategy=name, request=request), on_progress=reported.append)

    for counts in zip(*((each.directories, each.entries, each.files) for each in reported), strict=True):
        assert sorted(counts) == list(counts)
    entries = outcome.value.entries
    expected = Progress(directories=len(directories(outcome)), entries=entries, files=len(found(outcome)))
    assert expected == reported[-1]


@pytest.mark.parametrize("root", ["missing", "file", "file/x"])
def test_a_root_that_is_no_directory_fails_in_one_line(strategy: str, tmp_path: Path, root: str) -> None:
    (tmp_path / "file").touch()
    outcome = scan(strategy, tmp_path / root)
    assert (Status.FAILED, None, None) == (outcome.status, outcome.value, outcome.defect)
    assert outcome.message
    assert "\n" not in outcome.message
    assert root in outcome.message


@pytest.mark.parametrize("what", ["vanished", "was replaced"])
def test_a_root_that_changes_in_mid_scan_fails_in_one_line(strategy: str, tmp_path: Path, what: str) -> None:
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    request = request_for(root, tmp_path)
    name = strategy.partition(",")[0]
    if strategy == AGAIN:
        carry_out(ScanTask(strategy=name, request=request))
    waiting = [True]

    def change(*_counts: int) -> None:
        if waiting:
            waiting.pop()
            root.rename(tmp_path / "away")
            if what == "was replaced":
                root.mkdir()

    # Forked, since a scan that failed leaves its pool to the end of its process.
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            scanned(load_strategy(name), request, change)
            os.write(writer, b"no error")
        except ScanError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    message = os.read(reader, 10_000).decode()
    os.close(reader)

    assert ("does not exist" if what == "vanished" else "was replaced") in message
    assert "\n" not in message


def test_a_problem_has_path_number_and_text(strategy: str) -> None:
    # A directory that nobody can open is rare: that of a process that has ended but was not collected.
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        outcome = scan(strategy, Path(f"/proc/{pid}"), patterns=("comm",), track=Track.NAMES)
        problems = set(outcome.value.problems)
    finally:
        os.waitpid(pid, 0)
    assert (b"net", errno.EINVAL, "Invalid argument") in problems
    assert b"comm" in found(outcome)
