import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from runner.model import signals
from runner.model.signals import is_known_stopped


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """Give a child that has a child of its own, whose number it tells, and both of which wait."""
    program = (
        "import ctypes, os, signal\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    ctypes.CDLL(None).prctl(15, b'a) S 1 (b', 0, 0, 0)  # PR_SET_NAME\n"
        "    print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as process:
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def until(condition: Callable[[], bool], *, is_true: bool) -> None:
    while condition() is not is_true:
        pass


@pytest.mark.timeout(20)
def test_whoever_is_stopped_is_known_to_be_so_until_continued(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    looks = [(process.pid, signals._is_stopped_child)] if hasattr(os, "waitid") else []
    if Path("/proc/self/stat").exists():  # only Linux tells it of processes that are no children
        looks += [(process.pid, is_known_stopped), (int(line), is_known_stopped)]
    for pid, is_stopped in looks:
        assert not is_stopped(pid)
        for _ in range(3):
            os.kill(pid, signal.SIGSTOP)
            until(partial(is_stopped, pid), is_true=True)
            os.kill(pid, signal.SIGCONT)
            until(partial(is_stopped, pid), is_true=False)
    if len(looks) == 3:
        os.kill(int(line), signal.SIGSTOP)
        until(partial(is_known_stopped, int(line)), is_true=True)
        assert not is_known_stopped(process.pid)


def test_nobody_is_not_stopped() -> None:
    assert not is_known_stopped(2**22 + 1)
