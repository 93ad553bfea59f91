"""The real program with its history on a server, from the first command to the last."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Program, find_markdown, until
from postgresql_server import PostgresqlServer

ODD = (
    b"caf\xe9\n.md",
    b"\x1b]0;x\x07.md",
    b"\xff" * 250 + b".md",
    b"'\"%s ?:\\x41.md",
    b"\xc3\x84 \xf0\x9f\xa6\x8a.md",
)

END_DAEMONS_CONNECTION = """
    SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON pg_locks.database = pg_database.oid
    WHERE datname = current_database() AND classid = x'72756e64'::int
"""


@pytest.fixture
def program(tmp_path: Path, postgresql: PostgresqlServer) -> Iterator[Program]:
    with postgresql.fresh() as name:
        yield Program(folder=tmp_path, environment={**os.environ, "RUNNER_DB": postgresql.url(name, "runner:hunter2")})


@pytest.fixture
def tree(tree: Path) -> Path:
    """Give one with odd names, some of them so deep that their path is longer than the kernel takes at once."""
    held = os.open(tree, os.O_RDONLY)
    for _ in range(30):
        os.mkdir(b"d\xfe" * 100, dir_fd=held)
        below = os.open(b"d\xfe" * 100, os.O_RDONLY, dir_fd=held)
        os.close(held)
        held = below
        for name in ODD:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=held))
    os.close(held)
    return tree


def test_everything_is_kept_and_asked_for(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1s", "--strategy", "sequential", "--strategy", "incremental")
    program.out("run", "docs")
    files = program.quick("files", "docs", "-0").stdout
    assert find_markdown(tree) == sorted(filter(None, files.split(b"\0")))
    (tree / "part-1" / "a.md").unlink()
    (tree / "new.md").touch()
    assert 1 == program.quick("status").returncode
    with program.daemon() as daemon:
        until(lambda: len(program.history("succeeded")) > 1, "a firing")
        assert daemon.process.pid == program.json("status")["pid"]
        second = program.call("daemon")
        assert 1 == second.returncode
        assert second.stderr.startswith(b"runner: a daemon is already running for postgresql://runner@/")
        assert str(daemon.process.pid) in second.stderr.decode()
        assert 0 == daemon.stop()
    last = program.history("succeeded")[-1]["run"]
    changes = program.json("changes", "docs", "--from", "1", "--to", str(last))
    assert [("added", "new.md"), ("removed", "part-1/a.md")] == [(one["kind"], one["path"]) for one in changes]
    assert b"hunter2" not in files + daemon.log.read_bytes() + second.stderr


def test_the_database_is_looked_after(program: Program, tree: Path) -> None:
    for _ in range(2):
        program.out("run", tree)
    where = program.out("db", "path")
    assert where.startswith("postgresql://runner@/fresh")
    assert where.strip() + " is sound\n" == program.out("db", "check")
    assert "has the schema" in program.out("db", "upgrade")
    assert b"deleted 1 run and " in program.quick("prune", "--keep", "1").stderr
    refused = program.refused("db", "backup", "copy.db")
    assert "pg_dump" in refused
    assert [2] == [run["run"] for run in program.history()]
    assert "hunter2" not in where + refused


def test_jobs_are_kept_as_a_file(program: Program, tree: Path) -> None:
    odd = os.fsencode(tree) + b"/caf\xe9"
    os.mkdir(odd)  # noqa: PTH102  bytes
    program.out("schedule", tree, "--every", "1h", "--jitter", "5m")
    program.out("schedule", odd, "--cron", "@daily", "--pattern", b"\xff*", "--name", "odd")
    file = program.folder / "jobs.toml"
    file.write_text(program.out("jobs", "export"))
    before = program.json("jobs")
    assert "unchanged docs\nunchanged odd\n" == program.out("jobs", "apply", file, "--prune")
    assert before == program.json("jobs")
    program.out("remove", "odd")
    program.out("edit", "docs", "--every", "2h")
    assert "changed docs: every 2h → 1h\nadded odd\n" == re.sub(", anchor .*", "", program.out("jobs", "apply", file))
    assert file.read_text() == program.out("jobs", "export")
    file.write_text(file.read_text() + "colour = 1\n")
    program.refused("jobs", "apply", file)


def test_a_daemon_whose_place_was_taken_ends(program: Program) -> None:
    with program.daemon() as daemon, program.opened() as database:
        lock = database.location.daemon_lock(database.engine)

        def taken() -> bool:
            """End the daemon's connection, as a server that is restarted does, and be faster than it."""
            with database.read() as connection:
                connection.exec_driver_sql(END_DAEMONS_CONNECTION)
            return lock.hold()

        until(taken, "the lock")
        assert 1 == daemon.process.wait(20)
        lock.release()
    assert "runner: the daemon's lock of postgresql://" in daemon.said()
