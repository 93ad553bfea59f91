"""Shortages of the machine fail a trial with one line and are no defect."""

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from trial_tasks import Remote

from runner.measure.trial import TrialResult
from runner.measure.trials import carry_out
from runner.model.errors import ScanError, is_condition, reason_of
from runner.model.runs import Status
from runner.strategies.watched_pool import cannot_start

NOT_IN_MESSAGES = ("None", "Errno", "defect", "Traceback", "\n", ": ;", ": ,")


def assert_told(outcome: TrialResult) -> None:
    """Fail unless a trial succeeded, or failed with one line that blames the machine."""
    if outcome.status is not Status.SUCCEEDED:
        assert (Status.FAILED, None) == (outcome.status, outcome.defect), outcome
        assert outcome.message
        assert not [part for part in NOT_IN_MESSAGES if part in outcome.message], outcome.message


def test_a_fork_server_killed_at_its_start_is_no_defect() -> None:
    outcome = carry_out(Remote("lose_fork_server"), timeout_s=20)
    assert_told(outcome)
    assert (outcome.message or "").startswith("2 workers can't be started: one of them, or the fork server, ended"), (
        outcome
    )


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize(
    ("function", "limits"),
    [
        ("use_few_descriptors", range(3, 40, 2)),
        # Of memory, which threads need as well.
        ("use_little_memory", (0, 1_000_000, 4_000_000, 10_000_000, 18_000_000, 26_000_000, 60_000_000)),
    ],
)
def test_a_shortage_in_a_trial_is_no_defect(function: str, limits: Iterable[int], start_method: str) -> None:
    for limit in limits:
        assert_told(carry_out(Remote(function, limit, start_method), timeout_s=20))


def test_a_trial_that_lacks_memory_to_begin_is_no_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    executable = sys.executable
    monkeypatch.setattr(sys, "executable", str(python))
    for kilobytes in (2_000, *range(8_000, 40_000, 2_000)):
        python.write_text(f'#!/bin/sh\nulimit -v {kilobytes}\nexec {executable} "$@"\n')
        python.chmod(0o755)
        assert_told(carry_out(Remote("use_few_descriptors", 100, "fork"), timeout_s=20))


def test_a_result_that_does_not_fit_into_memory_is_no_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_message: object) -> object:
        raise MemoryError

    monkeypatch.setattr(pickle, "loads", load)
    with pytest.raises(ScanError, match="ran out of memory"):
        carry_out(Remote("repeat", "x", 10))


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "no free descriptors")])
def test_a_process_that_can_not_be_started_is_no_defect(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "Popen", start)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ScanError, match=f"a process for the scan can't be started: {reason_of(error)}"):
        carry_out(Remote("describe_trial"))
    assert before == len(os.listdir("/proc/self/fd"))


EMPTY = [OSError("AF_UNIX path too long"), OSError(), EOFError(), RuntimeError(), MemoryError(), BrokenPipeError()]


@pytest.mark.parametrize("error", EMPTY)
def test_a_reason_is_never_empty(error: Exception) -> None:
    assert reason_of(error).strip() not in {"", "None"}
    message = str(cannot_start(2, error))
    assert "None" not in message
    assert ": ;" not in message


def test_only_shortages_are_conditions_of_the_machine() -> None:
    assert is_condition(RuntimeError("can't start new thread"))
    assert is_condition(ImportError("lib.so: failed to map segment from shared object"))
    assert not is_condition(RuntimeError("context has already been set"))
    assert not is_condition(ImportError("No module named 'x'"))
    assert not is_condition(OSError("AF_UNIX path too long"))
