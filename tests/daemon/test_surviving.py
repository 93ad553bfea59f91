"""What a daemon and its history survive: each fault comes at a chosen moment of a real run.

More of them, at random moments, by ``python -m tests.benchmarks.faults``. How a daemon ends, and what it leaves behind
when it is killed beside a trial that stands still, is in ``test_daemon_process``, how a trial treats dead workers in
``tests/measure``, and databases that can't be written or opened to begin with in
``tests/history/test_database_opening``.
"""

import json
import os
import platform
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import Changed, Daemon, Program, Record, changed, enlarge, find_markdown, gone, thaw, until

from runner.history.daemons import record_daemon
from runner.history.jobs import add_job, get_job
from runner.history.recording import begin_run
from runner.history.upgrade import REVISIONS
from runner.measure.environment import describe_environment, is_alive
from runner.model.jobs import Catchup, JobSpec
from runner.model.runs import Owner
from runner.schedules.parse import parse_schedule

SECOND = timedelta(seconds=1)
# Where the kernel says in which system call a process waits.
READ, WRITE, FUTEX = {"x86_64": (0, 1, 202), "aarch64": (63, 64, 98)}.get(platform.machine(), (-1, -1, -1))


def obeying(program: Program) -> Changed:
    """Return the program with permissions that apply to root too."""
    if os.geteuid() != 0:
        return changed(program)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root can't give up its power over permissions here")
    return changed(program, prefix=(setpriv, "--bounding-set=-dac_override,-dac_read_search"))


@pytest.fixture
def program(program: Program) -> Iterator[Program]:
    """Return the program and check that no process of it is left after the test."""
    program.environment["SURVIVING"] = str(program.folder)
    yield program
    try:
        until(lambda: not left(program), "the end of every process", 5)
    finally:
        for process in left(program):
            with suppress(psutil.Error):
                process.kill()


def left(program: Program) -> list[psutil.Process]:
    """Return the processes of a program, found by their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("SURVIVING") == str(program.folder):
                found.append(process)
    return found


@pytest.fixture
def large(tree: Path) -> Path:
    """Create a tree whose scan takes a moment."""
    return enlarge(tree)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of eight megabytes."""
    where = tmp_path / "disk"
    where.mkdir()
    command: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", where]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


def scheduled(program: Program, tree: Path, *choices: str) -> None:
    """Register the job under test, and another one that must stay unaffected."""
    program.out("schedule", tree, "--name", "docs", "--every", "1s", *choices)
    other = tree.with_name("other")
    other.mkdir()
    (other / "one.md").touch()
    program.out("schedule", other, "--every", "1s", "--strategy", "sequential")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def freeze(program: Program, daemon: Daemon, root: Path, *, worker: bool = False) -> psutil.Process:
    """Stop a trial process of docs, with its workers, while it or a worker of it reads."""
    parent = psutil.Process(daemon.process.pid)

    def frozen() -> psutil.Process | None:
        for trial in parent.children():
            with suppress(psutil.Error, ProcessLookupError, PermissionError):
                if not reads(trial, root, worker=worker):
                    continue
                os.killpg(trial.pid, signal.SIGSTOP)
                if ["docs"] == [run["job"] for run in program.history("running")] and reads(trial, root, worker=worker):
                    return trial
                os.killpg(trial.pid, signal.SIGCONT)
        return None

    return until(frozen, "a trial that reads", 60)


def reads(trial: psutil.Process, root: Path, *, worker: bool) -> bool:
    return any(is_below(one, root) for one in trial.children()) if worker else trial.cwd().startswith(str(root))


def is_below(process: psutil.Process, root: Path) -> bool:
    """Return whether a worker reads: it may be in the root itself as a copy of the trial process."""
    return process.cwd().startswith(f"{root}/")


def ended(program: Program, *statuses: str, job: str = "docs") -> Record:
    """Wait for a run of these statuses; return the first."""
    return until(lambda: program.history(*statuses, job=job), f"a run that is {statuses}")[0]


def fired_on(program: Program, root: Path) -> None:
    """Check that both jobs run undisturbed from now on, and that the history is exact."""
    since = datetime.now(UTC)
    for job in ("docs", "other"):
        until(
            lambda job=job: [  # type: ignore[misc]
                run for run in program.history("succeeded", job=job) if instant(run["started_at"]) > since
            ],
            f"an undisturbed run of {job}",
            30,
        )
    assert "sound" in program.out("db", "check")
    assert find_markdown(root) == listed(program)
    assert find_markdown(root.with_name("other")) == listed(program, job="other")
    for run in program.history():
        assert run["status"] in {"running", "succeeded"} or run["message"] or run["problems"]
    for job in ("docs", "other"):
        adds_up(program, job)


def adds_up(program: Program, job: str) -> None:
    """Check that the changes of the saved runs add up to the number of files of each."""
    files = 0
    for run in program.history(job=job):
        if run["files"] is not None:
            files += run["added"] - run["removed"]
            # What could not be read is unknown to a partial run, not gone.
            assert run["status"] == "partial" or files == run["files"]


