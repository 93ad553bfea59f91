import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from trial_tasks import FOLLOW, Remote, wait_until

from runner.measure import trials
from runner.measure.lesson import Experiment, LessonTask
from runner.measure.trial import ScanTask
from runner.measure.trials import Progress, carry_out
from runner.model.errors import ScanError
from runner.model.jobs import Selection
from runner.model.runs import Status
from runner.model.signals import is_known_stopped
from runner.strategies.base import ScanRequest

OUR_MODULES = ("runner.measure.", "runner.model.", "runner.scan.", "runner.strategies.")


def test_a_trial_leads_a_session_with_one_thread_and_few_modules() -> None:
    described = carry_out(Remote("describe_trial")).value
    assert (True, 1, 1) == (described["leads"], described["threads"], described["python_threads"])
    # Python itself ignores SIGPIPE and SIGXFSZ, and catches SIGINT; what a shell has ignored, as nohup does, stays so.
    inherited = {number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN}
    assert {signal.SIGPIPE, signal.SIGXFSZ} | inherited == numbers(described["ignored"])
    assert {signal.SIGINT} - inherited == numbers(described["caught"])
    assert 0 == described["blocked"]
    known = {*sys.stdlib_module_names, "__main__", "__mp_main__", "trial_tasks"}
    strangers = {name for name in described["modules"] if name.split(".")[0] not in known}
    assert {"runner"} == {name for name in strangers if not f"{name}.".startswith(OUR_MODULES)}


