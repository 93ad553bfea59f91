import errno
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runner.model.errors import ScanError
from runner.model.jobs import Selection
from runner.scan import pending, walk
from runner.scan.snapshot import Snapshot
from runner.strategies import pool
from runner.strategies.base import ScanRequest
from runner.strategies.exchange import Channel, Exchange
from runner.strategies.pool import Pool
from tests.benchmarks.snapshots import scanned

FORK = multiprocessing.get_context("fork")
# More than a pipe takes.
LARGE = b"x" * 2_000_000


def scan(root: Path, workers: int = 2, reported: list[int] | None = None) -> Snapshot:
    """Scan with a pool whose forked workers have what a test has replaced; append the directories of each report."""
    found, done = scanned(
        Pool(),
        ScanRequest(root=os.fsencode(root), selection=Selection(), workers=workers, start_method="fork"),
        lambda directories, _entries, _files: reported.append(directories) if reported is not None else None,
    )
    done.end()
    return found


def count_by_process(found: Snapshot) -> list[int]:
    """Return how many directories each process has read that has read any."""
    counts: list[int] = []
    for piece in found.pieces():
        counts[-1 if piece.first_row else len(counts) :] = [len(piece.names)]
    return [count for count in counts if count]


def make_directories(root: Path, count: int, below: str = "") -> None:
    for number in range(count):
        (root / str(number) / below).mkdir(parents=True)


def receive(queue: Any) -> Any:
    """Receive an item that must soon be in a queue."""
    assert queue._reader.poll(10), "waited in vain"
    return queue.get()


@pytest.mark.parametrize("from_root", [True, False])
def test_an_error_of_a_worker_is_raised_by_its_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, from_root: bool
) -> None:
    for name in ("_error", "_reader"):
        monkeypatch.setattr(pool, name, getattr(pool, name))
    pool._begin(from_root, os.fsencode(tmp_path), Selection(), (0, 0), Exchange(1, FORK), Channel(FORK))
    with pytest.raises(ScanError, match="was replaced while it was scanned"):
        pool._read([])


@pytest.mark.parametrize("is_counting", [True, False])
def test_a_failing_worker_fails_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_counting: bool) -> None:
    make_directories(tmp_path, 3, "below")
    parent, plain_open = os.getpid(), pending.Pending.open

    def fail_in_worker(self: pending.Pending, above: pending.Directory, name: bytes) -> int:
        if os.getpid() != parent:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return plain_open(self, above, name)

    monkeypatch.setattr(pending.Pending, "open", fail_in_worker)
    if not is_counting:
        monkeypatch.setattr(walk, "devices_counting_subdirectories", frozenset)
    reader, writer = os.pipe()
    # Forked, since a scan that failed leaves its pool to the end of its process group.
    if (child := os.fork()) == 0:
        os.setpgrp()
        parent = os.getpid()
        try:
            scan(tmp_path)
        except ScanError as error:
            os.write(writer, str(error).encode())
        finally:
            os.killpg(0, signal.SIGKILL)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as said:
        assert "the scan ran short: Too many open files" in said.read()


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("work", [1, 400])
@pytest.mark.parametrize("is_counting", [True, False])
def test_every_directory_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, work: int, *, is_counting: bool
) -> None:
    expected = [b""]
    for number in range(20):
        make_directories(tmp_path / f"{number}", 2, "a/b")
        expected += [f"{number}{below}".encode() for below in ("", "/0", "/0/a", "/0/a/b", "/1", "/1/a", "/1/a/b")]
    for name in ("_LEAST_WORK", "_POLL_WORK", "PIECE_WORK"):
        monkeypatch.setattr(pool, name, work)
    if not is_counting:
        monkeypatch.setattr(walk, "devices_counting_subdirectories", frozenset)
    reported: list[int] = []

    pieces = scan(tmp_path, workers, reported).pieces()

    assert sorted(expected) == sorted(
        piece.path(row) for piece in pieces for row in range(piece.first_row, len(piece.names))
    )
    assert len(expected) == sum(reported)


def test_no_worker_is_started_with_more_than_fits_into_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Until it has read that, nobody would watch it.
    make_directories(tmp_path / "one" / ("long" * 5), 5_000)
    kept: list[Any] = []

    def start(_workers: int, _start_method: str, *, initargs: tuple[Any, ...], **_choices: Any) -> None:
        kept.extend(initargs)
        raise ScanError("started")

    monkeypatch.setattr(pool, "WatchedPool", start)
    with pytest.raises(ScanError, match="started"):
        scan(tmp_path)

    assert os.fsencode(tmp_path) in kept
    assert max(len(arg) for arg in kept if isinstance(arg, bytes | list)) < 1_000


