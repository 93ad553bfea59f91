"""Commands on a directory whose file system never answers: a FUSE mount that nobody serves."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from conftest import Program, until

_MNT_DETACH = 2


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Path]:
    """Give a directory on which even the kernel waits, until the device is closed."""
    where = tmp_path / "above" / "hung"
    where.mkdir(parents=True)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("there is no FUSE here")
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
        if libc.mount(b"hung", os.fsencode(where), b"fuse", 0, options) != 0:
            pytest.skip("mounting is not permitted here")
        try:
            yield where
        finally:
            libc.umount2(os.fsencode(where), _MNT_DETACH)
    finally:
        os.close(device)


def commands(program: Program, hung: Path, timeout: str) -> dict[str, list[str | Path]]:
    """Return the commands that look at a directory; the job file has a root that answers as well."""
    file = program.folder / "jobs.toml"
    file.write_text(f'[jobs.other]\nroot = "{hung.parent}"\n[jobs.hung]\nroot = "{hung}"\ntimeout = "{timeout}"\n')
    return {
        "schedule": ["schedule", hung, "--every", "1h", "--timeout", timeout],
        "run": ["run", hung, "--timeout", timeout],
        "run, by a name": ["run", "hung", "--timeout", timeout],
        "calibrate": ["calibrate", hung, "--timeout", timeout],
        "apply": ["jobs", "apply", file],
        "apply, only to show": ["jobs", "apply", file, "--dry-run"],
    }


COMMANDS = ["schedule", "run", "run, by a name", "calibrate", "apply", "apply, only to show"]


@contextmanager
def started(program: Program, *command: str | Path, folder: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command meanwhile, of which a file takes what it writes to stderr."""
    program = Program(folder=folder or program.folder, environment=program.environment)
    with (program.database.parent / "said").open("wb") as stderr:
        process = program.start(*command, stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def start(program: Program, name: str, hung: Path, timeout: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    folder = hung.parent if name == "run, by a name" else None
    return started(program, *commands(program, hung, timeout)[name], folder=folder)


def said(program: Program) -> str:
    return (program.database.parent / "said").read_text()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_tells_what_it_waits_for_and_ends_at_its_timeout(program: Program, hung: Path, name: str) -> None:
    with start(program, name, hung, "4s") as process:
        assert 1 == process.wait(60)
    notice, last = said(program).splitlines()[-2:]
    assert f"waiting for {str(hung)!r} to answer" in notice
    assert last == f"runner: {str(hung)!r} did not answer within 4 s; check its file system, or raise the timeout"
    assert [] == program.json("jobs")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_waits_ends_at_once_when_interrupted(program: Program, hung: Path, name: str) -> None:
    with start(program, name, hung, "10m") as process:
        until(lambda: "to answer" in said(program), "the notice", 60)
        process.send_signal(signal.SIGINT)
        before = time.monotonic()
        assert 130 == process.wait(60)
    assert time.monotonic() - before < 20
    assert [] == program.json("jobs")


def test_a_run_tells_that_its_root_does_not_answer(program: Program, hung: Path) -> None:
    program.out("schedule", hung.parent, "--every", "1h", "--name", "docs", "--exclude", "hung", "--timeout", "4s")
    assert 0 == program.quick("run", "docs").returncode
    program.out("edit", "docs", "--exclude", "")
    done = program.call("run", "docs")
    assert 1 == done.returncode
    assert f"waiting for {str(hung.parent)!r} to answer" in done.stderr.decode()
    assert "timed_out" == program.history()[-1]["status"]


def test_the_last_calibration_is_shown_without_a_look(program: Program, hung: Path) -> None:
    done = program.call("calibrate", hung, "--last")
    assert (2, b"") == (done.returncode, done.stdout)
    assert b"was never calibrated" in done.stderr


def test_a_job_that_is_so_already_is_applied_without_a_look(program: Program, hung: Path) -> None:
    file = program.folder / "jobs.toml"
    text = f'[jobs.docs]\nroot = "{hung}"\nevery = "1h"\n'
    file.write_text(text.replace(str(hung), str(hung.parent)))
    program.out("jobs", "apply", file)
    with program.opened() as database, database.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET root = ?", (os.fsencode(hung),))
    file.write_text(text.replace("1h", "2h"))
    with started(program, "jobs", "apply", file) as process:
        assert 0 == process.wait(60)


def test_a_run_of_a_registered_directory_ends_at_the_timeout_of_its_job(program: Program, hung: Path) -> None:
    program.out("schedule", hung.parent, "--every", "1h", "--name", "docs", "--timeout", "4s")
    with program.opened() as database, database.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET root = ?", (os.fsencode(hung),))
    with started(program, "run", hung) as process:
        assert 1 == process.wait(60)
    assert f"{str(hung)!r} did not answer within 4 s" in said(program)