def numbers(mask: int) -> set[int]:
    return {number for number in range(1, 65) if mask & 1 << (number - 1)}


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_the_cpu_time_of_every_worker_counts(start_method: str) -> None:
    outcome = carry_out(Remote("burn_in_workers", 0.4, start_method))
    assert (Status.SUCCEEDED, None) == (outcome.status, outcome.message)
    burnt = sum(outcome.value)
    assert burnt >= 0.8
    assert burnt * 0.95 < outcome.user_s + outcome.system_s < burnt + 1.5
    assert outcome.workers_user_s + outcome.workers_system_s > burnt * 0.95
    # What the lesson looked at: the first process, which did none of the work.
    assert outcome.own_user_s + outcome.own_system_s < 0.4
    if len(os.sched_getaffinity(0)) > 1:
        assert outcome.wall_s >= 0.4


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("experiment", "value"), [(Experiment.SQUARES, 328_350), (Experiment.MARKDOWN, 4)])
def test_the_lesson_finds_the_same_in_both_ways(
    tmp_path: Path, experiment: Experiment, value: int, workers: int
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file in ("x.md", "y.md", "z.txt"):
            (tmp_path / name / file).touch()
    (tmp_path / ".DS_Store").touch()
    directories = os.fsencode(tmp_path)
    task = LessonTask(experiment=experiment, workers=workers, start_method="fork", directories=directories)
    outcome = carry_out(task)
    assert (Status.SUCCEEDED, value) == (outcome.status, outcome.value)
    assert outcome.wall_s > 0
    assert (outcome.workers_user_s + outcome.workers_system_s > 0) is (workers > 0)
    assert workers or outcome.user_s + outcome.system_s < 0.1


# Prints the peak memory of a trial whose parent has a number of bytes.
PEAK = f"""
import sys; sys.path.append({str(Path(__file__).parent)!r})
from trial_tasks import Remote
from runner.measure.trials import carry_out
ballast = b'x' * int(sys.argv[1])
print(carry_out(Remote('burn_in_workers', 0.0, sys.argv[2])).max_rss_bytes)
"""


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_peak_memory_excludes_a_large_parent(start_method: str) -> None:
    commands = [[sys.executable, "-c", PEAK, ballast, start_method] for ballast in ("0", "300000000")]
    plain, loaded = (int(subprocess.run(one, check=True, capture_output=True).stdout) for one in commands)
    assert 5_000_000 < plain < 60_000_000
    assert abs(loaded - plain) < 4_000_000


def test_a_large_task_and_result_arrive_whole() -> None:
    assert "x" * 20_000_000 == carry_out(Remote("repeat", "x" * 1_000_000, 20)).value


def test_a_trial_that_is_stopped_for_moments_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count only consecutive checks: here every second one finds it stopped, and more than may follow each other."""
    monkeypatch.setattr(trials, "_MOST_STOPPED", 3)
    found: list[bool] = []

    def stop_every_second_time(_: Progress) -> None:
        if not (tmp_path / "trial").exists():
            return
        pid = int((tmp_path / "trial").read_text(encoding="ascii"))
        if len(found) == 12:
            (tmp_path / "go").touch()
            return
        found.append(len(found) % 2 == 0)
        os.kill(pid, signal.SIGSTOP if found[-1] else signal.SIGCONT)
        wait_until(lambda: found[-1] == is_known_stopped(pid))

    outcome = carry_out(Remote("count_up", str(tmp_path), 0), timeout_s=30, on_progress=stop_every_second_time)
    assert (Status.SUCCEEDED, None) == (outcome.status, outcome.message)
    assert [True, False] * 6 == found


def test_what_a_task_prints_does_not_end_up_in_its_result() -> None:
    assert "kept" == carry_out(Remote("print_something")).value


def test_progress_only_grows_and_ends_at_the_whole(tmp_path: Path) -> None:
    reported: list[Progress] = []

    def note(progress: Progress) -> None:
        reported.append(progress)
        if progress.directories == 1_000:
            (tmp_path / "go").touch()

    carry_out(Remote("count_up", str(tmp_path), 1_000), on_progress=note)

    assert Progress(directories=1_000, entries=300_001, files=2_000) == reported[-1]
    assert sorted(reported, key=lambda each: (each.directories, each.entries)) == reported


ERRORS = {
    "raise_unforeseen": "a defect in runner: ZeroDivisionError: nobody saw it coming; its traceback is in the log",
    "no_such_function": "a defect in runner: KeyError: 'no_such_function'; its traceback is in the log",
    "run_out_of_memory": "the scan ran out of memory; free some, or scan a smaller tree",
}


@pytest.mark.parametrize("function", ERRORS)
def test_an_error_is_one_line_and_a_defect_a_traceback(function: str) -> None:
    outcome = carry_out(Remote(function))
    assert (Status.FAILED, ERRORS[function]) == (outcome.status, outcome.message)
    assert (outcome.defect is not None) is ("defect" in ERRORS[function])
    assert outcome.defect is None or function in outcome.defect


def test_an_interpreter_that_can_not_be_started_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ScanError, match="a process for the scan can't be started: No such file or directory"):
        carry_out(Remote("describe_trial"))


@pytest.mark.parametrize("free", range(12))
def test_without_descriptors_it_says_so_in_one_line(free: int) -> None:
    task = Remote("describe_trial")
    carry_out(task)  # what is loaded with the first one is
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        held = [os.dup(0) for _ in range(200)]  # every lower number is in use as well
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for number in held[: len(held) - free]:
            stack.callback(os.close, number)
        for number in held[len(held) - free :]:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1, hard))
        try:
            said = carry_out(task).status.value
        except ScanError as error:
            said = str(error)
    enough = said == "succeeded" and free > 4
    assert enough or "a process for the scan can't be started: Too many open files" in said


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a directory for temporary files on a file system without any room; its path is short enough for sockets."""
    where = Path(tempfile.mkdtemp(prefix="full-"))
    command: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", where]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        (where / "filler").write_bytes(bytes(shutil.disk_usage(where).free))
        monkeypatch.setattr(tempfile, "tempdir", str(where))
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)
        where.rmdir()


def test_without_room_for_temporary_files_it_says_so_in_one_line(full: Path) -> None:
    """Use a separate process, which a hole in a shared file would kill; the disk fills up when it has begun."""
    program = f"import tempfile; tempfile.tempdir = {str(full)!r}\n{FOLLOW}"
    done = subprocess.run([sys.executable, "-c", program, full], capture_output=True, check=False)
    reported = f"a process for the scan can't be started: No space left on device ({full})"
    assert 1 == done.returncode
    assert done.stderr.decode().endswith(f"ScanError: {reported}\n")


def scan_task(root: Path, strategy: str) -> ScanTask:
    request = ScanRequest(root=os.fsencode(root), selection=Selection(), workers=2, start_method="fork")
    return ScanTask(strategy=strategy, request=request)


@pytest.mark.parametrize("strategy", ["sequential", "pool"])
def test_without_room_for_what_is_found_it_says_so_in_one_line(tmp_path: Path, full: Path, strategy: str) -> None:
    for number in range(10):
        (tmp_path / f"{number}").mkdir()
        for name in range(100):
            (tmp_path / f"{number}" / f"{name:0200}.md").touch()
    (full / "filler").write_bytes(bytes((full / "filler").stat().st_size - 6 * resource.getpagesize()))

    outcome = carry_out(scan_task(tmp_path, strategy))

    said = "what was found can't be stored until it is saved: No space left on device"
    assert (Status.FAILED, None) == (outcome.status, outcome.defect)
    assert f"{said}; free some space in {full}, or set TMPDIR to another directory" == outcome.message


