"""What a trial process leaves in the file system and in shared memory, and which processes survive their runner."""

import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import is_gone
from trial_tasks import FOLLOW, Remote, assert_gone, living, noted, semaphores, wait_until

from runner.measure.leftovers import remove_leftovers, trial_directory
from runner.measure.trials import carry_out
from runner.model.runs import Status

SHM = Path("/dev/shm")  # noqa: S108


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a short directory that is this process's directory for temporary files."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as directory:
        monkeypatch.setenv("TMPDIR", directory)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(directory)


def first_child(parent: subprocess.Popen[bytes]) -> int:
    """Return the process that follows as soon as the kernel knows it, mostly before it is another program."""
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    while not (found := children.read_text().split()):
        pass
    return int(found[0])


ENDS: dict[str, tuple[Status, str | None]] = {
    "success": (Status.SUCCEEDED, None),
    "cancel": (Status.CANCELLED, "cancelled"),
    "interrupt": (Status.INTERRUPTED, "ended because runner was stopped"),
    **dict.fromkeys(
        ("time limit", "time limit, stopped"),
        (Status.TIMED_OUT, "ended after its time limit of 3 s; raise --timeout, or scan a smaller tree"),
    ),
    **{name: (Status.FAILED, f"the trial process was killed by {name}") for name in ("SIGKILL", "SIGTERM", "SIGSEGV")},
}


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("ended_by", ENDS)
def test_an_ended_trial_leaves_nothing(tmp_path: Path, temporary: Path, start_method: str, ended_by: str) -> None:
    status, message = ENDS[ended_by]
    acted_s = [time.monotonic()]

    def act() -> Status | None:
        if not (tmp_path / "trial").exists():
            return None
        assert os.listdir(temporary)
        [trial] = noted(tmp_path, "trial")
        acted_s.append(time.monotonic())
        if ended_by in signal.Signals.__members__:
            os.kill(trial, signal.Signals[ended_by])
        if ended_by == "time limit, stopped":
            os.killpg(trial, signal.SIGSTOP)
        return status if ended_by in {"cancel", "interrupt"} else None

    if ended_by == "success":
        outcome = carry_out(Remote("burn_in_workers", 0.0, start_method), stop=act)
    else:
        task = Remote("wait_for_ever", str(tmp_path), start_method)
        outcome = carry_out(task, timeout_s=3 if "limit" in ended_by else 60, stop=act)
        assert time.monotonic() - acted_s[-1] < 3
        assert_gone(tmp_path)
        assert set() == semaphores(tmp_path)
    assert (status, message) == (outcome.status, outcome.message)
    assert [] == os.listdir(temporary)


