import time
from pathlib import Path
from typing import Any

import pytest
from trial_tasks import Remote, assert_gone, noted, semaphores

from runner.measure.trials import carry_out
from runner.model.runs import Status

MOMENTS = ("starting", "busy", "sending", "reporting", "idle 0", "idle 1", "ending 0", "ending 1")


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
    assert set() == semaphores(tmp_path)


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
