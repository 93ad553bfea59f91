import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest
from conftest import until
from firings import add_due
from sqlalchemy import Connection

from runner.execution import cancel, executor
from runner.execution.executor import fire
from runner.execution.locks import Stopped
from runner.execution.recovery import recover
from runner.history.contents import list_changes, list_files, list_problems
from runner.history.database import Database
from runner.history.jobs import add_job, change_job
from runner.history.maintenance import find_faults
from runner.history.recording import Busy, RunOutcome, begin_run, finish_run
from runner.history.runs import get_run, list_differences, list_runs
from runner.measure import trials
from runner.measure.environment import describe_environment, describe_process
from runner.measure.observer import RunObserver
from runner.measure.trial import TrialResult
from runner.model.errors import HistoryError, ScanError
from runner.model.jobs import Job, JobSpec, Selection, Track
from runner.model.runs import ChangeKind, Difference, Owner, Run, Status

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def database(history: Database) -> Database:
    return history


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for directory in ("", "a", "a/b", "c.md"):
        (root / directory).mkdir(exist_ok=True)
        for name in (b"one.md", b"two.txt", b"caf\xe9\n.md", b".DS_Store"):
            Path(os.fsdecode(os.fsencode(root / directory) + b"/" + name)).write_bytes(name)
    (root / "link.md").symlink_to("a")
    return root


@pytest.fixture
def job(database: Database, root: Path) -> Job:
    return register(database, root)


def register(database: Database, root: Path, name: str = "docs", **choices: object) -> Job:
    spec = JobSpec(name=name, root=os.fsencode(root), workers=2)
    return add_job(database, replace(spec, **choices), NOW)  # type: ignore[arg-type]


def run(database: Database, job: Job, observer: RunObserver | None = None, at_once: int = 1) -> Run:
    return get_run(database, fire(database, job, observer=observer, at_once=at_once))


def begin(database: Database, job: Job, owner: Owner) -> int:
    return begin_run(
        database,
        job,
        None,
        clock=lambda: NOW,
        environment=describe_environment(job.spec.root, workers=2, start_method="fork"),
        owner=owner,
    )


def find(root: Path) -> list[bytes]:
    command = ["find", ".", "!", "-type", "d", "-name", "*.md", "-print0"]
    listing = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout
    return sorted(path.removeprefix(b"./") for path in listing.split(b"\0") if path)


def files_of(database: Database, run: Run) -> list[bytes]:
    return sorted(file.path for file in list_files(database, run.job_id, run.run_id))


def test_each_strategy_of_a_run_agrees_with_find(database: Database, job: Job, root: Path) -> None:
    done = run(database, job)
    assert (Status.SUCCEEDED, None, 0) == (done.status, done.message, done.differences)
    assert find(root) == files_of(database, done)
    assert {"sequential", "pool"} == {execution.strategy for execution in done.executions}
    assert [1, 2] == [execution.position for execution in done.executions]
    for execution in done.executions:
        assert (Status.SUCCEEDED, 9, 4) == (execution.status, execution.files, execution.directories)
        expected = (2, "fork") if execution.strategy == "pool" else (1, None)
        assert expected == (execution.workers, execution.start_method)
        assert execution.wall_s is not None
        assert done.wall_s is not None
        assert 0 < execution.wall_s < done.wall_s
    assert describe_environment(job.spec.root, workers=2, start_method="fork") == done.environment


