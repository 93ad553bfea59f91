import errno
import multiprocessing
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runner.model.errors import ScanError
from runner.model.jobs import Selection
from runner.scan import pending, walk
from runner.scan.part import decode
from runner.strategies import pool
from runner.strategies.base import ScanRequest
from runner.strategies.exchange import Channel, Exchange
from runner.strategies.pool import Pool

# More than a pipe takes.
_LARGE = b"x" * 2_000_000


def receive(queue: Any) -> Any:
    """Take from a queue what must soon be there."""
    assert queue._reader.poll(10), "waited in vain"
    return queue.get()


def test_a_worker_that_finds_another_root_ends_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_error", "_reader"):
        monkeypatch.setattr(pool, name, getattr(pool, name))
    fork = multiprocessing.get_context("fork")
    pool._begin(os.fsencode(tmp_path), Selection(), (0, 0), Exchange(1, fork, from_root=True), Channel(fork))
    with pytest.raises(ScanError, match="was replaced while it was scanned"):
        pool._read(b"")


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("much", [0, 1_000, 1_000_000])
@pytest.mark.parametrize("least_work", [1, 400])
@pytest.mark.parametrize("is_counting", [True, False])
def test_every_folder_is_read_once_however_often_workers_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, much: int, least_work: int, *, is_counting: bool
) -> None:
    expected = [b""]
    for number in range(20):
        for path in (f"{number}", f"{number}/a", f"{number}/a/b", f"{number}/c"):
            (tmp_path / path).mkdir()
            expected.append(path.encode())
    # A forked worker has what is set here.
    for name in ("_LEAST_WORK", "_LOOK_AFTER", "_PIECE_WORK"):
        monkeypatch.setattr(pool, name, least_work)
    monkeypatch.setattr(pool, "_MUCH", much)
    if not is_counting:
        monkeypatch.setattr(walk, "devices_counting_subfolders", frozenset)
    told = []

    scan = Pool().scan(
        ScanRequest(root=os.fsencode(tmp_path), selection=Selection(), workers=workers, start_method="fork"),
        lambda folders, _entries, _files: told.append(folders),
    )
    scan.end()

    parts = list(map(decode, scan.found.parts))
    assert sorted(expected) == sorted(part.path(number) for part in parts for number in range(len(part.names)))
    assert len(expected) == sum(told)


def test_no_worker_is_started_with_more_than_fits_into_a_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Until it has read that, nobody would watch it.
    for number in range(5_000):
        (tmp_path / "one" / f"{number:020}").mkdir(parents=True)
    kept: list[Any] = []

    def hire(_workers: int, _start_method: str, *, initargs: tuple[Any, ...], **_choices: Any) -> None:
        kept.extend(initargs)
        raise ScanError("hired")

    monkeypatch.setattr(pool, "Crew", hire)
    request = ScanRequest(root=os.fsencode(tmp_path), selection=Selection(), workers=2, start_method="fork")
    with pytest.raises(ScanError, match="hired"):
        Pool().scan(request, lambda *_: None)

    assert request.root in kept
    assert max(len(arg) for arg in kept if isinstance(arg, bytes)) < 10_000


def test_progress_is_told_as_often_as_it_is_to_be_and_not_at_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20_000):
        (tmp_path / str(number)).mkdir()
    monkeypatch.setattr(pool, "_TELL_AFTER_S", 0.005)
    told = []

    Pool().scan(
        ScanRequest(root=os.fsencode(tmp_path), selection=Selection(), workers=2, start_method="fork"),
        lambda folders, _entries, _files: told.append(folders),
    ).end()

    assert sum(told) == 20_001
    assert len(told) > 5
    # In 5 ms hundreds are read; few are left when there is nothing more to read.
    assert len([folders for folders in told if folders < 10]) < 20


def test_what_could_not_be_read_is_told_by_a_worker_that_read_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2_000):
        (tmp_path / str(number)).mkdir()
    read, began_at_root = pending.Waiting.open, []

    def deny_the_second(self: pending.Waiting, parent: pending.Folder, name: bytes) -> int:
        if not name:
            began_at_root.append(True)
        if not began_at_root:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(self, parent, name)

    monkeypatch.setattr(pending.Waiting, "open", deny_the_second)

    scan = Pool().scan(
        ScanRequest(root=os.fsencode(tmp_path), selection=Selection(), workers=2, start_method="fork"), lambda *_: None
    )
    scan.end()

    assert len(scan.found.parts) == 2
    assert scan.found.directories + len(scan.found.problems) == 2_001