@pytest.mark.parametrize("strategy", ["sequential", "pool"])
def test_memory_does_not_grow_with_the_found_files(tmp_path: Path, strategy: str) -> None:
    peaks = []
    for links in (1, 1_000):
        for number in range(300):
            directory = tmp_path / f"{links}" / f"{number}"
            directory.mkdir(parents=True)
            (directory / "x.md").touch()
            for name in range(links):
                os.link(directory / "x.md", directory / f"{name:0240}.md")
        outcome = carry_out(scan_task(tmp_path / f"{links}", strategy))
        assert 300 * (links + 1) == outcome.value.files
        assert outcome.value.files == sum(names.count(b"\0") + 1 for _, names, _ in outcome.value.findings())
        peaks.append(outcome.max_rss_bytes)
    assert peaks[1] - peaks[0] < 30_000_000  # 77 MB were found


def test_snapshots_that_are_no_longer_needed_leave_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x.md").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    carry_out(scan_task(tmp_path / "tree", "sequential"))
    before = len(os.listdir("/proc/self/fd"))
    outcome = carry_out(scan_task(tmp_path / "tree", "sequential"))
    assert [] == list((tmp_path / "temporary").iterdir())
    assert [b"x.md"] == [names for _, names, _ in outcome.value.findings()]
    assert before + 1 == len(os.listdir("/proc/self/fd"))
    del outcome
    assert before == len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("callback", ["on_progress", "stop"])
def test_an_error_of_a_callback_is_raised_unchanged(tmp_path: Path, callback: str) -> None:
    def fail(*_: object) -> None:
        raise BrokenPipeError("nobody reads it")

    with pytest.raises(BrokenPipeError, match="nobody reads it"):
        carry_out(Remote("wait_for_ever", str(tmp_path)), **{callback: fail})  # type: ignore[arg-type]


def test_trials_leave_no_descriptor_thread_or_child_behind(tmp_path: Path) -> None:
    carry_out(Remote("describe_trial"))
    before = len(os.listdir("/proc/self/fd")), threading.active_count()
    for function in ("describe_trial", "raise_unforeseen"):
        carry_out(Remote(function))
    carry_out(Remote("wait_for_ever", str(tmp_path)), stop=lambda: stop_if((tmp_path / "trial").exists()))
    assert before == (len(os.listdir("/proc/self/fd")), threading.active_count())
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii").split()
    assert (tmp_path / "trial").read_text(encoding="ascii") not in children


def stop_if(condition: bool) -> Status | None:  # noqa: FBT001
    return Status.CANCELLED if condition else None


@pytest.mark.parametrize("function", ["be_held", "hold_worker"])
def test_a_process_that_cannot_be_ended_is_named_and_collected_later(tmp_path: Path, function: str) -> None:
    """Simulate one that waits in the kernel for a file system that does not answer."""
    try:
        outcome = carry_out(
            Remote(function, str(tmp_path)),
            stop=lambda: stop_if((tmp_path / "holder").exists()),
        )
        holder, held = map(int, (tmp_path / "holder").read_text(encoding="ascii").split())
        if not held:
            pytest.skip("tracing is not permitted here")
        reported = f"cancelled; its process {held} can't be ended and is left behind: it waits in the kernel"
        assert (Status.CANCELLED, True, "of its own") == (outcome.status, outcome.left, outcome.filesystem)
        assert (outcome.message or "").startswith(reported)
        assert ([held] if function == "be_held" else []) == [process.pid for process in trials._left]
    finally:
        (tmp_path / "let go").touch()
    wait_until(lambda: not psutil.pid_exists(holder) or psutil.Process(holder).status() == psutil.STATUS_ZOMBIE)
    outcome = carry_out(Remote("describe_trial"))
    assert (Status.SUCCEEDED, False) == (outcome.status, outcome.left)
    assert not trials._left
    assert function != "be_held" or not psutil.pid_exists(held)


def test_the_stop_callback_is_called_several_times_a_second(tmp_path: Path) -> None:
    asked: list[float] = []

    def stop() -> Status | None:
        asked.append(time.monotonic())
        return Status.CANCELLED if len(asked) == 6 else None

    outcome = carry_out(Remote("wait_for_ever", str(tmp_path)), stop=stop)

    assert (Status.CANCELLED, "cancelled") == (outcome.status, outcome.message)
    assert asked[-1] - asked[0] < 2