def listed(program: Program, *asked: str, job: str = "docs") -> list[bytes]:
    """List the files of a job by the program."""
    done = program.call("files", job, *asked, "-0")
    assert 0 == done.returncode, done.stderr.decode()
    return sorted(filter(None, done.stdout.split(b"\0")))


def unaccounted(program: Program, job: str) -> list[str]:
    """Find the fire times of a job without exactly one record."""
    (anchor,) = (instant(one["created_at"]) for one in program.json("jobs") if one["name"] == job)
    records: Counter[int] = Counter()
    for run in program.history(job=job):
        if run["cause"] == "schedule":
            first = (instant(run["scheduled_at"]) - anchor) // SECOND
            records.update(range(first, first + max(1, run["missed"])))
    return [f"{records[number]} records of {number}" for number in range(1, max(records)) if records[number] != 1]


def accounted(program: Program) -> None:
    """Check that every fire time has one record and no run is running after the daemon's end."""
    assert [] == program.history("running")
    for job in ("docs", "other"):
        assert [] == unaccounted(program, job)


# Processes that die or stand still.


# The daemon kills itself before it executes a statement for the n-th time.
KILLED = """
import os, signal
from sqlalchemy import Engine, event
times = {times}
@event.listens_for(Engine, "before_cursor_execute")
def look(_connection, _cursor, statement, *_):
    global times
    if statement.startswith({statement!r}):
        times -= 1
        if not times:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("statement", "times"),
    [
        pytest.param("INSERT INTO daemons", 1, id="starting"),
        pytest.param("INSERT INTO runs", 1, id="recording what was missed"),
        pytest.param("INSERT INTO runs", 3, id="beginning a run"),
        pytest.param("SELECT runs.cancel_requested_at", 1, id="scanning"),
        pytest.param("INSERT INTO executions", 1, id="saving"),
        pytest.param("UPDATE runs SET", 1, id="ending a run that makes up"),
        pytest.param("UPDATE runs SET", 4, id="ending a run on time"),
    ],
)
def test_a_killed_daemon_loses_and_leaves_nothing(program: Program, tree: Path, statement: str, times: int) -> None:
    scheduled(program, tree)
    for job, root in (("docs", tree), ("other", tree.with_name("other"))):
        program.out("run", job)
        (root / "new.md").touch()
    before = program.history()
    pass_time(2)
    with changed(program, KILLED.format(statement=statement, times=times)).daemon() as daemon:
        until(lambda: daemon.process.poll() is not None, "its death")
        assert -signal.SIGKILL == daemon.process.returncode
        until(lambda: not left(program), "no process left", 3)
    killed = daemon.process.pid
    begun = program.history("running")
    with program.daemon() as daemon:
        fired_on(program, tree)
        assert 0 == daemon.stop()
    accounted(program)
    assert before == program.history()[: len(before)]
    for run in program.history():
        if run["run"] in {one["run"] for one in begun}:
            assert "interrupted" == run["status"]
            assert f"the process that carried it out ({killed}) is gone" == run["message"]


@pytest.mark.parametrize("strategy", ["sequential", "pool"])
def test_a_killed_trial_process_fails_only_its_run(program: Program, large: Path, strategy: str) -> None:
    scheduled(program, large, "--strategy", strategy, "--workers", "2")
    with program.daemon() as daemon:
        trial = freeze(program, daemon, large, worker=strategy == "pool")
        everyone = [trial, *trial.children()]
        trial.kill()
        assert "the trial process was killed by SIGKILL" in ended(program, "failed")["message"]
        until(lambda: gone(everyone), "no process left", 3)
        fired_on(program, large)
    accounted(program)


@pytest.mark.skipif(READ < 0 or not Path("/proc/self/syscall").exists(), reason="system calls are not shown here")
@pytest.mark.parametrize("moment", ["busy", "idle", "in mid-result"])
def test_a_killed_worker_fails_only_its_run(program: Program, large: Path, moment: str) -> None:
    if moment == "in mid-result":  # what each worker finds is then more than the largest pipe holds
        for number in range(12_000):
            (large / f"part-{number % 4}" / f"{number}-{'long' * 60}.md").touch()
    scheduled(program, large, "--strategy", "pool", "--workers", "2")
    with program.daemon() as daemon:
        trial, workers, victim = until(lambda: catch(program, daemon, large, moment), f"a worker that is {moment}", 60)
        for worker in workers:
            worker.suspend()  # so that none of the others ends by itself
        victim.kill()
        trial.resume()
        message = ended(program, "failed")["message"]
        assert f"pool: pool worker {victim.pid} was killed by SIGKILL" == message
        until(lambda: gone([trial, *workers]), "no process left", 3)
        fired_on(program, large)
    accounted(program)


def catch(
    program: Program, daemon: Daemon, root: Path, moment: str
) -> tuple[psutil.Process, list[psutil.Process], psutil.Process] | None:
    """Stop a trial process at a moment of a worker; return it, its workers and that worker; None if none came."""
    trial = freeze(program, daemon, root, worker=True)
    workers = trial.children()
    if moment == "busy":
        return trial, workers, next(worker for worker in workers if is_below(worker, root))
    for worker in workers:
        worker.resume()  # the trial itself stands still and takes nothing from them
    calls = {READ, FUTEX} if moment == "idle" else {WRITE}
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        for worker in workers:
            if is_below(worker, root) and waits_in(worker) in calls:
                return trial, workers, worker
    thaw(trial)  # it was stopped when they had sent all they had
    return None


def waits_in(process: psutil.Process) -> int:
    """Return the system call in which a process waits; -2 for none."""
    word = Path(f"/proc/{process.pid}/syscall").read_text().split()[0]
    return int(word) if word.isdigit() else -2


def test_a_worker_without_memory_fails_only_its_run(program: Program, large: Path) -> None:
    scheduled(program, large, "--strategy", "pool", "--workers", "2")
    with program.daemon() as daemon:
        trial = freeze(program, daemon, large, worker=True)
        workers = trial.children()
        for worker in workers:
            resource.prlimit(worker.pid, resource.RLIMIT_AS, (1_000_000, 1_000_000))
        thaw(trial)
        message = ended(program, "failed")["message"]
        assert "memory" in message
        assert "defect" not in message
        until(lambda: gone([trial, *workers]), "no process left", 3)
        fired_on(program, large)
    accounted(program)


def test_a_stopped_trial_process_ends_at_its_time_limit(program: Program, large: Path) -> None:
    scheduled(program, large, "--timeout", "4s")
    with program.daemon() as daemon:
        trial = freeze(program, daemon, large)
        everyone = [trial, *trial.children()]
        assert "ended after its time limit of 4 s" in ended(program, "timed_out")["message"]
        until(lambda: gone(everyone), "no process left", 3)
        fired_on(program, large)
    accounted(program)


def test_a_stopped_trial_process_without_limit_is_ended(program: Program, large: Path) -> None:
    scheduled(program, large)
    impatient = changed(program, "import runner.measure.trials as trials; trials._MOST_STOPPED = 20")
    with impatient.daemon() as daemon:
        trial = freeze(program, daemon, large)
        everyone = [trial, *trial.children()]
        expected = "the trial process was stopped, and not continued within 2 s"
        assert expected in ended(program, "failed")["message"]
        until(lambda: gone(everyone), "no process left", 3)
        fired_on(program, large)
    accounted(program)


def test_fire_times_during_a_suspended_run_are_recorded_once(program: Program, large: Path) -> None:
    scheduled(program, large)
    with program.daemon() as daemon:
        trial = freeze(program, daemon, large)
        daemon.process.send_signal(signal.SIGSTOP)
        pass_time(3.5)
        daemon.process.send_signal(signal.SIGCONT)
        until(lambda: [run for run in program.history("missed", job="docs") if "held up" in run["message"]], "its row")
        thaw(trial)
        fired_on(program, large)
    accounted(program)


def test_repeated_signals_do_not_disturb_the_end(program: Program) -> None:
    with program.daemon() as daemon:
        deadline = datetime.now(UTC) + 20 * SECOND
        while daemon.process.poll() is None and datetime.now(UTC) < deadline:
            daemon.process.send_signal(signal.SIGTERM)
        assert 0 == daemon.process.poll()


# All is imported, so that those who wait for the word come to the database at the same time.
READY = """
import os, pathlib, time
import alembic.command, runner.cli.daemon, runner.cli.main, runner.daemon.daemon, runner.history.upgrade
pathlib.Path(f"ready-{os.getpid()}").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.001)
"""


def test_of_ten_daemons_started_at_once_one_runs(program: Program, tree: Path) -> None:
    said = [program.folder / f"daemon-{number}.log" for number in range(10)]
    started = []
    for path in said:
        with path.open("wb") as stderr:
            started.append(changed(program, READY).start("daemon", stderr=stderr, stdout=subprocess.DEVNULL))
    try:
        until(lambda: len(list(program.folder.glob("ready-*"))) == 10, "ten that are ready", 60)
        (program.folder / "go").touch()
        until(lambda: sum(one.poll() is None for one in started) == 1, "nine that have ended", 60)
        (winner,) = (one for one in started if one.poll() is None)
        until(lambda: b"started:" in said[started.index(winner)].read_bytes(), "its start")
        for process, path in zip(started, said, strict=True):
            if process is not winner:
                assert 1 == process.returncode
                message = path.read_text()
                assert message.startswith(
                    f"runner: a daemon is already running for {program.database} (process {winner.pid} on "
                )
                assert 1 == message.count("\n")
        assert program.json("status")["pid"] == winner.pid
        scheduled(program, tree)
        fired_on(program, tree)
        winner.send_signal(signal.SIGTERM)
        assert 0 == winner.wait(20)
    finally:
        for process in started:
            process.kill()
            process.wait()
    accounted(program)


# It prints its identity as a run's owner.
INNOCENT = """
import dataclasses, json, signal, sys
from runner.measure.environment import describe_process
received = []
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, lambda number, frame: received.append(number))
print(json.dumps(dataclasses.asdict(describe_process())), flush=True)
sys.stdin.read()
print(received)
"""


@pytest.mark.parametrize("other", [{"started_s": 1.0}, {"boot": "an earlier one"}], ids=["number reused", "reboot"])
def test_another_process_with_an_owners_pid_is_left_alone(program: Program, tree: Path, other: dict[str, Any]) -> None:
    scheduled(program, tree)
    with subprocess.Popen(
        [sys.executable, "-c", INNOCENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as innocent:
        assert innocent.stdout is not None
        owner = Owner(**json.loads(innocent.stdout.readline()))
        assert is_alive(owner)
        now = datetime.now(UTC)
        with program.opened() as database:
            job = get_job(database, "docs")
            run_id = begin_run(
                database,
                job,
                None,
                clock=lambda: now,
                environment=describe_environment(job.spec.root, workers=1, start_method="fork"),
                owner=replace(owner, **other),
            )
        with program.daemon() as daemon:
            (run,) = (one for one in program.history() if one["run"] == run_id)
            assert ("interrupted", f"the process that carried it out ({innocent.pid}) is gone") == (
                run["status"],
                run["message"],
            )
            fired_on(program, tree)
            assert 0 == daemon.stop()
        with program.opened() as database:
            record_daemon(database, replace(owner, **other), now)
        assert b"not running: died" in program.quick("status").stdout
        with program.daemon() as daemon:
            fired_on(program, tree)
            assert 0 == daemon.stop()
        accounted(program)
        assert innocent.poll() is None
        assert "[]\n" == innocent.communicate()[0]


# The database.


@contextmanager
def full(where: Path, room: int) -> Iterator[None]:
    """Limit a file system to some free bytes within the context."""
    filler = where / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(where).free - room)
    try:
        yield
    finally:
        filler.unlink()


def test_a_save_waits_for_space_on_a_full_disk(program: Program, large: Path, disk: Path) -> None:
    program.environment["RUNNER_DB"] = str(disk / "runner.db")
    scheduled(program, large)
    files = len(find_markdown(large))
    with program.daemon() as daemon:
        before = ended(program, "succeeded")["run"]
        trial = freeze(program, daemon, large)
        run_id = program.history("running")[0]["run"]
        for number in range(3_000):
            (large / "part-0" / f"new-{number}-{'long' * 30}.md").touch()
        with full(disk, 100_000):
            thaw(trial)
            until(lambda: "can't grow: the disk is full" in daemon.said(), "the log line")
            assert files == len(program.json("files", "docs"))
        fired_on(program, large)
        (run,) = (one for one in program.history() if one["run"] == run_id)
        assert "succeeded" == run["status"]
    accounted(program)
    assert files == len(program.json("files", "docs", "--run", str(before)))


def test_a_disk_that_stays_full_costs_only_the_snapshot(program: Program, large: Path, disk: Path) -> None:
    program.environment["RUNNER_DB"] = str(disk / "runner.db")
    scheduled(program, large)
    files = find_markdown(large)
    impatient = changed(program, "import runner.execution.executor as firing; firing._SAVE_S = 1.0")
    with impatient.daemon() as daemon:
        before = ended(program, "succeeded")
        trial = freeze(program, daemon, large)
        for number in range(3_000):
            (large / "part-0" / f"new-{number}-{'long' * 30}.md").touch()
        with full(disk, 200_000):
            thaw(trial)
            run = ended(program, "failed")
            assert run["message"].startswith("what it found could not be saved: the database ")
            assert files == listed(program) == listed(program, "--run", str(before["run"]))
        fired_on(program, large)
    accounted(program)


def test_a_daemon_on_a_read_only_file_system_is_harmless(program: Program, tree: Path, disk: Path) -> None:
    program.environment["RUNNER_DB"] = str(disk / "runner.db")
    scheduled(program, tree)
    program.out("run", "docs")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    before = {path.name: path.read_bytes() for path in disk.iterdir()}
    for command in (["daemon"], ["run", "docs"]):
        refused = program.call(*command)
        assert (b"", 1, 1) == (refused.stdout, refused.stderr.count(b"\n"), refused.returncode)
        assert refused.stderr.startswith(f"runner: the database {program.database} is read-only: ".encode())
    assert before == {path.name: path.read_bytes() for path in disk.iterdir()}
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    with program.daemon():
        fired_on(program, tree)
    accounted(program)


def test_a_daemon_without_access_to_its_database_is_harmless(program: Program, tree: Path) -> None:
    kept = program.folder / "kept"
    kept.mkdir()
    program.environment["RUNNER_DB"] = str(kept / "runner.db")
    scheduled(program, tree)
    for path, mode in ((program.database, 0o444), (kept, 0o555)):
        before = path.stat().st_mode
        path.chmod(mode)
        refused = obeying(program).start("daemon", stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        out, err = refused.communicate(timeout=30)
        path.chmod(before)
        assert (b"", 1, 1) == (out, err.count(b"\n"), refused.returncode), err
        assert err.startswith(f"runner: the database {program.database} is read-only: ".encode())
    with program.daemon():
        fired_on(program, tree)
    accounted(program)


def test_a_daemon_waits_for_an_inaccessible_run_lock(program: Program, tree: Path) -> None:
    scheduled(program, tree)
    program.out("run", "docs")
    with program.daemon():
        pass
    lock = program.folder / "runner.db.runs.lock"
    lock.chmod(0o000)
    (program.folder / "runner.db.daemon.lock").chmod(0o444)  # as of somebody else
    with obeying(program).daemon() as daemon:
        # Either job may be the one that has its turn first.
        why = f"has to wait: the lock of runs {lock} can't be taken: Permission denied; change its permissions\n"
        expected = [f"WARNING {name}: the run of {name!r} {why}" for name in ("docs", "other")]
        until(lambda: any(line in daemon.said() for line in expected), "the log line")
        lock.chmod(0o644)
        fired_on(program, tree)
    accounted(program)


@contextmanager
def locked(program: Program, *, between_runs: bool = False) -> Iterator[None]:
    """Acquire the database's write lock within the context."""
    with closing(sqlite3.connect(program.database, isolation_level=None, timeout=30)) as connection:

        def taken() -> bool:
            connection.execute("BEGIN IMMEDIATE")
            going_on = connection.execute("SELECT count(*) FROM runs WHERE status = 'running'").fetchone()
            if between_runs and going_on != (0,):
                connection.execute("ROLLBACK")
                return False
            return True

        until(taken, "a moment between two runs")
        yield
        connection.execute("ROLLBACK")