def test_a_snapshot_whose_file_was_truncated_saves_nothing(
    database: Database, job: Job, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(database, job)
    (root / "a" / "one.md").unlink()
    before = len(os.listdir("/proc/self/fd"))

    def carry_out(*args: Any, **options: Any) -> TrialResult:
        result = trials.carry_out(*args, **options)
        os.truncate(f"/proc/self/fd/{result.value._file.fileno()}", sum(result.value.sizes) - 1)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(executor, "carry_out", carry_out)
        with pytest.raises(ScanError, match="what was found can't be read back: its temporary file was truncated"):
            fire(database, job)

    failed = list_runs(database, job=job)[0]
    assert Status.FAILED is failed.status
    assert failed.message is not None
    assert failed.message.startswith("stopped by an error: what was found can't be read back")
    assert files_of(database, first) == files_of(database, failed)
    assert 1 == run(database, job).removed
    assert before == len(os.listdir("/proc/self/fd"))


def test_added_removed_and_modified_files_are_distinguished(database: Database, job: Job, root: Path) -> None:
    first = run(database, job)
    before = find(root)
    (root / "a" / "new.md").write_text("new")
    (root / "a" / "b" / "one.md").unlink()
    (root / "one.md").write_text("longer than it was")
    (root / "two.txt").write_text("not looked for")
    second = run(database, job)
    assert (1, 1, 1) == (second.added, second.removed, second.modified)
    assert [
        (ChangeKind.REMOVED, b"a/b/one.md", 6, None),
        (ChangeKind.ADDED, b"a/new.md", None, 3),
        (ChangeKind.MODIFIED, b"one.md", 6, 18),
    ] == [
        (change.kind, change.path, change.old_size_bytes, change.new_size_bytes)
        for change in list_changes(database, second.job_id, second.run_id - 1, second.run_id)
    ]
    assert before == files_of(database, first)
    assert find(root) == files_of(database, second)
    third = run(database, job)
    assert (0, 0, 0) == (third.added, third.removed, third.modified)
    assert [] == find_faults(database)


def losing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit the next transaction, but raise as if it had failed."""
    write = Database.write

    @contextmanager
    def unheard(self: Database) -> Iterator[Connection]:
        monkeypatch.setattr(Database, "write", write)
        with write(self) as connection:
            yield connection
        raise HistoryError("the server has gone")

    monkeypatch.setattr(executor, "_RETRY_INTERVAL_S", 0.01)
    monkeypatch.setattr(Database, "write", unheard)


def test_an_unconfirmed_start_runs_once(database: Database, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    due = add_due(database, job, NOW)
    losing(monkeypatch)
    run_id = fire(database, job, due, observer=RunObserver(patient=True))
    assert [(run_id, Status.SUCCEEDED)] == [(run.run_id, run.status) for run in list_runs(database)]


def test_a_run_waits_for_an_unreadable_history(database: Database, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = False

    def refuse_once(*_: object, **__: object) -> list[str]:
        nonlocal refused
        if not refused:
            refused = True
            raise HistoryError("the server has gone")
        return []

    monkeypatch.setattr(executor, "_RETRY_INTERVAL_S", 0.01)
    monkeypatch.setattr(executor, "list_first_strategies", refuse_once)
    assert Status.SUCCEEDED is run(database, job, RunObserver(patient=True)).status
    assert 1 == len(list_runs(database))


def test_a_run_stopped_by_an_error_ends_once_it_can_be_written(
    database: Database, job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = iter(range(3))

    def refuse_three_times(*arguments: Any, **options: Any) -> bool:
        if next(refusals, None) is not None:
            raise HistoryError("locked")
        return finish_run(*arguments, **options)

    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(executor, "_RETRY_INTERVAL_S", 0.01)
    monkeypatch.setattr(executor, "finish_run", refuse_three_times)
    monkeypatch.setattr(executor, "_conclude", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        run(database, job, RunObserver(patient=True))
    (ended,) = list_runs(database)
    assert (Status.FAILED, "runner was stopped by an error") == (ended.status, ended.message)
    assert [("WARNING", "locked")] == [(one.levelname, one.message) for one in caplog.records]


def test_a_run_stopped_while_it_is_saved_leaves_nothing(
    database: Database, job: Job, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(database, job)
    before = files_of(database, first)
    (root / "a" / "new.md").write_text("new")
    (root / "one.md").unlink()
    stopped: list[Status] = []

    def finish_slowly(*arguments: Any, on_written: Callable[[], object]) -> bool:
        def stop_and_report() -> None:
            stopped.append(Status.CANCELLED)
            on_written()

        return finish_run(*arguments, on_written=stop_and_report, max_rows=1)

    monkeypatch.setattr(executor, "finish_run", finish_slowly)
    done = run(database, job, RunObserver(stop=lambda: stopped[0] if stopped else None))
    assert (Status.CANCELLED, "it was stopped while its findings were saved") == (done.status, done.message)
    assert 2 == len(done.executions)
    assert before == files_of(database, first)
    assert [] == list(list_changes(database, job.job_id, first.run_id, done.run_id))
    assert [] == find_faults(database)


def test_a_run_starts_after_the_end_of_the_previous_one(
    database: Database, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Database.write
    entered: list[datetime] = []

    @contextmanager
    def slow(self: Database) -> Iterator[Connection]:
        with write(self) as connection:
            entered.append(datetime.now(UTC))
            yield connection

    monkeypatch.setattr(Database, "write", slow)
    started_at = run(database, job).started_at
    assert started_at is not None
    assert entered[0] <= started_at


def test_with_tracked_names_nothing_is_modified(database: Database, root: Path) -> None:
    job = register(database, root, selection=Selection(track=Track.NAMES))
    run(database, job)
    (root / "one.md").write_text("longer than it was")
    second = run(database, job)
    assert (0, 0, 0) == (second.added, second.removed, second.modified)
    assert {None} == {file.size_bytes for file in list_files(database, second.job_id, second.run_id)}


def test_a_missing_root_fails_the_run_and_removes_nothing(database: Database, job: Job, root: Path) -> None:
    expected = files_of(database, run(database, job))
    root.rename(root.with_name("elsewhere"))
    failed = run(database, job)
    assert Status.FAILED == failed.status
    assert f"the root {str(root)!r} does not exist; create it, mount it, or name another directory" == failed.message
    assert (None, None, ()) == (failed.files, failed.removed, failed.executions)
    assert expected == files_of(database, failed)
    root.with_name("elsewhere").rename(root)
    back = run(database, job)
    assert (Status.SUCCEEDED, 0, 0, 0) == (back.status, back.added, back.removed, back.modified)


def test_only_trial_processes_touch_the_root(
    database: Database, job: Job, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any, *arguments: Any, **choices: Any) -> Any:
            assert isinstance(path, int) or not os.fsencode(path).startswith(os.fsencode(root)), "it was touched"
            return call(path, *arguments, **choices)

        return refuse

    expected = describe_environment(job.spec.root, workers=2, start_method="fork")
    for name in ("open", "stat", "lstat", "listdir", "scandir", "readlink"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    done = run(database, job)
    assert Status.SUCCEEDED == done.status
    assert done.environment is not None
    assert expected == done.environment
    assert expected.filesystem


def test_a_trial_that_cannot_be_ended_ends_its_run(
    database: Database, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = TrialResult(status=Status.TIMED_OUT, message="stuck", left=True, filesystem="nfs4")
    with monkeypatch.context() as patch:
        patch.setattr(executor, "carry_out", lambda *_, **__: stuck)
        done = run(database, job)
    assert (Status.TIMED_OUT, 1) == (done.status, len(done.executions))
    assert done.environment is not None
    assert "nfs4" == done.environment.filesystem
    assert (done.message or "").endswith(": stuck")
    assert (Status.SUCCEEDED, 2) == ((again := run(database, job)).status, len(again.executions))


def test_each_strategy_goes_first_in_half_of_the_runs(database: Database, root: Path) -> None:
    (root / "small").mkdir()
    job = register(database, root / "small", workers=1)
    # Long enough that a window on the history would fall out of step with the blocks.
    random = Random(3)  # noqa: S311  chance, not secrets
    firsts = [get_run(database, fire(database, job, random=random)).executions[0].strategy for _ in range(14)]
    assert [{"sequential", "pool"}] * 7 == [set(firsts[start : start + 2]) for start in range(0, 14, 2)]


def test_strategies_that_differ_are_recorded_with_the_paths(database: Database, job: Job, root: Path) -> None:
    run(database, job)
    order: list[str] = []

    def change_between(strategy: str, position: int) -> None:
        order.append(strategy)
        if position == 2:
            (root / "a" / "late.md").touch()
            (root / "one.md").unlink()

    done = run(database, job, RunObserver(on_strategy=change_between))
    first, last = order
    assert Status.SUCCEEDED == done.status
    assert "the strategies differ on 2 paths: the tree changed meanwhile, or there is a defect" == done.message
    assert 2 == done.differences
    assert [
        Difference(path=b"a/late.md", found_by=(last,)),
        Difference(path=b"one.md", found_by=(first,)),
    ] == list_differences(database, done)
    assert find(root) == files_of(database, done)


OBEY = (
    "import ctypes, os, sys\n"
    "if os.geteuid() == 0:\n"
    "    for right in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: permissions bind root too\n"
    "        assert ctypes.CDLL(None).prctl(24, right, 0, 0, 0) == 0  # PR_CAPBSET_DROP\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
FIRE = (
    "import sys; from runner.history.database import locate; from runner.history.upgrade import open_database\n"
    "from runner.history.jobs import get_job; from runner.model.runs import Cause, Status\n"
    "from runner.execution.executor import fire\n"
    "from runner.measure.observer import RunObserver\n"
    "database = open_database(locate(sys.argv[1])); job = get_job(database, 'docs')\n"
)


def test_an_unreadable_directory_makes_its_files_unknown(database: Database, job: Job, root: Path) -> None:
    expected = files_of(database, run(database, job))
    (root / "a").chmod(0)
    program = FIRE + "print(fire(database, job))"
    command = [sys.executable, "-c", OBEY, "-c", program, str(database.location)]
    run_id = int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    (root / "a").chmod(0o755)
    partial = get_run(database, run_id)
    assert (Status.PARTIAL, 1, 0) == (partial.status, partial.problems, partial.removed)
    assert [Status.PARTIAL] * 2 == [execution.status for execution in partial.executions]
    assert [(b"a", 13)] == [(problem.path, problem.errno) for problem in list_problems(database, partial)]
    assert expected == files_of(database, partial)
    assert 5 == partial.files
    back = run(database, job)
    assert (Status.SUCCEEDED, 0, 0, 0) == (back.status, back.problems, back.added, back.removed)


def hold_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make every trial wait for ever before it reads the tree: its root is a pipe that nobody writes to."""
    package = tmp_path / "held"
    shutil.copytree(
        Path(executor.__file__).parents[1], package / "runner", ignore=shutil.ignore_patterns("__pycache__")
    )
    with (package / "runner" / "scan" / "walk.py").open("a") as source:
        source.write("\n\ndef open_root(root):\n    import time\n    time.sleep(600)\n")
    monkeypatch.setattr("runner.measure.trials.runner.__file__", str(package / "runner" / "__init__.py"))


def descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_an_execution_ends_at_its_time_limit(
    database: Database, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descendants()  # other tests of this process may have started multiprocessing's resource tracker
    job = register(database, root, timeout_s=1)
    expected = files_of(database, run(database, job))
    hold_up(monkeypatch, tmp_path)
    done = run(database, job)
    assert Status.TIMED_OUT == done.status
    assert [Status.TIMED_OUT] * 2 == [execution.status for execution in done.executions]
    assert done.message is not None
    assert "ended after its time limit of 1 s; raise --timeout" in done.message
    assert (None, None) == (done.files, done.removed)
    assert expected == files_of(database, done)
    assert before == descendants()


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.INTERRUPTED])
def test_a_stopped_run_ends_at_once(
    database: Database, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: Status
) -> None:
    before = descendants()  # other tests of this process may have started multiprocessing's resource tracker
    hold_up(monkeypatch, tmp_path)
    done = run(database, job, RunObserver(stop=lambda: status))
    assert status == done.status
    assert [status] == [execution.status for execution in done.executions]
    assert done.files is None
    assert before == descendants()


