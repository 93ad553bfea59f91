import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from trial_tasks import FOLLOW, Remote, wait_until

from runner.measure.leftovers import remove_leftovers
from runner.measure.trials import carry_out
from runner.model.runs import Status

MOMENTS = ("starting", "busy", "sending", "reporting", "idle 0", "idle 1", "ending 0", "ending 1")


def living(session: int) -> list[int]:
    """Return the processes of a session; ended ones that nobody has collected do not count."""
    found = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def noted(directory: Path, name: str) -> list[int]:
    return [int(word) for word in (directory / name).read_text(encoding="ascii").split()]


def assert_gone(directory: Path) -> None:
    """Wait for the end of a trial: killed workers are gone as soon as init has collected them."""
    [trial] = noted(directory, "trial")
    wait_until(lambda: [] == living(trial), 1)


def assert_no_semaphores(directory: Path) -> None:
    assert set() == set((directory / "locks").read_text(encoding="ascii").split()) & set(os.listdir("/dev/shm"))  # noqa: S108


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_worker_fails_the_trial_and_leaves_nothing(tmp_path: Path, moment: str) -> None:
    began = time.monotonic()
    outcome = carry_out(Remote("lose_worker", str(tmp_path), moment), timeout_s=20)
    assert time.monotonic() - began < 2
    [victim] = noted(tmp_path, "victim")
    # Both workers of the pool may have died by the time that one of them is named.
    named = int((outcome.message or "").split()[2])
    reported = f"pool worker {named} was killed by SIGKILL"
    assert (Status.FAILED, reported, None) == (outcome.status, outcome.message, outcome.defect)
    assert moment in {"starting", "reporting"} or victim == named
    assert moment != "reporting" or (tmp_path / "received").read_text(encoding="ascii") == "[]"
    assert_gone(tmp_path)


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
@pytest.mark.parametrize("moment", ["busy", "ending 1"])
def test_a_killed_worker_leaves_no_semaphore_outside(tmp_path: Path, moment: str, start_method: str) -> None:
    outcome = carry_out(Remote("lose_worker", str(tmp_path), moment, start_method), timeout_s=20)
    assert Status.FAILED == outcome.status
    # With a fork server, the pool's own thread may have taken the signal's number away.
    assert (outcome.message or "").startswith(f"pool worker {noted(tmp_path, 'victim')[0]} ")
    assert_gone(tmp_path)
    assert 6 == len((tmp_path / "locks").read_text(encoding="ascii").split())
    assert_no_semaphores(tmp_path)


@pytest.mark.parametrize(
    ("task", "end"),
    [
        (["lose_worker_before_it_is_watched"], "was killed by SIGKILL"),
        (["lose_worker", "leaving"], "ended by itself with exit code 7"),
        *(
            (["stop_worker", 3, then, start_method], "was stopped, and not continued within 0.3 s")
            for then in ("left", "ending, left")
            for start_method in ("fork", "spawn", "forkserver")
        ),
    ],
)
def test_a_lost_worker_fails_the_trial(tmp_path: Path, task: list[Any], end: str) -> None:
    name, *args = task
    outcome = carry_out(Remote(name, str(tmp_path), *args), timeout_s=20)
    reported = f"pool worker {noted(tmp_path, 'victim')[0]} {end}"
    assert (Status.FAILED, reported, None) == (outcome.status, outcome.message, outcome.defect)
    assert_gone(tmp_path)


@pytest.mark.parametrize("then", ["continued", "ending, continued"])
@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_a_worker_that_was_stopped_for_a_moment_is_waited_for(tmp_path: Path, start_method: str, then: str) -> None:
    outcome = carry_out(Remote("stop_worker", str(tmp_path), 100, then, start_method), timeout_s=20)
    assert (Status.SUCCEEDED, "awake") == (outcome.status, outcome.value)


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("trial_is", ["running", "stopped", "killed"])
def test_a_trial_whose_parent_is_killed_ends_with_its_workers(tmp_path: Path, trial_is: str, start_method: str) -> None:
    with subprocess.Popen([sys.executable, "-c", FOLLOW, tmp_path, start_method]) as parent:
        wait_until((tmp_path / "trial").exists, 10)
        [trial] = noted(tmp_path, "trial")
        assert {trial, *noted(tmp_path, "workers")} <= set(living(trial))
        if trial_is == "stopped":
            os.killpg(trial, signal.SIGSTOP)
        if trial_is == "killed":
            # Its parent would clean up after it; it is stopped so that it can't.
            parent.send_signal(signal.SIGSTOP)
            os.kill(trial, signal.SIGKILL)
        parent.kill()
        assert_gone(tmp_path)
    # The kernel ended the trial's resource tracker with it, so that the next runner has to remove them.
    remove_leftovers()
    assert_no_semaphores(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_trial_fails_and_its_workers_end(tmp_path: Path, number: int) -> None:
    def kill_it(_: object) -> None:
        if (tmp_path / "trial").exists():
            os.kill(noted(tmp_path, "trial")[0], number)

    began = time.monotonic()
    outcome = carry_out(Remote("wait_for_ever", str(tmp_path)), timeout_s=20, on_progress=kill_it)
    reported = f"the trial process was killed by {signal.Signals(number).name}"
    assert (Status.FAILED, reported) == (outcome.status, outcome.message)
    assert time.monotonic() - began < 3
    assert_gone(tmp_path)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_trial_is_ended_by_its_time_limit_even_when_stopped(tmp_path: Path, *, stopped: bool) -> None:
    def stop_it(_: object) -> None:
        if stopped and (tmp_path / "trial").exists():
            os.killpg(noted(tmp_path, "trial")[0], signal.SIGSTOP)

    outcome = carry_out(Remote("wait_for_ever", str(tmp_path)), timeout_s=0.8, on_progress=stop_it)
    reported = "ended after its time limit of 0.8 s; raise --timeout, or scan a smaller tree"
    assert (Status.TIMED_OUT, reported) == (outcome.status, outcome.message)
    assert_gone(tmp_path)


@pytest.mark.parametrize(
    ("status", "message"),
    [(Status.CANCELLED, "cancelled"), (Status.INTERRUPTED, "ended because runner was stopped")],
)
def test_a_trial_ends_with_the_status_it_is_stopped_with(tmp_path: Path, status: Status, message: str) -> None:
    task = Remote("wait_for_ever", str(tmp_path))
    outcome = carry_out(task, stop=lambda: status if (tmp_path / "trial").exists() else None)
    assert (status, message) == (outcome.status, outcome.message)
    assert_gone(tmp_path)