def pass_time(seconds: float) -> None:
    passed = datetime.now(UTC) + seconds * SECOND
    until(lambda: datetime.now(UTC) > passed, "time to pass")


def test_a_short_lock_loses_nothing(program: Program, tree: Path) -> None:
    scheduled(program, tree)
    with program.daemon() as daemon:
        ended(program, "succeeded")
        with locked(program):
            pass_time(3)
        fired_on(program, tree)
        assert "is locked by another program" not in daemon.said()
    accounted(program)


# Timeouts in proportion to the tests' short locks.
IMPATIENT = """
import datetime
import runner.daemon.clock as clock, runner.daemon.daemon as service, runner.daemon.heartbeat as heartbeat
import runner.execution.executor as executor, runner.history.database as database
database.BUSY_TIMEOUT_S, executor._SAVE_S, heartbeat._HEARTBEAT_S = 0.3, 1.0, 0.5
service.LATE = clock.LATE = datetime.timedelta(seconds=1)
"""


def test_a_long_lock_loses_nothing(program: Program, tree: Path) -> None:
    scheduled(program, tree)
    with changed(program, IMPATIENT).daemon() as daemon:
        before = ended(program, "succeeded")
        with locked(program, between_runs=True):
            until(lambda: "is locked by another program" in daemon.said(), "the log line")
            pass_time(3)
        fired_on(program, tree)
        assert before in program.history()
        assert 0 == daemon.stop()
    accounted(program)