def test_a_run_stopped_in_its_second_execution_saves_the_first(
    database: Database, job: Job, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at: list[int] = []

    def hold_second(_strategy: str, position: int) -> None:
        at.append(position)
        if position == 2:
            hold_up(monkeypatch, tmp_path)

    stop: Callable[[], Status | None] = lambda: Status.CANCELLED if at[-1] == 2 else None  # noqa: E731
    done = run(database, job, RunObserver(stop=stop, on_strategy=hold_second))
    assert Status.CANCELLED == done.status
    assert [Status.SUCCEEDED, Status.CANCELLED] == [execution.status for execution in done.executions]
    assert find(root) == files_of(database, done)


def test_an_error_leaves_no_running_run(database: Database, job: Job) -> None:
    def fail(_strategy: str, _position: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(database, job, RunObserver(on_strategy=fail))
    assert [Status.FAILED] == [one.status for one in list_runs(database)]
    assert Status.SUCCEEDED == run(database, job).status


def test_a_failed_save_leaves_no_running_run(database: Database, job: Job) -> None:
    with database.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON files BEGIN SELECT RAISE(ABORT, 'no more'); END"
        )
    with pytest.raises(HistoryError, match="no more"):
        run(database, job)
    ended = list_runs(database)[0]
    assert (Status.FAILED, None) == (ended.status, ended.files)
    assert ended.message is not None
    assert "no more" in ended.message
    with database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")
    assert Status.SUCCEEDED == run(database, job).status


def test_an_early_error_leaves_no_running_run(database: Database, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Sequence[str]:
        raise HistoryError("can't be read")

    monkeypatch.setattr(executor, "choose_order", fail)
    with pytest.raises(HistoryError, match="can't be read"):
        run(database, job)
    assert [Status.FAILED] == [one.status for one in list_runs(database)]


def start_firing(database: Database, root: Path) -> "subprocess.Popen[str]":
    """Start a process that is in the middle of a run until it may continue."""
    program = FIRE + (
        "def hold(strategy, position):\n"
        "    print(position, flush=True)\n"
        "    sys.stdin.readline()\n"
        "fire(database, job, observer=RunObserver(on_strategy=hold))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(database.location)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert process.stdout is not None
    assert "1\n" == process.stdout.readline()
    return process


def test_a_job_running_in_another_process_is_busy(database: Database, job: Job, root: Path) -> None:
    with start_firing(database, root) as process:
        with pytest.raises(Busy, match="run 1 of the job 'docs' is running; wait until it has finished"):
            run(database, job)
        process.communicate("\n\n")
    assert 0 == process.returncode
    assert [Status.SUCCEEDED] == [one.status for one in list_runs(database)]
    assert 2 == run(database, job).run_id


def test_a_run_waits_for_another_jobs_run(database: Database, job: Job, root: Path) -> None:
    other = register(database, root, "other")
    going = begin(database, other, describe_process())
    waits: list[str] = []

    def end_it(message: str) -> None:
        waits.append(message)
        finish_run(database, going, RunOutcome(status=Status.SUCCEEDED, finished_at=NOW))

    assert Status.SUCCEEDED == run(database, job, RunObserver(on_wait=end_it)).status
    assert ["run 1 of the job 'other' is running; waiting until it has finished"] == waits


def test_a_waiting_run_can_be_stopped_and_leaves_no_row(database: Database, job: Job, root: Path) -> None:
    begin(database, register(database, root, "other"), describe_process())
    with pytest.raises(Stopped, match="the run of 'docs' was stopped before it began"):
        run(database, job, RunObserver(stop=lambda: Status.INTERRUPTED))
    assert [Status.RUNNING] == [one.status for one in list_runs(database)]


def test_jobs_run_concurrently_where_allowed(database: Database, job: Job, root: Path) -> None:
    other = register(database, root, "other")
    begin(database, other, describe_process())
    waited = threading.Event()
    assert Status.SUCCEEDED == run(database, job, RunObserver(on_wait=lambda _: waited.set()), at_once=2).status
    assert not waited.is_set()


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


ME = describe_process()


@pytest.mark.parametrize(
    ("owner", "gone"),
    [
        (lambda: replace(ME, pid=dead_process()), True),
        (lambda: replace(ME, started_s=ME.started_s - 60), True),
        (lambda: replace(ME, boot="an earlier one"), True),
        (describe_process, False),
        (lambda: replace(ME, host="elsewhere", pid=dead_process(), boot="its own"), False),
    ],
    ids=["ended", "number given to another", "earlier boot", "alive", "another machine"],
)
def test_a_run_of_a_dead_process_is_interrupted(
    database: Database, job: Job, owner: Callable[[], Owner], *, gone: bool
) -> None:
    expected = files_of(database, run(database, job))
    run_id = begin(database, job, owner())
    assert ([run_id] if gone else []) == recover(database)
    after = get_run(database, run_id)
    assert (Status.INTERRUPTED if gone else Status.RUNNING) == after.status
    assert gone == (after.finished_at is not None) == (after.message is not None)
    assert expected == files_of(database, after)
    assert [] == recover(database)


CONTAINER = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
RECOVER = """
import sys
from runner.history.database import locate
from runner.history.upgrade import open_database
from runner.execution.recovery import recover
print(recover(open_database(locate(sys.argv[1]))))
"""


def in_container(*command: str) -> list[str]:
    """Return a command prefix with a PID namespace of its own, as in a container."""
    if shutil.which("unshare") is None or subprocess.run([*CONTAINER, "true"], check=False).returncode:
        pytest.skip("processes can't be given numbers of their own here")
    return [*CONTAINER, *command]


def contained(database: Database, program: str) -> str:
    """Run a program in a container."""
    command = in_container(sys.executable, "-c", program, str(database.location))
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


@pytest.mark.usefixtures("job")
def test_another_container_recovers_only_dead_runs(database: Database, root: Path) -> None:
    with start_firing(database, root) as process:
        assert "[]\n" == contained(database, RECOVER)
        process.communicate("\n\n")
    assert [Status.SUCCEEDED] == [one.status for one in list_runs(database)]
    with start_firing(database, root) as process:
        assert "[]\n" == contained(database, RECOVER)
        process.kill()
        process.communicate()
    assert "[2]\n" == contained(database, RECOVER)


def lock_of(database: Database) -> Path:
    return Path(f"{database.location}.runs.lock")


@pytest.mark.usefixtures("job")
def test_a_run_elsewhere_continues_without_its_lock_file(database: Database, root: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hold_up(patch, tmp_path)
    held = FIRE + (
        f"import runner; runner.__file__ = {str(tmp_path / 'held' / 'runner' / '__init__.py')!r}\n"
        "report = lambda *_: print('on', flush=True)\n"
        "fire(database, job, observer=RunObserver(on_progress=report))\n"
    )
    command = in_container(sys.executable, "-c", held, str(database.location))
    # What a process of another container leaves is kept as long as it may be alive, until the next boot.
    with (
        tempfile.TemporaryDirectory() as directory,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": directory}
        ) as process,
    ):
        assert process.stdout is not None
        assert "on\n" == process.stdout.readline()
        lock_of(database).unlink()
        other = register(database, root, "other")
        until(lock_of(database).exists, "a lock in its place")
        with pytest.raises(Stopped):
            run(database, other, RunObserver(stop=lambda: Status.CANCELLED))
        assert [Status.RUNNING] == [one.status for one in list_runs(database)]
        process.kill()
    until(lambda: [1] == recover(database), "its end to be known")


def test_a_lock_file_removed_before_locking_is_replaced(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, removed = fcntl.flock, threading.Event()

    def remove_first(fd: int, how: int) -> None:
        if not removed.is_set():
            lock_of(database).unlink()
            removed.set()
        flock(fd, how)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", remove_first)
        lock = database.location.run_lock()
        lock.hold()
    assert removed.is_set()
    assert not database.location.is_deserted()
    lock.release()
    assert database.location.is_deserted()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
@pytest.mark.parametrize("owner", ["nobody", "root"])
def test_the_databases_owner_can_use_a_lock_made_by_root(database: Database, job: Job, owner: str) -> None:
    account = pwd.getpwnam(owner)
    for path in Path(str(database.location)).parent.glob("runner.db*"):
        os.chown(path, account.pw_uid, account.pw_gid)
    Path(str(database.location)).chmod(0o640)
    before = os.umask(0o077)
    try:
        run(database, job)
        database.location.daemon_lock(database.engine).hold()
    finally:
        os.umask(before)
    for name in ("runs", "daemon"):
        status = lock_of(database).with_name(f"runner.db.{name}.lock").stat()
        assert (account.pw_uid, account.pw_gid, 0o640) == (status.st_uid, status.st_gid, status.st_mode & 0o777)


def test_a_run_of_a_removed_container_blocks_nothing(database: Database, job: Job) -> None:
    begun = FIRE + ("fire(database, job, observer=RunObserver(on_strategy=lambda *_: os._exit(9)))\n")
    with pytest.raises(subprocess.CalledProcessError):
        contained(database, "import os\n" + begun)
    assert [Status.RUNNING] == [one.status for one in list_runs(database)]
    assert Status.SUCCEEDED == run(database, job, RunObserver(on_wait=lambda _: pytest.fail("it waited"))).status
    assert [Status.SUCCEEDED, Status.INTERRUPTED] == [one.status for one in list_runs(database)]


@contextmanager
def hidden() -> Iterator[tuple[Owner, list[str]]]:
    """Start a process, and return it with a command prefix from which it is hidden."""
    mounts = ["unshare", "--mount", "sh", "-ec", 'mount -t proc -o hidepid=invisible proc /proc; exec "$@"', "sh"]
    tools = shutil.which("unshare"), shutil.which("setpriv")
    if None in tools or os.geteuid() != 0 or subprocess.run([*mounts, "true"], check=False).returncode:
        pytest.skip("processes can't be hidden here")
    with subprocess.Popen(["setpriv", "--reuid=nobody", "cat"], stdin=subprocess.PIPE) as process:
        yield (
            replace(ME, pid=process.pid),
            [*mounts, "setpriv", "--regid=nogroup", "--clear-groups", "--bounding-set=-sys_ptrace"],
        )


CANCEL = """
import sys
from runner.history.database import locate
from runner.history.upgrade import open_database
from runner.execution import cancel
cancel._TIMEOUT_S = 0.1
print(cancel.cancel(open_database(locate(sys.argv[1])), 1).message)
"""


@pytest.mark.parametrize("others", [False, True], ids=["alone", "others run"])
def test_a_dead_run_with_a_hidden_pid_blocks_nothing(database: Database, job: Job, *, others: bool) -> None:
    with hidden() as (owner, within):
        run_id = begin(database, job, owner)
        other = database.location.run_lock()
        other.hold()  # so that nobody knows whether its process is dead

        def call(program: str) -> str:
            command = [*within, sys.executable, "-c", program, str(database.location)]
            return subprocess.run(command, capture_output=True, check=True, text=True).stdout

        assert "[]\n" == call(RECOVER)
        if others:
            assert f"its process ({owner.pid}), out of sight from here, did not answer when it was" in call(CANCEL)
        other.release()
        if not others:
            assert f"[{run_id}]\n" == call(RECOVER)
        assert Status.INTERRUPTED == get_run(database, run_id).status


def test_an_unreachable_run_ends_when_cancelled(database: Database, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancel, "_TIMEOUT_S", 0.1)
    boot = f"{ME.boot.partition(' ')[0]} pid:[1]"
    run_id = begin(database, job, replace(ME, boot=boot))
    other = database.location.run_lock()
    other.hold()  # so that nobody knows whether its process is dead
    assert [] == recover(database)
    ended = cancel.cancel(database, run_id)
    other.release()
    assert Status.INTERRUPTED == ended.status
    assert "did not answer" in str(ended.message)


def test_a_run_with_the_pid_of_a_dead_daemon_continues(database: Database, job: Job) -> None:
    run_id = begin(database, job, ME)
    assert [] == recover(database, gone=replace(ME, started_s=ME.started_s - 60))
    assert [run_id] == recover(database, gone=replace(ME, host="as it was called then"))


def test_a_run_of_a_dead_process_blocks_nothing(database: Database, job: Job, root: Path) -> None:
    begin(database, register(database, root, "other"), replace(ME, pid=dead_process()))
    begun = run(database, job, RunObserver(on_wait=lambda _: pytest.fail("it waited")))
    assert [Status.SUCCEEDED, Status.INTERRUPTED] == [one.status for one in list_runs(database)]
    assert 2 == begun.run_id


def test_a_killed_process_leaves_no_process_and_loses_no_file(database: Database, job: Job, tmp_path: Path) -> None:
    expected = files_of(database, run(database, job))
    package = tmp_path / "held"
    with pytest.MonkeyPatch.context() as patch:
        hold_up(patch, tmp_path)
    program = (
        FIRE
        + f"import runner; runner.__file__ = {str(package / 'runner' / '__init__.py')!r}\n"
        + "observer = RunObserver(on_progress=lambda _: print('on', flush=True))\n"
        + "fire(database, job, observer=observer)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(database.location)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert "on\n" == process.stdout.readline()
        trials = psutil.Process(process.pid).children(recursive=True)
        assert trials
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(trials, timeout=10)
    assert [] == alive
    assert [2] == recover(database)
    killed = get_run(database, 2)
    assert (Status.INTERRUPTED, f"the process that carried it out ({process.pid}) is gone") == (
        killed.status,
        killed.message,
    )
    assert expected == files_of(database, killed)
    assert [] == find_faults(database)
    again = run(database, job)
    assert (Status.SUCCEEDED, 0, 0) == (again.status, again.added, again.removed)


def test_a_run_with_changed_patterns_reports_that(database: Database, job: Job) -> None:
    first = run(database, job)
    edited = change_job(database, job, replace(job.spec, selection=Selection(patterns=("*.md", "*.txt"))), NOW)
    second, third = run(database, edited), run(database, edited)

    assert first.message is None
    assert second.message is not None
    assert f"something else than run {first.run_id}" in second.message
    assert third.message is None
