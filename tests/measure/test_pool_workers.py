import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from trial_tasks import Remote, wait_until

from runner.measure.leftovers import remove_leftovers
from runner.measure.trial import TrialResult
from runner.measure.trials import carry_out
from runner.model.runs import Status

MOMENTS = ("starting", "busy", "sending", "reporting", "idle 0", "idle 1", "ending 0", "ending 1")


def living(session: int) -> list[int]:
    """Return the processes of a session; ended ones that nobody has collected do not count."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def noted(directory: Path, name: str) -> list[int]:
    return [int(word) for word in (directory / name).read_text(encoding="ascii").split()]


def carried_out(task: Remote) -> tuple[TrialResult, float]:
    began = time.monotonic()
    outcome = carry_out(task, timeout_s=20)
    return outcome, time.monotonic() - began


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_worker_fails_the_trial_and_leaves_nothing(tmp_path: Path, moment: str) -> None:
    outcome, took_s = carried_out(Remote("lose_worker", str(tmp_path), moment))

    [victim] = noted(tmp_path, "victim")
    # Both workers of the pool may have died by the time that one of them is named.
    named = int((outcome.message or "").split()[2])
    assert (Status.FAILED, f"pool worker {named} was killed by SIGKILL") == (outcome.status, outcome.message)
    assert moment in {"starting", "reporting"} or victim == named
    assert moment != "reporting" or (tmp_path / "received").read_text(encoding="ascii") == "[]"
    assert outcome.defect is None
    assert outcome.message is not None
    assert took_s < 2
    # Killed workers are nobody's children here: they are gone as soon as the kernel has come to it.
    wait_until(lambda: [] == living(noted(tmp_path, "trial")[0]), 1)


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
@pytest.mark.parametrize("moment", ["busy", "ending 1"])
def test_a_killed_worker_leaves_no_semaphore_outside(tmp_path: Path, moment: str, start_method: str) -> None:
    outcome, _ = carried_out(Remote("lose_worker", str(tmp_path), moment, start_method))

    [trial] = noted(tmp_path, "trial")
    assert Status.FAILED == outcome.status
    # With a fork server, the pool's own thread may have taken the signal's number away.
    assert (outcome.message or "").startswith(f"pool worker {noted(tmp_path, 'victim')[0]} ")
    wait_until(lambda: [] == living(trial), 1)
    locks = (tmp_path / "locks").read_text(encoding="ascii").split()
    assert 6 == len(locks)
    assert set() == set(locks) & set(os.listdir("/dev/shm"))  # noqa: S108


def test_a_worker_killed_while_the_pool_is_made_is_noticed(tmp_path: Path) -> None:
    outcome, took_s = carried_out(Remote("lose_worker_before_it_is_watched", str(tmp_path)))

    assert f"pool worker {noted(tmp_path, 'victim')[0]} was killed by SIGKILL" == outcome.message
    assert took_s < 2
    # Killed workers are nobody's children here: they are gone as soon as the kernel has come to it.
    wait_until(lambda: [] == living(noted(tmp_path, "trial")[0]), 1)


@pytest.mark.parametrize("then", ["left", "ending, left"])
@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
def test_a_stopped_worker_fails_the_trial(tmp_path: Path, start_method: str, then: str) -> None:
    outcome, _ = carried_out(Remote("stop_worker", str(tmp_path), 3, then, start_method))

    [victim] = noted(tmp_path, "victim")
    reported = f"pool worker {victim} was stopped, and not continued within 0.3 s"
    assert (Status.FAILED, reported, None) == (outcome.status, outcome.message, outcome.defect)
    wait_until(lambda: [] == living(noted(tmp_path, "trial")[0]), 1)


@pytest.mark.parametrize("then", ["continued", "ending, continued"])
@pytest.mark.parametrize("start_method", ["fork", "forkserver"])
def test_a_worker_that_was_stopped_for_a_moment_is_waited_for(tmp_path: Path, start_method: str, then: str) -> None:
    outcome, _ = carried_out(Remote("stop_worker", str(tmp_path), 100, then, start_method))
    assert (Status.SUCCEEDED, "awake") == (outcome.status, outcome.value)


def test_a_worker_that_leaves_fails_the_trial_with_its_exit_code(tmp_path: Path) -> None:
    outcome, _ = carried_out(Remote("lose_worker", str(tmp_path), "leaving"))

    assert f"pool worker {noted(tmp_path, 'victim')[0]} ended by itself with exit code 7" == outcome.message


def start_parent(directory: Path, start_method: str) -> subprocess.Popen[bytes]:
    """Start a process that carries out a trial which never ends; returns once its workers are there."""
    program = (
        f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n"
        "from trial_tasks import Remote\n"
        "from runner.measure.trials import carry_out\n"
        f"carry_out(Remote('wait_for_ever', {str(directory)!r}, {start_method!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    wait_until((directory / "trial").exists, 10)
    return parent


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("trial_is", ["running", "stopped", "killed"])
def test_a_trial_whose_parent_is_killed_ends_with_its_workers(tmp_path: Path, trial_is: str, start_method: str) -> None:
    with start_parent(tmp_path, start_method) as parent:
        [trial] = noted(tmp_path, "trial")
        assert {trial, *noted(tmp_path, "workers")} <= set(living(trial))
        if trial_is == "stopped":
            os.killpg(trial, signal.SIGSTOP)
        if trial_is == "killed":
            # Its parent would clean up after it; it is stopped so that it can't.
            parent.send_signal(signal.SIGSTOP)
            os.kill(trial, signal.SIGKILL)
        parent.kill()
        wait_until(lambda: not living(trial), 1)
        parent.wait()
    # The kernel ended the trial's resource tracker with it, so that the next runner has to remove them.
    remove_leftovers()
    assert set() == set((tmp_path / "locks").read_text().split()) & set(os.listdir("/dev/shm"))  # noqa: S108


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_trial_fails_and_its_workers_end(tmp_path: Path, number: int) -> None:
    def kill_it() -> None:
        if (tmp_path / "trial").exists():
            os.kill(noted(tmp_path, "trial")[0], number)

    began = time.monotonic()
    outcome = carry_out(Remote("wait_for_ever", str(tmp_path)), timeout_s=20, on_progress=lambda _: kill_it())

    assert Status.FAILED == outcome.status
    assert f"the trial process was killed by {signal.Signals(number).name}" == outcome.message
    assert time.monotonic() - began < 3
    # Killed workers are nobody's children here: they are gone as soon as the kernel has come to it.
    wait_until(lambda: [] == living(noted(tmp_path, "trial")[0]), 1)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_trial_is_ended_by_its_time_limit_even_when_stopped(tmp_path: Path, *, stopped: bool) -> None:
    def stop_it() -> None:
        if stopped and (tmp_path / "trial").exists():
            os.killpg(noted(tmp_path, "trial")[0], signal.SIGSTOP)

    outcome = carry_out(Remote("wait_for_ever", str(tmp_path)), timeout_s=0.8, on_progress=lambda _: stop_it())

    assert Status.TIMED_OUT == outcome.status
    assert "ended after its time limit of 0.8 s; raise --timeout, or scan a smaller tree" == outcome.message
    # Killed workers are nobody's children here: they are gone as soon as the kernel has come to it.
    wait_until(lambda: [] == living(noted(tmp_path, "trial")[0]), 1)


@pytest.mark.parametrize("status", [Status.CANCELLED, Status.INTERRUPTED])
def test_a_trial_ends_as_what_it_is_stopped_as(tmp_path: Path, status: Status) -> None:
    outcome = carry_out(
        Remote("wait_for_ever", str(tmp_path)), stop=lambda: status if (tmp_path / "trial").exists() else None
    )

    assert status == outcome.status
    assert outcome.message
    # Killed workers are nobody's children here: they are gone as soon as the kernel has come to it.
    wait_until(lambda: [] == living(noted(tmp_path, "trial")[0]), 1)