@pytest.mark.parametrize("patience", ["changed", "as it is"])
def test_a_lock_during_a_run_costs_at_most_the_snapshot(program: Program, large: Path, patience: str) -> None:
    scheduled(program, large, "--strategy", "sequential")
    change = IMPATIENT if patience == "changed" else "import runner.history.database as it; it.BUSY_TIMEOUT_S = 0.3"
    with changed(program, change).daemon() as daemon:
        before = ended(program, "succeeded")
        trial = freeze(program, daemon, large)
        run_id = program.history("running")[0]["run"]
        (large / "new.md").touch()
        with locked(program):
            thaw(trial)
            until(lambda: "is locked by another program" in daemon.said(), "the log line")
            pass_time(3)
        fired_on(program, large)
        assert before in program.history()
        (run,) = (one for one in program.history() if one["run"] == run_id)
        if patience == "changed":
            assert "failed" == run["status"]
            assert run["message"].startswith("what it found could not be saved: the database ")
        else:
            assert ("succeeded", None) == (run["status"], run["message"])
        assert 0 == daemon.stop()
    accounted(program)


ENDING = """
import runner.daemon.shutdown as shutdown, runner.history.database as database
database.BUSY_TIMEOUT_S, shutdown._GRACE_S, shutdown._WRITE_S = {busy_s}, 0.5, {end_s}
"""