@pytest.mark.parametrize("start_method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("trial_is", ["running", "stopped", "killed"])
def test_a_trial_ends_with_its_killed_runner(tmp_path: Path, temporary: Path, trial_is: str, start_method: str) -> None:
    with subprocess.Popen([sys.executable, "-c", FOLLOW, tmp_path, start_method]) as parent:
        wait_until((tmp_path / "trial").exists, 10)
        [trial] = noted(tmp_path, "trial")
        assert {trial, *noted(tmp_path, "workers")} <= set(living(trial))
        remove_leftovers()
        named = semaphores(tmp_path)  # a living runner's are not touched
        [directory] = os.listdir(temporary)
        assert (0 if start_method == "fork" else 6) == len(named)
        # If this fails, multiprocessing gives its semaphores names of its own choice again.
        assert all(name.startswith(f"sem.{directory}-") for name in named)
        if trial_is == "stopped":
            os.killpg(trial, signal.SIGSTOP)
        if trial_is == "killed":
            # Its parent would clean up after it; it is stopped so that it can't.
            parent.send_signal(signal.SIGSTOP)
            os.kill(trial, signal.SIGKILL)
        parent.kill()
        assert_gone(tmp_path)
    # The kernel ended the trial's resource tracker with it, so that the next runner has to remove them.
    assert [directory] == os.listdir(temporary)
    remove_leftovers()
    assert [] == os.listdir(temporary)
    assert set() == semaphores(tmp_path)


def test_names_that_resemble_leftovers_are_kept(temporary: Path) -> None:
    with trial_directory() as mine:
        dead = Path(mine).name.split("-")
        dead[1] = "4194305"  # no process has this number
        name = "-".join(dead)
        (temporary / "target").mkdir()
        (temporary / "target" / "file").touch()
        (temporary / name).symlink_to(temporary / "target")
        (temporary / f"{name}-file").touch()
        (temporary / "runner-notes").mkdir()
        kept = set(os.listdir(temporary))
        if os.geteuid() == 0:
            others = temporary / f"{name}x"
            others.mkdir()
            os.chown(others, 12345, 12345)
            kept.add(others.name)
        (temporary / f"{name}y").mkdir()
        remove_leftovers()
        assert kept == set(os.listdir(temporary))
        assert (temporary / "target" / "file").exists()


def test_leftovers_of_an_earlier_boot_are_removed(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with trial_directory() as mine:
        parts = Path(mine).name.split("-")
        parts[3] = "0" * 8 if parts[3] != "0" * 8 else "1" * 8
        before = temporary / "-".join(parts)
        before.mkdir()
        remove_leftovers()
        assert before.exists()  # as of another container, which may be running
        monkeypatch.setattr(psutil, "boot_time", lambda: time.time() + 1)
        remove_leftovers()
        assert [Path(mine).name] == os.listdir(temporary)


@pytest.mark.parametrize("variable", ["TEMP", "TMP"])
def test_leftovers_are_found_where_a_full_tmpdir_led(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as other:
        with monkeypatch.context() as shortage:  # tempfile treats a directory that can't be written like a missing one
            shortage.setenv("TMPDIR", str(temporary / "missing"))
            shortage.setenv(variable, other)
            shortage.setattr(tempfile, "tempdir", None)
            with trial_directory() as mine:
                dead = Path(mine).with_name(re.sub(r"-\d+-", "-4194305-", Path(mine).name, count=1))
                dead.mkdir()
        assert other == str(dead.parent)
        monkeypatch.setenv(variable, other)
        remove_leftovers()
        assert [] == os.listdir(other)


def test_what_lacked_descriptors_is_removed_later(temporary: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with trial_directory() as first:
            semaphore = SHM / f"sem.{Path(first).name}-x"
            semaphore.touch()
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [Path(first).name] == os.listdir(temporary)
    assert semaphore.exists()
    with trial_directory() as second:
        assert [Path(second).name] == os.listdir(temporary)
        assert not semaphore.exists()


@pytest.mark.parametrize("length", [50, 90, 200])
def test_a_fork_server_starts_with_a_long_tmpdir(temporary: Path, monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    long = temporary / ("d" * (length - len(str(temporary)) - 1))
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", None)
    outcome = carry_out(Remote("burn_in_workers", 0.0, "forkserver"))
    assert (Status.SUCCEEDED, None) == (outcome.status, outcome.message)
    assert [] == os.listdir(long)


@pytest.mark.parametrize("follows", [True, False])
def test_a_trial_stopped_at_its_start_ends_with_its_runner(tmp_path: Path, temporary: Path, *, follows: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", FOLLOW, tmp_path, "fork"]) as parent:
        trial = first_child(parent)
        process = Path(f"/proc/{trial}")
        while follows and b"import main" not in (process / "cmdline").read_bytes():
            pass
        os.kill(trial, signal.SIGSTOP)
        if follows:
            lifeline = process / "fdinfo" / (process / "cmdline").read_bytes().split(b"\0")[-2].decode()
            wait_until(lambda: int(lifeline.read_text().split()[3], 8) & os.O_ASYNC, 20)
        else:
            time.sleep(0.05)  # it has executed no program, so that the next start has to end it
        parent.kill()
        if follows:
            wait_until(lambda: is_gone(trial), 10)
    remove_leftovers()
    assert is_gone(trial)
    assert [] == os.listdir(temporary)