@pytest.mark.parametrize(("depth", "most_shared"), [(30, pending._MOST_SHARED), (10, 100_000)], ids=["deep", "much"])
def test_what_costs_more_to_give_than_to_read_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: int, most_shared: int
) -> None:
    monkeypatch.setattr(pending, "_MOST_SHARED", most_shared)
    monkeypatch.chdir(tmp_path)
    for _ in range(depth):
        os.mkdir("long" * 50)  # noqa: PTH102  deeper than a path may be
        os.chdir("long" * 50)
    for number in range(300):
        Path(str(number), "below").mkdir(parents=True)

    scan = Pool().scan(
        ScanRequest(root=os.fsencode(tmp_path), selection=Selection(), workers=2, start_method="fork"), lambda *_: None
    )
    scan.end()

    assert scan.found.directories == 1 + depth + 600
    assert sum(len(piece) for part in scan.found.parts for piece in part) < 150_000
    shutil.rmtree(tmp_path / ("long" * 50))


def test_folders_that_only_one_worker_was_given_reach_the_others(tmp_path: Path) -> None:
    for number in range(3_000):
        (tmp_path / "large" / f"{number}" / "below").mkdir(parents=True)
    (tmp_path / "small").mkdir()

    scan = Pool().scan(
        ScanRequest(root=os.fsencode(tmp_path), selection=Selection(), workers=2, start_method="fork"), lambda *_: None
    )
    scan.end()

    folders = [len(part.names) for part in map(decode, scan.found.parts)]
    assert len(folders) == 2
    assert sum(folders) == 6_003
    assert min(folders) > 500


def test_what_a_worker_read_before_its_task_is_told_however_late_it_takes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2_000):
        (tmp_path / str(number)).mkdir()
    begin, readers = pool._Reader.begin, multiprocessing.get_context("fork").SimpleQueue()

    def begin_and_dawdle(self: pool._Reader) -> None:
        begin(self)
        readers.put(self._tally.directories)
        if self._waiting.rows < 1_500:  # by now the one that began at the root waits for the other
            time.sleep(0.3)

    monkeypatch.setattr(pool._Reader, "begin", begin_and_dawdle)

    scan = Pool().scan(
        ScanRequest(root=os.fsencode(tmp_path), selection=Selection(), workers=2, start_method="fork"), lambda *_: None
    )
    scan.end()

    assert min(readers.get(), readers.get()) > 0
    assert scan.found.directories == 2_001


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_what_is_given_is_got_once_and_all_end_when_nothing_is_left(workers: int) -> None:
    context = multiprocessing.get_context("fork")
    exchange, done = Exchange(workers, context, from_root=False), context.SimpleQueue()

    def get() -> bytes:
        if exchange.ask():
            return exchange.get()
        exchange.end()
        return b""

    def work(seed: int) -> None:
        """Do what was got one by one, giving half of the rest whenever somebody wants it."""
        chance = random.Random(seed)  # noqa: S311  chance, not secrets
        left = list(range(seed * 1000, seed * 1000 + 300)) if seed < 2 else []
        while left or (share := get()):
            left = left or [int(each) for each in share.split(b"\0")]
            while left:
                done.put(left.pop())
                if chance.random() < 0.1:
                    time.sleep(0.0005)
                if len(left) > 1 and exchange.is_wanted():
                    exchange.give(b"\0".join(b"%d" % each for each in left[::2]))
                    left = left[1::2]

    processes = [context.Process(target=work, args=(seed,)) for seed in range(workers)]
    for process in processes:
        process.start()
    expected = [seed * 1000 + each for seed in range(min(workers, 2)) for each in range(300)]
    assert expected == sorted(receive(done) for _ in expected)
    for process in processes:
        process.join(10)
        process.kill()
    assert [0] * workers == [process.exitcode for process in processes]
    assert done.empty()


def test_a_share_larger_than_a_pipe_reaches_who_waits_for_it() -> None:
    context = multiprocessing.get_context("fork")
    exchange, got = Exchange(2, context, from_root=False), context.SimpleQueue()
    assert exchange.ask()
    taker = context.Process(target=lambda: got.put(len(exchange.get())))
    taker.start()

    exchange.give(_LARGE)

    assert len(_LARGE) == receive(got)
    taker.join(10)
    assert taker.exitcode == 0


def test_messages_of_any_length_arrive_whole_and_in_order() -> None:
    context = multiprocessing.get_context("fork")
    channel = Channel(context)
    lengths = [0, 1, 70_000, 5, 3_000_000, 65_528, 65_536]
    senders = [context.Process(target=send_each, args=(channel, letter, lengths)) for letter in (b"a", b"b")]
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


def send_each(channel: Channel, letter: bytes, lengths: list[int]) -> None:
    for length in lengths:
        channel.send(letter * (1 + length))


def test_the_rest_of_a_message_is_not_waited_for() -> None:
    channel = Channel(multiprocessing.get_context("fork"))
    channel.send(b"whole")
    half = len(b"half") * 2
    os.write(channel._writer.fileno(), half.to_bytes(8, sys.byteorder) + b"half")

    assert [b"whole"] == channel.receive()
    assert channel.receive() == []

    os.write(channel._writer.fileno(), b"rest")
    assert [b"halfrest"] == channel.receive()