def test_a_locked_database_delays_the_end_by_one_deadline(program: Program, large: Path) -> None:
    scheduled(program, large)
    with changed(program, ENDING.format(busy_s=6.0, end_s=2.0)).daemon() as daemon:
        ended(program, "succeeded")
        freeze(program, daemon, large)
        with locked(program):
            assert 0 == daemon.stop(), "each of those who have something to write has waited for the lock"
    with program.daemon():
        fired_on(program, large)
    accounted(program)


def test_a_lock_released_during_the_end_costs_nothing(program: Program, large: Path) -> None:
    scheduled(program, large)
    with changed(program, ENDING.format(busy_s=0.5, end_s=12.0)).daemon() as daemon:
        ended(program, "succeeded")
        trial = freeze(program, daemon, large)
        run_id = program.history("running")[0]["run"]
        with locked(program):
            thaw(trial)
            expected = f"docs run {run_id}: the database .* is locked by another program"
            until(lambda: re.search(expected, daemon.said()), "the log line")
            daemon.process.send_signal(signal.SIGTERM)
            until(lambda: "stopping" in daemon.said(), "its end to begin")
            pass_time(3)  # more than the run has
        assert 0 == daemon.process.wait(20)
        (run,) = (one for one in program.history() if one["run"] == run_id)
        assert ("succeeded", None, len(find_markdown(large))) == (run["status"], run["message"], run["files"])
    with program.daemon():
        fired_on(program, large)
    accounted(program)


