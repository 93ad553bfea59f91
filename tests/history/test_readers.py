"""Long-running readers are named, and space is freed when they have ended."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import Program, until
from history_examples import listing, opened, play, snapshot
from postgresql_server import PostgresqlServer

from runner.history import sqlite, walfile
from runner.history.jobs import add_job
from runner.history.maintenance import trim
from runner.model.jobs import JobSpec

READ = """
import sys
from runner.history.database import Database, locate
with Database(locate(sys.argv[1])).read() as connection:
    print(connection.exec_driver_sql("SELECT count(*) FROM runs").scalar(), flush=True)
    sys.stdin.read()
"""
NAMES = [f"{number:04}-{'n' * 100}.md" for number in range(2_000)]


@contextmanager
def reading(place: Path | str) -> Iterator[int]:
    """Yield the number of another process that reads one state of a database."""
    command = [sys.executable, "-c", READ, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline().strip().isdigit()
        try:
            yield reader.pid
        finally:
            reader.communicate()


def write_much(place: Path | str) -> None:
    with opened(place) as database:
        job = add_job(database, JobSpec(name="docs", root=b"/srv/docs"), datetime.now(UTC))
        for number in range(8):
            found = {name.encode(): (number, number) for name in NAMES}
            play(database, job, snapshot(listing(b"", found)))


def test_the_reader_that_keeps_the_wal_file_is_named(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_LARGE_WAL_BYTES", 100_000)
    with opened(program.database):
        pass
    with reading(program.database) as reader:
        write_much(program.database)
        for question in (["status"], ["db", "check"]):
            said = program.quick(*question).stderr.decode()
            assert "note: the file runner.db-wal has grown to " in said
            assert f"as process {reader} (python" in said
    for question in (["status"], ["db", "check"]):
        assert "wal" not in program.quick(*question).stderr.decode()


def test_the_wal_file_shrinks_when_the_reader_has_ended(program: Program) -> None:
    wal = Path(f"{program.database}-wal")
    with opened(program.database) as kept:  # so that its end is not what removes the file
        add_job(kept, JobSpec(name="kept", root=b"/srv"), datetime.now(UTC))
        with reading(program.database):
            write_much(program.database)
            began = time.monotonic()
            trim(kept)
            assert time.monotonic() - began < 1  # it waits for no reader
            assert wal.stat().st_size > walfile.WAL_LIMIT_BYTES
        for name in ("first", "second", "third"):
            add_job(kept, JobSpec(name=name, root=b"/srv"), datetime.now(UTC))
        assert wal.stat().st_size <= walfile.WAL_LIMIT_BYTES


def test_a_daemon_truncates_the_wal_file_after_the_reader(program: Program) -> None:
    wal = Path(f"{program.database}-wal")
    with opened(program.database), program.daemon():
        with reading(program.database):
            write_much(program.database)
            assert wal.stat().st_size > walfile.WAL_LIMIT_BYTES
        until(lambda: not wal.stat().st_size or wal.stat().st_size < 100_000, "the checkpoint", 15)


def test_pruning_reports_a_reader(program: Program) -> None:
    write_much(program.database)
    with opened(program.database) as kept:
        with reading(program.database) as reader:
            said = program.quick("prune", "--keep", "1").stderr.decode()
            assert said.startswith("deleted 7 runs and ")
            assert f"since process {reader} (python" in said
            assert "shrank" not in said
        before = program.database.stat().st_size
        for name in ("first", "second"):
            add_job(kept, JobSpec(name=name, root=b"/srv"), datetime.now(UTC))
        assert program.database.stat().st_size < before  # what was said of it holds


def test_pruning_reports_a_reader_of_a_server(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    with postgresql.fresh("kept") as name:
        url = postgresql.url(name)
        program = Program(folder=tmp_path, environment={**os.environ, "RUNNER_DB": url})
        write_much(url)
        with reading(url):
            done = program.quick("prune", "--keep", "1")
            said = done.stderr.decode()
            assert 0 == done.returncode, said
            assert said.startswith("deleted 7 runs and ")
            assert "(runner) reads an older state; it can shrink when that has ended" in said
            assert "shrank" not in said