def test_progress_is_reported_at_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_directories(tmp_path, 20_000)
    monkeypatch.setattr(pool, "_SEND_AFTER_S", 0.005)
    reported: list[int] = []

    scan(tmp_path, reported=reported)

    assert sum(reported) == 20_001
    assert len(reported) > 5
    # In 5 ms hundreds are read; few are left when there is nothing more to read.
    assert len([directories for directories in reported if directories < 10]) < 20


def test_a_worker_that_found_only_problems_sends_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_directories(tmp_path, 2_000)
    read, began_at_root = pending.Pending.open, []

    def deny_the_second(self: pending.Pending, parent: pending.Directory, name: bytes) -> int:
        if not name:
            began_at_root.append(True)
        if not began_at_root:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(self, parent, name)

    monkeypatch.setattr(pending.Pending, "open", deny_the_second)
    snapshot = scan(tmp_path)
    assert len(count_by_process(snapshot)) == 1
    assert snapshot.problems
    assert snapshot.directories + len(snapshot.problems) == 2_001


@pytest.mark.parametrize(("depth", "most_shared"), [(30, pending._MOST_SHARED), (10, 100_000)], ids=["deep", "much"])
def test_shares_that_cost_too_much_are_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int, most_shared: int
) -> None:
    monkeypatch.setattr(pending, "_MOST_SHARED", most_shared)
    monkeypatch.chdir(tmp_path)
    for _ in range(depth):
        os.mkdir("long" * 50)  # noqa: PTH102  deeper than a path may be
        os.chdir("long" * 50)
    make_directories(Path(), 300, "below")

    snapshot = scan(tmp_path)

    assert snapshot.directories == 1 + depth + 600
    assert sum(snapshot.sizes) < 150_000
    shutil.rmtree(tmp_path / ("long" * 50))


def test_work_of_one_worker_reaches_the_others(tmp_path: Path) -> None:
    make_directories(tmp_path / "large", 3_000, "below")
    (tmp_path / "small").mkdir()
    directories = count_by_process(scan(tmp_path))
    assert len(directories) == 2
    assert sum(directories) == 6_003
    assert min(directories) > 500


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_each_share_is_received_once_and_all_workers_end(workers: int) -> None:
    exchange, done = Exchange(workers, FORK), FORK.SimpleQueue()

    def work(seed: int) -> None:
        """Process a share item by item, and send half of the rest on request."""
        chance = random.Random(seed)  # noqa: S311  chance, not secrets
        left = [b"%d" % each for each in range(seed * 1000, seed * 1000 + 300)] if seed < 2 else exchange.request()
        while left:
            done.put(left.pop())
            if chance.random() < 0.1:
                time.sleep(0.0005)
            if len(left) > 1 and exchange.accept_request():
                exchange.send(left[::2])
                left = left[1::2]
            left = left or exchange.request()

    processes = [FORK.Process(target=work, args=(seed,)) for seed in range(workers)]
    for process in processes:
        process.start()
    expected = [b"%d" % (seed * 1000 + each) for seed in range(min(workers, 2)) for each in range(300)]
    assert sorted(expected) == sorted(receive(done) for _ in expected)
    for process in processes:
        process.join(10)
        process.kill()
    assert [0] * workers == [process.exitcode for process in processes]
    assert done.empty()


def test_a_share_larger_than_a_pipe_is_received() -> None:
    exchange, got = Exchange(2, FORK), FORK.SimpleQueue()
    taker = FORK.Process(target=lambda: got.put(exchange.request() == [LARGE]))
    taker.start()
    assert exchange._requests.acquire(timeout=10)

    exchange.send([LARGE])

    assert receive(got)
    taker.join(10)
    assert taker.exitcode == 0


def test_messages_of_any_length_arrive_whole_and_in_order() -> None:
    channel = Channel(FORK)
    lengths = [0, 1, 70_000, 5, 3_000_000, 65_528, 65_536]

    def send_each(letter: bytes) -> None:
        for length in lengths:
            channel.send(letter * (1 + length))

    senders = [FORK.Process(target=send_each, args=(letter,)) for letter in (b"a", b"b")]
    for sender in senders:
        sender.start()
    got: list[bytes] = []
    while len(got) < 2 * len(lengths):
        assert channel.reader.poll(20), "waited in vain"
        got += channel.receive()
    for letter in (b"a", b"b"):
        assert [letter * (1 + length) for length in lengths] == [each for each in got if each[:1] == letter]
    for sender in senders:
        sender.join(10)
        assert sender.exitcode == 0


def test_the_rest_of_a_message_is_not_waited_for() -> None:
    channel = Channel(FORK)
    channel.send(b"whole")
    half = len(b"half") * 2
    os.write(channel._writer.fileno(), half.to_bytes(8, sys.byteorder) + b"half")

    assert [b"whole"] == list(channel.receive())
    assert [] == list(channel.receive())

    os.write(channel._writer.fileno(), b"rest")
    assert [b"halfrest"] == list(channel.receive())