@contextmanager
def starved(pid: int, free: int) -> Iterator[None]:
    """Limit a process to some free descriptors within the context."""
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    most = next(most for most in count() if most - sum(fd < most for fd in taken) == free)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are not shown here")
def test_without_descriptors_no_fire_time_is_lost(program: Program, tree: Path) -> None:
    scheduled(program, tree)
    with program.daemon() as daemon:
        ended(program, "succeeded")
        with starved(daemon.process.pid, 0):
            until(lambda: re.search("has to wait: .* Too many open files", daemon.said()), "the log line")
            pass_time(3)
        fired_on(program, tree)
    accounted(program)


# A shortage of memory in SQLite is raised as Python's MemoryError, in any statement.
SQLITE_WITHOUT_MEMORY = """
from sqlalchemy import Engine, event
said = 0
@event.listens_for(Engine, "before_cursor_execute")
def look(_connection, _cursor, statement, *_):
    global said
    if statement.startswith({statement!r}):
        said += 1
        if said in (2, 3):
            raise MemoryError
"""
WITHOUT_MEMORY = """
import runner.execution.executor, runner.daemon.daemon
from {module} import {name} as real
called = 0
def forgetful(*arguments, **choices):
    global called
    called += 1
    if called in (2, 3):
        raise MemoryError
    return real(*arguments, **choices)
{module}.{name} = forgetful
"""


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(SQLITE_WITHOUT_MEMORY.format(statement="INSERT INTO runs"), id="SQLite's, recording"),
        pytest.param(SQLITE_WITHOUT_MEMORY.format(statement="UPDATE runs SET"), id="SQLite's, ending a run"),
        pytest.param(WITHOUT_MEMORY.format(module="runner.execution.executor", name="begin_run"), id="beginning a run"),
        pytest.param(WITHOUT_MEMORY.format(module="runner.execution.executor", name="finish_run"), id="ending a run"),
        pytest.param(SQLITE_WITHOUT_MEMORY.format(statement="INSERT INTO firings"), id="SQLite's, adding a firing"),
        pytest.param(WITHOUT_MEMORY.format(module="runner.daemon.dispatcher", name="add_firing"), id="adding a firing"),
    ],
)
def test_a_moment_without_memory_loses_no_fire_time(program: Program, large: Path, change: str) -> None:
    scheduled(program, large)
    with changed(program, change).daemon() as daemon:
        ended(program, "succeeded")
        trial = freeze(program, daemon, large)
        expected = "there is not enough memory"
        until(
            lambda: daemon.said().count("was skipped") > 2 or expected in daemon.said(), "fire times that are skipped"
        )
        thaw(trial)
        until(lambda: expected in daemon.said(), "the log line")
        fired_on(program, large)
        assert 0 == daemon.stop()
    accounted(program)


SHORT = "a process for the scan can't be started: Too many open files"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are not shown here")
def test_too_few_descriptors_for_a_trial_fail_its_run(program: Program, tree: Path) -> None:
    scheduled(program, tree)
    with program.daemon() as daemon:
        ended(program, "succeeded")

        def fell_short() -> bool:
            """Raise the limit, from too few to start a run to enough for a trial process."""
            for free in range(2, 12):
                with starved(daemon.process.pid, free), suppress(pytest.fail.Exception):
                    return until(lambda: any(SHORT in run["message"] for run in program.history("failed")), SHORT, 2)
            return False

        until(fell_short, "a run for whose trial they are too few", 60)
        assert all("Too many open files" in run["message"] for run in program.history("failed"))
        fired_on(program, tree)
    accounted(program)


OLD = """
import sys
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from runner.model.bundled import bundled
config = Config()
config.set_main_option("script_location", str(bundled("migrations")))
with create_engine("sqlite:///" + sys.argv[1]).begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")
"""
RUNS = 20_000


def old_database(program: Program) -> Path:
    """Create a database of the first schema with enough runs for a slow upgrade."""
    path = program.folder / "old.db"
    subprocess.run([sys.executable, "-c", OLD, path], check=True, env=program.environment)
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("INSERT INTO selections VALUES (1, '[\"*.md\"]', '[]', 0, 'stat', 0)")
        old.execute(
            "INSERT INTO jobs (id, name, root, selection_id, strategies, catchup, paused, created_at, armed_at) VALUES "
            "(1, 'old', x'2f6f6c64', 1, '[\"pool\"]', 'once', 0, '2020-01-01 00:00:00', '2020-01-01 00:00:00')"
        )
        old.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            "INSERT INTO runs (job_id, selection_id, cause, status, started_at, finished_at, message) "
            "SELECT 1, 1, 'manual', 'failed', '2021-01-01 00:00:00', '2021-01-01 00:00:01', 'kept' FROM n",
            [RUNS],
        )
    return path


@pytest.mark.parametrize("moment", ["copying", "migrating"])
def test_a_killed_upgrade_is_repeated(program: Program, tree: Path, moment: str) -> None:
    old = old_database(program)
    shutil.copy(old, program.database)
    backup = program.database.with_name(f"runner.db.before-{REVISIONS[-1]}")
    if moment == "copying":
        slow = "import runner.history.backup as backup\nbackup.driver_of = lambda _: held()"
    else:
        # Everything is written and nothing is committed.
        slow = (
            "import runner.history.upgrade as upgrade\n"
            "plain = upgrade._run_migrations\n"
            "def hold(connection):\n"
            "    plain(connection)\n"
            "    connection.exec_driver_sql('UPDATE runs SET message = hex(zeroblob(500))')\n"
            "    held()\n"
            "upgrade._run_migrations = hold"
        )
    slow = f"import signal\ndef held():\n    print('reached', flush=True)\n    signal.pause()\n{slow}"
    upgrading = changed(program, slow).start("db", "upgrade", stdout=subprocess.PIPE)
    try:
        assert upgrading.stdout is not None
        assert b"reached\n" == upgrading.stdout.readline()
        assert backup.exists() == (moment == "migrating")
    finally:
        upgrading.kill()
        upgrading.communicate()
    with closing(sqlite3.connect(program.database)) as untouched:
        assert [("ok",)] == untouched.execute("PRAGMA integrity_check").fetchall()
        assert [("0001",)] == untouched.execute("SELECT version_num FROM alembic_version").fetchall()
        assert (RUNS,) == untouched.execute("SELECT count(*) FROM runs WHERE message = 'kept'").fetchone()
    scheduled(program, tree)  # which brings it up to date
    with program.daemon():
        fired_on(program, tree)
    accounted(program)
    with closing(sqlite3.connect(program.database)) as upgraded:
        assert (RUNS,) == upgraded.execute("SELECT count(*) FROM run_history WHERE message = 'kept'").fetchone()
    assert [] == list(program.folder.glob("*.partial"))


# The trees.


@contextmanager
def replaced(root: Path, by: str) -> Iterator[None]:
    """Replace a tree by something else within the context."""
    away = root.with_name("away")
    if by == "closed":
        root.chmod(0)
    elif by == "unmounted":
        subprocess.run(["umount", "--lazy", root], check=True)
    else:
        root.rename(away)
        if by == "a file":
            root.write_text("a file\n")
        if by == "a directory":
            root.mkdir()
    try:
        yield
    finally:
        if by == "closed":
            root.chmod(0o755)
        elif by == "unmounted":
            subprocess.run(["mount", "--bind", root.with_name("source"), root], check=True)
        else:
            if by == "a file":
                root.unlink()
            if by == "a directory":
                root.rmdir()
            away.rename(root)


@pytest.fixture
def mounted(large: Path) -> Iterator[Path]:
    """Create a tree that is a mount."""
    source = large.with_name("source")
    large.rename(source)
    large.mkdir()
    command: list[str | Path] = ["mount", "--bind", source, large]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield large
    finally:
        subprocess.run(["umount", "--lazy", large], check=True)


# What a run says whose root has gone; of a closed one what was open already can still be read.
GONE = {
    "nothing": "does not exist; create it",
    "a file": "replaced while it was scanned|is not a directory",
    "a directory": "replaced while it was scanned",
    "unmounted": "replaced while it was scanned",
    "closed": "can't be read: Permission denied",
}


@pytest.mark.parametrize("read_by", ["sequential", "pool", "a worker", "incremental"])
@pytest.mark.parametrize("by", list(GONE))
def test_a_root_that_disappears_during_a_scan_removes_nothing(
    program: Program, by: str, read_by: str, request: pytest.FixtureRequest
) -> None:
    root: Path = request.getfixturevalue("mounted" if by == "unmounted" else "large")
    worker = read_by in {"pool", "a worker"}
    # The only one has opened the root: none comes too late to do so.
    choices = ("--strategy", "pool", "--workers", "1") if read_by == "a worker" else ("--strategy", read_by)
    scheduled(program, root, *choices)
    expected = find_markdown(root)
    with obeying(program).daemon() as daemon:

        def caught() -> bool:
            """Replace the root during a scan; return False if everything had been read already."""
            until(lambda: program.history("succeeded", job="docs")[-1]["files"] == len(expected), "a whole run")
            trial = freeze(program, daemon, root, worker=worker)
            run_id = program.history("running")[0]["run"]
            with replaced(root, by):
                thaw(trial)
                run = until(
                    lambda: next((it for it in program.history() if it["run"] == run_id and it["finished_at"]), None),
                    "the end of the run",
                )
                assert not run["removed"]
                # Later runs may have seen what stands there now.
                history = program.history(job="docs")
                saved = max(one["run"] for one in history if one["run"] <= run_id and one["files"] is not None)
                assert expected == listed(program, "--run", str(saved))
            if run["status"] == "succeeded":
                return False
            assert run["status"] == "failed" or (by, run["status"]) == ("closed", "partial")
            assert run["problems"] or re.search(GONE[by], run["message"])
            return True

        ended(program, "succeeded")
        until(caught, "a run that the root went under", 60)
        fired_on(program, root)
    accounted(program)


# The clock.


# A file sets the daemon's clock back, in its own process.
CLOCK = """
import pathlib, threading, time
from datetime import UTC, datetime, timedelta
import time_machine
import runner.daemon.heartbeat as heartbeat
heartbeat._HEARTBEAT_S = 0.5
def follow():
    while not pathlib.Path("set-back").exists():
        time.sleep(0.01)
    time_machine.travel(datetime.now(UTC) - timedelta(days=1), tick=True).start()
threading.Thread(target=follow, daemon=True).start()
"""


@pytest.fixture
def clocked(program: Program, tree: Path) -> Program:
    """Return the program with a clock that can be set back, and jobs registered two days ago."""
    then = datetime.now(UTC) - 2 * 86400 * SECOND
    other = tree.with_name("other")
    other.mkdir()
    with program.opened() as database:
        for root in (tree, other):
            schedule = parse_schedule(every="1s", cron=None, at=None, timezone="UTC", jitter=None, now=then)
            spec = JobSpec(name=root.name, root=os.fsencode(root), schedule=schedule, catchup=Catchup.NONE)
            add_job(database, spec, then)
    return changed(program, CLOCK)


def fired_a_day_ago(program: Program, root: Path) -> None:
    ago = datetime.now(UTC) - 12 * 3600 * SECOND
    seen = {run["run"] for run in program.history()}
    for job in ("docs", "other"):
        until(
            lambda job=job: [  # type: ignore[misc]
                run
                for run in program.history("succeeded", job=job)
                if run["run"] not in seen and instant(run["started_at"]) < ago
            ],
            f"a run of {job} by the clock",
        )
    assert find_markdown(root) == listed(program)


def test_a_clock_set_back_by_a_day_delays_no_job(clocked: Program, tree: Path) -> None:
    with clocked.daemon() as daemon:
        ended(clocked, "succeeded")
        before = [run for run in clocked.history() if run["status"] != "running"]
        (clocked.folder / "set-back").touch()
        fired_a_day_ago(clocked, tree)
        assert "the clock was set back by" in daemon.said()
        for command in ("pause", "resume"):
            clocked.out(command, "docs")
        fired_a_day_ago(clocked, tree)
        assert 0 == daemon.stop()
    kept = {run["run"] for run in before}
    assert before == [run for run in clocked.history() if run["run"] in kept]
    with clocked.daemon():  # from its beginning on
        fired_a_day_ago(clocked, tree)
    assert [] == clocked.history("running")
    assert "sound" in clocked.out("db", "check")


# The outcome of a daemon's first run can't be read for a moment.
UNSEEN = """
import runner.daemon.firing_runner as service
from runner.model.errors import HistoryError
real, failed = service.get_run, False
def get_run(*arguments):
    global failed
    if not failed:
        failed = True
        raise HistoryError("the database can't be reached")
    return real(*arguments)
service.get_run = get_run
"""


def test_a_notification_survives_an_unreadable_history(program: Program, tree: Path, tmp_path: Path) -> None:
    at = (datetime.now(UTC) + 5 * SECOND).isoformat()
    touched = tmp_path / "touched"
    program.out("schedule", tree, "--at", at, "--notify", f"failure=touch {touched}")
    tree.rename(tree.with_name("elsewhere"))
    with changed(program, UNSEEN).daemon() as daemon:
        until(touched.exists, "the notification")
        assert "can't be reached" in daemon.said()
